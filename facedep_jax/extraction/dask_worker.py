"""The other end of `distributed_extraction.py`: a task in, its shards written, and what became of its files out.

Knows nothing of ledgers or of other tasks.
"""

import os
from pathlib import Path
from typing import Any

from facedep_jax.backbones.engine_parity_check import CheckedEngine
from facedep_jax.cache.feature_spec import fingerprint
from facedep_jax.cache.shard_writer import ShardWriter
from facedep_jax.errors import ClusterError
from facedep_jax.extraction.engine_loading import IN_FLIGHT, load_checked_engine
from facedep_jax.extraction.local_extraction import Extraction
from facedep_jax.extraction.plan import Plan, plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.progress_events import Event, Note
from facedep_jax.toml_settings import differences

_ready: dict[str, tuple[Plan, CheckedEngine]] = {}  # by fingerprint: one engine serves all tasks of a process


class _TaskWriter(ShardWriter):
    """Shards on the disk and everything else in memory, for the driver to write down."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.failed: dict[str, Any] = {}
        self.entries: list[dict[str, Any]] = []
        self.listings: list[dict[str, Any]] = []
        self.cleared: list[str] = []

    def _committed(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)

    def add_listing(self, entry: dict[str, Any]) -> None:
        self.listings.append(entry)

    def clear_failure(self, path: str) -> None:
        self.cleared.append(path)

    def record_failure(self, path: str, item: str | None, stage: str, reason: str) -> None:
        """The extraction's tally says so, too."""


def compute_task(task: dict[str, Any]) -> dict[str, Any]:
    """Compute the listings of one task; see `cluster.Distribution` for what goes in and comes out.

    Raises ClusterError where this worker would compute other numbers than the driver planned.
    """
    notes: list[tuple[str, str]] = []

    def report(event: Event) -> None:
        if isinstance(event, Note):
            notes.append((event.text, event.level))

    plan, engine = _prepared(task, report)
    writer = _TaskWriter(Path(task["shards"]), task["spec"], engine, plan.settings.shard_rows)
    writer.partial = task["partial"]
    extraction = Extraction(writer, engine, plan, report=report)
    source = task["source"]
    tally = extraction.run([(source, listing) for listing in source.listings])
    writer.commit()
    return {
        "engine": engine.name,
        "entries": writer.entries,
        "features": writer.features_committed,
        "listings": writer.listings,
        "cleared": writer.cleared,
        "failures": tally.failures,
        "new": tally.new,
        "notes": notes,
    }


def _prepared(task: dict[str, Any], report: Any) -> tuple[Plan, CheckedEngine]:
    name = fingerprint(task["planned"])
    if name not in _ready:
        where = _settle(task["local_workers"])
        plan = plan_extraction(task["kinds"], ExtractSettings(**task["settings"]))
        differing = differences(task["planned"], plan.spec)
        if differing:
            raise ClusterError(
                f"{where} would compute otherwise than planned (driver → worker): {'; '.join(differing)}. Weights and "
                "detectors have to be the same under the same paths"
            )
        _ready[name] = plan, load_checked_engine(plan, lambda event: report(_at(where, event)), IN_FLIGHT)
    return _ready[name]


def _at(where: str, event: Event) -> Event:
    return Note(f"{where}: {event.text}", event.level) if isinstance(event, Note) else event


def _settle(local_workers: int) -> str:
    """Take this worker's share of the machine, before jax or OpenVINO look at it; its name.

    Workers that share a machine get cores of their own, and a GPU of their own where there are any. On a running
    cluster that is for whoever starts the workers (docs/cluster.md).
    """
    from distributed import get_worker

    number = get_worker().name
    if local_workers and isinstance(number, int):
        cores = sorted(os.sched_getaffinity(0))
        own = cores[number % len(cores) :: local_workers]
        os.sched_setaffinity(0, own)
        cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*"))
        if cards:
            os.environ.setdefault("CUDA_VISIBLE_DEVICES", str(number % len(cards)))
    return f"worker {number}"
