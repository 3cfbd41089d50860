"""Clips made on the fly, whose every frame tells which one it is and how it is turned."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, RATE = 96, 64, 25
LEVELS = 24  # of grey, by which frames are told apart; they repeat
TICK = Fraction(1, 1000)
STEADY = ("avi", "ogv", "ivf", "h264", "h265", "m4v", "mjpeg", "mxf")  # of constant rate
FORMATS = {
    "wmv": "asf", "mpg": "mpeg", "ts": "mpegts", "m2ts": "mpegts", "mkv": "matroska", "ogv": "ogg", "m4v": "m4v",
    "h265": "hevc",
}  # fmt: skip


def drawn(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Corners of four colours around a field whose grey is the frame's number."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 200, 40, 40
    picture[: height // 2, width // 2 :] = 40, 180, 60
    picture[height // 2 :, : width // 2] = 50, 60, 190
    picture[height // 2 :, width // 2 :] = 220, 220, 90
    picture[height // 4 : -height // 4, width // 4 : -width // 4] = 20 + 9 * (index % LEVELS)
    return picture


@dataclass(frozen=True)
class Recipe:
    """How a clip is written. `stamps`: of each frame, in milliseconds; `sound`: whether it starts with silence at 0."""

    ending: str
    codec: str
    stamps: Sequence[int] = tuple(range(0, 1600, 1000 // RATE))
    options: dict[str, str] = field(default_factory=dict)
    pixels: str = "yuv420p"
    gop: int = 12
    sound: bool = False
    matrix: tuple[int, ...] | None = None
    width: int = WIDTH
    height: int = HEIGHT
    aspect: Fraction | None = None


def write(path: Path, recipe: Recipe) -> Path:
    """The clip of `recipe`, frame k showing k."""
    with av.open(str(path), "w", format=FORMATS.get(recipe.ending, recipe.ending)) as out:
        stream = out.add_stream(recipe.codec, rate=RATE, options=recipe.options)
        stream.width, stream.height, stream.pix_fmt = recipe.width, recipe.height, recipe.pixels
        stream.codec_context.gop_size, stream.codec_context.bit_rate = recipe.gop, 4_000_000
        if recipe.ending not in STEADY and recipe.codec not in ("mpeg4", "mpeg2video", "mpeg1video"):
            stream.codec_context.time_base = TICK  # else the clock ticks once a frame
        if recipe.aspect:
            stream.codec_context.sample_aspect_ratio = recipe.aspect
        if recipe.matrix:
            stream.set_display_matrix(recipe.matrix)
        if recipe.sound:
            _silence(out, 1 + max(recipe.stamps) / 1000)
        for index, stamp in enumerate(recipe.stamps):
            picture = av.VideoFrame.from_ndarray(drawn(index, recipe.width, recipe.height), format="rgb24")
            frame = picture.reformat(format=recipe.pixels)
            frame.pts, frame.time_base = stamp, TICK
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _silence(out: av.container.OutputContainer, seconds: float) -> None:
    codec = (
        "libopus" if out.format.name in ("webm", "ogg") else "mp2" if out.format.name in ("mpegts", "mpeg") else "aac"
    )
    stream = out.add_stream(codec, rate=48000, layout="mono")
    context = stream.codec_context
    size = context.frame_size or 1024
    for start in range(0, int(seconds * 48000), size):
        layout = np.zeros((1, size), np.int16 if "16" in context.format.name else np.float32)
        sound = av.AudioFrame.from_ndarray(layout, format=context.format.name, layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = 48000, start, Fraction(1, 48000)
        out.mux(stream.encode(sound))
    out.mux(stream.encode(None))


def remuxed(source: Path, out: Path, first_key: int) -> Path:
    """The packets of `source` from its key frame number `first_key` on, copied as they are."""
    with av.open(str(source)) as given, av.open(str(out), "w", format=given.format.name.split(",")[0]) as target:
        track = given.streams.video[0]
        copy = target.add_stream_from_template(track)
        packets = [packet for packet in given.demux(track) if packet.size]
        keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
        for packet in packets[keys[first_key] :]:
            packet.stream = copy
            target.mux(packet)
    return out


def joined(paths: Iterable[Path]) -> bytes:
    """What `cat` makes of them."""
    whole = io.BytesIO()
    for path in paths:
        whole.write(path.read_bytes())
    return whole.getvalue()
