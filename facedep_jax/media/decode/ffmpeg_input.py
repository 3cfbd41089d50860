"""A clip opened by FFmpeg through PyAV: packets in, decoded frames out. Knows nothing of samples or faces.

The file is opened here and handed over as a stream of bytes: FFmpeg is told of no name, and may open no other file.
What its libraries say goes to standard error, where decoder_stderr.py reads it.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import av.logging
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame

from facedep_jax.machine_resources import cores
from facedep_jax.media.decode import decoder_stderr
from facedep_jax.media.decode.ffmpeg_opening import opened, video_track
from facedep_jax.media.decode.opencv_setup import MAX_PIXELS
from facedep_jax.media.decode.video_containers import declared_seconds

# After damage reading fails once or a few times and then goes on; at the end it fails for ever, at once.
RETRIES = 64
_MICROSECONDS = 1_000_000
_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
_WITHOUT_STAMPS = 0x80  # AVFMT_NOTIMESTAMPS: raw streams
_USUAL_RATE = 25.0  # frames a second where a raw stream does not say, as FFmpeg assumes

# The default callback writes to standard error from any thread; PyAV's own would want Python's lock for each word.
av.logging.restore_default_callback()
av.logging.set_libav_level(av.logging.ERROR)


class Shown(NamedTuple):
    """A frame, the number of its packet, and when it is shown: `time` in seconds on the file's clock, None where it is
    not known, and for how long by the file (`lasts`, seconds, 0 where it does not say)."""

    frame: VideoFrame
    order: int
    time: float | None
    lasts: float


class Decoded(NamedTuple):
    """A packet by its number in the order of decoding and the time it is shown (its unit is the stream's; None where
    it has none), whether a decoder can begin with it (`key`), whether reading or decoding it failed, whether it or a
    frame of it is marked as damaged, and the frames that came out."""

    order: int
    pts: int | None
    key: bool
    failed: bool
    marked: bool
    frames: list[Shown]


class VideoInput:
    """The video track of the file at `path`, decoded by as many threads as there are cores, or by `threads`.

    `origin` is where the file's clock starts, in seconds of its stamps: what comes first in it, sound or pictures.
    `declared` are the seconds from there to the end, by the container; 0 where it does not say. `rate`: frames a second
    of a raw stream, which holds no times; else None. `notes`: what is odd about it so far. Raises MediaError for what
    FFmpeg cannot open, for a file without video, and for frames that no memory should be spent on.
    """

    def __init__(self, path: bytes, threads: int = 0) -> None:
        decoder_stderr.clear()
        self.file = open(path, "rb")  # noqa: SIM115  (closed by `close`)
        try:
            by_header = declared_seconds(self.file)  # before FFmpeg: it counts on where it left the file
            self.file.seek(0)
            self._container = opened(self.file)
            self.stream, chosen = video_track(self._container, self.file)
        except BaseException:
            self.file.close()
            raise
        self._context = self.stream.codec_context
        self._context.thread_type = "NONE" if threads == 1 else "AUTO"
        self._context.thread_count = threads or cores()  # FFmpeg would take one more, and the engine wants some
        self._context.copy_opaque = True
        self._context.options = {"max_pixels": str(MAX_PIXELS)}
        self.origin = self._origin()
        self.declared = self._declared_seconds() or by_header
        self.rate = self._assumed_rate()
        self._tick = float(self.stream.time_base or 0)  # seconds
        self._shown = 0
        self._last, self._delay = -1, 0  # of AVI
        opening = decoder_stderr.first_line(decoder_stderr.text())
        self.notes = (*chosen, *((f"on opening it FFmpeg said: {opening}",) if opening else ()))
        decoder_stderr.clear()

    def decoded(self) -> Iterator[Decoded]:
        """Every packet of the track with what came of it; the last one ends the stream."""
        for order, packet in enumerate(self._packets()):
            if packet is None:
                yield Decoded(order, None, False, True, False, [])
                continue
            packet.opaque = (order, packet.dts)
            try:
                frames, failed = self.stream.decode(packet), False
            except FFmpegError:
                frames, failed = [], True
            marked = packet.is_corrupt or any(frame.is_corrupt for frame in frames)
            shown = [
                Shown(frame, _packet_of(frame, order), self._time(frame), frame.duration * self._tick)
                for frame in frames
            ]
            yield Decoded(order, packet.pts, packet.is_keyframe, failed, marked, shown)

    def _packets(self) -> Iterator[Packet | None]:
        """Packets in the order of decoding, None where reading failed; the last is empty, and ends the stream."""
        failures = 0
        while failures <= RETRIES:
            try:
                for packet in self._container.demux(self.stream):
                    failures = 0
                    yield packet
                return
            except FFmpegError:
                failures += 1
                if failures == 1:
                    yield None
        yield Packet()

    def _time(self, frame: VideoFrame) -> float | None:
        self._shown += 1
        if self.rate:
            return (self._shown - 1) / self.rate
        stamp = self._avi_stamp(frame) if self._container.format.name == "avi" else frame.pts
        return None if stamp is None else stamp * self._tick - self.origin

    def _avi_stamp(self, frame: VideoFrame) -> int:
        """AVI numbers frames as they are decoded: those shown count on from the first, whatever the decoder held."""
        own = frame.opaque[1] if isinstance(frame.opaque, tuple) else None
        if self._shown == 1 and frame.dts is not None and own is not None:
            self._delay = frame.dts - own
        self._last = self._last + 1 if frame.dts is None else frame.dts - self._delay
        return self._last

    def close(self) -> None:
        """Closes the file, once the decoder's threads are idle: they may have more to say until then."""
        if self._context.is_open:
            self._context.flush_buffers()
        self._container.close()
        self.file.close()

    def _origin(self) -> float:
        timed = [stream for stream in self._container.streams if stream.type in ("video", "audio")]
        starts = [s.start_time * s.time_base for s in timed if s.start_time is not None and s.time_base is not None]
        return float(min(starts, default=0))

    def _assumed_rate(self) -> float | None:
        if not self._container.format.flags & _WITHOUT_STAMPS:
            return None
        stated = self._context.framerate or self.stream.guessed_rate
        return float(stated) if stated else _USUAL_RATE

    def _declared_seconds(self) -> float:
        """To the end of the video track, or of the longest track where that does not say."""
        if self.stream.duration and self.stream.time_base:
            end = float((self.stream.start_time or 0) + self.stream.duration) * float(self.stream.time_base)
            return end - self.origin
        if tagged := _seconds(self.stream.metadata.get("DURATION", "")):  # which Matroska's writers leave per track
            return tagged - self.origin
        length = (self._container.duration or 0) / _MICROSECONDS
        return length - self.origin if "matroska" in self._container.format.name else length  # which counts from 0


def _packet_of(frame: VideoFrame, order: int) -> int:
    """The number that its packet was given; the last one's where a decoder does not hand it on."""
    return frame.opaque[0] if isinstance(frame.opaque, tuple) else order


def _seconds(clock: str) -> float:
    """Of hh:mm:ss.fraction; 0 for what is no such text."""
    parts = _CLOCK.fullmatch(clock)
    return 3600 * float(parts[1]) + 60 * float(parts[2]) + float(parts[3]) if parts else 0.0
