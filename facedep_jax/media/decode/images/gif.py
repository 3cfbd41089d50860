"""GIF: its blocks walked to the end, as Pillow stops at the first frame and takes oddities. Knows no other format."""

from PIL import GifImagePlugin

from facedep_jax.media.decode.images.pillow import opened, pixels_of
from facedep_jax.media.decode.images.stored import Stored, damaged, first_of

_EXTENSION, _FRAME, _END = 0x21, 0x2C, 0x3B
_MOST_BITS = 8  # of a first code of LZW (GIF89a, appendix F)


def read(data: bytes, need: int | None) -> Stored:
    """The first frame. Raises MediaError, also where a later one is cut off."""
    try:
        frames = _frames(data)
    except IndexError as error:
        raise damaged("GIF", "it ends before its end is said") from error
    with opened("GIF", GifImagePlugin.GifImageFile, data) as image:
        return Stored(pixels_of(image, "GIF"), notes=first_of(frames, "frames"))


def _frames(data: bytes) -> int:
    """How many frames there are. Raises IndexError where the file ends first, MediaError for what is no block."""
    at, frames = 13 + _table(data[10]), 0
    while data[at] != _END:
        if data[at] == _EXTENSION:
            at = _skipped(data, at + 2)
        elif data[at] == _FRAME:
            at += 10 + _table(data[at + 9])
            if data[at] > _MOST_BITS:
                raise damaged("GIF", f"codes of {data[at]} bits; {_MOST_BITS} is most")
            at, frames = _skipped(data, at + 1), frames + 1
        else:
            raise damaged("GIF", f"a block of kind {data[at]}, which is none")
    return frames


def _table(packed: int) -> int:
    """Bytes of a table of colours."""
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _skipped(data: bytes, at: int) -> int:
    """Where a chain of sub-blocks ends."""
    while data[at]:
        at += data[at] + 1
    return at + 1
