"""Parity of the torchvision and timm maps with PyTorch: transformers' networks under the others' names."""

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from facedep_jax.backbones.taps import LAYERS, parse_taps
from facedep_jax.backbones.weights.load import load_weights
from facedep_jax.backbones.xla_engine import build_network

torch = pytest.importorskip("torch", reason="torch (extra: bench) is not installed")
transformers = pytest.importorskip("transformers", reason="transformers (extra: bench) is not installed")

TIMM_REPEATS = (1, 2, 3, 4, 3, 3, 1)  # blocks of each of timm's stages
RESNET_REPEATS = (3, 4, 6, 3)
MEAN, STD = (np.array(v, np.float32) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def mobilenet_v2():
    """As torchvision has it: symmetric padding, epsilon 1e-5 (transformers' defaults are TensorFlow's)."""
    config = transformers.MobileNetV2Config(tf_padding=False, layer_norm_eps=1e-5)
    model = transformers.MobileNetV2Model(config)
    return model, {"neck": model.layer[11], "mid": model.layer[12].expand_1x1, "top": model.conv_1x1}


def resnet50():
    model = transformers.ResNetModel(transformers.ResNetConfig())  # v1.5: stride on the 3×3
    stages = model.encoder.stages
    return model, {"neck": stages[2].layers[5].layer[1], "mid": stages[2], "top": stages[3]}


def torchvision_mobilenet_names() -> dict[str, tuple[str, str]]:
    """transformers' layer → torchvision's convolution and batch-norm."""
    names = {
        "conv_stem.first_conv": ("features.0.0", "features.0.1"),
        "conv_stem.conv_3x3": ("features.1.conv.0.0", "features.1.conv.0.1"),
        "conv_stem.reduce_1x1": ("features.1.conv.1", "features.1.conv.2"),
        "conv_1x1": ("features.18.0", "features.18.1"),
    }
    for i in range(16):
        at = f"features.{i + 2}.conv"
        names[f"layer.{i}.expand_1x1"] = (f"{at}.0.0", f"{at}.0.1")
        names[f"layer.{i}.conv_3x3"] = (f"{at}.1.0", f"{at}.1.1")
        names[f"layer.{i}.reduce_1x1"] = (f"{at}.2", f"{at}.3")
    return names


def timm_mobilenet_names() -> dict[str, tuple[str, str]]:
    names = {
        "conv_stem.first_conv": ("conv_stem", "bn1"),
        "conv_stem.conv_3x3": ("blocks.0.0.conv_dw", "blocks.0.0.bn1"),
        "conv_stem.reduce_1x1": ("blocks.0.0.conv_pw", "blocks.0.0.bn2"),
        "conv_1x1": ("conv_head", "bn2"),
    }
    places = [f"blocks.{stage}.{i}" for stage, n in enumerate(TIMM_REPEATS) for i in range(n)][1:]
    for i, at in enumerate(places):
        names[f"layer.{i}.expand_1x1"] = (f"{at}.conv_pw", f"{at}.bn1")
        names[f"layer.{i}.conv_3x3"] = (f"{at}.conv_dw", f"{at}.bn2")
        names[f"layer.{i}.reduce_1x1"] = (f"{at}.conv_pwl", f"{at}.bn3")
    return names


def torchvision_resnet_names() -> dict[str, tuple[str, str]]:
    names = {"embedder.embedder": ("conv1", "bn1")}
    for stage, repeats in enumerate(RESNET_REPEATS):
        names[f"encoder.stages.{stage}.layers.0.shortcut"] = tuple(f"layer{stage + 1}.0.downsample.{i}" for i in (0, 1))
        for block in range(repeats):
            for i in range(3):
                at = f"layer{stage + 1}.{block}"
                names[f"encoder.stages.{stage}.layers.{block}.layer.{i}"] = (
                    f"{at}.conv{i + 1}",
                    f"{at}.bn{i + 1}",
                )
    return names


CASES = {
    "mobilenet_v2-torchvision": (
        mobilenet_v2,
        torchvision_mobilenet_names,
        ("classifier.1.weight", (1000, 1280)),
    ),
    "mobilenet_v2-timm": (mobilenet_v2, timm_mobilenet_names, ("classifier.weight", (1000, 1280))),
    "resnet50-torchvision": (resnet50, torchvision_resnet_names, ("fc.weight", (1000, 2048))),
}


def randomise(model, seed: int) -> None:
    """Draw all weights and running statistics such that activations neither vanish nor explode."""
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(0, (1.3 / fan_in) ** 0.5, generator=drawn)
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5, generator=drawn)
                module.running_var.uniform_(0.5, 1.5, generator=drawn)
                module.bias.normal_(0, 0.1, generator=drawn)
                module.running_mean.normal_(0, 0.1, generator=drawn)


def renamed(model, names: dict[str, tuple[str, str]]) -> dict[str, np.ndarray]:
    """The model's whole state under the other library's names; every entry has to have one."""
    state = {}
    for name, values in model.state_dict().items():
        layer, kind, part = name.rsplit(".", 2)
        state[f"{names[layer][kind == 'normalization']}.{part}"] = values.numpy()
    return state


def activations(model, layers: dict, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """NHWC activations of `layers` for RGB pixels, scaled as torchvision's presets scale them."""
    got = {}
    for name, module in layers.items():
        module.register_forward_hook(lambda _, __, out, name=name: got.__setitem__(name, out))
    scaled = (pixels.astype(np.float32) / np.float32(255) - MEAN) / STD
    with torch.no_grad():
        model(torch.from_numpy(scaled.transpose(0, 3, 1, 2).copy()))
    values = {name: getattr(out, "last_hidden_state", out) for name, out in got.items()}
    return {name: value.permute(0, 2, 3, 1).numpy() for name, value in values.items()}


@pytest.mark.parametrize("case", CASES)
def test_parity_of_all_taps(case, tmp_path):
    backbone, family = case.split("-")
    build, names, (extra, shape) = CASES[case]
    model, layers = build()
    model.eval()
    randomise(model, seed=5)
    path = tmp_path / "weights.safetensors"
    save_file(renamed(model, names()) | {extra: np.zeros(shape, np.float32)}, path)
    squares = np.kron(np.random.default_rng(1).integers(0, 256, (2, 10, 10, 3)), np.ones((1, 16, 16, 1), int))
    pixels = squares.astype(np.uint8)  # 160 × 160
    expected = activations(model, layers, pixels)

    weights = load_weights(path, backbone)
    assert weights.family == family
    graph, state = nnx.split(build_network(weights, parse_taps(",".join(f"{backbone}:{layer}@1" for layer in LAYERS))))
    got = jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, pixels)
    for layer in LAYERS:
        assert got[layer].shape == expected[layer].shape
        error = np.abs(np.asarray(got[layer]) - expected[layer]).max() / np.abs(expected[layer]).max()
        assert error <= 1e-4, f"{case}:{layer}: {error:.1e}"
        assert expected[layer].std(axis=0).max() > 0.01  # images differ, so that parity means something
