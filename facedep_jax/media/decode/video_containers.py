"""What a clip's container says of itself that FFmpeg does not pass on. Decodes nothing, and believes nothing it reads.

Why a file would not open, and what of an open one was left unread or is missing. MP4 and QuickTime (ISO/IEC 14496-12),
Matroska and WebM, ASF (Windows Media), FLV, Ogg (RFC 3533) and transport streams (ISO/IEC 13818-1).
"""

import mmap
import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from facedep_jax import file_signatures as signatures

_MOST = 64 << 20  # bytes of an index that are looked at: four hours have about 10 MB
_FIRST = 1 << 20  # bytes of a Matroska or ASF file in which its tracks are described
_BOX = struct.Struct(">I4s")
_HANDLER = re.compile(rb"hdlr.{8}(vide|soun|sbtl|text|tmcd)", re.DOTALL)
_CODEC = re.compile(rb"stsd.{12}([ -~]{4})", re.DOTALL)
_MATROSKA_CODEC = re.compile(rb"\x86.([VA])_([A-Z0-9_/]+)", re.DOTALL)  # element CodecID (0x86), its length, its text
_ISO = (signatures.FTYP, b"moov", b"mdat", b"wide", b"free", b"skip")
_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_FLV_AGAIN = re.compile(rb"FLV\x01[\x01\x05]\0\0\0\x09\0\0\0\0")
_TS_SYNC = 0x47
_TS_PACKETS = ((188, 0), (192, 4), (204, 0))  # bytes of a packet, and of them before its sync byte
_OGG_PAGE = 65307  # bytes of the longest page
_CUT = "cut short while it was recorded or copied"


class _Track(NamedTuple):
    """Pictures, or else sound, and how they are coded."""

    video: bool
    codec: str


def why_not(stream: BinaryIO) -> str:
    """One clause on why the file does not open, such as "its video is coded as zzz1, …", or an empty string."""
    head, size = _begin(stream)
    if head[4:8] in _ISO:
        return _of_mp4(stream)
    if head[:4] == signatures.MATROSKA:
        found = _MATROSKA_CODEC.findall(head + stream.read(_FIRST))
        return _of_tracks([_Track(kind == b"V", codec.decode()) for kind, codec in found])
    return "".join(_riff_size(head, size))


def container_notes(stream: BinaryIO) -> tuple[str, ...]:
    """Notes on what is in an open file and is not read, or ought to be in it and is not."""
    head, size = _begin(stream)
    if head[4:8] in _ISO:
        return _second_movie(stream, size)
    if head.startswith(signatures.FLV):
        return _second_flv(stream, size)
    if head.startswith(signatures.ASF):
        return _asf_size(head + stream.read(_FIRST), size)
    if head.startswith(signatures.RIFF):
        return _riff_size(head, size)
    if head.startswith(signatures.OGG):
        return _ogg_end(stream, size)
    return _ts_end(head, size)


def declared_seconds(stream: BinaryIO) -> float:
    """By the header of an ASF file, which FFmpeg passes over where the file's size is not the one stated; else 0."""
    head, _ = _begin(stream)
    if not head.startswith(signatures.ASF):
        return 0.0
    data = head + stream.read(_FIRST)
    at = data.find(_ASF_PROPERTIES)
    if at < 0 or at + 88 > len(data):
        return 0.0
    played, _, preroll = struct.unpack_from("<QQQ", data, at + 64)  # 100 ns, 100 ns, ms
    return max(0.0, played / 1e7 - preroll / 1e3)


def _begin(stream: BinaryIO) -> tuple[bytes, int]:
    """The first bytes, with the stream behind them, and the size of the file."""
    stream.seek(0)
    return stream.read(2 * _TS_PACKETS[-1][0]), os.fstat(stream.fileno()).st_size


# MP4 and QuickTime


def _of_mp4(stream: BinaryIO) -> str:
    size = os.fstat(stream.fileno()).st_size
    for name, length in _boxes(stream):
        if name == b"moov":
            if stream.tell() + length > size:
                return f"its index (moov) is incomplete: {_CUT}"
            found = _tracks(stream.read(min(length, _MOST)))
            kinds = ((kind, codec) for kind, codec in found if kind in (b"vide", b"soun"))
            return _of_tracks([_Track(kind == b"vide", codec.decode()) for kind, codec in kinds])
    return f"its index (moov) is missing: {_CUT}"


def _second_movie(stream: BinaryIO, size: int) -> tuple[str, ...]:
    """The demuxer takes the first index; what `cat` joined on behind has one of its own."""
    indices, begun, in_parts = 0, 0, False
    for name, _ in _boxes(stream):
        begun = stream.tell() if name == signatures.FTYP and indices else begun
        indices += name == b"moov"
        in_parts |= name == b"moof" and indices > 1
    if in_parts:
        where = f"another recording is joined on behind, at byte {begun:,} of {size:,}"
        return (f"{where}, and is read as far as it fits the first: split the file first",)
    return (_joined(begun, size),) if indices > 1 else ()


def _joined(at: int, size: int) -> str:
    return f"another recording is joined on behind, at byte {at:,} of {size:,}, and is not read: split the file first"


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
            size = os.fstat(stream.fileno()).st_size - start
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


# Others


def _second_flv(stream: BinaryIO, size: int) -> tuple[str, ...]:
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        again = _FLV_AGAIN.search(data, len(signatures.FLV))
        return (_joined(again.start(), size),) if again else ()


def _asf_size(head: bytes, size: int) -> tuple[str, ...]:
    at = head.find(_ASF_PROPERTIES)
    if at < 0 or at + 48 > len(head):
        return ()
    (stated,) = struct.unpack_from("<Q", head, at + 40)
    if 0 < stated < size and stated + 64 < size:
        return (_joined(stated, size),)
    return (f"holds {size:,} of the {stated:,} bytes that it declares: {_CUT}",) if stated > size else ()


def _riff_size(head: bytes, size: int) -> tuple[str, ...]:
    stated = struct.unpack_from("<I", head, 4)[0] + 8 if head.startswith(signatures.RIFF) and len(head) >= 8 else 0
    return (f"holds {size:,} of the {stated:,} bytes that it declares: {_CUT}",) if stated > size else ()


def _ogg_end(stream: BinaryIO, size: int) -> tuple[str, ...]:
    stream.seek(max(0, size - 2 * _OGG_PAGE))
    end = stream.read()
    page = end.rfind(signatures.OGG)
    head = end[page : page + 27]
    if page >= 0 and len(head) == 27 and head[5] & 4:  # the stream's last page
        segments = end[page + 27 : page + 27 + head[26]]
        if len(segments) == head[26] and page + 27 + len(segments) + sum(segments) <= len(end):
            return ()
    return (f"lacks the page that ends an Ogg stream: {_CUT}",)


def _ts_end(head: bytes, size: int) -> tuple[str, ...]:
    for length, before in _TS_PACKETS:
        if len(head) > length + before and head[before] == head[length + before] == _TS_SYNC:
            return (f"ends within a packet of its transport stream: {_CUT}",) if size % length else ()
    return ()
