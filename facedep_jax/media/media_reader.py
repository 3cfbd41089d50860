"""Clips and images → sampled frames and pictures, decoded in worker processes. Knows nothing of codecs, nor of scores.

Whatever the length of a clip, no more than the pipe and one frame are held in memory: the worker waits when nobody
takes what it has.
"""

from __future__ import annotations  # decoders begin sooner without jaxtyping

import os
import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from facedep_jax.errors import EngineError, MediaError
from facedep_jax.media.file_hashing import MAX_BYTES, FileState, Hashed, regular_file
from facedep_jax.media.frame_types import ClipInfo, Frame, InputSettings, Picture
from facedep_jax.media.worker_pool import TIMEOUT, DecoderLost, borrow, give_back, is_item
from facedep_jax.media.worker_protocol import Bytes, Header, Message, encoded, frame_of

if TYPE_CHECKING:
    from jaxtyping import UInt8


class Clip:
    """Sampled frames, once, in order.

    Closing (or leaving the `with`) before the end kills the worker. Not for use by two threads at once.
    """

    def __init__(self, path: bytes, settings: InputSettings, timeout: float, threads: int = 0) -> None:
        self._info: ClipInfo | None = None
        self._threads = threads
        self._timeout, self._closed = timeout, False
        self._decoder = borrow()
        self._frames = self._stream(path, settings)

    def __iter__(self) -> Iterator[Frame]:
        return self

    def __next__(self) -> Frame:
        return next(self._frames)

    def __enter__(self) -> "Clip":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_frames"):
            self.close()

    @property
    def info(self) -> ClipInfo:
        """What decoding found out. Raises ValueError before the last frame is taken."""
        if self._info is None:
            raise ValueError("the clip is not decoded to its end")
        return self._info

    def stop(self) -> None:
        """Ends the worker, from any thread: who waits for a frame gets a MediaError."""
        self._decoder.stop()

    def close(self) -> None:
        """Ends the stream and its worker. Done by itself after the last frame."""
        self._frames.close()
        if self._closed:
            return
        self._closed = True
        if self._info is None:
            self._decoder.kill()  # the next clip gets a worker that has not met this one
        else:
            give_back(self._decoder)

    def _stream(self, path: bytes, settings: InputSettings) -> Generator[Frame, None, None]:
        self._decoder.ask("clip", settings, path, threads=self._threads)
        header, body = self._decoder.answer(self._timeout)
        while header["say"] == "frame":
            yield frame_of(header, body)
            header, body = self._decoder.answer(self._timeout)
        notes = tuple(header["info"].pop("notes"))
        self._info = ClipInfo(**header["info"], notes=notes)


def open_clip(path: str | os.PathLike, settings: InputSettings, timeout: float = TIMEOUT, threads: int = 0) -> Clip:
    """The sampled frames of the clip at `path`, to be iterated over inside a `with`; decoded by so many threads, 0 for
    as many as there are cores. Which are sampled, and their pixels, do not hang on that.

    Raises MediaError here when `path` is not a regular file that can be read, and while iterating when it is
    not a video, no frame can be decoded, or the decoder crashes or says nothing for `timeout` seconds.
    Raises EngineError while iterating when the detector of `settings` cannot be loaded.
    """
    return Clip(regular_file(path), settings, timeout, threads)


def read_image(path: str | os.PathLike, data: bytes, settings: InputSettings, timeout: float = TIMEOUT) -> Picture:
    """The picture in `data`, the bytes of the file at `path` (which is not opened).

    Decoded upright in a worker process; its frame has time 0. Safe to call from several threads: each call
    in flight has a worker of its own. Raises MediaError for bytes that are no image, are damaged, cut short
    or too large, and for a decoder that crashes or says nothing for `timeout` seconds; EngineError when the
    detector of `settings` cannot be loaded.
    """
    return _picture_of(*_asked("image", data, settings, timeout))


@dataclass(frozen=True)
class ImageFile:
    """An image file that was read. `hashed` is None where it could not be, `picture` where none was asked for or there
    is a `failure`.
    """

    hashed: Hashed | None = None
    picture: Picture | None = None
    failure: MediaError | None = None


def read_images(
    paths: Sequence[str | os.PathLike[str]],
    settings: InputSettings,
    decode: bool = True,
    timeout: float = TIMEOUT,
    over: threading.Event | None = None,
) -> Iterator[ImageFile]:
    """The image files at `paths`, in their order, read by worker processes, one after the other; without `decode` only
    hashed. Several come at a time, and none is read ahead of those but what a worker reads in a quarter of a second.

    As `read_image`, but that what is wrong with a file is said of it. Raises EngineError when the detector of
    `settings` cannot be loaded, CancelledError soon after `over` is set, whatever the worker does.
    """
    names, lost, read = _absolute(paths), dict[int, ImageFile](), 0
    while read < len(names):
        if read in lost:
            yield lost.pop(read)
            read += 1
            continue
        asked, decoder = names[read : min(lost, default=len(names))], borrow()
        try:
            decoder.ask("images", settings, encoded(asked), decode=int(decode))
            header, body = decoder.answer(timeout, over)
        except DecoderLost as error:  # what came before that file is read again
            place, item = decoder.progress()
            lost[read + min(place, len(asked) - 1)] = ImageFile(Hashed(item, None) if item else None, failure=error)
            continue
        finally:
            give_back(decoder)
        if not 0 < len(header["read"]) <= len(asked):
            raise EngineError(f"a decoder answered of {len(header['read'])} files where {len(asked)} were asked for")
        yield from _image_files(header["read"], body)
        read += len(header["read"])


def _absolute(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """What a worker, which stands where this process stood when it was started, finds them by."""
    names = [os.fspath(path) for path in paths]
    if all(os.path.isabs(name) for name in names):
        return names
    here = os.getcwd()
    return [os.path.join(here, name) for name in names]


def _image_files(read: Sequence[Header], body: Bytes) -> Iterator[ImageFile]:
    """What an answer says of each file; the crops of all of them follow each other in `body`."""
    for one in read:
        hashed = _hashed_of(one) if "item" in one else None
        failure = MediaError(one["reason"], stage=one["stage"]) if "reason" in one else None
        picture = None
        if "picture" in one:
            own = sum(size * size * 3 for size in one["picture"]["sizes"])
            picture, body = _picture_of(one["picture"], body[:own]), body[own:]
        yield ImageFile(hashed, picture, failure)


def _hashed_of(said: Header) -> Hashed:
    if not is_item(said["item"]):  # what follows trusts a name
        raise EngineError(f"a decoder sent {said['item']!r:.80} for the SHA-256 of a file")
    return Hashed(said["item"], said["state"] and FileState(*said["state"]))


def _picture_of(header: Header, body: Bytes) -> Picture:
    known = header["width"], header["height"], int(header["phash"], 16)
    return Picture(*known, frame_of(header, body), tuple(map(sys.intern, header["notes"])))


def read_view(data: bytes, side: int, timeout: float = TIMEOUT) -> UInt8[np.ndarray, "h w 3"]:
    """The whole picture, upright, its longer side at most `side` pixels: to be looked at. Raises as `read_image`."""
    header, body = _asked("view", data, InputSettings((side,)), timeout)
    return np.frombuffer(body, np.uint8).reshape(header["height"], header["width"], 3)


def _asked(what: str, data: bytes, settings: InputSettings, timeout: float) -> Message:
    if not data:
        raise MediaError("empty file (0 bytes)", stage="read")
    if len(data) > MAX_BYTES:
        raise MediaError(
            f"{len(data) / 1e9:.1f} GB, above {MAX_BYTES / 1e9:.1f} GB, the limit for one image", stage="read"
        )
    decoder = borrow()
    try:
        decoder.ask(what, settings, data)
        return decoder.answer(timeout)
    finally:
        give_back(decoder)
