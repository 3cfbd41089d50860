"""Why FFmpeg would not open a clip, as far as its container says so. Decodes nothing, and believes nothing it reads.

Looks at MP4 and QuickTime (ISO/IEC 14496-12) and at Matroska and WebM: what phones, browsers and studies record in.
"""

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_MOST = 64 << 20  # bytes of an index that are looked at: four hours have about 10 MB
_FIRST = 1 << 20  # bytes of a Matroska file in which its tracks are described
_BOX = struct.Struct(">I4s")
_HANDLER = re.compile(rb"hdlr.{8}(vide|soun|sbtl|text|tmcd)", re.DOTALL)
_CODEC = re.compile(rb"stsd.{12}([ -~]{4})", re.DOTALL)
_MATROSKA_CODEC = re.compile(rb"\x86.([VA])_([A-Z0-9_/]+)", re.DOTALL)  # element CodecID (0x86), its length, its text


class _Track(NamedTuple):
    """Pictures, or else sound, and how they are coded."""

    video: bool
    codec: str


def why_not(path: bytes) -> str:
    """One clause on what is in the file, such as "its video is coded as zzz1, …", or an empty string."""
    with open(path, "rb") as stream:
        head = stream.read(12)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return _of_mp4(stream)
        if head[:4] == b"\x1a\x45\xdf\xa3":
            stream.seek(0)
            found = _MATROSKA_CODEC.findall(stream.read(_FIRST))
            return _of_tracks([_Track(kind == b"V", codec.decode()) for kind, codec in found])
    return ""


def _of_mp4(stream: BinaryIO) -> str:
    index = next((stream.read(min(size, _MOST)) for name, size in _boxes(stream) if name == b"moov"), None)
    if index is None:
        return "its index (moov) is missing: cut short while it was recorded or copied"
    found = ((kind, codec) for kind, codec in _tracks(index) if kind in (b"vide", b"soun"))
    return _of_tracks([_Track(kind == b"vide", codec.decode()) for kind, codec in found])


def _tracks(index: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Handler and codec of every track: in a track the handler comes first."""
    handlers = list(_HANDLER.finditer(index))
    for number, handler in enumerate(handlers):
        end = handlers[number + 1].start() if number + 1 < len(handlers) else len(index)
        codec = _CODEC.search(index, handler.end(), end)
        if codec:
            yield handler[1], codec[1]


def _boxes(stream: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Name and size of the boxes of a file, the stream at their content; ends with the first that makes no sense."""
    start = 0
    while True:
        stream.seek(start)
        head = stream.read(16)
        if len(head) < 8:
            return
        size, name = _BOX.unpack_from(head)
        used = 8
        if size == 1 and len(head) == 16:
            size, used = struct.unpack_from(">Q", head, 8)[0], 16
        if size == 0:  # to the end of the file
            size = used + _MOST
        if size < used or size > 1 << 62:
            return
        stream.seek(start + used)
        yield name, size - used
        start += size


def _of_tracks(tracks: list[_Track]) -> str:
    video = [track.codec for track in tracks if track.video]
    if video:
        return f"its video is coded as {video[0].strip()!r}, which this FFmpeg cannot decode"
    return "it holds sound and no video" if tracks else ""
