"""What users would pick instead, each set up as its own documentation advises. Knows nothing of our engines.

Each function loads one peer and returns what computes the batch of its `Setup`, from uint8 pixels in host memory to
features in host memory, by tap. What is not installed is imported here, so that its ImportError says what is absent.
"""

import functools
import importlib.util
import multiprocessing
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from jaxtyping import Float, UInt8

from benchmark.streams import Run, faster, in_streams
from facedep_jax.errors import EngineError


@dataclass(frozen=True)
class Setup:
    """What all contenders share."""

    size: int  # pixels, both networks
    batch_size: int
    cores: int
    accelerator: bool  # jax or torch sees one: then contenders that compute on CPUs only are not measured
    folder: Path  # for files that are thrown away

    @functools.cached_property
    def pixels(self) -> UInt8[np.ndarray, "n s s 3"]:
        """The batch that everybody computes, again and again."""
        shape = (self.batch_size, self.size, self.size, 3)
        return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def torch_sees_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


def torch_eager(setup: Setup, precision: str) -> Run:
    _needs_gpu_in_torch(setup)
    from benchmark.torch_networks import eager

    return eager(precision, setup.cores, setup.pixels)


def torch_untuned(setup: Setup, precision: str) -> Run:
    """Eager as installed: in a process of its own, whose memory goes back to the operating system as it is freed."""
    _refuse_accelerator(setup)
    import torch  # noqa: F401
    import transformers  # noqa: F401

    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    spawn.Process(target=_serve_torch, args=(there, setup, precision), daemon=True).start()
    there.close()  # so that the end of the process is seen here

    def run() -> dict[str, Float[np.ndarray, "n c"]]:
        here.send(None)
        return here.recv()

    return run


def _serve_torch(requests: Connection, setup: Setup, precision: str) -> None:
    sys.stdout = sys.stderr  # the process that began this one prints its own result there
    run = torch_eager(setup, precision)
    with suppress(EOFError):  # the process that asks has ended
        while True:
            requests.recv()
            requests.send(run())


def torch_compile(setup: Setup, precision: str) -> Run:
    _needs_gpu_in_torch(setup)
    from benchmark.torch_networks import compiled

    return compiled(precision, setup.cores, setup.pixels)


def graph_onnxruntime(setup: Setup, precision: str) -> Run:
    _refuse_accelerator(setup)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setup.cores
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(
        torch_graph(setup, setup.batch_size), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return lambda: dict(zip(names, session.run(names, {"pixels": setup.pixels}), strict=True))


def graph_openvino(setup: Setup, precision: str) -> Run:
    _refuse_accelerator(setup)
    sys.modules.setdefault("openvino_telemetry", None)  # otherwise its makers' server is told of every import
    import openvino

    core = openvino.Core()
    if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise EngineError("this CPU does not compute in bfloat16")
    kind = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16}[precision]

    def load(streams: int) -> Run:
        hints = {"INFERENCE_PRECISION_HINT": kind, "NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": setup.cores}
        compiled = core.compile_model(torch_graph(setup, setup.batch_size // streams), "CPU", hints)
        idle, names = SimpleQueue(), [output.get_any_name() for output in compiled.outputs]
        for _ in range(streams):
            idle.put(compiled.create_infer_request())

        def compute(pixels: UInt8[np.ndarray, "n s s 3"]) -> dict[str, Float[np.ndarray, "n c"]]:
            request = idle.get()
            request.infer([pixels], share_inputs=True)
            found = {name: request.get_output_tensor(i).data.copy() for i, name in enumerate(names)}
            idle.put(request)
            return found

        return in_streams(compute, setup.pixels, streams)

    return faster([load(streams) for streams in (1, 2) if setup.batch_size % streams == 0 and streams <= setup.cores])


def torch_graph(setup: Setup, batch_size: int) -> Path:
    """The ONNX file of torch's networks for batches of one size, made once."""
    from benchmark.torch_networks import export_graph

    file = setup.folder / f"torch-{batch_size}.onnx"
    if not file.exists():
        export_graph(file, batch_size, setup.size)
    return file


def keras_jax(setup: Setup, precision: str) -> Run:
    """Keras Applications on the JAX backend: both networks and their input scaling in one functional model."""
    import jax

    if setup.accelerator and jax.default_backend() == "cpu":
        raise EngineError("jax sees no accelerator here, and CPUs are not measured beside one")
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    if keras.backend.backend() != "jax":
        raise EngineError(f"keras was loaded with the backend {keras.backend.backend()}")
    pixels = keras.Input((setup.size, setup.size, 3), setup.batch_size, "uint8")
    x = keras.ops.cast(pixels, "float32")
    scaled = (x / 127.5 - 1, keras.ops.flip(x, -1) - np.array([103.939, 116.779, 123.68], np.float32))
    inside = {"weights": None, "include_top": False, "pooling": "avg", "input_shape": (setup.size, setup.size, 3)}
    networks = (keras.applications.MobileNetV2(**inside), keras.applications.ResNet50(**inside))
    model = keras.Model(pixels, [network(x) for network, x in zip(networks, scaled, strict=True)])
    names = ("mobilenet_v2:top@1", "resnet50:top@1")
    return lambda: dict(zip(names, model.predict_on_batch(setup.pixels), strict=True))


def _refuse_accelerator(setup: Setup) -> None:
    if setup.accelerator:
        raise EngineError("computes on CPUs only; it is not measured beside an accelerator")


def _needs_gpu_in_torch(setup: Setup) -> None:
    from benchmark.torch_networks import device

    if setup.accelerator and device() == "cpu":
        raise EngineError("this torch sees no GPU, and CPUs are not measured beside an accelerator")
