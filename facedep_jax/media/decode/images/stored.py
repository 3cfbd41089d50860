"""What a reader of one format hands over, and its two ways to refuse. Knows no format."""

from dataclasses import dataclass

import numpy as np

from facedep_jax.errors import MediaError


@dataclass(frozen=True)
class Stored:
    """RGB pixels (h, w, 3) of 8 or 16 bits or floats.

    `orientation`: EXIF's number of the turn that is still to be applied. `size`: the picture's width and height as it
    is stored, where the pixels are of a reduced one. `bits`: how many of 16 are used, where the file declares it.
    `notes`: what was chosen, in a few words each.
    """

    pixels: np.ndarray
    orientation: int = 1
    size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()
    bits: int | None = None


def unsupported(what: str, remedy: str = "convert it to PNG or JPEG") -> MediaError:
    """Of a file that may be whole, and is not understood."""
    return MediaError(f"not supported: {what}; {remedy}")


def damaged(name: str, why: str) -> MediaError:
    """Of a file of a kind that is understood, and that cannot be read all the same."""
    return MediaError(
        f"{'an' if name[0] in 'AEIO' else 'a'} {name} file that is cut short or damaged" + (f" ({why})" if why else "")
    )


def first_of(count: int, what: str) -> tuple[str, ...]:
    """Says that one of several pages or frames was taken."""
    return (f"the first of {count} {what}",) if count > 1 else ()
