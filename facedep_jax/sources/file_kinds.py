"""Which files are images and which are clips. Knows nothing of whether they can be decoded."""

import os
import stat

IMAGE_EXTENSIONS = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".gif",
        ".jp2",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".avif",
        ".heic",
        ".heif",
    ]
)
CLIP_EXTENSIONS = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".m2v",
        ".ts",
        ".mts",
        ".m2ts",
        ".wmv",
        ".asf",
        ".flv",
        ".f4v",
        ".3gp",
        ".3g2",
        ".ogv",
        ".mxf",
        ".vob",
        ".mjpeg",
        ".mjpg",
    ]
)

_IMAGE_MAGIC = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF87a",
    b"GIF89a",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
    b"\x00\x00\x00\x0cjP  ",
)
_CLIP_MAGIC = (
    b"\x1a\x45\xdf\xa3",
    b"FLV\x01",
    b"OggS",
    b"\x00\x00\x01\xba",
    b"\x00\x00\x01\xb3",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
)
_IMAGE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1")


def kind_of(path: str | os.PathLike) -> str | None:
    """`"image"`, `"clip"` or None: by known extension, by content where there is no extension.

    A file that cannot be opened is None unless its extension says what it is.
    """
    name = os.path.basename(os.fspath(path))
    extension = os.path.splitext(name)[1].lower()
    if extension in IMAGE_EXTENSIONS:
        return "image"
    if extension in CLIP_EXTENSIONS:
        return "clip"
    return None if extension else _sniff(path)


def _sniff(path: str | os.PathLike) -> str | None:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as stream:
            head = stream.read(16)
    except (OSError, ValueError):  # cannot be looked into or named, and no extension says that it should be
        return None
    if head.startswith(_IMAGE_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP"):
        return "image"
    if head[4:8] == b"ftyp":
        return "image" if head[8:12] in _IMAGE_BRANDS else "clip"
    if head.startswith(_CLIP_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"AVI "):
        return "clip"
    return None
