"""Extractions to which the operating system refuses a call. Runs in a process with the shim.

python -m soak.refusals FOLDER EVERY [PLANTED BUG]...
"""

import errno
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

from facedep_jax.cache.lock import LOCK
from soak import material, plants
from soak.checks import Broken, check_finished, check_stopped, described, require
from soak.disk import Disk
from soak.recorder import preloaded
from soak.trial import SHARD_ROWS, Trial, acknowledge, acknowledging, report

MODES = [(error, lasting) for error in (errno.ENOSPC, errno.EIO) for lasting in (False, True)]
DONE, FAILED = 3, 1  # exit statuses; one of the drawn files is broken, so a run that does everything ends with 3


def refuse(trial: Trial, number: int, error: int, lasting: bool) -> tuple[int, int, int]:
    """Extract with call `number` refused, then again undisturbed; returns calls, refused calls and exit status."""
    Disk().put(trial.root)
    with acknowledging(trial.recorder):
        trial.recorder.start(number, error, lasting)
        status, _, said = trial.command()
        calls, refused = trial.recorder.stop()
    acknowledged = {}
    acknowledge(acknowledged, trial.recorder.calls())
    if status == DONE:
        check_finished(trial.cache, trial.undisturbed)
    else:
        judge(status, said)
    held = check_stopped(trial.cache, acknowledged)
    again, summary, said = trial.command()
    require(again == DONE, f"the run after it ended with {again}: {said[-600:]}")
    rows = json.loads(summary)["rows"]
    require(rows == trial.rows - held, f"{rows} rows computed, {trial.rows - held} were missing")
    check_finished(trial.cache, trial.undisturbed)
    return calls, refused, status


def real_command(folder: Path, number: int, error: int, lasting: bool) -> int:
    """The same to a process of its own, started as a user would; returns its exit status. Raises Broken.

    How many calls it makes depends on how its threads take turns, so that call `number` may not come; and what the lock
    says is emptied when all is done. Where nothing else was refused the command has to do everything.
    """
    cache, undisturbed, said = folder / "real", folder / "undisturbed", folder / "refused"
    shutil.rmtree(cache, ignore_errors=True)
    said.unlink(missing_ok=True)
    orders = {"SOAK_FOLDER": cache, "SOAK_REFUSE": number, "SOAK_ERROR": error, "SOAK_LASTING": int(lasting)}
    orders["SOAK_REFUSED"] = said
    command = [sys.executable, "-m", "facedep_jax", *material.arguments(folder / "source", cache, SHARD_ROWS)]
    shim = {"LD_PRELOAD": preloaded(folder)["LD_PRELOAD"]} | {name: str(value) for name, value in orders.items()}
    refused = subprocess.run(command, env=os.environ | shim, capture_output=True, text=True, check=False)
    if set(said.read_text().splitlines()) <= {str(cache / LOCK)} and refused.returncode == DONE:
        check_finished(cache, undisturbed)
    else:
        judge(refused.returncode, refused.stderr)
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    require(again.returncode == DONE, f"the run after it ended with {again.returncode}: {again.stderr[-600:]}")
    check_finished(cache, undisturbed)
    return refused.returncode


def judge(status: int, said: str) -> None:
    """A run to which something was refused ends with status 1 and one sentence."""
    complaints = [line for line in said.splitlines() if line.startswith("error: ")]
    require(status == FAILED and len(complaints) == 1, f"exit status {status}, said: {said[-600:]}")
    require("Traceback" not in said and "Exception" not in said, f"said: {said[-600:]}")


def main(folder: str, every: str, *bugs: str) -> None:
    """Refuse every `every`-th call in every mode; one line for every broken promise, and the counts at the end.

    With planted bugs: for each of them cases until a promise is broken.
    """
    trial = Trial(Path(folder))
    calls, _, _ = refuse(trial, 0, 0, False)
    cases = list(itertools.product(range(1, calls + 1, int(every)), MODES))
    random.Random(0).shuffle(cases)
    for bug in bugs:
        with plants.planted(bug):
            tried = enumerate((attempt(trial, *case) for case in cases), start=1)
            number, by = next(((n, broken) for n, (broken, _, _) in tried if broken), (None, "not caught"))
            report(planted=bug, caught_after=number, by=by)
    if bugs:
        return
    results = [attempt(trial, *case) for case in cases]
    for broken in filter(None, (broken for broken, _, _ in results)):
        report(broken=broken)
    report(
        calls=calls,
        cases=len(cases),
        refused=sum(refused > 0 for _, refused, _ in results),
        ended_with_an_error=sum(status == FAILED for _, _, status in results),
    )


def attempt(trial: Trial, number: int, mode: tuple[int, bool]) -> tuple[str, int, int]:
    """One case: the broken promise if there was one, how many calls were refused, and the exit status."""
    error, lasting = mode
    try:
        with described(f"call {number} refused with {errno.errorcode[error]}{', and all later ones' * lasting}"):
            _, refused, status = refuse(trial, number, error, lasting)
            return "", refused, status
    except Broken as broken:
        return str(broken), 0, 0


if __name__ == "__main__":
    main(*sys.argv[1:])
