"""How much of the machine this process may use."""

import os


def cores() -> int:
    """Cores that this process may run on: fewer than the machine has, where it was told so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
