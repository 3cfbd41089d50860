"""How many test AUCs of a run have been read: a line for each look, in the run's `test_reads.jsonl`.

Whoever chooses by a figure that is looked at again and again chooses by the test split. A look is one command that gave
AUCs of the run on items of its split test: `train-head` those of head, members and baselines, `evaluate` one.
"""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from msgspec import Meta, Struct

from facedep_jax.checked_records import as_record
from facedep_jax.errors import RunError
from facedep_jax.file_opening import SUMMARY, parse_json, read_text
from facedep_jax.progress_events import Note, Report

FILE = "test_reads.jsonl"


class Look(Struct):
    """A line of the file."""

    aurocs: Annotated[int, Meta(ge=0, lt=2**31)]
    first: bool


class Reads(NamedTuple):
    """AUCs read so far; `whole`: from training on. A run of an earlier version began to count later."""

    aurocs: int
    whole: bool

    def __str__(self) -> str:
        return f"{'' if self.whole else 'at least '}{self.aurocs:,}"


def aurocs_on_test(summary: Mapping[str, Any]) -> int:
    """How many AUCs on test a training's summary has: of the model, of each member of several, of each baseline."""
    judged = [found["test"] for found in (summary["metrics"], *summary["baselines"].values()) if found["test"]]
    members = [row["test_auroc"] for row in summary.get("members", ())]
    every = [figures["auroc"] for figures in judged] + (members if len(members) > 1 else [])
    return sum(auroc is not None for auroc in every)


def write_look(run: Path, by: str, aurocs: int, first: bool = False) -> None:
    """Add a look by a command; the line of training is the `first`. Raises OSError where the run cannot be written."""
    line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "by": by, "aurocs": aurocs, "first": first}
    with open(
        run / FILE, "ab", buffering=0, opener=_not_through_a_link
    ) as stream:  # one write of one line: looks at the same time are all kept
        stream.write(f"{json.dumps(line)}\n".encode())


def _not_through_a_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def looked(run: Path, by: str, aurocs: int, report: Report) -> Reads:
    """Count a look and give the sum; in a run that cannot be written it is said that this one is not kept."""
    before = reads_of(run)
    try:
        write_look(run, by, aurocs)
    except OSError as error:
        report(Note(f"that test figures were read cannot be kept in {run / FILE} ({error.strerror})", "warning"))
    return Reads(before.aurocs + aurocs, before.whole)


def reads_of(run: Path) -> Reads:
    """What has been read so far. Raises RunError for a damaged file."""
    path = run / FILE
    try:
        looks = [as_record(path, Look, parse_json(path, line)) for line in read_text(path, SUMMARY).splitlines()]
    except FileNotFoundError:
        return Reads(0, False)
    except OSError as error:
        raise RunError(f"{error}; remove it to count from now on") from error
    return Reads(sum(look.aurocs for look in looks), any(look.first for look in looks))
