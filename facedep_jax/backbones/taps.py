"""Which activations are kept, by name: `mobilenet_v2:mid@3` is a backbone, a layer and a grid.

A tap knows nothing of weights, engines or caches, and reading one loads no jax.
"""

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from facedep_jax.errors import SettingsError

BACKBONES = ("mobilenet_v2", "resnet50")
LAYERS = {"neck": 16, "mid": 16, "top": 32}  # in their order, → the stride: input pixels to one pixel of the layer
CHANNELS = {  # the neck is the narrow layer that the mid tap is expanded from
    ("mobilenet_v2", "neck"): 96,  # Keras block_12_add
    ("resnet50", "neck"): 256,  # Keras conv4_block6_2_relu
    ("mobilenet_v2", "mid"): 576,  # Keras block_13_expand_relu
    ("mobilenet_v2", "top"): 1280,  # Keras out_relu
    ("resnet50", "mid"): 1024,  # Keras conv4_block6_out
    ("resnet50", "top"): 2048,  # Keras conv5_block3_out
}
MAX_CELLS = 7  # the top tap has 7×7 pixels at 224, the networks' own input size
SIZE_STEP, MAX_SIZE = 32, 1024  # the deepest stride; above 1024 a batch no longer fits common memories
DEFAULT_TAPS = "mobilenet_v2:neck@7,resnet50:neck@4"  # chosen by folds, docs/results.md
DEFAULT_SIZE = "224"
FLIPPED = "~flipped"  # ends the name of a tap of the picture mirrored left to right


@dataclass(frozen=True)
class Tap:
    """A layer of a backbone, average-pooled to a cells × cells grid; `str(tap)` is its name everywhere."""

    backbone: str
    layer: str
    cells: int

    def __str__(self) -> str:
        return f"{self.backbone}:{self.layer}@{self.cells}"

    @property
    def channels(self) -> int:
        """How many the layer has."""
        return CHANNELS[self.backbone, self.layer]

    def pixels(self, size: int) -> int:
        """Pixels along one side of the layer for a square input of `size` pixels."""
        return size // LAYERS[self.layer]


def parse_taps(text: str, further: Iterable[Tap] = ()) -> tuple[Tap, ...]:
    """Read `backbone:layer@cells,…` in the order given. `further`: a tap of each backbone that is not built in.

    Raises SettingsError for an unknown name (naming the known ones), a grid outside 1..7, a tap given twice.
    """
    names = named_taps(text)
    if not names:
        raise SettingsError(f"no taps given; name at least one, for example {DEFAULT_TAPS.split(',')[0]}")
    others = {f"{tap.backbone}:{tap.layer}": tap for tap in further}
    taps = tuple(_parse_tap(name, others) for name in names)
    twice = sorted({str(tap) for tap in taps if taps.count(tap) > 1})
    if twice:
        raise SettingsError(f"taps given twice: {', '.join(twice)}; name each once")
    return taps


def plain_taps(names: Iterable[str]) -> tuple[str, ...]:
    """The names without those of other views than the picture as it is."""
    return tuple(name for name in names if not name.endswith(FLIPPED))


def parse_sizes(text: str, backbones: Iterable[str]) -> dict[str, int]:
    """Read `224`, or `mobilenet_v2=224,resnet50=96`, as input pixels of each of `backbones`.

    Raises SettingsError for an unknown or missing backbone and for a size not a multiple of 32 in 32..1024.
    """
    wanted = tuple(dict.fromkeys(backbones))
    if "=" not in text:
        return dict.fromkeys(wanted, _parse_size(text))
    sizes: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in BACKBONES:
            raise SettingsError(f"size for unknown backbone {name!r} in {text!r}; known: {', '.join(BACKBONES)}")
        if name in sizes:
            raise SettingsError(f"size of {name} given twice in {text!r}; give it once")
        sizes[name] = _parse_size(value)
    missing = [name for name in wanted if name not in sizes]
    if missing:
        raise SettingsError(f"no size for {', '.join(missing)} in {text!r}; add {missing[0]}=224, or one size for all")
    return {name: sizes[name] for name in wanted}


def check_cells(taps: Sequence[Tap], sizes: dict[str, int]) -> None:
    """Raise one SettingsError naming every tap whose grid has more cells than its layer has pixels."""
    pixels = {tap: tap.pixels(sizes[tap.backbone]) for tap in taps}
    finer = [
        f"{tap} ({pixels[tap]}×{pixels[tap]} pixels at {sizes[tap.backbone]})"
        for tap in taps
        if tap.cells > pixels[tap]
    ]
    if finer:
        raise SettingsError(f"grids finer than their layer: {', '.join(finer)}; ask for fewer cells or a larger size")


def cell_bounds(pixels: int, cells: int) -> tuple[tuple[int, int], ...]:
    """First and one-past-last pixel of each cell, floor(i·n/S) to ceil((i+1)·n/S): AdaptiveAvgPool2d's."""
    return tuple((i * pixels // cells, -(-(i + 1) * pixels // cells)) for i in range(cells))


def backbones_of(taps: Iterable[Tap]) -> tuple[str, ...]:
    """The backbones that `taps` need, in the order of BACKBONES, others after them in the order of `taps`."""
    needed = dict.fromkeys(tap.backbone for tap in taps)
    return (*(name for name in BACKBONES if name in needed), *(name for name in needed if name not in BACKBONES))


def _parse_tap(name: str, others: Mapping[str, Tap]) -> Tap:
    match = re.fullmatch(r"([^:@]+):([^:@]+)@(\d+)", name)
    other = others.get(f"{match[1]}:{match[2]}") if match else None
    if not match or (not other and (match[1] not in BACKBONES or match[2] not in LAYERS)):
        known = [*(f"{b}:{layer}" for b, layer in itertools.product(BACKBONES, LAYERS)), *others]
        near = difflib.get_close_matches(name.partition("@")[0], known, n=1)
        hint = f"did you mean {near[0]}@3? " if near else ""
        raise SettingsError(f"unknown tap {name!r}; {hint}known: {', '.join(known)}, each with @1 to @{MAX_CELLS}")
    cells = int(match[3])
    if not 1 <= cells <= MAX_CELLS:
        raise SettingsError(f"tap {name!r} asks for {cells} cells along a side; 1 to {MAX_CELLS} are possible")
    return replace(other, cells=cells) if other else Tap(match[1], match[2], cells)


def _parse_size(text: str) -> int:
    size = int(text) if re.fullmatch(r"\d{1,6}", text.strip()) else 0
    if not SIZE_STEP <= size <= MAX_SIZE or size % SIZE_STEP:
        raise SettingsError(f"size {text.strip()!r} cannot be used; give a multiple of {SIZE_STEP}, up to {MAX_SIZE}")
    return size


def named_taps(text: str) -> tuple[str, ...]:
    """The names in a list with commas, whatever they name."""
    return tuple(name.strip() for name in text.split(",") if name.strip())
