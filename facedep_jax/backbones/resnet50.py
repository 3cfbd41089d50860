"""ResNet50 (He et al. 2015; v1 as Keras has it, v1.5 as torchvision), inference only, batch-norm folded.

The network knows which details its weights were trained with; it knows nothing of files or of pooling.
"""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, UInt8

from facedep_jax.backbones.architectures import (
    RESNET50,
    RESNET50_BLOCKS,
    RESNET50_MID,
    SAME3,
    SAME7,
    Bottleneck,
    Folded,
    ResNet50Details,
)
from facedep_jax.backbones.layers import Conv, Precision, max_pool, relu, scale


class Block(nnx.Module):
    """Bottleneck: 1×1 reduction, 3×3, 1×1 restoration, added to the shortcut."""

    def __init__(self, params: Mapping[str, Folded], block: Bottleneck, details: ResNet50Details, precision: Precision):
        self.handed_on = precision.results
        first, second = (1, block.stride) if details.stride_on_spatial else (block.stride, 1)
        self.reduce = Conv(params[f"{block.name}.reduce"], precision=precision, stride=first)
        self.spatial = Conv(params[f"{block.name}.spatial"], precision=precision, stride=second, padding=SAME3)
        self.restore = Conv(params[f"{block.name}.restore"], precision=precision)
        self.shortcut = nnx.data(None)
        if block.shortcut:
            self.shortcut = Conv(params[f"{block.name}.shortcut"], precision=precision, stride=block.stride)

    def narrow(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 e"]:
        """The block's first two convolutions: what its restoration takes."""
        return relu(self.spatial(relu(self.reduce(x))))

    def restored(self, x: Float[Array, "n h w c"], y: Float[Array, "n h2 w2 e"]) -> Float[Array, "n h2 w2 d"]:
        """What the next block takes, from the block's input and its narrow part."""
        shortcut = x.astype(jnp.float32) if self.shortcut is None else self.shortcut(x)
        return relu(self.restore(y) + shortcut).astype(self.handed_on)


class ResNet50(nnx.Module):
    """Folded convolutions by name → activations; blocks deeper than the deepest of `layers` are not built."""

    def __init__(self, params: Mapping[str, Folded], family: str, layers: tuple[str, ...], precision: Precision):
        details = RESNET50[family]
        blocks = RESNET50_BLOCKS if "top" in layers else RESNET50_BLOCKS[: RESNET50_MID + 1]
        self.scaling, self.layers = details.scaling, layers
        self.stem = Conv(params["stem"], precision=precision, stride=2, padding=SAME7)
        self.blocks = nnx.List([Block(params, block, details, precision) for block in blocks])

    def __call__(self, pixels: UInt8[Array, "n s s 3"]) -> dict[str, Float[Array, "n h w c"]]:
        """RGB pixels → {"neck": (n, s/16, s/16, 256), "mid": (n, s/16, s/16, 1024), "top": (n, s/32, s/32, 2048)}, of
        these those asked for."""
        x = max_pool(relu(self.stem(scale(pixels, self.scaling))))
        taps = {}
        for i, block in enumerate(self.blocks):
            y = block.narrow(x)
            x = taps["top"] = block.restored(x, y)
            if i == RESNET50_MID:
                taps |= {"neck": y, "mid": x}
        return {layer: taps[layer] for layer in self.layers}
