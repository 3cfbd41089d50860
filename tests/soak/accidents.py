"""Extractions that are stopped, and power that fails, after any call on a file. Runs in a process with the shim.

python -m soak.accidents FOLDER HISTORIES SEED [PLANTED BUG]...
"""

import copy
import random
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from soak import plants
from soak.checks import Acknowledged, Broken, check_finished, check_stopped, described, require
from soak.disk import Disk, files_below
from soak.recorder import Call
from soak.trial import Trial, acknowledge, report

MOST_ACCIDENTS = 3
MISSED = "the recorder missed something: what is replayed differs from what is there"


def check_resumed(trial: Trial, acknowledged: Acknowledged) -> None:
    """The cache as an accident left it keeps its promises, and one more run completes it without redoing anything."""
    held = check_stopped(trial.cache, acknowledged)
    summary = trial.extract(trial.cache)
    require(summary["rows"] == trial.rows - held, f"{summary['rows']} rows computed, {trial.rows - held} were missing")
    check_finished(trial.cache, trial.undisturbed)


def stop_everywhere(trial: Trial, every: int) -> dict[str, int]:
    """Stop one extraction after every `every`-th call, and in the middle of every write; returns how many."""
    Disk().put(trial.root)
    _, calls = trial.recorded()
    whole = Disk()
    replay(whole, calls)
    require(whole.files() == files_below(trial.root), MISSED)
    stops = [(n, part) for n in range(0, len(calls) + 1, every) for part in (False, True)]
    done = 0
    for number, half in stops:
        if half and (number == len(calls) or calls[number].op != "write"):
            continue
        disk, acknowledged = Disk(), {}
        replay(disk, calls[:number])
        if half:
            disk.apply(calls[number]._replace(data=calls[number].data[: len(calls[number].data) // 2]))
        acknowledge(acknowledged, calls[:number])
        disk.put(trial.root)
        with described(f"stopped after call {number}{' and a half' * half}: {shown(calls, number)}"):
            check_resumed(trial, acknowledged)
        done += 1
    return {"calls": sum(call.op != "mark" for call in calls), "stops": done}


class History:
    """Accidents to one extraction, each to the run that resumes after the one before."""

    def __init__(self, trial: Trial, rng: random.Random):
        self.trial, self.rng = trial, rng
        self.disk, self.acknowledged, self.story = Disk(), {}, []
        self.held = 0  # rows that the cache has
        self.count = Counter()
        self.disk.put(trial.root)

    def run(self) -> Counter:
        """Up to three accidents, a run to the end, and another power cut, which must change nothing then."""
        for _ in range(self.rng.randint(1, MOST_ACCIDENTS)):
            self.accident()
        self.resume()
        with described("; ".join([*self.story, "resumed to the end, then power cut"])):
            self._cut_power()
            check_stopped(self.trial.cache, self.acknowledged)
            check_finished(self.trial.cache, self.trial.undisturbed)
        return self.count

    def accident(self) -> None:
        """Extract, and stop or lose power after a random call."""
        with described("; ".join([*self.story, "run on"])):
            _, calls = self.trial.recorded()
            whole = copy.deepcopy(self.disk)
            replay(whole, calls)
            require(whole.files() == files_below(self.trial.root), MISSED)
        number, power = self.rng.randint(0, len(calls)), self.rng.random() < 0.6
        replay(self.disk, calls[:number])
        acknowledge(self.acknowledged, calls[:number])
        self.story.append(f"{'power cut' if power else 'killed'} after call {number}: {shown(calls, number)}")
        with described("; ".join(self.story)):
            self._cut_power() if power else self._kill()
            self.held = check_stopped(self.trial.cache, self.acknowledged)

    def resume(self) -> None:
        """Extract to the end: what the cache has is not computed again."""
        with described("; ".join([*self.story, "resumed to the end"])):
            summary, calls = self.trial.recorded()
            missing = self.trial.rows - self.held
            require(summary["rows"] == missing, f"{summary['rows']} rows computed, {missing} were missing")
            check_finished(self.trial.cache, self.trial.undisturbed)
        replay(self.disk, calls)
        acknowledge(self.acknowledged, calls)

    def _kill(self) -> None:
        self.count["kills"] += 1
        self.disk.put(self.trial.root)

    def _cut_power(self) -> None:
        self.count["power cuts"] += 1
        self.disk.cut_power(self.rng)
        self.disk.put(self.trial.root)


def replay(disk: Disk, calls: Iterable[Call]) -> None:
    """Do to `disk` what `calls` did."""
    for call in calls:
        disk.apply(call)


def shown(calls: list[Call], number: int) -> str:
    """The last call that took place, and the first that did not."""
    words = [f"{c.op} {c.path} {c.target}".strip() for c in calls[max(number - 1, 0) : number + 1]]
    return " | ".join(words)


def main(folder: str, histories: str, seed: str, *bugs: str) -> None:
    """Stop everywhere, then draw histories; one line for every broken promise, and the counts at the end.

    With planted bugs: for each of them histories until a promise is broken.
    """
    trial, most = Trial(Path(folder)), int(histories)
    for bug in bugs:
        with plants.planted(bug):
            report(planted=bug, **first_broken(trial, random.Random(int(seed)), most))
    if bugs:
        return
    try:
        report(**stop_everywhere(trial, 1 if most > 100 else 5))
    except Broken as error:
        report(broken=str(error))
    rng, total = random.Random(int(seed)), Counter()
    for number in range(most):
        try:
            total.update(History(trial, rng).run(), histories=1)
        except Broken as error:
            report(broken=f"history {number}: {error}")
    report(**total)


def first_broken(trial: Trial, rng: random.Random, most: int) -> dict[str, Any]:
    """The first broken promise, and after how many histories."""
    for number in range(1, most + 1):
        try:
            History(trial, rng).run()
        except Broken as error:
            return {"caught_after": number, "by": str(error)}
    return {"caught_after": None, "by": f"not caught in {most} histories"}


if __name__ == "__main__":
    main(*sys.argv[1:])
