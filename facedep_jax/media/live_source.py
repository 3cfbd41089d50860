"""A live source as the newest of its sampled frames, read by a worker process. Knows nothing of scores.

Between the source and whoever takes there are two places for one frame each, in the worker and here: frames are
passed over rather than late.
"""

import os
import re
import signal
import sys
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, TypeVar

from facedep_jax.errors import MediaError, SettingsError, SourceError
from facedep_jax.media.file_hashing import regular_file
from facedep_jax.media.frame_types import Frame, InputSettings
from facedep_jax.media.worker_pool import TIMEOUT, borrow
from facedep_jax.media.worker_protocol import frame_of

_DEVICE = re.compile(r"/dev/video(\d+)")
_ON_LINUX = sys.platform.startswith("linux")

T = TypeVar("T")


class Newest(Generic[T]):
    """What is not taken in time is replaced, so that neither side waits for the other and nothing piles up."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: T | None = None
        self._closed = False
        self._error: BaseException | None = None

    def put(self, value: T) -> None:
        """Leaves `value`, in place of one that nobody took."""
        with self._changed:
            self._held = value
            self._changed.notify()

    def close(self, error: BaseException | None = None) -> None:
        """Nothing will be put here any more, because of `error` where it is not the end."""
        with self._changed:
            self._closed, self._error = True, error
            self._changed.notify()

    def take(self, timeout: float) -> T | None:
        """The newest value, once; None where there is none within `timeout` seconds or there will be none.

        Raises what it was closed with, once everything is taken.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._held is not None or self._closed, timeout)
            value, self._held = self._held, None
            if value is None and self._error is not None:
                raise self._error
            return value

    @property
    def over(self) -> bool:
        """Whether everything is taken and nothing will come, without an error."""
        with self._changed:
            return self._closed and self._held is None and self._error is None


@dataclass(frozen=True)
class Located:
    """A source that can be tried: `what` it is ("camera" or "paced"), `where`, and its name in words."""

    what: str
    where: bytes
    name: str


@dataclass(frozen=True)
class Sample:
    """`number` counts all that were due, from 0; `due` is the `time.monotonic()` at which this one was."""

    number: int
    due: float
    frame: Frame


class Live:
    """A source that is being read. Closing it, or leaving the `with`, ends its worker.

    `name` is the source in words; `notes` are what a reader of the scores should know so far.
    """

    def __init__(self, source: Located, settings: InputSettings) -> None:
        self.name = source.name
        self.notes: tuple[str, ...] = ()
        self._newest: Newest[Sample] = Newest()
        self._decoder = borrow()
        self._thread = threading.Thread(target=self._read, args=(source, settings), name="live", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def take(self, timeout: float) -> Sample | None:
        """The newest sample, once, or None where there is none within `timeout` seconds.

        Raises MediaError for a source that cannot be opened or has stopped, EngineError for a detector that cannot be
        loaded; not before all samples are taken.
        """
        return self._newest.take(timeout)

    @property
    def over(self) -> bool:
        """Whether the source has ended well and all is taken."""
        return self._newest.over

    def close(self) -> None:
        """Ends the worker, whatever it does."""
        if self._thread.is_alive() and self._decoder.is_well():
            os.kill(self._decoder.pid, signal.SIGKILL)  # its end wakes the thread, which waits for its words
        self._thread.join()
        self._decoder.kill()

    def _read(self, source: Located, settings: InputSettings) -> None:
        lost: BaseException | None = None
        try:
            self._decoder.ask(source.what, settings, source.where)
            header, body = self._decoder.answer(TIMEOUT)
            while header["say"] == "frame":
                self.notes = tuple(header["notes"])
                self._newest.put(Sample(header["number"], header["due"], frame_of(header, body)))
                header, body = self._decoder.answer(TIMEOUT)
            self.notes = tuple(header["notes"])
            if "lost" in header:
                raise MediaError(header["lost"], stage=header["stage"])
        except MediaError as error:
            advice = f"; {_cameras()}" if source.what == "camera" and error.stage == "read" else ""
            lost = MediaError(f"{source.name}: {error.reason}{advice}", stage=error.stage)
        except BaseException as error:  # raised again by `take`, in the thread that answers for it
            lost = error
        finally:
            self._newest.close(lost)


def locate(source: str) -> Located:
    """The camera with the number `source` (or at /dev/videoN), or the clip at this path.

    Raises SourceError for a path that is not a regular file and a camera that is known not to be there, SettingsError
    for an address of the network.
    """
    camera = source if source.isdecimal() else (_DEVICE.fullmatch(source) or ("", ""))[1]
    if camera:
        if _ON_LINUX and not os.path.exists(f"/dev/video{camera}"):
            raise SourceError(f"camera {camera} is not there; {_cameras()}")
        return Located("camera", camera.encode(), f"camera {camera}")
    if re.match(r"[a-z][a-z0-9+.-]+://", source, re.IGNORECASE):
        raise SettingsError(f"--source is the number of a camera or a file, got {source}; the network is not read")
    try:
        return Located("paced", regular_file(source), source)
    except MediaError as error:
        raise SourceError(f"{source}: {error.reason}") from error


def _cameras() -> str:
    """What to try, by what is there; only Linux tells without opening them."""
    if not _ON_LINUX:
        return "is it connected, not in use by another program, and is this one allowed to use it?"
    there = ", ".join(sorted(f"/dev/{name}" for name in os.listdir("/dev") if name.startswith("video")))
    if not there:
        return "this machine has no /dev/video*: connect a camera, or give a file"
    return f"this machine has {there}: is another number meant, or is it in use, or only for the group video?"
