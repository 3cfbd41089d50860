"""Who takes part in the benchmark, and whether what they compute can be believed. Knows nothing of time."""

import fnmatch
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import jax
import numpy as np

from benchmark import files, peers
from benchmark.peers import Setup
from benchmark.streams import Run, in_streams
from facedep_jax.backbones.engine_interface import Engine, agreement
from facedep_jax.backbones.engines import load_engine
from facedep_jax.backbones.taps import BACKBONES, CHANNELS, parse_taps
from facedep_jax.backbones.weights.load import Weights, find_weights
from facedep_jax.errors import EngineError, SettingsError
from facedep_jax.extraction.plan import CALIBRATION_FACES, IN_FLIGHT
from facedep_jax.sources.synthetic_faces import drawn_faces


@functools.cache
def random_weights() -> Mapping[str, Weights]:
    """Of both networks, drawn once."""
    return find_weights("random:0", BACKBONES)


def load_ours(setup: Setup, precision: str, engine: str, layer: str = "top") -> Run:
    """Our `engine`; raises EngineError where it cannot be compared with what else is measured."""
    if setup.accelerator and engine == "openvino":
        raise EngineError("computes on CPUs only; it is not measured beside an accelerator")
    if setup.accelerator and jax.default_backend() == "cpu":
        raise EngineError("jax sees no accelerator here; pip install 'facedep-jax[gpu]'")
    taps, sizes = parse_taps(",".join(f"{b}:{layer}@1" for b in BACKBONES)), dict.fromkeys(BACKBONES, setup.size)
    drawn = drawn_faces(CALIBRATION_FACES, setup.size) if precision == "int8" else np.zeros(0, np.uint8)
    calibration = dict.fromkeys(BACKBONES, drawn)

    def load(batch_size: int, in_flight: int) -> Engine:
        return load_engine(
            engine, random_weights(), taps, sizes, precision, batch_size, in_flight, calibration=calibration
        )

    if setup.accelerator:
        whole = load(setup.batch_size, IN_FLIGHT)
        return lambda: whole(dict.fromkeys(BACKBONES, setup.pixels))
    run = load(-(-setup.batch_size // IN_FLIGHT), IN_FLIGHT)  # as extraction does it: two batches at once
    if run.in_flight < IN_FLIGHT or setup.batch_size < IN_FLIGHT:
        run = load(setup.batch_size, 1)
    return in_streams(lambda pixels: run(dict.fromkeys(BACKBONES, pixels)), setup.pixels, run.in_flight)


# Name → what loads it. The first word tells whose weights they are, the last the precision. Those that are compared
# stand side by side, so that their turns are close in time.
DEVICE_ONLY: dict[str, Callable[[Setup, str], Run]] = {
    "ours/mid/int8": functools.partial(load_ours, engine="auto", layer="mid"),
    "ours/mid/bfloat16": functools.partial(load_ours, engine="auto", layer="mid"),
    "ours/openvino/int8": functools.partial(load_ours, engine="openvino"),
    "ours/openvino/bfloat16": functools.partial(load_ours, engine="openvino"),
    "graph/openvino/bfloat16": peers.graph_openvino,
    "ours/mid/float32": functools.partial(load_ours, engine="auto", layer="mid"),
    "ours/openvino/float32": functools.partial(load_ours, engine="openvino"),
    "graph/onnxruntime/float32": peers.graph_onnxruntime,
    "graph/openvino/float32": peers.graph_openvino,
    "ours/xla/float32": functools.partial(load_ours, engine="xla"),
    "ours/xla/bfloat16": functools.partial(load_ours, engine="xla"),
    "torch/eager/float32": peers.torch_eager,
    "torch/eager/bfloat16": peers.torch_eager,
    "torch/untuned/float32": peers.torch_untuned,
    "torch/compile/bfloat16": peers.torch_compile,
    "torch/compile/float32": peers.torch_compile,
    "keras/jax/float32": peers.keras_jax,
}
SecondsFor = Callable[[int], float]  # number of files → seconds of the whole program
FROM_FILES: dict[str, Callable[[Setup, str], SecondsFor]] = {
    "ours/files/int8": files.ours_from_files,
    "ours/files/bfloat16": files.ours_from_files,
    "ours/files/float32": files.ours_from_files,
    "torch/files/bfloat16": files.torch_from_files,
    "torch/files/float32": files.torch_from_files,
}
SLOW_TO_LOAD = ("torch/compile/float32",)  # compiles for half a minute on two cores
# Worst cosine of a row between contenders with the same weights, the one with float32, the other with this.
AGREEMENT = {"float32": 0.9999, "bfloat16": 0.95, "int8": 0.9}


def auto_engines(setup: Setup) -> dict[str, str]:
    """The engine that `auto` takes for each precision, asked of `auto` itself, with a small network."""
    taps, sizes = parse_taps("mobilenet_v2:mid@1"), {"mobilenet_v2": setup.size}
    return {p: load_engine("auto", random_weights(), taps, sizes, p, 1).name for p in ("bfloat16", "float32")}


def choose(only: Sequence[str], skip: Sequence[str], sweep: bool = False) -> tuple[list[str], dict[str, str]]:
    """The contenders that the patterns leave, and those left out with the reason. Raises SettingsError."""
    names, left_out = [*DEVICE_ONLY, *FROM_FILES], {}
    for pattern in (*only, *skip):
        if not fnmatch.filter(names, pattern):
            raise SettingsError(f"no contender is called {pattern!r}; known: {', '.join(names)}")
    for name in names:
        if only and not any(fnmatch.fnmatchcase(name, pattern) for pattern in only):
            left_out[name] = "left out by --only"
        elif any(fnmatch.fnmatchcase(name, pattern) for pattern in skip):
            left_out[name] = "left out by --skip"
        elif name in SLOW_TO_LOAD and not only:
            left_out[name] = "left out, as it compiles for long, unless --only names it"
    chosen = [name for name in names if name not in left_out]
    if not chosen:
        raise SettingsError(f"--only {' '.join(only)} and --skip {' '.join(skip)} leave no contender")
    if sweep and not any(name.startswith("ours/") and "/mid/" not in name for name in chosen):
        raise SettingsError("--sweep draws ours by batch size and by images, and no such contender is left")
    return chosen, left_out


@contextmanager
def told_if_absent(name: str, absent: dict[str, str]) -> Iterator[None]:
    """What is not there becomes a line in `absent`; so does any failure of a peer, but none of ours."""
    try:
        yield
    except ModuleNotFoundError as error:
        absent[name] = f"{error.name} is not installed; pip install 'facedep-jax[cpu,bench]'"
    except EngineError as error:
        absent[name] = str(error)
    except Exception as error:
        if name.startswith("ours/"):
            raise
        absent[name] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def check_outputs(outputs: Mapping[str, Mapping[str, np.ndarray]], batch_size: int) -> None:
    """Raise EngineError unless all outputs have the right shapes, and those of the same weights agree."""
    for name, features in outputs.items():
        shapes = {tap: np.asarray(values).reshape(len(values), -1).shape for tap, values in features.items()}
        layer = "mid" if "/mid/" in name else "top"
        expected = {f"{b}:{layer}@1": (batch_size, CHANNELS[b, layer]) for b in BACKBONES}
        if shapes != expected:
            raise EngineError(f"{name} computed {shapes}, expected {expected}; rates of other work mean nothing")
    for name, features in outputs.items():
        reference = next((n for n in outputs if n.endswith("float32") and _same_work(n, name, outputs)), name)
        worst, needed = min(agreement(features, outputs[reference]).values()), AGREEMENT[precision_of(name)]
        if not worst >= needed:
            raise EngineError(
                f"{name} and {reference} have the same weights and pixels but agree to a cosine of {worst:.5f} at "
                f"worst, {needed} is needed; one of them computes something else"
            )


def precision_of(name: str) -> str:
    """The last word of a contender's name."""
    return name.rpartition("/")[2]


def _same_work(name: str, other: str, outputs: Mapping[str, Mapping[str, np.ndarray]]) -> bool:
    weights, others = (n.partition("/")[0].replace("graph", "torch") for n in (name, other))
    return weights == others and outputs[name].keys() == outputs[other].keys()
