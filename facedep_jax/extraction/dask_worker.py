"""The other end of `distributed_extraction.py`: a task in, its shards written, and what became of its files out.

Knows nothing of ledgers or of other tasks.
"""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from facedep_jax.backbones.engine_interface import Engine
from facedep_jax.cache.feature_spec import fingerprint
from facedep_jax.cache.manifest_lines import ManifestLine
from facedep_jax.cache.shard_writer import ShardWriter
from facedep_jax.errors import ClusterError
from facedep_jax.extraction.local_extraction import Extraction, ItemResolver
from facedep_jax.extraction.outcomes import Outcome, Outcomes
from facedep_jax.extraction.pending_listings import Pending
from facedep_jax.extraction.plan import IN_FLIGHT, ExtractionPlan, load_checked_engine, plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.jax_environment import prepare_jax
from facedep_jax.progress_events import Event, Note, Report, silent
from facedep_jax.sources import Source
from facedep_jax.toml_settings import differences


@dataclass(frozen=True)
class WorkerTask:
    """Listings to compute, and what the driver has planned for them.

    `spec` is the cache's, `planned` the plan's own. `shards` is the cache's folder of shards, `partial` maps clips that
    were cut off to the parts and rows already committed. `local_workers`: how many share this machine, 0 on a cluster.
    """

    source: Source
    settings: ExtractSettings
    kinds: tuple[str, ...]
    spec: dict[str, Any]
    planned: dict[str, Any]
    shards: Path
    partial: dict[str, tuple[int, int]]
    local_workers: int


@dataclass(frozen=True)
class Done:
    """What came of a task: lines of the manifest for its shards, with `features` rows of features in all."""

    engine: str
    lines: list[ManifestLine]
    features: int
    outcomes: list[Outcome]
    notes: list[Note]


class _TaskWriter(ShardWriter):
    """Shards on the disk, and the lines that name them in memory, for the driver to write down."""

    def __init__(self, task: WorkerTask, engine: Engine):
        super().__init__(task.shards, task.spec, engine, task.settings.shard_rows)
        self.partial = task.partial
        self.lines: list[ManifestLine] = []

    def _committed(self, line: ManifestLine) -> None:
        self.lines.append(line)


_ready: dict[str, tuple[ExtractionPlan, Engine]] = {}  # by fingerprint: one engine serves all tasks of a process


def compute_task(task: WorkerTask) -> Done:
    """Compute the listings of one task.

    Raises ClusterError where this worker would compute other numbers than the driver planned.
    """
    notes: list[Note] = []
    became: list[Outcome] = []

    def report(event: Event) -> None:
        if isinstance(event, Note):
            notes.append(event)

    plan, engine = _prepared(task, report)
    writer = _TaskWriter(task, engine)
    pending = Pending([(task.source, task.source.listings)])
    outcomes = Outcomes(len(pending), {}, became.append, report)
    Extraction(writer, engine, plan, ItemResolver(), outcomes).run(pending)
    writer.commit()
    return Done(engine.name, writer.lines, writer.features_committed, became, notes)


def _prepared(task: WorkerTask, report: Report) -> tuple[ExtractionPlan, Engine]:
    name = fingerprint(task.planned)
    if name not in _ready:
        where = _settle(task.local_workers)
        at_worker = partial(_report_at, where, report)
        prepare_jax(silent if task.local_workers else at_worker)  # on one machine the driver has said it
        plan = plan_extraction(task.kinds, task.settings)  # the driver has said what it says
        differing = differences(task.planned, plan.spec)
        if differing:
            raise ClusterError(
                f"{where} would compute otherwise than planned (driver → worker): {'; '.join(differing)}. Weights and "
                "detectors have to be the same under the same paths"
            )
        _ready[name] = plan, load_checked_engine(plan, at_worker, IN_FLIGHT)
    return _ready[name]


def _report_at(where: str, report: Report, event: Event) -> None:
    report(Note(f"{where}: {event.text}", event.level) if isinstance(event, Note) else event)


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
