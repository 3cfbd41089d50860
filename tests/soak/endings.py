"""Every command that writes, told to end, killed or refused a call at a random moment, then the same command again.

Moments are drawn from the whole life of a process, from when it answers signals, and calls from all of those by which
it changes files below its output. Knows nothing of what commands do.
"""

import ctypes
import errno
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple

import flax  # noqa: F401 — imported here so that no child has to
import h5py  # noqa: F401
import jax  # noqa: F401
import polars  # noqa: F401
from support.every_command import ALTERS, COMMANDS, arguments_of, make_material

from facedep_jax.cache.maintenance.verify import diff_caches, verify_cache
from facedep_jax.cli import main
from soak import recorder
from soak.checks import Broken, described, require

NAMES = tuple(COMMANDS)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
KILLED = signal.SIGKILL
KILLS = (KILLED,)
MARK = "SOAK_ENDING"
LONGEST = 180.0  # seconds for anything to come to its end on a busy machine
HANDLED = 1 << (signal.SIGTERM - 1)
ERRORS = (errno.ENOSPC, errno.EIO)


class Refusal(NamedTuple):
    """Call `number` on files below `folder` fails with `error`, or all do from there on; 0: none, they are counted."""

    folder: Path
    number: int = 0
    error: int = 0
    lasting: bool = False


class Started(NamedTuple):
    """A process of the command line, the word that its children know it by, and what it says on standard error."""

    process: ForkServerProcess
    mark: str
    said: Path

    def wait(self) -> int:
        """Its exit status, below 0 if a signal ended it. Raises TimeoutError."""
        self.process.join(LONGEST)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"it did not end: {self.said.read_text()}")
        return self.process.exitcode

    def left(self) -> list[int]:
        """Processes that it has started and that are there still, some time after its end."""
        until = time.monotonic() + LONGEST
        while (found := list(self._children())) and time.monotonic() < until:
            time.sleep(0.05)
        return found

    def _children(self) -> Iterator[int]:
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes():
                    yield int(entry.name)
            except OSError:  # gone, or another user's
                continue


def start(arguments: list[str], notes: Path, refusal: Refusal | None = None) -> Started:
    """Run `arguments` as a process of its own; what it says lies in files beside `notes`. Refusals need the shim."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["soak.endings"])
    started = Started(
        context.Process(target=_run, args=(arguments, notes, mark := uuid.uuid4().hex, refusal)), mark, notes
    )
    started.process.start()
    return started


def _run(arguments: list[str], notes: Path, mark: str, refusal: Refusal | None) -> None:
    for number, file in ((1, notes.with_suffix(".out")), (2, notes)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.environ[MARK] = mark
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.argv = ["cli", *arguments]
    if refusal is None:
        main()
    shim = ctypes.CDLL(None)
    shim.soak_watch(os.fsencode(refusal.folder), b"")
    shim.soak_refuse(refusal.number, refusal.error, int(refusal.lasting))
    try:
        main()
    finally:
        notes.with_suffix(".calls").write_text(f"{shim.soak_counted()} {shim.soak_refusals()}")


class Endings:
    """Material, and of every command what an undisturbed one leaves and how long it takes."""

    def __init__(self, folder: Path, names: tuple[str, ...], refused: bool = False):
        self.folder, self.material = folder, make_material(folder / "material")
        self.place = folder / "place"
        self.counted = Refusal(self.place) if refused else None
        self.calls: dict[str, int] = {}
        if refused:
            os.environ |= recorder.preloaded(folder)  # of the server that forks, which is not there yet
        self.whole: dict[str, Path] = {}
        self.seconds: dict[str, float] = {}
        self.varying: dict[str, set[str]] = {}
        for name in names:
            self._undisturbed(name)

    def _undisturbed(self, name: str) -> None:
        """Twice: files that differ hold times or seconds, and only have to be there."""
        kept = [self.folder / "whole" / name.replace(" ", "-") / str(turn) for turn in range(2)]
        for there in kept:
            begun = time.monotonic()
            status = start(self._arguments(name), self.folder / "said", self.counted).wait()
            self.seconds[name] = time.monotonic() - begun
            require(status == 0, f"{name} undisturbed: {(self.folder / 'said').read_text()}")
            if self.counted:
                self.calls[name] = int((self.folder / "said.calls").read_text().split()[0])
            there.parent.mkdir(parents=True, exist_ok=True)
            os.rename(self.place, there)
        self.whole[name] = kept[0]
        self.varying[name] = set(_differing(*kept))

    def _arguments(self, name: str) -> list[str]:
        self.place.mkdir(exist_ok=True)
        return arguments_of(name, self.material, self.place / "out")

    def end(self, name: str, number: int, rng: random.Random) -> dict[str, Any]:
        """End one command by the signal `number`, and run it again. Raises Broken."""
        shutil.rmtree(self.place, ignore_errors=True)
        arguments = self._arguments(name)
        first = start(arguments, self.folder / "said")
        _until_signals_are_answered(first)
        time.sleep(rng.uniform(0, self.seconds[name]))
        if first.process.exitcode is None:
            os.kill(first.process.pid or 0, number)
        status, said = first.wait(), (self.folder / "said").read_text()
        ended = status == (-KILLED if number == KILLED else 128 + number)
        require(ended or status == 0, f"status {status}: {said[-600:]}")
        require("Traceback" not in said and "Aborted" not in said, said[-1500:])
        if ended and number != KILLED:
            spoken = sum(line.startswith("interrupted: ") for line in said.splitlines())
            shown = name == "monitor" and "interrupted" in (self.folder / "said.out").read_text()  # a way to end it
            require(spoken == 1 or shown, said[-600:])
        require(not (left := first.left()), f"processes are left: {left}")
        if name == "monitor":
            self._check_recording(ended)
        if ended or name not in ALTERS:
            again = start([*arguments, *(["--resume"] if name == "train-head" else [])], self.folder / "said")
            whole, said = again.wait() == 0, (self.folder / "said").read_text()
            # What is there already came before its process ended, and has to be as it should.
            require(whole or "is there already" in said, f"again: {said[-600:]}")
        self._compare(name)
        return {"command": name, "signal": signal.Signals(number).name, "ended": ended}

    def refuse(self, name: str, error: int, lasting: bool, rng: random.Random) -> dict[str, Any]:
        """Refuse one call of a command, or all from one on, and run it again. Raises Broken.

        At status 0 everything has to be there, though a call was refused: what nobody needed, or was done again.
        """
        shutil.rmtree(self.place, ignore_errors=True)
        arguments, number = self._arguments(name), rng.randint(1, self.calls[name])
        first = start(arguments, self.folder / "said", Refusal(self.place, number, error, lasting))
        status, said = first.wait(), (self.folder / "said").read_text()
        told = f"call {number} of {self.calls[name]}, status {status}: {said[-1500:]}"
        errors = sum(line.startswith("error: ") for line in said.splitlines())
        require("Traceback" not in said and "Exception ignored" not in said, told)
        require((status, errors) in ((0, 0), (1, 1)), told)
        require(not (left := first.left()), f"processes are left: {left}")
        if status == 0:
            self._compare(name)
        elif name == "monitor":
            self._check_recording(True)
        if status or name not in ALTERS:
            again = start([*arguments, *(["--resume"] if name == "train-head" else [])], self.folder / "said")
            whole, said = again.wait() == 0, (self.folder / "said").read_text()
            require(whole or "is there already" in said, f"{told}; again: {said[-600:]}")
        self._compare(name)
        return {"command": name, "error": errno.errorcode[error], "ended": status == 1}

    def _check_recording(self, ended: bool) -> None:
        """Rows are whole, and are kept: the next one has to have another name."""
        record = self.place / "out.csv"
        if record.exists():
            lines = record.read_bytes().split(b"\r\n")
            commas = {line.count(b",") for line in lines[:-1]}
            require(len(commas) <= 1, "a row of the recording is not whole")  # none where the disk took no first one
        shutil.rmtree(self.place)
        self.place.mkdir()

    def _compare(self, name: str) -> None:
        """Everything is there as if nothing had happened, and nothing else is."""
        whole = self.whole[name]
        if (whole / "out" / "cache.json").exists():
            verified = verify_cache(self.place / "out")
            require(verified["ok"], f"the cache is damaged: {verified}")
            diff = diff_caches(whole / "out", self.place / "out")
            require(diff["equal"], f"another cache: {diff}")
        else:
            found = set(_differing(whole, self.place)) - self.varying[name]
            require(not found, f"not as undisturbed: {sorted(found)}")


def _until_signals_are_answered(started: Started) -> None:
    """Until the command line is reached: before that Python itself answers."""
    status = Path(f"/proc/{started.process.pid}/status")
    while started.process.exitcode is None:
        caught = next(line for line in status.read_text().splitlines() if line.startswith("SigCgt"))
        if int(caught.split()[1], 16) & HANDLED:
            return
        time.sleep(0.001)


def _differing(one: Path, other: Path) -> Iterator[str]:
    """Names of files that only one has, or that differ, other than shards, whose names are their hashes."""
    trees = [{str(path.relative_to(top)): path for path in top.rglob("*")} for top in (one, other)]
    for name in sorted(trees[0].keys() | trees[1].keys()):
        a, b = (tree.get(name) for tree in trees)
        if "/shards/" in name and not name.endswith(".tmp"):
            continue
        if a is None or b is None or (a.is_file() and a.read_bytes() != b.read_bytes()):
            yield name


def run(
    folder: Path, number: int, seed: int, signals: tuple[int, ...], names: tuple[str, ...] = NAMES
) -> dict[str, Any]:
    """`number` endings, the commands taking turns; how many came too late, and what broke a promise."""
    endings, rng = Endings(folder, names), random.Random(seed)
    found, broken = [], []
    for turn in range(number):
        name, how = names[turn % len(names)], signals[turn // len(names) % len(signals)]
        try:
            with described(f"{name}, {signal.Signals(how).name}, number {turn}"):
                found.append(endings.end(name, how, rng))
        except (Broken, TimeoutError) as error:
            broken.append(str(error))
    return {"tried": number, "ended": sum(one["ended"] for one in found), "broken": broken}


def run_refused(folder: Path, number: int, seed: int, names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    """`number` refusals, the commands taking turns, of a full disk and of one that fails, once and from then on."""
    endings, rng = Endings(folder, names, refused=True), random.Random(seed)
    found, broken = [], []
    for turn in range(number):
        name, way = names[turn % len(names)], turn // len(names)
        error, lasting = ERRORS[way % 2], way // 2 % 2 == 0
        try:
            with described(f"{name}, {errno.errorcode[error]}{' from then on' * lasting}, number {turn}"):
                found.append(endings.refuse(name, error, lasting, rng))
        except (Broken, TimeoutError) as said:
            broken.append(str(said))
    calls = {name: endings.calls[name] for name in names}
    return {"tried": number, "ended": sum(one["ended"] for one in found), "calls": calls, "broken": broken}
