"""Frames of a clip in order, with true times. Knows nothing of who wants them.

Runs in the worker. Reported frame counts and rates are never believed, and nothing is sought: every frame is
decoded, only wanted ones are converted.
"""

from __future__ import annotations  # decoders begin sooner without jaxtyping

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from av.video.frame import PictureType

from facedep_jax.errors import MediaError
from facedep_jax.media.decode import decoder_stderr
from facedep_jax.media.decode.cropping import resize
from facedep_jax.media.decode.ffmpeg_input import Decoded, Shown, VideoInput
from facedep_jax.media.decode.frame_damage import Doubt
from facedep_jax.media.decode.frame_pixels import LEAST_OBLONG, FramePixels
from facedep_jax.media.decode.frame_sampling import Clock, Sampler
from facedep_jax.media.decode.video_containers import container_notes
from facedep_jax.media.frame_types import ClipInfo

if TYPE_CHECKING:
    from jaxtyping import UInt8

# A part of what a container declares, or seconds: damage after which so much is missing has ended the clip too early.
MISSING, MISSING_SECONDS = 0.1, 5.0
# Seconds and frames by which a clip may be shorter than declared, or start late, before it is said.
SHORTER_SECONDS, SHORTER_FRAMES, LATE = 0.2, 3, 0.1
PAUSE = 5.0  # seconds without a frame that are said


class Capture:
    """An open clip. Iterate over `samples`, then ask for `info`. Raises MediaError.

    Decoded by `threads`, 0 for as many as there are cores, until the decoder tells of damage, which it then does at a
    frame or some frames before it, by chance. From there on one thread decodes, so that what is left out is always the
    same; with `careful` from the beginning, so that nothing is ever read twice.
    """

    def __init__(
        self, path: bytes, fps: float, alive: Callable[[], None], careful: bool = False, threads: int = 0
    ) -> None:
        self._path, self._careful, self._alive = path, careful, alive
        self._input = VideoInput(path, threads=1 if careful else threads)
        self._pixels = FramePixels(self._input.stream.sample_aspect_ratio)
        self._clock, self._sampler, self._doubt = Clock(self._input.declared), Sampler(fps), Doubt()
        self._read = self._sampled = self._resized = self._reshaped = self._gaps = 0
        self._pauses: list[float] = []
        self._start = self._time = self._lasts = 0.0
        self._shape: tuple[int, ...] = ()  # height and width of the first sample
        self._said, self._over = "", False
        self._of_container: tuple[str, ...] = ()  # what else is in the file, or missing from it, known at its end

    def samples(self) -> Iterator[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
        """(time in seconds, upright RGB pixels) of each sampled frame. The file is closed however it ends."""
        try:
            yield from self._samples()
            self._over, self._of_container = True, container_notes(self._input.file)
        finally:
            self._input.close()
        if not self._sampled:
            raise MediaError(self._nothing())

    def _samples(self) -> Iterator[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
        for (frame, order, stamp, lasts), following in _with_next(self._frames()):
            time = self._clock.tick(stamp, following and following.time)
            if not self._read:
                self._start = time
            elif time - self._time > PAUSE:
                self._pauses.append(time - self._time)
            self._time, self._lasts = time, lasts
            self._read += 1
            intra = frame.key_frame or frame.pict_type == PictureType.I
            if not self._doubt.is_doubtful(order, frame.pts, time, intra) and self._sampler.wants(time):
                pixels = self._of_one_size(self._pixels.of(frame))
                self._sampler.take(time)
                self._sampled += 1
                yield time, pixels

    def _of_one_size(self, pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """Calls change their resolution under way: frames of the first one's shape get its size, so that faces can be
        followed."""
        height, width = self._shape = self._shape or pixels.shape[:2]
        if pixels.shape[:2] == self._shape:
            return pixels
        if abs(pixels.shape[1] / pixels.shape[0] * height / width - 1) > LEAST_OBLONG:
            self._reshaped += 1
            return pixels
        self._resized += 1
        return resize(pixels, width, height)

    def info(self) -> ClipInfo:
        """What decoding found out; complete once `samples` has ended."""
        height, width = self._shape or (0, 0)
        turn = self._pixels.turn
        read, pixels = (self._duration(), self._read, self._sampled), self._pixels
        return ClipInfo(width, height, turn.degrees, *read, self._notes(), turn.mirrored, pixels.colours)

    def broken_off(self) -> str:
        """Why `samples` ended too early, or nothing. Believed of a container only where the decoder told of damage:
        declared durations are often wrong, and a clip that was trimmed declares what it had before."""
        missing = self._missing()
        if not self._said or not missing > min(MISSING * self._input.declared, MISSING_SECONDS):
            return ""
        return f"ended after {self._duration():.1f} of {self._input.declared:.1f} s, damaged or cut ({self._said})"

    def _frames(self) -> Iterator[Shown]:
        """All frames in the order they are shown; those before damage once, though they are decoded twice."""
        passed = 0
        while True:
            restart = False
            skip = passed
            for packet in self._input.decoded():
                self._alive()
                if self._told_of_damage(packet) and not self._careful:
                    restart = True
                    break
                for shown in packet.frames:
                    if skip:
                        skip -= 1
                        continue
                    passed += 1
                    yield shown
            if not restart:
                return
            self._start_again()

    def _start_again(self) -> None:
        """One thread from here on: everything that was read is decoded once more, to no other end."""
        self._input.close()
        self._careful, self._input = True, VideoInput(self._path, threads=1)
        self._doubt, self._gaps, self._said = Doubt(), 0, ""

    def _told_of_damage(self, packet: Decoded) -> bool:
        """Whether this packet could not be read or decoded, or the decoder has said something while it had it."""
        self._doubt.note_packet(packet.order, packet.pts, packet.key)
        said = decoder_stderr.text()
        if said:
            decoder_stderr.clear()
        words = decoder_stderr.first_line(said)
        corrupt = packet.failed or packet.marked
        if not (corrupt or words):
            return False
        self._gaps += packet.failed
        if self._doubt.note_damage(packet.order, packet.pts, "" if corrupt else said):
            self._said = self._said or words
        return True

    def _duration(self) -> float:
        return self._time - self._start + (self._clock.step if self._read > 1 else 0.0)

    def _missing(self) -> float:
        """Seconds by which the clip ends before it should by its container."""
        last = max(self._clock.step, self._lasts)
        return self._input.declared - self._time - last

    def _nothing(self) -> str:
        what = f"none of {self._read} frames is free of damage" if self._read else "no frame could be decoded"
        return what + (f" ({self._said})" if self._said else "")

    def _notes(self) -> tuple[str, ...]:
        change = f", the largest change {self._clock.largest:,.3f} s" if self._clock.largest else ""
        counted = (
            ("time stamps that were missing, went back, stood still or leapt, mended", self._clock.mended, change),
            ("gaps in decoding, passed over", self._gaps, ""),
            ("packets at which the decoder told of damage", self._doubt.told, ""),
            ("frames not used because they are damaged or made from damaged ones", self._doubt.frames, ""),
            ("frames of another size, scaled to that of the first", self._resized, ""),
            ("frames of another shape than the first", self._reshaped, ""),
            ("frames before the first whole one that lack what they are made from", self._doubt.leading, ""),
        )
        notes = [f"{what}: {count}{more}" for what, count, more in counted if count]
        notes += [f"the decoder said: {self._said}"] if self._said else []
        return (*self._input.notes, *self._of_container, *self._of_times(), *notes, *self._pixels.notes())

    def _of_times(self) -> Iterator[str]:
        """What the container's clock says that the frames do not."""
        if self._input.rate:
            yield f"the file holds no times; {self._input.rate:g} frames a second are assumed"
        if self._start >= LATE:
            yield f"its video starts {self._start:.3f} s after the file does"
        if self._pauses:
            yield f"no frame for {sum(self._pauses):.1f} s of it, in pauses of over {PAUSE:g} s: {len(self._pauses)}"
        missing = self._missing()
        if self._over and missing > max(SHORTER_SECONDS, SHORTER_FRAMES * self._clock.step):
            yield f"its video ends {missing:.1f} s before the {self._input.declared:.1f} s that the file declares"


def _with_next(frames: Iterator[Shown]) -> Iterator[tuple[Shown, Shown | None]]:
    """Each frame with the one that follows it, None behind the last."""
    held = next(frames, None)
    for frame in frames:
        assert held is not None
        yield held, frame
        held = frame
    if held is not None:
        yield held, None
