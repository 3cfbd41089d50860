"""MobileNetV2 (Sandler et al. 2018, width 1.0), inference only, batch-norm folded into the convolutions.

The network knows which details its weights were trained with; it knows nothing of files or of pooling.
"""

from collections.abc import Mapping

from flax import nnx
from jaxtyping import Array, Float, UInt8

from facedep_jax.backbones.architectures import (
    MOBILENET_V2,
    MOBILENET_V2_BLOCKS,
    MOBILENET_V2_EXACT,
    MOBILENET_V2_MID,
    SAME3,
    Folded,
    Inverted,
    MobileNetV2Details,
)
from facedep_jax.backbones.layers import PRECISIONS, Conv, Depthwise, Precision, relu6, scale


class Block(nnx.Module):
    """Inverted residual: 1×1 expansion, depthwise 3×3, linear 1×1 projection; added to its input if it fits."""

    def __init__(
        self,
        params: Mapping[str, Folded],
        name: str,
        block: Inverted,
        details: MobileNetV2Details,
        precision: Precision,
    ):
        padding = details.stride2_padding if block.stride == 2 else SAME3
        expand = Conv(params[f"{name}.expand"], precision=precision) if block.expansion > 1 else None
        self.expand = nnx.data(expand)
        self.depthwise = Depthwise(params[f"{name}.depthwise"], stride=block.stride, padding=padding)
        self.project = Conv(params[f"{name}.project"], precision=precision)
        self.residual = block.stride == 1 and block.inputs == block.outputs

    def expanded(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w e"]:
        """The block's first half: what its depthwise convolution takes."""
        return x if self.expand is None else relu6(self.expand(x))

    def projected(self, x: Float[Array, "n h w c"], e: Float[Array, "n h w e"]) -> Float[Array, "n h2 w2 d"]:
        """Its second half, from its input and the first half."""
        y = self.project(relu6(self.depthwise(e)))
        return x + y if self.residual else y


class MobileNetV2(nnx.Module):
    """Folded convolutions by name → activations; blocks deeper than the deepest of `layers` are not built."""

    def __init__(self, params: Mapping[str, Folded], family: str, layers: tuple[str, ...], precision: Precision):
        details = MOBILENET_V2[family]
        deepest = {"neck": MOBILENET_V2_MID, "mid": MOBILENET_V2_MID + 1, "top": len(MOBILENET_V2_BLOCKS)}
        blocks = MOBILENET_V2_BLOCKS[: max(deepest[layer] for layer in layers)]
        self.scaling, self.layers = details.scaling, layers
        exact = PRECISIONS["float32"]
        self.stem = Conv(params["stem"], precision=exact, stride=2, padding=details.stride2_padding)
        precisions = [exact if i in MOBILENET_V2_EXACT else precision for i in range(len(blocks))]
        self.blocks = nnx.List(
            [Block(params, f"blocks.{i}", block, details, precisions[i]) for i, block in enumerate(blocks)]
        )
        self.head = nnx.data(Conv(params["head"], precision=precision) if "top" in layers else None)

    def __call__(self, pixels: UInt8[Array, "n s s 3"]) -> dict[str, Float[Array, "n h w c"]]:
        """RGB pixels → {"neck": (n, s/16, s/16, 96), "mid": (n, s/16, s/16, 576), "top": (n, s/32, s/32, 1280)}, those
        asked for."""
        x = relu6(self.stem(scale(pixels, self.scaling)))
        for block in self.blocks[:MOBILENET_V2_MID]:
            x = block.projected(x, block.expanded(x))
        taps = {"neck": x}
        if len(self.blocks) > MOBILENET_V2_MID:
            taps["mid"] = self.blocks[MOBILENET_V2_MID].expanded(x)
        if self.head is not None:
            x = self.blocks[MOBILENET_V2_MID].projected(x, taps["mid"])
            for block in self.blocks[MOBILENET_V2_MID + 1 :]:
                x = block.projected(x, block.expanded(x))
            taps["top"] = relu6(self.head(x))
        return {layer: taps[layer] for layer in self.layers}
