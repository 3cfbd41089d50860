"""How much of the machine this process may use: cores, memory, decoding processes; and how these end with it."""

import os
import resource
import signal
import threading
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

MACHINE_PART = 0.25  # of the machine's memory: features are held up to three times while a run is made
LOOK = 0.2  # seconds between two looks at whether a parent is still there
CGROUPS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def cores() -> int:
    """Cores that this process may run on: fewer than the machine has, where it was told so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_memory() -> int:
    """Bytes that the machine has, or its container may use; not those that are free, so that equal runs do equal."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = (path.read_text().strip() for path in CGROUPS if path.is_file())
    return min([whole, *(int(limit) for limit in limits if limit.isdigit())])


def fits_machine(size: int) -> bool:
    """Whether features of so many bytes may be held in the machine's memory."""
    return size <= MACHINE_PART * machine_memory()


def decoders() -> int:
    """Images or clips decoded at a time, each by a process of its own: one for each core, 2 to 16."""
    return min(max(cores(), 2), 16)


@lru_cache(maxsize=1)
def cpu_flags() -> frozenset[str]:
    """What Linux says that the processor can, in its words; nothing elsewhere."""
    try:
        told = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return frozenset()
    lines = (line.partition(":") for line in told.splitlines())
    return frozenset(next((flags for name, _, flags in lines if name.strip() == "flags"), "").split())


def child_environment() -> dict[str, str]:
    """Of a Python process that finds this package wherever it lies, and imports nothing from the folder that the user
    happens to stand in."""
    package_home = str(Path(__file__).resolve().parents[1])
    paths = [package_home, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"}


def signal_name(number: int) -> str:
    """As SIGSEGV, for what a process ended by."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def lower_limits(limits: Mapping[int, int]) -> None:
    """Of this process, for good: by `resource`'s numbers, and no higher than they are already."""
    for which, most in limits.items():
        hard = resource.getrlimit(which)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (most, most))


def end_with_parent() -> None:
    """End this process, whatever it does, as soon as the one that started it is gone."""
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)
