"""Which files are images and which are clips, which of them are not read, and why others are neither.

Known by name, and by content where a name says nothing or too much. Knows nothing of whether they can be decoded.
"""

import codecs
import os
import stat
from functools import cache
from typing import NamedTuple

from facedep_jax import file_signatures as signatures


class FileKind(NamedTuple):
    """`kind` is `"image"`, `"clip"`, or None for what is neither; `reason` is why it is not read, empty if it is."""

    kind: str | None
    reason: str = ""


IMAGE, CLIP = FileKind("image"), FileKind("clip")
RAW = FileKind("image", "a camera's raw picture, which is not read: develop it to JPEG or TIFF")
JPEG_XL = FileKind("image", "a JPEG XL picture, which is not read: convert it to JPEG or PNG")
LAYERED = FileKind("image", "a picture in layers, which is not read: export it as JPEG or PNG")
OTHER_IMAGE = FileKind("image", "a picture of a kind that is not read: convert it to JPEG or PNG")
RAW_CLIP = FileKind("clip", "a camera's raw clip, which is not read: export it as MP4")
OTHER_CLIP = FileKind("clip", "a clip in a container that is not read: convert it to MP4")
SOUND = FileKind(None, "sound")
DRAWING = FileKind(None, "a drawing or an icon, and no photograph")
PREVIEW = FileKind(None, "a camera's preview of a clip or picture that has a file of its own")
PLAYLIST = FileKind(None, "a playlist, which names clips and holds none")
TABLE = FileKind(None, "a table that is not used")
UNFINISHED = FileKind(None, "a download that is not whole")
HIDDEN = FileKind(None, "hidden files are passed over")
DEVELOPED = FileKind(None, "a camera's raw picture; the picture of the same name beside it is read")

# Every extension that is known, once. What is a picture or clip and not read is listed, and fails by name.
_EXTENSIONS = {
    IMAGE: ".jpg .jpeg .jpe .jif .jfif .mpo .png .apng .webp .bmp .dib .tif .tiff .gif .jp2 .jpf .jpx .j2k .j2c .jpc "
    ".jph .ppm .pgm .pbm .pnm .avif .avifs .heic .heics .heif .heifs .hif",
    CLIP: ".mp4 .m4v .mov .qt .mqv .mj2 .avi .divx .xvid .amv .mkv .mk3d .webm .mpg .mpeg .mpe .m1v .m2v .mp2v .mpv "
    ".m2p .m2t .ts .mts .m2ts .tod .mod .trp .tp .wmv .asf .flv .f4v .3gp .3gpp .3g2 .ogv .ogm .mxf .vob .mjpeg .mjpg "
    ".dv .rm .rmvb .insv .264 .h264 .avc .265 .h265 .hevc .ivf",
    RAW: ".dng .cr2 .cr3 .crw .nef .nrw .arw .sr2 .srf .raf .orf .rw2 .rwl .pef .srw .x3f .3fr .iiq .erf .kdc .dcr "
    ".mrw .gpr",
    JPEG_XL: ".jxl",
    LAYERED: ".psd .psb .xcf .kra .afphoto .procreate",
    OTHER_IMAGE: ".jxr .wdp .hdp .tga .pcx .exr .hdr .dds .bpg .flif .qoi .dcm .pict .sgi",
    RAW_CLIP: ".braw .r3d .crm .ari .mlv .nev",
    OTHER_CLIP: ".y4m .wtv .dvr-ms .nut .nsv .bik .swf .dav",
    SOUND: ".mp3 .wav .m4a .m4b .mka .aac .flac .ogg .oga .opus .wma .aif .aiff .amr .mp2 .mpa .ac3 .dts .mid .midi "
    ".weba .caf .spx .ra",
    DRAWING: ".svg .svgz .ai .eps .wmf .emf .ico .icns .cur",
    PREVIEW: ".lrv .lrf .thm",
    PLAYLIST: ".m3u .m3u8 .pls .mpd .xspf .asx",
    TABLE: ".csv .tsv .jsonl .ndjson .xlsx .xls .parquet",
    UNFINISHED: ".part .partial .crdownload .download",
}
_BY_NAME = {extension: kind for kind, extensions in _EXTENSIONS.items() for extension in extensions.split()}
_ALSO_TEXT = (".ts", ".mts", ".mod")  # TypeScript, and Go's modules
_ALSO_CLIPS = (".ogg",)  # of sound, but for those that hold video
_BY_CONTENT = frozenset(("", ".", *_ALSO_TEXT, *_ALSO_CLIPS))

# What files without an extension begin with, and the extension that they could have.
_BEGINNINGS = {
    signatures.JPEG: ".jpg", signatures.PNG: ".png", **dict.fromkeys(signatures.GIF, ".gif"), signatures.BMP: ".bmp",
    **dict.fromkeys((b"II*\0\x10\0\0\0CR", b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0"), ".dng"),
    **dict.fromkeys(signatures.TIFF, ".tif"), signatures.JPEG_2000: ".jp2", signatures.JPEG_2000_STREAM: ".j2k",
    b"\0\0\0\x0cJXL ": ".jxl", b"\xff\x0a": ".jxl", b"8BPS": ".psd", b"YUV4MPEG2 ": ".y4m", b".RMF": ".rm",
    **dict.fromkeys((signatures.MATROSKA, signatures.FLV, signatures.ASF), ".mkv"),
    **dict.fromkeys((signatures.MPEG_PROGRAM, signatures.MPEG_VIDEO), ".mpg"),
    b"ID3": ".mp3", b"fLaC": ".flac",
}  # fmt: skip
_RIFF = {signatures.RIFF_IMAGE: ".webp", signatures.RIFF_CLIP: ".avi", b"AVIX": ".avi", b"WAVE": ".wav"}
_BRANDS = {
    **dict.fromkeys(signatures.AVIF, ".avif"), b"crx ": ".cr3", b"M4A ": ".m4a", b"M4B ": ".m4b",
    **dict.fromkeys(signatures.HEIC + signatures.HEIC_SEQUENCE, ".heic"),
}  # fmt: skip
_OGG_VIDEO = (b"\x80theora", b"BBCD\0", b"OVP80", b"\x01video")  # how the first packet of such a stream begins
_PACKET = 188  # bytes of a transport stream's packet; recorders put four of time before each
_SYNC = b"G"
_HEAD = 4096
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\x1b"))  # none of these is in a text


def kind_of(path: str | os.PathLike[str]) -> FileKind:
    """What a file is: by known extension, by content where there is none or it is used for something else as well."""
    name = os.path.basename(os.fspath(path))
    if known := kind_by_name(name):
        return known
    extension = os.path.splitext(name)[1].lower()
    if extension in ("", "."):
        return _by_content(path)
    if extension in _ALSO_TEXT and _is_text(_head(path)):
        return FileKind(None, f"text, whatever else is called {extension}")
    if extension in _ALSO_CLIPS and _ogg_shows(_head(path)):
        return CLIP
    return _by_extension(extension)


def kind_by_name(name: str) -> FileKind | None:
    """What a file of this name is, None where its content has to say."""
    if name.startswith("."):
        return _hidden(name)
    dot, ending = name.rpartition(".")[1:]  # as `splitext`, of a name that begins otherwise, in half its time
    extension = f".{ending.lower()}" if dot else ""
    return None if extension in _BY_CONTENT else _by_extension(extension)


def media_by_name(name: str) -> bool:
    """Whether the name alone is that of an image or clip, read or not."""
    return _by_extension(os.path.splitext(name)[1].lower()).kind is not None


def developed(names: list[str], kinds: list[FileKind]) -> list[FileKind]:
    """The kinds of the files of one folder: a raw picture that has a picture of the same name beside it is that one."""
    if RAW not in kinds:
        return kinds
    read = {_stem(name) for name, kind in zip(names, kinds, strict=True) if kind == IMAGE}
    return [DEVELOPED if kind == RAW and _stem(name) in read else kind for name, kind in zip(names, kinds, strict=True)]


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].casefold()


@cache
def _by_extension(extension: str) -> FileKind:
    return _BY_NAME.get(extension) or FileKind(None, f"{extension} files are not read")


def _hidden(name: str) -> FileKind:
    inner, extension = os.path.splitext(name[1:])
    if extension == ".icloud" and media_by_name(inner):  # a place holder: .IMG_1.MOV.icloud
        kind = _by_extension(os.path.splitext(inner)[1].lower()).kind
        return FileKind(kind, "in iCloud and not on this disk: download it first")
    return HIDDEN


def _by_content(path: str | os.PathLike[str]) -> FileKind:
    try:
        head = _head(path, must=True)
    except (OSError, ValueError) as error:  # cannot be looked into or named, and no name says that it should be
        return FileKind(None, f"cannot be looked into: {getattr(error, 'strerror', None) or error}")
    if head is None:
        return FileKind(None, "no regular file")
    if head.startswith(signatures.OGG):
        return CLIP if _ogg_shows(head) else SOUND
    extension = _extension_of(head)
    return _by_extension(extension) if extension else FileKind(None, "neither a clip nor a picture by its content")


def _extension_of(head: bytes) -> str | None:
    """An extension that what begins like this could have."""
    if head[:4] == signatures.RIFF:
        return _RIFF.get(head[8:12])
    if head[4:8] == signatures.FTYP:
        return _BRANDS.get(head[8:12], ".mp4")
    for before in (0, 4):
        if head[before :: _PACKET + before][:3] == _SYNC * 3:
            return ".m2t"
    return next((extension for beginning, extension in _BEGINNINGS.items() if head.startswith(beginning)), None)


def _head(path: str | os.PathLike[str], must: bool = False) -> bytes | None:
    """The first bytes; None of what is no regular file and, unless it `must` be read, of what cannot be."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as stream:
            return stream.read(_HEAD)
    except (OSError, ValueError):
        if must:
            raise
        return None  # reading it will say why


def _ogg_shows(head: bytes | None) -> bool:
    return bool(head and any(beginning in head for beginning in _OGG_VIDEO))


def _is_text(head: bytes | None) -> bool:
    if not head or head.translate(None, _CONTROLS) != head:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < _HEAD)  # a character may be cut
    except UnicodeDecodeError:
        return False
    return True
