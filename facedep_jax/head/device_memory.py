"""Memory of devices: what fits, and what to say when it did not. It knows nothing of heads."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from facedep_jax.errors import RunError

DEVICE_PART = 0.5  # of a device's memory, for features; the rest is for parameters and what a step computes


def device_memory() -> int | None:
    """Bytes of the smallest local device, None where devices do not tell: CPUs compute in the machine's own."""
    told = [(device.memory_stats() or {}).get("bytes_limit") for device in jax.local_devices()]
    known = [int(limit) for limit in told if limit is not None]
    return min(known) if len(known) == len(told) else None


def fits_device(size: int) -> bool:
    """Whether features of so many bytes may be held on each device."""
    limit = device_memory()
    return limit is None or size <= DEVICE_PART * limit


def ran_out(error: BaseException) -> bool:
    """Whether `error` says that a device has not the memory that was asked of it."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


@contextmanager
def explained_memory(doing: str, advice: str = "use a smaller batch size, fewer seeds or a smaller preset") -> Iterator:
    """Turn running out of a device's memory into a RunError that says what to lower."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if not ran_out(error):
            raise
        reason = str(error).splitlines()[0].removeprefix("RESOURCE_EXHAUSTED: ")
        device = jax.local_devices()[0]
        raise RunError(f"{doing}: the memory of {device} is not enough ({reason}); {advice}") from error
