"""The engine on XLA: CPU, GPU or TPU, whichever jax was started with; several devices share each batch.

It knows fixed shapes only: batches are padded on the host and cut after transfer, so nothing compiles twice. To an
accelerator pixels go in pieces, as a GPU has them in a third of the time that it takes to send them whole.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Float16, UInt8

from facedep_jax.backbones.engine_interface import Crops, EngineSpec, Features, check_crops, padded
from facedep_jax.backbones.layers import PRECISIONS, pool_grid
from facedep_jax.backbones.mobilenet_v2 import MobileNetV2
from facedep_jax.backbones.resnet50 import ResNet50
from facedep_jax.backbones.taps import Tap
from facedep_jax.backbones.weights.load import Weights
from facedep_jax.compilation_cache import compile_kept, keep_compiled
from facedep_jax.jax_environment import local_devices

PIECE_BYTES = 5_000_000  # of pixels that are sent to an accelerator in one go
NETWORKS: dict[str, type[MobileNetV2] | type[ResNet50]] = {"mobilenet_v2": MobileNetV2, "resnet50": ResNet50}


def build_network(
    weights: Weights, taps: Sequence[Tap], precision: str = "float32", platform: str = "cpu"
) -> MobileNetV2 | ResNet50:
    """The network of `weights`, as deep as the deepest of its own `taps`."""
    layers = tuple(dict.fromkeys(tap.layer for tap in taps if tap.backbone == weights.backbone))
    return NETWORKS[weights.backbone](weights.params, weights.family, layers, PRECISIONS[precision].on(platform))


def pooled_taps(
    network: MobileNetV2 | ResNet50, taps: Sequence[Tap], pixels: UInt8[Array, "n s s 3"]
) -> dict[str, Float[Array, "n S S C"]]:
    """Each tap's grid of averages by name, float32; `taps` are those of this network."""
    activations = network(pixels)
    return {str(tap): pool_grid(activations[tap.layer], tap.cells) for tap in taps}


class XlaEngine:
    """See `engine_interface.Engine`. Computes on the devices of `platform` (None: jax's choice)."""

    name = "xla"
    version = jax.__version__

    def __init__(self, spec: EngineSpec, platform: str | None = None):
        self.reason = "; ".join(filter(None, (spec.reason, keep_compiled())))
        devices = local_devices(platform)
        self.device = _device_name(devices)
        self.in_flight = 1 if devices[0].platform == "cpu" else spec.in_flight  # on CPUs one batch takes every core
        self.precision, self.batch_size = spec.precision, spec.batch_size
        self._taps = [str(tap) for tap in spec.taps]
        self._sizes: dict[str, int] = {}
        platform, each = devices[0].platform, -(-spec.batch_size // len(devices))
        self._pieces = {size: pieces_of(each, size, platform) for size in spec.sizes.values()}
        self._shared_by, most = len(devices), max(self._pieces.values())
        self._padded = len(devices) * -(-each // most) * most
        options = PRECISIONS[spec.precision].on(platform).compiler_options
        mesh = Mesh(np.array(devices), ("batch",))
        self._batch, everywhere = NamedSharding(mesh, PartitionSpec("batch")), NamedSharding(mesh, PartitionSpec())
        self._networks = {}
        for backbone, own in spec.taps_by_backbone().items():
            size = self._sizes[backbone] = spec.sizes[backbone]
            graph, state = nnx.split(build_network(spec.weights[backbone], own, spec.precision, platform))
            state = jax.device_put(state, everywhere)
            pieces = self._pieces[size]
            shape = len(devices), self._padded // (len(devices) * pieces), size, size, 3
            piece = jax.ShapeDtypeStruct(shape, jnp.uint8, sharding=self._batch)
            compiled = compile_kept(compilable(graph, own), state, *[piece] * pieces, options=options)
            self._networks[backbone] = compiled, state

    def __call__(self, crops: Crops) -> Features:
        """See `Engine`."""
        count = check_crops(crops, self._sizes, self.batch_size)
        placed = {id(own): self._placed(padded(own, self._padded)) for own in crops.values()}
        computed: dict[str, jax.Array] = {}
        for backbone, (features_of, state) in self._networks.items():
            computed |= features_of(state, *placed[id(crops[backbone])])  # networks that see the same share one copy
        return {tap: np.asarray(jax.device_get(computed[tap]))[:count] for tap in self._taps}

    def _placed(self, pixels: UInt8[np.ndarray, "n s s 3"]) -> list[UInt8[Array, "d k s s 3"]]:
        """Pieces of k images for each of d devices: one after the other they are a device's part of `pixels`."""
        pieces = self._pieces[pixels.shape[1]]
        parts = pixels.reshape(self._shared_by, pieces, -1, *pixels.shape[1:])
        return [jax.device_put(parts[:, piece], self._batch) for piece in range(pieces)]


def compilable(graph: nnx.GraphDef, taps: Sequence[Tap]) -> jax.stages.Wrapped:
    """State and pixels in pieces → pooled taps in float16. By jax.jit: nnx.jit costs ten times as much a call."""

    @jax.jit
    def features_of(state: nnx.State, *pieces: UInt8[Array, "d k s s 3"]) -> dict[str, Float16[Array, "n S S C"]]:
        joined = jnp.concatenate(pieces, 1)
        pixels = joined.reshape(-1, *joined.shape[2:])
        pooled = pooled_taps(nnx.merge(graph, state), taps, pixels)
        return {tap: values.astype(jnp.float16) for tap, values in pooled.items()}

    return features_of


def pieces_of(images: int, size: int, platform: str) -> int:
    """Into how many pieces so many images are cut on their way to one device: a power of two, 1 for CPUs."""
    if platform == "cpu":
        return 1
    return 1 << (-(-images * size * size * 3 // PIECE_BYTES) - 1).bit_length()


def _device_name(devices: Sequence[jax.Device]) -> str:
    """ "cpu", "NVIDIA H100 80GB HBM3", "4 × TPU v4"."""
    kind = devices[0].device_kind
    return kind if len(devices) == 1 else f"{len(devices)} × {kind}"
