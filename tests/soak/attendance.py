"""Processes forked from one that has everything imported, and watched: time, memory, hangs. They may do anything."""

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY = 1.5 * 2**30
SECONDS = 20.0  # of processor time, or of waiting without any
LONGEST = 600.0  # on a machine that does a dozen other things


@dataclass(frozen=True)
class Ended:
    """What came of a process."""

    status: int
    output: str
    seconds: float  # of processor time
    memory: int
    killed: str = ""


def attend(process: int, said: Path) -> Ended:
    """Wait for a process, and end its group where it needs more than it may."""
    begun, moved, used, most, killed = time.monotonic(), time.monotonic(), 0.0, 0, ""
    while True:
        done, status, usage = os.wait4(process, os.WNOHANG)
        if done:
            break
        now, memory, spent = time.monotonic(), *_state(process)
        most = max(most, memory)
        moved, used = (now, spent) if spent > used + 0.02 else (moved, used)
        killed = (
            f"{most / 2**30:.1f} GB" if most > MEMORY
            else f"{spent:.0f} s of processor time" if spent > 3 * SECONDS
            else "it hangs" if now - moved > SECONDS or now - begun > LONGEST
            else ""
        )  # fmt: skip
        if killed:
            _kill(process)
            _, status, usage = os.wait4(process, 0)
            break
        time.sleep(0.02)
    _kill(process)  # what it started and left
    code = os.waitstatus_to_exitcode(status)
    return Ended(code, said.read_text(errors="replace"), usage.ru_utime + usage.ru_stime, most, killed)


def _kill(process: int) -> None:
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def _state(process: int) -> tuple[int, float]:
    """Resident bytes and processor seconds of a process, with those of its children that are there."""
    memory, spent = 0, 0.0
    for member in (process, *_children(process)):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            memory += int(Path(f"/proc/{member}/statm").read_text().split()[1]) * resource.getpagesize()
        except (FileNotFoundError, ProcessLookupError):
            continue
        spent += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return memory, spent


def _children(process: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def forked(work: Callable[[], Any], said: Path) -> int:
    """A forked process with a group of its own that does `work`; what it says goes to the file `said`."""
    sys.stdout.flush()
    sys.stderr.flush()
    process = os.fork()
    if process:
        return process
    status = 70
    try:
        os.setsid()
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for number in (1, 2):
            os.dup2(handle, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        work()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
