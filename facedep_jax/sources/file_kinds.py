"""Which files are images and which are clips. Knows nothing of whether they can be decoded."""

import os
import stat

from facedep_jax import file_signatures as signatures

IMAGE_EXTENSIONS = frozenset([
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".jp2", ".ppm", ".pgm",
    ".pbm", ".pnm", ".avif", ".heic", ".heif",
])  # fmt: skip
CLIP_EXTENSIONS = frozenset([
    ".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".m2v", ".ts", ".mts", ".m2ts", ".wmv", ".asf",
    ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".mxf", ".vob", ".mjpeg", ".mjpg",
])  # fmt: skip
KINDS = dict.fromkeys(IMAGE_EXTENSIONS, "image") | dict.fromkeys(CLIP_EXTENSIONS, "clip")
_IMAGES = (
    signatures.JPEG, signatures.PNG, *signatures.GIF, signatures.BMP, *signatures.TIFF, signatures.JPEG_2000,
)  # fmt: skip
_CLIPS = (
    signatures.MATROSKA, signatures.FLV, signatures.OGG, signatures.MPEG_PROGRAM, signatures.MPEG_VIDEO,
    signatures.ASF,
)  # fmt: skip


def kind_of(path: str | os.PathLike[str]) -> str | None:
    """`"image"`, `"clip"` or None: by known extension, by content where there is no extension.

    A file that cannot be opened is None unless its extension says what it is.
    """
    extension = os.path.splitext(os.fspath(path))[1].lower()
    return KINDS.get(extension) if extension else _sniff(path)


def _sniff(path: str | os.PathLike[str]) -> str | None:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None
        with open(path, "rb") as stream:
            head = stream.read(16)
    except (OSError, ValueError):  # cannot be looked into or named, and no extension says that it should be
        return None
    if head[:4] == signatures.RIFF:
        return {signatures.RIFF_IMAGE: "image", signatures.RIFF_CLIP: "clip"}.get(head[8:12])
    if head.startswith(_IMAGES):
        return "image"
    if head[4:8] == signatures.FTYP:
        return "image" if head[8:12] in signatures.AVIF + signatures.HEIC else "clip"
    return "clip" if head.startswith(_CLIPS) else None
