"""Where arrays lie when several local devices train together. It knows nothing of what is in them.

Rows of a batch are shared out; parameters and features are whole on every device. Features too, because each step takes
its rows from all over them: out of features in parts, every device would have to send most of every batch to others.
"""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

AXIS = "batch"


def devices_for(batch_size: int) -> int:
    """How many of the local devices can share a batch evenly."""
    return max(n for n in range(1, jax.local_device_count() + 1) if batch_size % n == 0)


def _placed(devices: int, *axes: str | None) -> Sharding:
    """On one device without a mesh: equal placements written otherwise would compile programs anew."""
    if devices == 1:
        return SingleDeviceSharding(jax.local_devices()[0])
    return NamedSharding(Mesh(np.array(jax.local_devices()[:devices]), (AXIS,)), PartitionSpec(*axes))


def everywhere(tree: Any, devices: int) -> Any:
    """`tree` whole on each of the first local devices; nothing moves where it is there already."""
    return jax.device_put(tree, _placed(devices))


def first_device(tree: Any) -> Any:
    """`tree` on the first device, where heads are used."""
    return everywhere(tree, 1)


def by_batch(tree: Any, devices: int) -> Any:
    """Arrays (steps, batch, …) on the devices, each with its share of every batch. Their memory is given away."""
    return jax.device_put(tree, _placed(devices, None, AXIS), may_alias=True)


def shared_out(tree: Any, devices: int) -> Any:
    """Within a compiled program: arrays whose rows the devices share. What is computed from them follows."""
    return tree if devices == 1 else jax.lax.with_sharding_constraint(tree, _placed(devices, AXIS))
