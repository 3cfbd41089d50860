"""Frames of a clip in order, with true times, read by FFmpeg through OpenCV. Knows nothing of who wants them.

Runs in the worker. Reported frame counts and rates are never believed, and nothing is sought: every frame is
grabbed, only wanted ones are converted (DESIGN.md §7).
"""

import re
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import UInt8

from facedep_jax.errors import MediaError
from facedep_jax.media import complaints
from facedep_jax.media.crops import resize
from facedep_jax.media.frames import ClipInfo
from facedep_jax.media.opencv import cv2
from facedep_jax.media.sampling import Clock, Sampler

# After damage grab() fails once or a few times and then goes on; at the end it fails for ever, at once.
RETRIES = 64
# Pixels are taken for square within 1 %, and where their declared shape is beyond 4:1.
LEAST_OBLONG, MOST_OBLONG = 0.01, 4.0
# swscale's words when it leaves the pixels undefined, as for interlaced input (OpenCV 4.13, 4.14).
_UNDEFINED = "Cannot convert"
_NOT_LISTED = re.compile(r"\[([^\]]+)\] Format not on whitelist")


class Capture:
    """An open clip. Iterate over `samples`, then ask for `info`. Raises MediaError."""

    def __init__(self, path: bytes, fps: float, alive: Callable[[], None]) -> None:
        complaints.clear()
        self._capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise MediaError(_refusal(complaints.text()))
        self._clock, self._sampler, self._alive = Clock(), Sampler(fps), alive
        self._read = self._sampled = self._gaps = self._undefined = 0
        self._start = self._time = 0.0
        self._shape = (0, 0)
        self._rotation = int(self._capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360
        self._wider = self._pixel_aspect()
        self._said = ""

    def samples(self) -> Iterator[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
        """(time in seconds, upright RGB pixels) of each sampled frame."""
        while self._grab():
            time = self._clock.tick(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            if not self._read:
                self._start = time
            self._time = time
            self._read += 1
            self._alive()
            self._remember()
            if self._sampler.wants(time):
                pixels = self._retrieve()
                if pixels is not None:
                    self._sampler.take(time)
                    self._sampled += 1
                    yield time, pixels
        self._remember()
        self._capture.release()
        if not self._sampled:
            raise MediaError(self._nothing())

    def info(self) -> ClipInfo:
        """What decoding found out; complete once `samples` has ended."""
        height, width = self._shape
        duration = self._time - self._start + (self._clock.step if self._read > 1 else 0.0)
        return ClipInfo(width, height, self._rotation, duration, self._read, self._sampled, self._notes())

    def _grab(self) -> bool:
        for attempt in range(RETRIES):
            if self._capture.grab():
                self._gaps += attempt > 0
                return True
        return False

    def _retrieve(self) -> UInt8[np.ndarray, "h w 3"] | None:
        """The grabbed frame, or None where its pixels are undefined."""
        got, pixels = self._capture.retrieve()
        if not got or pixels is None or _UNDEFINED in complaints.text():
            self._undefined += 1
            return None
        pixels = self._square_pixels(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
        self._shape = pixels.shape[:2]
        return pixels

    def _square_pixels(self, pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """Stretches frames whose pixels are declared to be oblong, which OpenCV leaves as they are."""
        wider = self._wider
        height, width = pixels.shape[:2]
        if abs(wider - 1) < LEAST_OBLONG:
            return pixels
        return resize(pixels, round(width * max(1, wider)), round(height * max(1, 1 / wider)))

    def _pixel_aspect(self) -> float:
        """Width of a pixel over its height, after the turn; 1 where it is not declared or absurd."""
        across, down = self._capture.get(cv2.CAP_PROP_SAR_NUM), self._capture.get(cv2.CAP_PROP_SAR_DEN)
        if across <= 0 or down <= 0 or not 1 / MOST_OBLONG <= across / down <= MOST_OBLONG:
            return 1.0
        return down / across if self._rotation in (90, 270) else across / down

    def _remember(self) -> None:
        """Keeps the first thing that was said, and lets no chatter pile up."""
        self._said = self._said or complaints.first_line(complaints.text())
        complaints.clear()

    def _nothing(self) -> str:
        if self._undefined:
            why = self._said or "no reason given"
            return f"none of {self._read} frames could be converted to RGB ({why})"
        return "no frame could be decoded" + (f" ({self._said})" if self._said else "")

    def _notes(self) -> tuple[str, ...]:
        stretched = self._sampled if abs(self._wider - 1) >= LEAST_OBLONG else 0
        counted = (
            ("time stamps that went back, stood still or leapt, mended", self._clock.mended),
            ("gaps in decoding, passed over", self._gaps),
            ("wanted frames that could not be converted to RGB, replaced by the next", self._undefined),
            ("frames stretched to square pixels", stretched),
        )
        notes = [f"{what}: {count}" for what, count in counted if count]
        return (*notes, f"the decoder said: {self._said}") if self._said else tuple(notes)


def _refusal(said: str) -> str:
    if "m3u8" in said:
        return "not a video but a playlist"
    taken_for = _NOT_LISTED.search(said)
    if taken_for:
        return f"not a video container that is read here (FFmpeg takes it for {taken_for[1]})"
    line = complaints.first_line(said)
    return "not a video that FFmpeg can open" + (f" ({line})" if line else "")
