"""Freed memory stays with the process: PyTorch's speed on CPUs hangs on it. Knows nothing of networks.

glibc hands large blocks back to the operating system as soon as they are freed, and each batch then pays for getting
them again, page by page: eager float32 ran at 13 images a second with that and at 32 without. PyTorch's tuning guide
advises an allocator that keeps memory; the same is asked of glibc here. Engines with buffers of their own do not care.
"""

import ctypes

from facedep_jax.errors import EngineError

KEEP = {-4: 0, -1: 2**31 - 1}  # mallopt(3): M_MMAP_MAX, no block from outside the heap; M_TRIM_THRESHOLD, 2 GiB


def keep_memory() -> bool:
    """Ask glibc to keep what is freed, for the rest of the process; False where there is no glibc to ask."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    for parameter, value in KEEP.items():
        if not mallopt(parameter, value):
            raise EngineError(f"glibc refused mallopt({parameter}, {value})")
    return True
