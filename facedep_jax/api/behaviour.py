"""`describe`: how faces in the clips of a cache behaved."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from facedep_jax.api.extraction import Place
from facedep_jax.api.listeners import automatic
from facedep_jax.api.public_function import public
from facedep_jax.api.runs import Run
from facedep_jax.api.training import Caches, opened
from facedep_jax.api.words import in_arguments
from facedep_jax.descriptors.descriptor_tables import places
from facedep_jax.descriptors.summary import DescribeSummary, describe_and_write
from facedep_jax.errors import SettingsError
from facedep_jax.progress_events import Report
from facedep_jax.shown_facts import ShownFacts
from facedep_jax.text_escaping import as_text


class Described(ShownFacts):
    """What `describe` found: `clips` and `persons` are its tables, docs/descriptors.md names their columns."""

    def __init__(self, summary: DescribeSummary):
        self.summary = summary

    @property
    def clips(self) -> pl.DataFrame:
        """A row a clip, or a segment of one."""
        return _frame(self.summary["clips"])

    @property
    def persons(self) -> pl.DataFrame:
        """A row a person."""
        return _frame(self.summary["persons"])

    def _title(self) -> str:
        return f"behaviour of faces in {self.summary['cache']}"

    def _facts(self) -> Mapping[str, Any]:
        said = self.summary
        return {
            "clips": len(said["clips"]),
            "persons": len(said["persons"]),
            "descriptors": len(said["descriptors"]),
            "by": said["run"],
            "differences from": said["baseline"],
            "written": ", ".join(said["tables"]),
            "inputs differ": said["inputs"],
            "meaning": said["meaning"],
            "warnings": in_arguments("; ".join(said["warnings"])),
            "warning": said["warning"],
        }

    def _table(self) -> pl.DataFrame:
        return self.clips


def _frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Names that are not UTF-8 as `as_text` has them; types by every row."""
    texts = [{name: as_text(v) if isinstance(v, str) else v for name, v in row.items()} for row in rows]
    return pl.DataFrame(texts, infer_schema_length=None)


@public()
def describe(
    cache: Caches,
    run: Place | Run | None = None,
    *,
    out: Place | None = None,
    long: bool = False,
    baseline: str | None = None,
    segments: Place | None = None,
    positive: Sequence[str] | None = None,
    report: Report = automatic,
) -> Described:
    """Describe how faces behaved, a row a clip and a row a person; as the command `describe`.

    `run` gives the probabilities that are described. Raises SettingsError and OutputError for tables that cannot be
    written, and what a baseline or segments cannot mean.
    """
    if positive is not None and run is None:
        raise SettingsError("positive says what a head's score is of; name a run")
    where = places(Path(out) if out else None, long)
    head = None if run is None else (run if isinstance(run, Run) else Run(run)).head_of(positive)
    summary = describe_and_write(
        opened(cache)[0],
        head,
        where,
        report,
        baseline=baseline,
        segments=Path(segments) if segments else None,
    )
    return Described(summary)
