"""A network of the user's own: what it was checked to be, its tap, and how a cache's spec says it. Runs nothing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facedep_jax.backbones.architectures import Scaling
from facedep_jax.backbones.onnx_backbones.graph_shapes import Grid, Picture
from facedep_jax.backbones.onnx_backbones.onnx_file import read_onnx
from facedep_jax.backbones.onnx_backbones.options import BackboneInput
from facedep_jax.backbones.taps import Tap
from facedep_jax.errors import WeightsError

if TYPE_CHECKING:
    import onnx

FAMILY = "onnx"  # of such weights, in a spec
USUAL_CELLS = 4  # along a side, of a network that --taps does not name


@dataclass(frozen=True)
class OnnxTap(Tap):
    """A tap of such a network, which alone knows its width and size."""

    width: int = 0
    side: int = 0

    @property
    def channels(self) -> int:
        """How many numbers a place has."""
        return self.width

    def pixels(self, size: int) -> int:
        """Places along a side, whatever the size of the input."""
        return self.side


@dataclass(frozen=True)
class OnnxBackbone:
    """A checked network. `data`: SHA-256 of the files that hold numbers of it, by their place beside it."""

    name: str
    path: Path
    sha256: str
    picture: Picture
    grid: Grid
    how: BackboneInput
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def layer(self) -> str:
        """The output's name, as far as a tap's can hold it."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "_", self.grid.name).strip("._-") or "output"

    @property
    def scaling(self) -> Scaling:
        """(pixel · range / 255 − mean) / std as x · scale + shift."""
        scale = tuple(self.how.range / 255 / std for std in self.how.std)
        shift = tuple(-mean / std for mean, std in zip(self.how.mean, self.how.std, strict=True))
        return Scaling(scale, shift, self.how.order == "bgr")

    def tap(self, cells: int | None = None) -> OnnxTap:
        """Its tap of a grid; by default the usual one, or what it has."""
        side = self.grid.side
        return OnnxTap(self.name, self.layer, cells or min(USUAL_CELLS, side), self.grid.channels, side)

    def read(self) -> "onnx.ModelProto":
        """The graph. Raises WeightsError where the files are no more what they were when they were checked."""
        file = read_onnx(self.path)
        if (file.sha256, file.data) != (self.sha256, dict(self.data)):
            raise WeightsError(f"{self.path} changed while it was used; run the command again")
        return file.model

    def spec_entry(self) -> dict[str, Any]:
        """What decides its numbers, but for the input size, which stands with the others'."""
        how, grid = self.how, self.grid
        entry: dict[str, Any] = {
            "sha256": self.sha256,
            "family": FAMILY,
            "output": grid.name,
            "form": grid.form,
            "layout": self.picture.layout,
            "mean": list(how.mean),
            "std": list(how.std),
            "order": how.order,
            "range": how.range,
        }
        entry |= {"leading": grid.leading} if grid.form == "tokens" else {}
        return entry | ({"data": dict(self.data)} if self.data else {})

    def described(self) -> str:
        """One line of what it is taken for, with what was not stated and is a default."""
        how, grid = self.how, self.grid
        places = {
            "vector": "a vector",
            "class": "the first token (class)",
            "tokens": f"{grid.side}×{grid.side} tokens"
            + (f", without {grid.leading} before them" * bool(grid.leading)),
        }.get(grid.form, f"a map of {grid.side}×{grid.side}")
        usual = [key for key in ("mean", "std", "order", "range") if key not in how.stated]
        mean, std = ("/".join(f"{value:g}" for value in values) for values in (how.mean, how.std))
        said = (
            f"backbone {self.name}: {self.path}, SHA-256 {self.sha256[:12]}…, {self.picture.size}×{self.picture.size} "
            f"{how.order.upper()}, (pixel{'' if how.range == 255 else '/255'} − {mean}) / {std}; output {grid.name}: "
            f"{places} of {grid.channels}"
        )
        said += f", {self.picture.batch} at a time" if self.picture.batch else ""
        return said + (f"; by default, since --backbone-input does not say it: {', '.join(usual)}" if usual else "")


def input_of_entry(entry: Mapping[str, Any], size: int) -> BackboneInput:
    """`--backbone-input` that gives the network of a spec's entry again."""
    tokens = {"tokens": entry.get("leading"), "class": "class"}.get(entry["form"])
    mean, std = (tuple(float(value) for value in entry[key]) for key in ("mean", "std"))
    return BackboneInput(size, mean, std, entry["order"], float(entry["range"]), entry["layout"], tokens)
