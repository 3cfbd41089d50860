"""A decoded frame → upright RGB of square pixels. Knows nothing of times or damage.

The matrix of colours, the shape of pixels, the turn and the flip are the file's own; what it leaves open is filled in
as players do, and counted.
"""

from __future__ import annotations  # decoders begin sooner without jaxtyping

import struct
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from facedep_jax.errors import MediaError
from facedep_jax.media.decode.cropping import resize
from facedep_jax.media.decode.images.iso_boxes import HDR
from facedep_jax.media.decode.opencv_setup import MAX_PIXELS

if TYPE_CHECKING:
    from jaxtyping import UInt8

# Pixels are taken for square within 1 %, and where their declared shape is beyond 4:1.
LEAST_OBLONG, MOST_OBLONG = 0.01, 4.0
# Without a declared matrix of colours, BT.709 from this size on and BT.601 below, as mpv and browsers do.
HD_LINES, HD_COLUMNS = 720, 1280
_UNDECLARED = 2  # AVCOL_SPC_UNSPECIFIED, ITU-T H.273 table 4
_ONE = 1 << 16  # 1 in a display matrix, ISO/IEC 14496-12 §6.2.2
_LEAN = 0.01  # share of its length by which a row may miss an axis


class Turn(NamedTuple):
    """What a display matrix asks for: mirrored left to right first, then turned clockwise by `degrees`."""

    degrees: int = 0
    mirrored: bool = False


# The signs of a, b, c, d, where x' = a·x + c·y and y' = b·x + d·y.
_TURNS = {
    (1, 0, 0, 1): Turn(), (0, 1, -1, 0): Turn(90), (-1, 0, 0, -1): Turn(180), (0, -1, 1, 0): Turn(270),
    (-1, 0, 0, 1): Turn(0, True), (0, -1, -1, 0): Turn(90, True), (1, 0, 0, -1): Turn(180, True),
    (0, 1, 1, 0): Turn(270, True),
}  # fmt: skip


class FramePixels:
    """Makes pixels of the frames of one clip and counts what it did; `turn` is the last frame's, `colours` the matrix
    of colours that was taken for high definition where none is declared.

    `aspect`: width of a stored pixel over its height, None where it is not declared.
    """

    def __init__(self, aspect: Fraction | None) -> None:
        wider = float(aspect or 1)
        self._wider = wider if 1 / MOST_OBLONG <= wider <= MOST_OBLONG and abs(wider - 1) >= LEAST_OBLONG else 1.0
        self._reformatter = VideoReformatter()
        self._fields: tuple[tuple[int, int, str], Graph] | None = None
        self._counts: Counter[str] = Counter()
        self.turn, self._begun = Turn(), False
        self.colours = ""

    def of(self, frame: VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
        """Raises MediaError for a turn that cannot be done, too many pixels, or a format that cannot be converted."""
        width, height = frame.width, frame.height
        if width * height > MAX_PIXELS:
            raise MediaError(f"a frame of {width}×{height} pixels; {MAX_PIXELS / 1e6:.0f} megapixels is most")
        turn = _turn(frame)
        if self._begun and turn != self.turn:
            self._counts["frames at which the display matrix changed"] += 1
        self.turn, self._begun = turn, True
        if transfer := HDR.get(int(frame.color_trc)):
            self._counts[f"frames of high dynamic range ({transfer}), taken as they are, without tone mapping"] += 1
        stored = self._rgb(self._progressive(frame), self._matrix_of(frame))
        square = resize(stored, round(width * max(1, self._wider)), round(height * max(1, 1 / self._wider)))
        if self._wider != 1:
            self._counts["frames stretched to square pixels"] += 1
        return turned(square, self.turn)

    def notes(self) -> tuple[str, ...]:
        """What was done to how many frames. May be asked while another thread counts on."""
        return tuple(f"{what}: {count}" for what, count in tuple(self._counts.items()))

    def _progressive(self, frame: VideoFrame) -> VideoFrame:
        """The frame, or its upper field where it holds two that were taken one after the other."""
        if not frame.interlaced_frame:
            return frame
        self._counts["interlaced frames, of which the upper field was used"] += 1
        key = (frame.width, frame.height, frame.format.name)
        if self._fields is None or self._fields[0] != key:
            self._fields = key, _upper_field(frame)
        graph = self._fields[1]
        graph.push(frame)
        field = graph.pull()
        assert isinstance(field, VideoFrame)
        return field

    def _matrix_of(self, frame: VideoFrame) -> Colorspace | None:
        """What fills in for a matrix of colours that is not declared; None where it is."""
        if int(frame.colorspace) != _UNDECLARED or not _is_yuv(frame):
            return None
        if frame.height < HD_LINES and frame.width < HD_COLUMNS:
            return Colorspace.ITU601
        self.colours = "BT.709"
        return Colorspace.ITU709

    def _rgb(self, frame: VideoFrame, matrix: Colorspace | None) -> UInt8[np.ndarray, "h w 3"]:
        try:
            return self._reformatter.reformat(
                frame, format="rgb24", src_colorspace=matrix, interpolation=Interpolation.BICUBIC, threads=1
            ).to_ndarray()
        except (OSError, ValueError) as error:
            raise MediaError(f"frames of the format {frame.format.name} cannot be converted to RGB") from error


def turned(pixels: UInt8[np.ndarray, "h w 3"], turn: Turn) -> UInt8[np.ndarray, "h w 3"]:
    """`pixels` mirrored and turned."""
    mirrored = pixels[:, ::-1] if turn.mirrored else pixels
    return np.ascontiguousarray(np.rot90(mirrored, -turn.degrees // 90))


def _turn(frame: VideoFrame) -> Turn:
    """Raises MediaError for what is no quarter turn or flip."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData):
        return Turn()
    a, b, _, c, d, _, *_ = struct.unpack("=9i", bytes(matrix))
    longest = max(abs(value) for value in (a, b, c, d))
    signs = tuple(0 if abs(value) < _LEAN * longest else (1 if value > 0 else -1) for value in (a, b, c, d))
    rows = abs(a or 0) + abs(b or 0), abs(c or 0) + abs(d or 0)
    if signs not in _TURNS or abs(rows[0] - rows[1]) > 2 * _LEAN * longest:
        stated = ", ".join(f"{value / _ONE:g}" for value in (a, b, c, d))
        raise MediaError(
            f"its display matrix ({stated}) asks for more than quarter turns and flips, which is not done; render it "
            "upright first (ffmpeg does by itself when it encodes)"
        )
    return _TURNS[signs]


def _is_yuv(frame: VideoFrame) -> bool:
    return not frame.format.is_rgb and not frame.format.has_palette and len(frame.format.components) >= 3


def _upper_field(frame: VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000))
    field, sink = graph.add("field", "type=top"), graph.add("buffersink")
    source.link_to(field)
    field.link_to(sink)
    graph.configure()
    return graph
