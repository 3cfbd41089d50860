"""What differs between the places that trained the networks: scaling of pixels, padding, place of the stride.

Numbers only, for every engine alike; no jax. Batch-norm's epsilon is not here: folding takes it (`weight_maps`).
"""

from dataclasses import dataclass

Padding = tuple[int, int]  # pixels before and after, the same along both axes
NONE: Padding = (0, 0)
SAME3: Padding = (1, 1)
SAME7: Padding = (3, 3)


@dataclass(frozen=True)
class Scaling:
    """Pixels 0..255 (RGB) → what the network was trained on: reversed to BGR or not, then x·scale + shift."""

    scale: tuple[float, float, float]
    shift: tuple[float, float, float]
    bgr: bool = False


@dataclass(frozen=True)
class MobileNetV2Details:
    scaling: Scaling
    stride2_padding: Padding


@dataclass(frozen=True)
class ResNet50Details:
    scaling: Scaling
    stride_on_spatial: bool  # a block's stride is on its 3×3 (v1.5) instead of on its first 1×1 (v1)


_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as in torchvision's and timm's presets
_IMAGENET = Scaling(tuple(1 / (255 * s) for s in _STD), tuple(-m / s for m, s in zip(_MEAN, _STD, strict=True)))
# keras/src/applications/imagenet_utils.py, preprocess_input: mode "tf" for MobileNetV2, "caffe" for ResNet50
_TF = Scaling((1 / 127.5,) * 3, (-1.0,) * 3)
_CAFFE = Scaling((1.0,) * 3, (-103.939, -116.779, -123.68), bgr=True)

# keras/src/applications/mobilenet_v2.py: correct_pad of an even size is (0, 1);
# torchvision/models/mobilenetv2.py and timm's mobilenetv2_100: (kernel_size − 1) // 2 on both sides
_MOBILENET_V2_KERAS = MobileNetV2Details(_TF, (0, 1))
_MOBILENET_V2_TORCH = MobileNetV2Details(_IMAGENET, SAME3)
# keras/src/applications/resnet.py, residual_block_v1; torchvision/models/resnet.py, Bottleneck: "places the
# stride for downsampling at 3x3 convolution"
_RESNET50_KERAS = ResNet50Details(_CAFFE, stride_on_spatial=False)
_RESNET50_TORCH = ResNet50Details(_IMAGENET, stride_on_spatial=True)

MOBILENET_V2 = {
    "keras": _MOBILENET_V2_KERAS,
    "random": _MOBILENET_V2_KERAS,
    "torchvision": _MOBILENET_V2_TORCH,
    "timm": _MOBILENET_V2_TORCH,
}
RESNET50 = {
    "keras": _RESNET50_KERAS,
    "random": _RESNET50_KERAS,
    "torchvision": _RESNET50_TORCH,
    "timm": _RESNET50_TORCH,
}
