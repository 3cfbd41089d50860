"""What a graph takes and gives: which value is the picture, and what an output's numbers are. Knows no numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import TYPE_CHECKING

from facedep_jax.backbones.onnx_backbones.options import BackboneInput
from facedep_jax.backbones.taps import MAX_SIZE
from facedep_jax.errors import SettingsError, WeightsError

if TYPE_CHECKING:
    import onnx

Dims = tuple[int | None, ...]  # None: whatever comes
_FLOATS = {1: "float32", 10: "float16", 11: "float64"}  # TensorProto.DataType
_ANY_FLOAT = "expected float32, float16 or float64"


@dataclass(frozen=True)
class Picture:
    """A graph's only input: one float picture of `size` × `size` pixels. `batch`: how many at once, None for any."""

    name: str
    layout: str  # nchw or nhwc
    size: int
    batch: int | None


@dataclass(frozen=True)
class Grid:
    """What the chosen output gives of a picture: `side` × `side` places of `channels` numbers; a vector has one place.

    `form` is how they lie: vector (n, c), nchw, nhwc, tokens (n, `leading` and places, c), or class, of tokens the
    first.
    """

    name: str
    form: str
    channels: int
    side: int
    leading: int = 0

    def fits(self, shape: Sequence[int], count: int) -> bool:
        """Whether an output of `count` pictures is of this grid."""
        side, channels = self.side, self.channels
        expected = {
            "vector": (channels,),
            "nchw": (channels, side, side),
            "nhwc": (side, side, channels),
            "tokens": (self.leading + side**2, channels),
            "class": (*shape[1:2], channels),
        }[self.form]
        return tuple(shape) == (count, *expected)

    def misfit(self, shape: object, count: int) -> str:
        """What to say of one that does not fit."""
        places = f"{self.side}×{self.side} places" if self.side > 1 else "one place"
        return (
            f"the output {self.name} of {count} pictures is {shape}, expected a row for each picture, of {places} of "
            f"{self.channels} numbers ({self.form}), as the graph says of it; export it again"
        )


def picture_of(path: Path, model: "onnx.ModelProto", how: BackboneInput) -> Picture:
    """The input. Raises WeightsError where it is no float picture of three channels, SettingsError without a size."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise WeightsError(f"{path} has {len(inputs)} inputs ({names}); a network of one picture is expected")
    value, dims = inputs[0], dims_of(inputs[0])
    shown = f"{path}: the input {value.name} is {_shown(value)}"
    if value.type.tensor_type.elem_type not in _FLOATS:
        raise WeightsError(f"{shown}, {_ANY_FLOAT}; pixels are scaled before they enter")
    if len(dims) != 4:
        raise WeightsError(f"{shown}, expected a picture (n, 3, height, width) or (n, height, width, 3)")
    layout = _layout(shown, dims, how)
    sides = dims[2:] if layout == "nchw" else dims[1:3]
    return Picture(value.name, layout, _size(shown, sides, how), dims[0] or None)


def _layout(shown: str, dims: Dims, how: BackboneInput) -> str:
    may = [name for name, at in (("nchw", 1), ("nhwc", 3)) if dims[at] in (3, None)]
    certain = [name for name, at in (("nchw", 1), ("nhwc", 3)) if dims[at] == 3]
    if not may:
        raise WeightsError(f"{shown}, expected three channels: (n, 3, height, width) or (n, height, width, 3)")
    if how.layout:
        if how.layout not in may:
            raise SettingsError(f"{shown}, which is not {how.layout}; leave layout out of --backbone-input")
        return how.layout
    if len(certain) != 1:
        raise SettingsError(f"{shown}, which may be nchw or nhwc; say which with --backbone-input NAME=layout:nchw")
    return certain[0]


def _size(shown: str, sides: Dims, how: BackboneInput) -> int:
    known = {side for side in sides if side is not None}
    if len(known) > 1:
        raise WeightsError(f"{shown}, which is no square; crops of faces are squares")
    if not known and how.size is None:
        raise SettingsError(f"{shown}, of any size; say which with --backbone-input NAME=size:224")
    size = how.size or min(known)
    if known - {size}:
        raise SettingsError(f"{shown}, and --backbone-input says size:{size}; leave it out, or export for that size")
    if size > MAX_SIZE:
        raise WeightsError(f"{shown}; more than {MAX_SIZE} pixels a side fit no batch in memory")
    return size


def output_of(path: Path, model: "onnx.ModelProto", wanted: str | None) -> "onnx.ValueInfoProto":
    """The output that is meant. Raises SettingsError where there are several or none of the name, WeightsError where
    its numbers are no floats."""
    outputs = {value.name: value for value in model.graph.output}
    if wanted is None and len(outputs) > 1:
        raise SettingsError(
            f"{path} has the outputs {', '.join(outputs)}; say which: {path.name}:{next(iter(outputs))}"
        )
    name = next(iter(outputs), "") if wanted is None else wanted
    if name not in outputs:
        raise SettingsError(f"{path} has no output {name!r}; it has {', '.join(outputs) or 'none'}")
    value = outputs[name]
    if value.type.tensor_type.elem_type not in _FLOATS:
        raise WeightsError(f"{path}: the output {name} is {_shown(value)}, {_ANY_FLOAT}")
    return value


def grid_of(path: Path, name: str, dims: Sequence[int], layout: str, how: BackboneInput) -> Grid:
    """What an output of so many numbers a picture, without the batch, means.

    Raises SettingsError or WeightsError where that is unclear.
    """
    shown = f"{path}: the output {name} is (n, {', '.join(map(str, dims))})"
    if how.tokens is not None and len(dims) != 2:
        raise SettingsError(f"{shown}, which are no tokens (n, tokens, channels); leave tokens out of --backbone-input")
    if len(dims) == 1:
        return Grid(name, "vector", dims[0], 1)
    if len(dims) == 2:
        return _tokens(shown, name, dims[0], dims[1], how)
    if len(dims) != 3:
        raise WeightsError(f"{shown}, expected a vector (n, c), a map (n, c, h, w), or tokens (n, t, c)")
    squares = {"nchw": dims[1] == dims[2], "nhwc": dims[0] == dims[1]}
    forms = [form for form, square in squares.items() if square]
    if not forms:
        raise WeightsError(f"{shown}, which is no square map of a square picture")
    form = layout if len(forms) == 2 else forms[0]
    return Grid(name, form, dims[0] if form == "nchw" else dims[2], dims[1])


def _tokens(shown: str, name: str, count: int, channels: int, how: BackboneInput) -> Grid:
    if how.tokens == "class":
        return Grid(name, "class", channels, 1)
    leading = how.tokens if isinstance(how.tokens, int) else 0 if isqrt(count) ** 2 == count else 1
    places = count - leading
    if places < 1 or isqrt(places) ** 2 != places:
        raise SettingsError(
            f"{shown}, and {places} are no square of places; say with --backbone-input NAME=tokens:N how many tokens "
            "before them are none (class token, registers), or tokens:class for the first alone"
        )
    return Grid(name, "tokens", channels, isqrt(places), leading)


def dims_of(value: "onnx.ValueInfoProto") -> Dims:
    """A value's shape, as far as the graph says it; some say −1 for whatever comes."""
    return tuple(dim.dim_value if dim.dim_value > 0 else None for dim in value.type.tensor_type.shape.dim)


def _shown(value: "onnx.ValueInfoProto") -> str:
    import onnx

    kind = value.type.tensor_type
    dims = ", ".join(dim.dim_param or str(dim.dim_value or "?") for dim in kind.shape.dim)
    names = {number: name.lower() for name, number in onnx.TensorProto.DataType.items()}
    name = _FLOATS.get(kind.elem_type) or names.get(kind.elem_type, f"of type {kind.elem_type}")
    return f"{name} ({dims})"
