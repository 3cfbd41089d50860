"""A camera, or a clip at its own pace, as samples that are due at a time of the clock. Knows nothing of faces.

Runs in the worker. `due` is a `time.monotonic()`, which all processes of a machine share.
"""

from __future__ import annotations  # decoders begin sooner without jaxtyping

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from facedep_jax.errors import MediaError
from facedep_jax.media.decode.frame_sampling import Sampler
from facedep_jax.media.decode.opencv_setup import cv2
from facedep_jax.media.decode.video_decoding import Capture
from facedep_jax.media.live_source import Newest

if TYPE_CHECKING:
    from jaxtyping import UInt8

# Seconds without a picture after which a camera counts as gone, and those that it may take for its first one.
SILENCE, FIRST = 5.0, 15.0
# A clip that is decoded so slowly that a sample is later than this (seconds) goes on from there, as if it had paused.
LATEST = 0.5
_PAUSE = 0.05  # seconds between two attempts to get a picture from a camera
_ENDING = 2.0  # seconds that a reader may take to end; one that waits for a device ends with the process


@dataclass(frozen=True)
class Due:
    """A sample: its time in the source (seconds), when it was due, and its upright RGB pixels."""

    time: float
    due: float
    pixels: UInt8[np.ndarray, "h w 3"]


class Camera:
    """The camera with a number, or at the path of a device; a picture is due when it has come. Raises MediaError."""

    notes = ()

    def __init__(self, where: int | bytes, fps: float) -> None:
        self._capture = cv2.VideoCapture(where)  # type: ignore[arg-type]  # its stub forgets bytes
        if not self._capture.isOpened():
            raise MediaError("cannot be opened", stage="read")
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a request: what a driver queues would only be late
        self._sampler = Sampler(fps)

    def samples(self, alive: Callable[..., None]) -> Iterator[Due]:
        """The sampled pictures, without end: whoever hears `alive(False)` only decides that it is gone."""
        begun = None
        while True:
            if not self._capture.grab():
                alive(False)
                time.sleep(_PAUSE)
                continue
            alive()
            now = time.monotonic()
            begun = begun or now
            if self._sampler.wants(now - begun):
                got, pixels = self._capture.retrieve()
                if got:
                    self._sampler.take(now - begun)
                    yield Due(now - begun, now, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))

    def silence(self, seen: bool) -> str:
        """What it means that no picture came."""
        if seen:
            return f"went away: no picture for {SILENCE:g} s"
        return f"sends no picture: none came in {FIRST:g} s; is it used by another program?"


class Paced:
    """A clip by its own clock: a sample is due as long after the first as its time says. Raises MediaError."""

    def __init__(self, path: bytes, fps: float) -> None:
        self._path, self._fps, self._paused = path, fps, 0.0
        self._capture: Capture | None = None

    def samples(self, alive: Callable[..., None]) -> Iterator[Due]:
        """The sampled frames, each when it is due. Raises MediaError also behind the last where the clip broke off."""
        begun = None
        self._capture = Capture(self._path, self._fps, alive, careful=True)
        for moment, pixels in self._capture.samples():
            late = 0.0 if begun is None else time.monotonic() - begun - moment
            if begun is None or late > LATEST:
                begun = time.monotonic() - moment
                self._paused += late
            while (wait := begun + moment - time.monotonic()) > 0:
                alive()
                time.sleep(min(wait, 1.0))
            yield Due(moment, begun + moment, pixels)
        if reason := self._capture.broken_off():
            raise MediaError(reason)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the scores should know, so far."""
        damage = self._capture.info().notes if self._capture else ()
        if not self._paused:
            return damage
        return (f"it could not be decoded at its own pace, and was paused for {self._paused:.1f} s in all", *damage)

    def silence(self, seen: bool) -> str:
        """What it means that nothing was decoded."""
        return f"no frame could be decoded for {SILENCE if seen else FIRST:g} s"


class _Stopped(Exception):
    """Nobody takes any more."""


class Reader(threading.Thread):
    """Reads a source in a thread of its own and keeps the newest sample, numbered from 0, for whoever takes it.

    It reads while it is entered. A thread in OpenCV at the end of the process would be torn out of it, which aborts.
    """

    def __init__(self, source: Camera | Paced) -> None:
        super().__init__(name="reader", daemon=True)
        self._source, self._newest = source, Newest[tuple[int, Due]]()
        self._heard, self._seen, self._stopped = time.monotonic(), False, False

    def __enter__(self) -> "Reader":
        self.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped = True
        self.join(_ENDING)

    def run(self) -> None:
        """Read until the source ends or nobody takes any more."""
        lost: BaseException | None = None
        try:
            for number, sample in enumerate(self._source.samples(self._alive)):
                self._newest.put((number, sample))
        except _Stopped:
            pass
        except BaseException as error:  # raised again by `take`, in the thread that answers for it
            lost = error
        finally:
            self._newest.close(lost)

    def take(self, timeout: float) -> tuple[int, Due] | None:
        """The newest sample, once, or None where there is none within `timeout` seconds.

        Raises what reading raised, and MediaError where the source has been silent for too long.
        """
        taken = self._newest.take(timeout)
        if taken is None and not self.over and time.monotonic() - self._heard > (SILENCE if self._seen else FIRST):
            raise MediaError(self._source.silence(self._seen))
        return taken

    @property
    def over(self) -> bool:
        """Whether the source has ended well and all is taken."""
        return self._newest.over

    def _alive(self, came: bool = True) -> None:
        if self._stopped:
            raise _Stopped
        if came:
            self._heard, self._seen = time.monotonic(), True
