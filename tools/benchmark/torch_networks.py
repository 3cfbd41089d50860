"""Both networks in PyTorch, and the ONNX graph made from them: the peers that need torch. Knows nothing of ours.

The networks are those of the transformers library with torchvision's details (padding on both sides, the stride of
ResNet50 on the 3×3), untrained; normalisation to ImageNet's mean and standard deviation is part of them.
"""

import contextlib
import copy
import functools
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn
from transformers import MobileNetV2Config, MobileNetV2Model, ResNetConfig, ResNetModel

NAMES = ("mobilenet_v2:top@1", "resnet50:top@1")
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet's RGB, 0 to 255
Pixels = UInt8[np.ndarray, "n s s 3"]
Run = Callable[[], dict[str, Float[np.ndarray, "n c"]]]


class TwoNetworks(nn.Module):
    """uint8 (n, s, s, 3) → the averages of both top layers, (n, 1280) and (n, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        self.mobilenet_v2 = MobileNetV2Model(MobileNetV2Config(tf_padding=False))
        self.resnet50 = ResNetModel(ResNetConfig())
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = pixels.permute(0, 3, 1, 2)  # NHWC in memory, which is what torch calls channels_last
        x = (x.to(self.mean.dtype) - self.mean) / self.std
        return self.mobilenet_v2(x).pooler_output, self.resnet50(x).pooler_output.flatten(1)


@functools.cache
def networks() -> TwoNetworks:
    """Untrained, float32. One batch of noise sets the running statistics, so that values stay in range with depth."""
    torch.manual_seed(0)
    network = TwoNetworks()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # statistics become those of the batches seen, not 10 % of them
    with torch.no_grad():
        network.train()(torch.randint(0, 256, (8, 64, 64, 3), dtype=torch.uint8))
    return network.eval()


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def placed(precision: str, cores: int) -> TwoNetworks:
    """A copy in `precision`, channels last, on the GPU where there is one."""
    torch.set_num_threads(cores)
    torch.backends.cudnn.benchmark = True  # shapes are fixed: let cuDNN try its algorithms once
    kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    return copy.deepcopy(networks()).to(device(), kind, memory_format=torch.channels_last)


def eager(precision: str, cores: int, pixels: Pixels) -> Run:
    return _from_host_to_host(placed(precision, cores), pixels)


def compiled(precision: str, cores: int, pixels: Pixels) -> Run:
    """torch.compile for one shape, with the weights frozen, which lets it fold batch-norm and lay weights out anew."""
    compile_ = torch.compile(placed(precision, cores), fullgraph=True, dynamic=False, options={"freezing": True})
    return _from_host_to_host(compile_, pixels)


def _from_host_to_host(network: Callable, pixels: Pixels) -> Run:
    batch = torch.from_numpy(pixels)
    if device() == "cuda":
        batch = batch.pin_memory()  # as a loader hands batches over; the GPU reads such memory by itself

    own = threading.local()

    def stream() -> contextlib.AbstractContextManager:
        """A thread's own, so that one's pixels are on their way while another's are computed."""
        if device() != "cuda":
            return contextlib.nullcontext()
        own.stream = getattr(own, "stream", None) or torch.cuda.Stream()
        return torch.cuda.stream(own.stream)

    def run() -> dict[str, Float[np.ndarray, "n c"]]:
        with torch.inference_mode(), stream():
            outputs = network(batch.to(device(), non_blocking=True))
            features = [values.float().cpu().numpy() for values in outputs]  # .cpu() waits for the GPU
        return dict(zip(NAMES, features, strict=True))

    return run


def export_graph(file: Path, batch_size: int, size: int) -> None:
    """Both networks as one ONNX file of fixed shape, by torch's exporter."""
    pixels = torch.zeros((batch_size, size, size, 3), dtype=torch.uint8)
    exported = torch.onnx.export(networks(), (pixels,), input_names=["pixels"], output_names=list(NAMES), dynamo=True,
                                 verbose=False)  # fmt: skip
    exported.save(str(file))
