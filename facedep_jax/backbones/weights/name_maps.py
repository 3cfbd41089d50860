"""Our convolutions ← theirs: for each network and family, which convolution and batch-norm each is folded from.

Tables only; nothing of files is known here. Rows are generated where names count blocks.
"""

from typing import NamedTuple

from facedep_jax.backbones.architectures import KERNELS, MOBILENET_V2_BLOCKS, RESNET50_BLOCKS, Shape

Shapes = dict[str, tuple[int, ...]]  # part of a layer → its shape


class Row(NamedTuple):
    """One folded convolution and the two layers it comes from, by the names of its family."""

    ours: str
    conv: str
    norm: str


# keras/src/applications/mobilenet_v2.py and resnet.py; torch.nn.BatchNorm2d's default for the rest
EPSILON = {("mobilenet_v2", "keras"): 1e-3, ("resnet50", "keras"): 1.001e-5}
TORCH_EPSILON = 1e-5
CONV_BIAS = {("resnet50", "keras")}  # the only one whose convolutions have biases, beside batch-norm's
KERAS_NORM = ("gamma", "beta", "moving_mean", "moving_variance")  # in the order that Keras writes them
TORCH_NORM = ("weight", "bias", "running_mean", "running_var")
# Entries that a checkpoint may hold and features do not need: classifiers, and how many batches were seen.
TORCH_EXTRAS = tuple(f"{layer}.{part}" for layer in ("fc", "classifier", "classifier.1") for part in ("weight", "bias"))
TORCH_EXTRA_PART = "num_batches_tracked"


def _mobilenet_v2_keras() -> tuple[Row, ...]:
    rows = [Row("stem", "Conv1", "bn_Conv1")]
    for i, block in enumerate(MOBILENET_V2_BLOCKS):
        theirs = f"block_{i}" if i else "expanded_conv"
        parts = ("expand", "depthwise", "project") if block.expansion > 1 else ("depthwise", "project")
        rows += [Row(f"blocks.{i}.{part}", f"{theirs}_{part}", f"{theirs}_{part}_BN") for part in parts]
    return (*rows, Row("head", "Conv_1", "Conv_1_bn"))


def _mobilenet_v2_torchvision() -> tuple[Row, ...]:
    rows = [Row("stem", "features.0.0", "features.0.1")]
    for i, block in enumerate(MOBILENET_V2_BLOCKS):
        at, n = f"features.{i + 1}.conv", int(block.expansion > 1)
        if block.expansion > 1:
            rows.append(Row(f"blocks.{i}.expand", f"{at}.0.0", f"{at}.0.1"))
        rows.append(Row(f"blocks.{i}.depthwise", f"{at}.{n}.0", f"{at}.{n}.1"))
        rows.append(Row(f"blocks.{i}.project", f"{at}.{n + 1}", f"{at}.{n + 2}"))
    return (*rows, Row("head", "features.18.0", "features.18.1"))


def _mobilenet_v2_timm() -> tuple[Row, ...]:
    rows, stage, place = [Row("stem", "conv_stem", "bn1")], -1, 0
    for i, block in enumerate(MOBILENET_V2_BLOCKS):
        first = i == 0 or block.outputs != MOBILENET_V2_BLOCKS[i - 1].outputs
        stage, place = (stage + 1, 0) if first else (stage, place + 1)
        at = f"blocks.{stage}.{place}"
        parts = [("depthwise", "conv_dw"), ("project", "conv_pw")]
        if block.expansion > 1:
            parts = [("expand", "conv_pw"), ("depthwise", "conv_dw"), ("project", "conv_pwl")]
        rows += [Row(f"blocks.{i}.{part}", f"{at}.{conv}", f"{at}.bn{n}") for n, (part, conv) in enumerate(parts, 1)]
    return (*rows, Row("head", "conv_head", "bn2"))


def _resnet50_keras() -> tuple[Row, ...]:
    rows = [Row("stem", "conv1_conv", "conv1_bn")]
    for block in RESNET50_BLOCKS:
        theirs = block.name.replace(".", "_")
        parts = [("reduce", 1), ("spatial", 2), ("restore", 3), *([("shortcut", 0)] if block.shortcut else [])]
        rows += [Row(f"{block.name}.{part}", f"{theirs}_{n}_conv", f"{theirs}_{n}_bn") for part, n in parts]
    return tuple(rows)


def _resnet50_torch() -> tuple[Row, ...]:
    rows = [Row("stem", "conv1", "bn1")]
    for block in RESNET50_BLOCKS:
        stage, number = block.name.removeprefix("conv").split(".block")
        at = f"layer{int(stage) - 1}.{int(number) - 1}"
        parts = (("reduce", 1), ("spatial", 2), ("restore", 3))
        rows += [Row(f"{block.name}.{part}", f"{at}.conv{n}", f"{at}.bn{n}") for part, n in parts]
        if block.shortcut:
            rows.append(Row(f"{block.name}.shortcut", f"{at}.downsample.0", f"{at}.downsample.1"))
    return tuple(rows)


# timm's ResNet50 has torchvision's names, so "torchvision" stands for both.
ROWS = {
    ("mobilenet_v2", "keras"): _mobilenet_v2_keras(),
    ("mobilenet_v2", "torchvision"): _mobilenet_v2_torchvision(),
    ("mobilenet_v2", "timm"): _mobilenet_v2_timm(),
    ("resnet50", "keras"): _resnet50_keras(),
    ("resnet50", "torchvision"): _resnet50_torch(),
}


def keras_layers(backbone: str) -> dict[str, Shapes]:
    """Keras's layers that have weights, in the order of its files, each with the shapes of its parts."""
    by_name: dict[str, Shapes] = {}
    for row in ROWS[backbone, "keras"]:
        shape = KERNELS[backbone][row.ours]
        by_name[row.conv] = _keras_conv(shape, (backbone, "keras") in CONV_BIAS)
        by_name[row.norm] = {part: (shape[3],) for part in KERAS_NORM}
    return {name: by_name[name] for name in _keras_order(backbone)}


def torch_entries(backbone: str, family: str) -> Shapes:
    """Every entry that a torchvision or timm file of this network has to hold, by name, with its shape."""
    entries: Shapes = {}
    for row in ROWS[backbone, family]:
        height, width, inputs, outputs = KERNELS[backbone][row.ours]
        entries[f"{row.conv}.weight"] = (outputs, inputs, height, width)
        entries |= {f"{row.norm}.{part}": (outputs,) for part in TORCH_NORM}
    return entries


def epsilon(backbone: str, family: str) -> float:
    """What batch-norm added to the variance where these weights were trained."""
    return EPSILON.get((backbone, family), TORCH_EPSILON)


def _keras_conv(shape: Shape, bias: bool) -> Shapes:
    height, width, inputs, outputs = shape
    if inputs == 1:  # depthwise: Keras keeps the channels third and a multiplier of 1 last
        return {"depthwise_kernel": (height, width, outputs, 1)}
    return {"kernel": shape, "bias": (outputs,)} if bias else {"kernel": shape}


def _keras_order(backbone: str) -> list[str]:
    """Layers as `model.layers` has them: by depth, so a shortcut stands beside its block's third convolution."""
    order: list[str] = []
    for row in ROWS[backbone, "keras"]:
        if row.ours.endswith(".shortcut"):  # … 3_conv, 3_bn → … 0_conv, 3_conv, 0_bn, 3_bn
            order[-2:] = [row.conv, order[-2], row.norm, order[-1]]
        else:
            order += [row.conv, row.norm]
    return order
