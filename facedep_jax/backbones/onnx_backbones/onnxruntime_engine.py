"""The engine on ONNX Runtime: a file as it is, scaled before and pooled after by NumPy.

It is what every other engine's numbers of such a network are compared with. Knows nothing of the built-in networks.
"""

from collections.abc import Sequence

import numpy as np
import onnxruntime
from jaxtyping import Float, UInt8

from facedep_jax.backbones.engine_interface import Crops, EngineSpec, Features, check_crops, padded
from facedep_jax.backbones.onnx_backbones.onnx_backbone import OnnxBackbone
from facedep_jax.backbones.onnx_backbones.onnx_file import first_line
from facedep_jax.backbones.taps import Tap, cell_bounds
from facedep_jax.errors import EngineError, WeightsError
from facedep_jax.machine_resources import cores

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


class OnnxRuntimeEngine:
    """See `engine_interface.Engine`. Computes on the CPU, in the file's own precision."""

    name = "onnxruntime"
    version = onnxruntime.__version__
    device = "cpu"

    def __init__(self, spec: EngineSpec):
        if spec.precision != "float32":
            raise EngineError(
                f"onnxruntime, which computes {', '.join(spec.networks)} here, has no {spec.precision}; use "
                "--precision float32"
            )
        self.precision, self.batch_size, self.reason, self.in_flight = "float32", spec.batch_size, spec.reason, 1
        self._taps = spec.taps
        self._networks = spec.networks
        self._sizes = {name: spec.sizes[name] for name in spec.networks}
        self._sessions = {name: _opened(network) for name, network in spec.networks.items()}

    def __call__(self, crops: Crops) -> Features:
        """See `Engine`."""
        count = check_crops(crops, self._sizes, self.batch_size)
        grids = {name: self._grids(network, crops[name]) for name, network in self._networks.items()}
        features = {}
        for tap in self._taps:
            with np.errstate(over="ignore"):  # what float16 cannot hold is infinite, see Engine
                features[str(tap)] = pooled(grids[tap.backbone], tap).astype(np.float16).reshape(count, *_shape(tap))
        return features

    def _grids(self, network: OnnxBackbone, crops: UInt8[np.ndarray, "n s s 3"]) -> Float[np.ndarray, "n h h c"]:
        grid, picture, session = network.grid, network.picture, self._sessions[network.name]
        found = np.empty((len(crops), grid.side, grid.side, grid.channels), np.float32)
        step = picture.batch or max(1, len(crops))
        for start in range(0, len(crops), step):
            some = padded(crops[start : start + step], step)
            try:
                values = run(session, picture.name, grid.name, scaled(network, some))
            except Exception as error:  # the runtime has no root of its own for what it raises
                raise EngineError(
                    f"onnxruntime cannot compute {network.path} for {step} pictures at a time: {first_line(error)}; "
                    "export it for any batch, or use --batch-size 1"
                ) from error
            found[start : start + step] = as_grid(network, values, step)[: len(crops) - start]
        return found


def _opened(network: OnnxBackbone) -> onnxruntime.InferenceSession:
    try:
        return open_session(network.read().SerializeToString())
    except WeightsError:
        raise
    except Exception as error:  # the runtime has no root of its own for what it raises
        raise EngineError(f"onnxruntime cannot load {network.path}: {first_line(error)}") from error


def open_session(content: bytes) -> onnxruntime.InferenceSession:
    """A session on as many cores as this process may use; raises what the runtime raises."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = cores(), 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, name: str, output: str, values: np.ndarray) -> Float[np.ndarray, "..."]:
    """One output of one batch as float32; raises what the runtime raises."""
    wanted = next(each.type for each in session.get_inputs() if each.name == name)
    return np.asarray(session.run([output], {name: values.astype(_TYPES[wanted], copy=False)})[0], np.float32)


def scaled(network: OnnxBackbone, crops: UInt8[np.ndarray, "n s s 3"]) -> Float[np.ndarray, "n ..."]:
    """Pixels as the network was trained to see them, in its layout, float32."""
    scaling = network.scaling
    x = crops[..., ::-1] if scaling.bgr else crops
    x = x.astype(np.float32) * np.array(scaling.scale, np.float32) + np.array(scaling.shift, np.float32)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if network.picture.layout == "nchw" else x


def as_grid(network: OnnxBackbone, values: Float[np.ndarray, "..."], count: int) -> Float[np.ndarray, "n h h c"]:
    """An output as places of channels. Raises EngineError where it is not of the shape that the graph promised."""
    grid = network.grid
    if not grid.fits(values.shape, count):
        raise EngineError(f"{network.path}: {grid.misfit(values.shape, count)}")
    if grid.form == "class":
        values = values[:, :1]
    elif grid.form == "tokens":
        values = values[:, grid.leading :]
    elif grid.form == "nchw":
        values = values.transpose(0, 2, 3, 1)
    return values.reshape(count, grid.side, grid.side, grid.channels)


def pooled(grid: Float[np.ndarray, "n h h c"], tap: Tap) -> Float[np.ndarray, "n S S c"]:
    """Averages over the tap's cells."""
    bounds = cell_bounds(grid.shape[1], tap.cells)
    rows = [[grid[:, a:b, c:d].mean((1, 2)) for c, d in bounds] for a, b in bounds]
    return np.stack([np.stack(row, 1) for row in rows], 1)


def _shape(tap: Tap) -> Sequence[int]:
    return tap.cells, tap.cells, tap.channels
