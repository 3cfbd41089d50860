"""A clip as a stream of sampled frames, decoded in a worker process. Knows nothing of codecs, nor of scores.

Whatever the length of the clip, no more than the pipe and one frame are held in memory: the worker waits when
nobody takes what it has.
"""

import os
import stat
from collections.abc import Iterator
from types import TracebackType

from facedep_jax.errors import MediaError
from facedep_jax.media.frame_types import ClipInfo, Frame, InputSettings
from facedep_jax.media.worker_pool import TIMEOUT, borrow, give_back
from facedep_jax.media.worker_protocol import frame_of


class Clip:
    """Sampled frames, once, in order; `info` is there after the last one and None before.

    Closing (or leaving the `with`) before the end kills the worker. Not for use by two threads at once.
    """

    def __init__(self, path: bytes, settings: InputSettings, timeout: float) -> None:
        self.info: ClipInfo | None = None
        self._timeout = timeout
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
        if hasattr(self, "_decoder"):
            self.close()

    def close(self) -> None:
        """Ends the stream and its worker. Done by itself after the last frame."""
        self._frames.close()
        if self._decoder is not None:
            decoder, self._decoder = self._decoder, None
            if self.info is None:
                decoder.kill()  # the next clip gets a worker that has not met this one
            else:
                give_back(decoder)

    def _stream(self, path: bytes, settings: InputSettings) -> Iterator[Frame]:
        self._decoder.ask("clip", settings, path)
        header, body = self._decoder.answer(self._timeout)
        while header["say"] == "frame":
            yield frame_of(header, body)
            header, body = self._decoder.answer(self._timeout)
        notes = tuple(header["info"].pop("notes"))
        self.info = ClipInfo(**header["info"], notes=notes)


def open_clip(path: str | os.PathLike, settings: InputSettings, timeout: float = TIMEOUT) -> Clip:
    """The sampled frames of the clip at `path`, to be iterated over inside a `with`.

    Raises MediaError here when `path` is not a regular file that can be read, and while iterating when it is
    not a video, no frame can be decoded, or the decoder crashes or says nothing for `timeout` seconds.
    Raises EngineError while iterating when the detector of `settings` cannot be loaded.
    """
    return Clip(regular_file(path), settings, timeout)


def regular_file(path: str | os.PathLike) -> bytes:
    """The resolved absolute path, as the bytes that the file system has. Raises MediaError (stage "read")."""
    try:
        real = os.path.realpath(os.fsencode(path), strict=True)
        status = os.stat(real)
        mode = status.st_mode
        if stat.S_ISREG(mode):
            os.close(os.open(real, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)))
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror}", stage="read") from error
    except ValueError as error:  # a zero byte, or half a surrogate pair
        raise MediaError(f"not a name that a file can have: {error}", stage="read") from error
    if not stat.S_ISREG(mode):
        raise MediaError(f"not a regular file but {_kind(mode)}", stage="read")
    if not status.st_size:
        raise MediaError("empty file (0 bytes)", stage="read")
    return real


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
