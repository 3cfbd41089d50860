"""Looking into a cache that may come from a stranger, in a child process with limits. Knows nothing of the format.

`cache inspect` and `cache verify` always go through here. The reader is made to survive any file (hdf5_reader.py); what
it did not foresee ends in the child: a crash, an endless loop or too much memory become one sentence, and the files of
others stay unread. The child may open no file but the cache's for more than its own start, write none, and answers in
JSON lines: whatever took it over could send wrong numbers, but not code.
"""

import json
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Literal

from facedep_jax.cache.lock import require_plain_files
from facedep_jax.cache.shard import MAX_ROWS
from facedep_jax.errors import CacheError, DamagedCache, FacedepError, SettingsError
from facedep_jax.machine_resources import end_with_parent, lower_limits
from facedep_jax.progress_events import Event, Note, Progress, Report, Tick, silent

# Of an empty cache; what the files of a cache declare is added (`_declared`).
MEMORY = 960 * 2**20  # bytes of address space, so that it stays under 1 GB by any count
SILENCE = 60  # seconds without a sign of life
ANSWER = 64 * 2**20  # bytes of the whole answer
PER_BYTE = 12  # of ledgers: bytes of memory, as columns and what is made of them
PER_ROW = 1024  # bytes of memory for each item or row that shards may hold
SMALLEST = 147  # bytes of an item and a row in a shard's tables
CHANCES = 0.2  # seconds between two chances to stop
COMMAND = (sys.executable, "-P", "-m", "facedep_jax.cache.maintenance.sandboxed_reader")

_EVENTS = {kind.__name__: kind for kind in (Progress, Note)}
_ERRORS = {kind.__name__: kind for kind in (CacheError, DamagedCache, SettingsError)}


def in_child(
    task: Literal["inspect", "verify"],
    folder: str | Path,
    report: Report = silent,
    *,
    memory: int = MEMORY,
    silence: int = SILENCE,
    command: Sequence[str] = COMMAND,
    **options: Any,
) -> dict[str, Any]:
    """The summary of `inspect_cache` or `verify_cache` with `options`.

    Raises what they raise, and DamagedCache where the child crashes, needs more than `memory` bytes, or says nothing
    for `silence` seconds.
    """
    asked = {"task": task, "folder": os.fspath(folder), "options": options, "memory": memory, "silence": silence}
    with subprocess.Popen(
        [*command, json.dumps(asked)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        process_group=0,  # of its own, so that Ctrl-C reaches this process alone: an interrupted child looks damaged
    ) as child:
        assert child.stdout and child.stderr  # pipes, as asked for
        try:
            answer = _answer(child.stdout, report, ANSWER + 4 * _declared(Path(folder))[0])
            complaint = child.stderr.read(2**16).decode(errors="replace").strip()
        finally:
            child.kill()  # it has ended by itself, unless this process was interrupted
    if "result" in answer:
        return answer["result"]
    if "error" in answer:
        raise _ERRORS.get(answer["error"], DamagedCache)(answer["message"])
    raise DamagedCache(f"{folder}: {_ending(child.returncode, complaint, silence)}; do not use it")


def _environment() -> dict[str, str]:
    """One thread and one heap, since each reserves address space, from which arrays are kept out, so that their memory
    can be given back; the package that runs, wherever it lies.
    """
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX", "POLARS_MAX_THREADS")
    single = dict.fromkeys(names, "1")
    single["MALLOC_MMAP_THRESHOLD_"] = str(2**16)
    return {**os.environ, **single, "PYTHONPATH": os.fspath(Path(__file__).resolve().parents[3])}


def _answer(pipe: IO[bytes], report: Report, most: int) -> dict[str, Any]:
    """The last message; events before it go to `report`. Empty where the child ended without one."""
    for line in _lines(pipe, report, most):
        try:
            message = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DamagedCache(f"what the cache holds makes a summary that is no JSON ({error})") from error
        if message.get("event") not in _EVENTS:
            return message
        report(_EVENTS[message["event"]](**message["fields"]))
    return {}


def _lines(pipe: IO[bytes], report: Report, most: int) -> Iterator[bytes]:
    """Lines as they come, `most` bytes at most. While none comes `report` has chances to stop: the child has none."""
    held, left = bytearray(), most
    while True:
        while not select.select([pipe], [], [], CHANCES)[0]:
            report(Tick())
        read = os.read(pipe.fileno(), 2**16)
        left -= len(read)
        if left < 0:
            raise DamagedCache(f"what the cache holds makes a summary of more than {most} bytes")
        held += read
        if b"\n" in read or not read:
            *lines, rest = bytes(held).split(b"\n")
            yield from lines
            held = bytearray(rest)
        if not read:
            yield from [rest] if rest else []
            return


def _ending(code: int, complaint: str, silence: int) -> str:
    if code == -signal.SIGALRM:
        return f"reading it was ended after {silence} s and more without a sign of life"
    if code == -signal.SIGKILL:
        return "reading it was ended by the system, as happens when memory runs out"
    if code < 0:
        return f"reading it crashed ({signal.Signals(-code).name})"
    return f"reading it failed ({complaint.splitlines()[-1] if complaint else f'status {code}'})"


def main(asked: str) -> None:
    """The child: do what is asked, say events and then one result or error on standard output."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints breaks no message
    wanted = json.loads(asked)
    folder = Path(wanted["folder"])
    ledgers, rows, shards = _declared(folder)
    silence = wanted["silence"] + shards // 10 + ledgers // 10**7
    tasks = _tasks()
    _limit(wanted["memory"] + PER_BYTE * ledgers + PER_ROW * rows)

    def say(message: dict[str, Any]) -> None:
        signal.alarm(silence)  # the kernel ends a child that stays silent
        out.write(json.dumps(message) + "\n")
        out.flush()

    def report(event: Event) -> None:
        say({"event": type(event).__name__, "fields": asdict(event)})

    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(silence)
    say(_outcome(lambda: tasks[wanted["task"]](folder, report, **wanted["options"]), folder))


def _declared(folder: Path) -> tuple[int, int, int]:
    """Bytes of the ledgers, rows that the shards may hold, and how many shards there are: what an honest cache needs
    grows with these. Space that a file claims and does not take on the disk declares nothing.
    """
    ledgers = sum(map(_taken, folder.glob("*.jsonl")))
    shards = [_taken(path) for path in (folder / "shards").glob("*")]
    items = _taken(folder / "manifest.jsonl") // 64  # an honest manifest has a longer id for each
    return ledgers, min(items, sum(min(size // SMALLEST, MAX_ROWS) for size in shards)), len(shards)


def _taken(path: Path) -> int:
    try:
        stat = path.lstat()
    except OSError:
        return 0
    return min(stat.st_size, 8 * 512 * stat.st_blocks)  # file systems that compress take less than they hold


def _outcome(work: Callable[[], Mapping[str, Any]], folder: Path) -> dict[str, Any]:
    try:
        require_plain_files(folder)
        return {"result": work()}
    except FacedepError as error:
        return {"error": type(error).__name__, "message": str(error)}
    except MemoryError:
        return {"error": "DamagedCache", "message": f"{folder}: it needs more memory to look at than a cache does"}
    except Exception as error:  # whatever a stranger made the code do that nobody foresaw: said, with the cache's name
        return {"error": "DamagedCache", "message": f"{folder}: it is not a cache that can be read ({error!r})"}


def _tasks() -> dict[str, Callable[..., Mapping[str, Any]]]:
    from facedep_jax.cache.maintenance.inspect import inspect_cache
    from facedep_jax.cache.maintenance.verify import verify_cache

    return {"inspect": inspect_cache, "verify": verify_cache}


def _limit(memory: int) -> None:
    """No more memory than this, no file written, few open at once, no core file."""
    limits = {resource.RLIMIT_AS: memory, resource.RLIMIT_NOFILE: 64}
    lower_limits(limits | {resource.RLIMIT_FSIZE: 0, resource.RLIMIT_CORE: 0})


if __name__ == "__main__":
    end_with_parent()
    main(sys.argv[1])
