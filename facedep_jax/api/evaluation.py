"""`evaluate`: a run measured on a cache."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from facedep_jax.api.extraction import Place
from facedep_jax.api.figures import figures_frame
from facedep_jax.api.listeners import automatic
from facedep_jax.api.public_function import public
from facedep_jax.api.runs import Run
from facedep_jax.api.training import Caches, opened
from facedep_jax.api.words import in_arguments
from facedep_jax.evaluation.evaluate_run import RunEvaluation, evaluate_run
from facedep_jax.progress_events import Report
from facedep_jax.shown_facts import ShownFacts


class Evaluated(ShownFacts):
    """What `evaluate` found: `figures` is its table, `summary` has all."""

    def __init__(self, summary: RunEvaluation):
        self.summary = summary

    @property
    def figures(self) -> pl.DataFrame:
        """Every figure with its interval; docs/evaluation.md says what they are."""
        return figures_frame(self.summary)

    @property
    def emotions(self) -> pl.DataFrame:
        """The mean score of the items of each emotion, with its interval."""
        rows = [{"emotion": name, **found} for name, found in self.summary["score_by_emotion"].items()]
        numbers = dict.fromkeys(("mean", "low", "high"), pl.Float64)
        return pl.DataFrame(rows, {"emotion": pl.String, "n": pl.Int64, **numbers})

    def _title(self) -> str:
        return f"{self.summary['run']} on {self.summary['split']} of {self.summary['cache']}"

    def _facts(self) -> Mapping[str, Any]:
        said = self.summary
        return {
            "items": said["n"],
            "subjects": said["subjects"],
            "positive": ", ".join(said["positive"]),
            "test AUCs of this run that have been read": said["test_aurocs_read"],
            "warnings": in_arguments("; ".join(said["warnings"])),
            "warning": said["warning"],
        }

    def _table(self) -> pl.DataFrame:
        return self.figures


@public()
def evaluate(
    run: Place | Run,
    cache: Caches,
    split: str = "test",
    *,
    positive: Sequence[str] | None = None,
    by: Sequence[str] | None = None,
    second_label: str | None = None,
    labels: Place | None = None,
    prevalence: Sequence[float] = (),
    against: Place | Run | None = None,
    report: Report = automatic,
) -> Evaluated:
    """Every figure of a run on one split of a cache, with intervals; as the command `evaluate`.

    A look at test figures is counted in the run. Raises LabelError without such items, SpecMismatch for other features,
    SettingsError for what cannot be asked.
    """
    summary = evaluate_run(
        _path(run),
        opened(cache)[0],
        split,
        positive,
        report,
        by=by,
        second_label=second_label,
        labels=Path(labels) if labels else None,
        prevalences=prevalence,
        against=None if against is None else _path(against),
    )
    return Evaluated(summary)


def _path(run: Place | Run) -> Path:
    return run.path if isinstance(run, Run) else Path(run)
