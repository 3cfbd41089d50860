"""Cache, head and place → descriptors there, and what is said of it. Who does what in which order."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import polars as pl

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.descriptors.describe_cache import describe_cache
from facedep_jax.descriptors.descriptor_tables import printed_tables, wide_tables, write_tables
from facedep_jax.descriptors.persons import from_baseline, over_persons
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Report, silent
from facedep_jax.text_escaping import as_name


class DescribeSummary(TypedDict):
    """The summary of `describe`; rows of clips and persons are those of the tables, with names as they are."""

    cache: str
    run: str | None
    positive: list[str]
    emotions: list[str]
    threshold: float | None
    descriptors: list[str]
    clips: list[dict[str, Any]]
    persons: list[dict[str, Any]]
    baseline: str | None
    tables: list[str]
    warnings: list[str]  # what could not be described
    warning: str  # empty unless probabilities mean nothing
    untrained: bool
    inputs: str  # how frames differ from those that the head learned from
    meaning: str
    seconds: float


def describe_and_write(
    cache: Cache,
    head: Head | None,
    where: Mapping[str, Path],
    report: Report = silent,
    *,
    baseline: str | None = None,
    segments: Path | None = None,
) -> DescribeSummary:
    """Describe the clips and persons of `cache`, as differences from each person's `baseline` where one is asked for.
    Files that the table `segments` names are cut by it, others as their listings say.

    Their tables are written to `where`, as `places` gives it. Raises OutputError, and what `describe_cache` and
    `from_baseline` raise.
    """
    begun = time.monotonic()
    described = describe_cache(cache, head, report, segments)
    persons = over_persons(described.clips, described.names)
    if baseline:
        clips, persons, without = from_baseline(described.clips, described.names, baseline)
        described = replace(described, clips=clips, missing=(*described.missing, *without))
    wide = wide_tables(described, persons)
    return {
        "cache": str(cache.path),
        "run": str(head.path) if head else None,
        "positive": list(head.positive_emotions) if head else [],
        "emotions": list(head.emotions) if head else [],
        "threshold": head.threshold if head else None,
        "descriptors": list(described.names),
        "clips": _rows(wide["clips"]),
        "persons": _rows(wide["persons"]),
        "baseline": baseline,
        "tables": write_tables(printed_tables(wide, described), where),
        "warnings": list(described.missing),
        "warning": described.warning,
        "untrained": head.untrained if head else False,
        "inputs": described.inputs,
        "meaning": described.meaning,
        "seconds": round(time.monotonic() - begun, 3),
    }


def _rows(table: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table, names exactly as they are."""
    return [
        {name: as_name(value) if isinstance(value, str) else value for name, value in row.items()}
        for row in table.iter_rows(named=True)
    ]
