"""Which characters figures can draw. Knows nothing of what is written with them."""

from functools import cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font


def in_font(text: str) -> str:
    """`text` with a mark for every character that the font cannot draw or that is not to be seen."""
    return "".join(c if c.isprintable() and ord(c) in _characters() else "\N{REPLACEMENT CHARACTER}" for c in text)


@cache
def _characters() -> frozenset[int]:
    return frozenset(FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())
