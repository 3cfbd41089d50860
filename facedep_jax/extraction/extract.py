"""Stage one: sources → media → backbones → cache, in this process or in several. Knows nothing of labels."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from facedep_jax.backbones.engine_parity_check import LazyEngine
from facedep_jax.cache.cache_writer import CacheWriter
from facedep_jax.cache.feature_spec import fingerprint, read_header
from facedep_jax.cache.file_hash_cache import KnownFiles
from facedep_jax.cache.maintenance.ignored_files import note_ignored
from facedep_jax.cache.tombstones import Purged
from facedep_jax.extraction.cluster_address import require_guarded
from facedep_jax.extraction.files_summary import FilesSummary, files_summary
from facedep_jax.extraction.local_extraction import Extraction, ItemResolver, KeepFrame
from facedep_jax.extraction.main_guard import check_main_guard
from facedep_jax.extraction.outcomes import Outcomes, write_down
from facedep_jax.extraction.pending_listings import Pending, say_unsaid, settle_known, settle_refused
from facedep_jax.extraction.plan import IN_FLIGHT, ExtractionPlan, kept_taps, load_checked_engine, plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.file_system import require_output
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.provenance import write_config
from facedep_jax.sources import Source
from facedep_jax.sources.segment_tables import packed
from facedep_jax.toml_settings import to_table


class ExtractSummary(FilesSummary):
    """What `extract` did, beside what became of the files. `features`: (cells, cells, channels) by tap; `untrained`:
    whether the weights are random.
    """

    cache: str
    fingerprint: str
    seconds: float
    images_per_second: float
    waited_seconds: dict[str, float]
    engine: str
    precision: str
    untrained: bool
    features: dict[str, list[int]]


def extract(
    sources: list[Source],
    out: Path,
    settings: ExtractSettings,
    report: Report = silent,
    check: Callable[[dict[str, Any]], None] = lambda spec: None,
    keep: KeepFrame | None = None,
) -> ExtractSummary:
    """Extract everything that `sources` list into the cache at `out`.

    What the cache holds already is not computed again. `check` gets the spec and may raise before anything is
    written; `keep(item, number, frame)` gets every frame of a clip that this process decodes. Raises FacedepError for
    settings, weights, engines and outputs that cannot be used; a file that cannot be used is recorded and counted.
    """
    begun = time.monotonic()
    require_output(out, link=True)
    if settings.scheduler:
        require_guarded(settings.scheduler, settings.insecure)
    elif settings.elsewhere:
        check_main_guard()
    kinds = tuple(k for k in ("image", "clip") if any(k in source.kinds() for source in sources))
    plan = plan_extraction(kinds, settings, report)
    check(plan.spec)
    engine = LazyEngine(lambda: load_checked_engine(plan, report, IN_FLIGHT))
    if not (out / "cache.json").exists():  # what cannot be computed leaves no empty cache behind
        if not settings.elsewhere:
            engine.load()
        elif settings.workers and settings.precision == "int8":
            load_checked_engine(plan, report)  # networks are quantised here, once for all workers
    spec = _with_held_kinds(out, plan.spec)
    with CacheWriter(out, spec, engine, settings.shard_rows) as writer:
        record = {"fingerprint": fingerprint(spec), **spec}
        write_config(out / "config.toml", "extract", to_table(plan.settings), {"cache": record})
        note_ignored(out, [(source.where, source.others, _looked_at(source)) for source in sources])
        outcomes, engine_name = _run(sources, writer, engine, plan, report, keep)
        with outcomes.waits.on("write"):
            writer.commit()
    seconds = time.monotonic() - begun
    return {
        "cache": str(out),
        "fingerprint": fingerprint(spec),
        **files_summary(sources, writer, outcomes),
        "seconds": round(seconds, 3),
        "images_per_second": round(writer.features_committed / seconds, 3),
        "waited_seconds": {stage: round(spent, 3) for stage, spent in outcomes.waits.seconds.items()},
        "engine": engine_name,
        "precision": settings.precision,
        "untrained": any(w.untrained for w in plan.weights.values()),
        "features": {name: [t.cells, t.cells, t.channels] for name, t in kept_taps(plan.taps, settings.flip).items()},
    }


def _looked_at(source: Source) -> pl.Series | None:
    """The paths that a source names, None where these are all that there are."""
    return None if source.whole else source.listings.frame["path"]


def _run(
    sources: Sequence[Source],
    writer: CacheWriter,
    engine: LazyEngine,
    plan: ExtractionPlan,
    report: Report,
    keep: KeepFrame | None,
) -> tuple[Outcomes, str]:
    """What became of the listings, and the name of the engine that computed ("none": there was nothing to compute)."""
    pending = Pending([(source, packed(source.listings)) for source in sources])
    if plan.settings.limit is not None and plan.settings.limit < len(pending):
        report(Note(f"--limit: {plan.settings.limit} of {len(pending)} files, spread over splits and emotions"))
        pending = pending.spread(plan.settings.limit)
    say_unsaid(pending, writer, report, {"subject": "--subjects or --subject-regex"})
    known, purged = KnownFiles(writer.folder), Purged(writer.folder)
    items = ItemResolver(known, purged, plan.settings.rehash)
    failed_before = {} if plan.settings.retry_failed else dict(writer.failed)
    outcomes = Outcomes(len(pending), failed_before, partial(write_down, writer), report)
    pending = settle_refused(pending, outcomes)
    if not plan.settings.rehash:
        pending = settle_known(pending, known, purged, writer, outcomes)
    outcomes.expect(listing.file for _, listing in pending.of("clip"))
    try:
        if plan.settings.elsewhere:
            from facedep_jax.extraction.distributed_extraction import Distribution

            distribution = Distribution(writer, plan, items, outcomes)
            distribution.run(list(pending))
            name = distribution.engine_name
        else:
            Extraction(writer, engine, plan, items, outcomes, keep).run(pending)
            name = engine.name if engine.loaded else "none"
    finally:
        known.save()
    if outcomes.purged:
        report(Note(f"{len(outcomes.purged)} items were purged from this cache and are left out"))
    if plan.settings.limit is None:
        _retire(sources, writer, report)
    _say_nested(sources, writer, report)
    return outcomes, name


def _retire(sources: Sequence[Source], writer: CacheWriter, report: Report) -> None:
    """A file that was moved, renamed or deleted since the last pass leaves the listings; its features stay."""
    for source in sources:
        if source.whole:
            gone = writer.retire_listings(source.where, source.listings.frame["path"])
            if gone:
                report(Note(f"{source.where}: {gone} files listed before are gone and not listed any more"))


def _say_nested(sources: Sequence[Source], writer: CacheWriter, report: Report) -> None:
    """A source within another lists the same files again, perhaps with other folders for their emotions."""
    listed = sorted({*writer.sources(), *(source.where for source in sources)})
    for source in sources:
        here = Path(source.where)
        for other in listed:
            there = Path(other)
            if here.is_absolute() and there.is_absolute() and (there in here.parents or here in there.parents):
                lies = "lies around" if there in here.parents else "lies in"
                said = (
                    f"{writer.folder} also lists {other}, which {lies} {source.where}: what both hold is listed twice; "
                )
                report(Note(f"{said}`cache forget` retires one of them", "warning"))


def _with_held_kinds(out: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """`spec`, and for a kind that this call has no file of, what the cache at `out` says of it."""
    held = read_header(out)["input"] if (out / "cache.json").is_file() else {}
    return {**spec, "input": held | spec["input"]}
