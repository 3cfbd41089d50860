"""Frames of a clip in order, with true times, read by FFmpeg through OpenCV. Knows nothing of who wants them.

Runs in the worker. Reported frame counts and rates are never believed, and nothing is sought: every frame is
grabbed, only wanted ones are converted.
"""

import re
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import UInt8

from facedep_jax.errors import MediaError
from facedep_jax.media.decode import decoder_stderr
from facedep_jax.media.decode.cropping import resize
from facedep_jax.media.decode.frame_sampling import Clock, Sampler
from facedep_jax.media.decode.opencv_setup import MAX_PIXELS, cv2
from facedep_jax.media.decode.video_containers import why_not
from facedep_jax.media.frame_types import ClipInfo

# After damage grab() fails once or a few times and then goes on; at the end it fails for ever, at once.
RETRIES = 64
# Pixels are taken for square within 1 %, and where their declared shape is beyond 4:1.
LEAST_OBLONG, MOST_OBLONG = 0.01, 4.0
# swscale's words when it leaves the pixels undefined, as for interlaced input (OpenCV 4.13, 4.14).
_UNDEFINED = "Cannot convert"
# A part of what a container declares, or seconds: damage after which so much is missing has ended the clip too early.
MISSING, MISSING_SECONDS = 0.1, 5.0
ONE_THREAD = (cv2.CAP_PROP_N_THREADS, 1)
_INTRA = ord("I")  # what CAP_PROP_FRAME_TYPE says of a frame that is made from no other
_INTERLACED = "Cannot convert interlaced"
_NOT_LISTED = re.compile(r"\[([^\]]+)\] Format not on whitelist")


class Capture:
    """An open clip. Iterate over `samples`, then ask for `info`. Raises MediaError.

    Decoded by as many threads as there are cores until the decoder tells of damage, which it then does at a frame or
    some frames before it, by chance. From there on one thread decodes, so that what is left out is always the same;
    with `careful` from the beginning, so that nothing is ever read twice.
    """

    def __init__(self, path: bytes, fps: float, alive: Callable[[], None], careful: bool = False) -> None:
        self._path, self._careful = path, careful
        self._capture = _open(path, ONE_THREAD if careful else ())
        self._clock, self._sampler, self._doubt, self._alive = Clock(), Sampler(fps), Doubt(), alive
        self._read = self._sampled = self._gaps = self._undefined = 0
        self._start = self._time = 0.0
        self._shape = (0, 0)
        self._rotation = int(self._capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360
        self._wider = self._pixel_aspect()
        self._said = ""
        self._declared = self._declared_duration()

    def samples(self) -> Iterator[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
        """(time in seconds, upright RGB pixels) of each sampled frame."""
        while True:
            grabbed, gap = self._grab()
            damaged = self._told_of_damage() or (gap and grabbed)
            if damaged and not self._careful:
                self._start_again()
                continue
            if not grabbed:
                break
            time = self._clock.tick(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
            if not self._read:
                self._start = time
            self._time = time
            self._read += 1
            self._gaps += gap
            self._alive()
            intra = self._capture.get(cv2.CAP_PROP_FRAME_TYPE) == _INTRA
            if not self._doubt.about(time, damaged, intra) and self._sampler.wants(time):
                pixels = self._retrieve()
                if pixels is not None:
                    self._sampler.take(time)
                    self._sampled += 1
                    yield time, pixels
        self._capture.release()
        if not self._sampled:
            raise MediaError(self._nothing())

    def info(self) -> ClipInfo:
        """What decoding found out; complete once `samples` has ended."""
        height, width = self._shape
        return ClipInfo(width, height, self._rotation, self._duration(), self._read, self._sampled, self._notes())

    def broken_off(self) -> str:
        """Why `samples` ended too early, or nothing. Believed of a container only where the decoder told of damage:
        declared durations are often wrong, and a clip that was trimmed declares what it had before."""
        missing = self._declared - self._duration()
        if not self._said or not missing > min(MISSING * self._declared, MISSING_SECONDS):
            return ""
        return f"ended after {self._duration():.1f} of {self._declared:.1f} s, damaged or cut ({self._said})"

    def _duration(self) -> float:
        return self._time - self._start + (self._clock.step if self._read > 1 else 0.0)

    def _declared_duration(self) -> float:
        """Seconds by the container; 0 or less, or not a number, where it declares none."""
        frames, rate = (self._capture.get(what) for what in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS))
        return frames / rate if rate > 0 else 0.0

    def _start_again(self) -> None:
        """One thread from here on: everything that was read is decoded once more, to no other end."""
        self._capture.release()
        self._careful, self._capture = True, _open(self._path, ONE_THREAD)
        for _ in range(self._read):
            self._grab()
            self._alive()
        self._said = ""
        decoder_stderr.clear()

    def _grab(self) -> tuple[bool, bool]:
        """Whether there is another frame, and whether decoding failed before it came."""
        for attempt in range(RETRIES):
            if self._capture.grab():
                return True, attempt > 0
        return False, True

    def _retrieve(self) -> UInt8[np.ndarray, "h w 3"] | None:
        """The grabbed frame, or None where its pixels are undefined."""
        got, pixels = self._capture.retrieve()
        if not got or pixels is None or _UNDEFINED in decoder_stderr.text():
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

    def _told_of_damage(self) -> bool:
        """Whether the decoder has said something since it was asked last. Keeps the first line, and lets no chatter
        pile up."""
        text = decoder_stderr.text()
        if not text:
            return False
        decoder_stderr.clear()
        said = decoder_stderr.first_line(text)
        self._said = self._said or said
        return bool(said) and _UNDEFINED not in said

    def _nothing(self) -> str:
        if self._undefined:
            why = self._said or "no reason given"
            if _INTERLACED in why:
                why = "interlaced video, which OpenCV cannot convert; deinterlace it first (ffmpeg -vf yadif)"
            return f"none of {self._read} frames could be converted to RGB ({why})"
        what = f"none of {self._read} frames is free of damage" if self._read else "no frame could be decoded"
        return what + (f" ({self._said})" if self._said else "")

    def _notes(self) -> tuple[str, ...]:
        stretched = self._sampled if abs(self._wider - 1) >= LEAST_OBLONG else 0
        counted = (
            ("time stamps that went back, stood still or leapt, mended", self._clock.mended),
            ("gaps in decoding, passed over", self._gaps),
            ("frames at which the decoder told of damage", self._doubt.told),
            ("frames not used because they are damaged or made from damaged ones", self._doubt.frames),
            ("wanted frames that could not be converted to RGB, replaced by the next", self._undefined),
            ("frames stretched to square pixels", stretched),
        )
        notes = [f"{what}: {count}" for what, count in counted if count]
        return (*notes, f"the decoder said: {self._said}") if self._said else tuple(notes)


def _open(path: bytes, options: tuple[int, ...] = ()) -> cv2.VideoCapture:
    """Raises MediaError for what FFmpeg cannot open, and for frames that no memory should be spent on."""
    decoder_stderr.clear()
    # Bytes, which its stub forgets: a name that is not UTF-8 is not to be had as a str.
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, options)  # type: ignore[call-overload]
    if not capture.isOpened():
        raise MediaError(_refusal(decoder_stderr.text(), path))
    decoder_stderr.clear()
    sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    width, height = (int(capture.get(side)) for side in sides)
    if width * height > MAX_PIXELS:
        raise MediaError(f"declares frames of {width}×{height} pixels; {MAX_PIXELS / 1e6:.0f} megapixels is most")
    return capture


def _refusal(said: str, path: bytes) -> str:
    if "m3u8" in said:
        return "not a video but a playlist"
    taken_for = _NOT_LISTED.search(said)
    if taken_for:
        return f"not a video container that is read here (FFmpeg takes it for {taken_for[1]})"
    reason = why_not(path) or decoder_stderr.first_line(said)
    return "not a video that FFmpeg can open" + (f" ({reason})" if reason else "")


# Seconds after which doubt ends without a frame that stands by itself: some cameras refresh a picture strip by strip.
LONGEST_DOUBT = 10.0


class Doubt:
    """Told of every frame in order; `told` counts those with damage, `frames` those in doubt."""

    def __init__(self) -> None:
        self.told = self.frames = 0
        self._until: float | None = None

    def about(self, time: float, damaged: bool, intra: bool) -> bool:
        """Whether the frame at `time` (seconds) is in doubt. `intra`: it is made from no other frame."""
        if damaged:
            self.told += 1
            self._until = time + LONGEST_DOUBT
        elif intra or (self._until is not None and time > self._until):
            self._until = None
        self.frames += self._until is not None
        return self._until is not None
