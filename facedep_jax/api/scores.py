"""A directory of scores, in tables."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from facedep_jax.disclaimer import meaning
from facedep_jax.scoring.score_videos import ScoreSummary
from facedep_jax.shown_facts import ShownFacts


class Scores(ShownFacts):
    """What `Run.score` found: `clips`, `windows` and `frames` are its tables, docs/scores.md names their columns."""

    def __init__(self, summary: ScoreSummary):
        self.summary = summary
        self.path = Path(summary["scores"]).parent
        self.page = Path(summary["page"]) if summary["page"] else None

    @cached_property
    def clips(self) -> pl.DataFrame:
        """A row a clip, or a segment of one; files that are no clips have the status `ignored`."""
        return pl.read_parquet(self.path / "clips.parquet")

    @cached_property
    def windows(self) -> pl.DataFrame:
        """A row a window."""
        return pl.read_parquet(self.path / "windows.parquet")

    @cached_property
    def frames(self) -> pl.DataFrame:
        """A row a sampled frame."""
        return pl.read_parquet(self.path / "frames.parquet")

    def _title(self) -> str:
        return f"scores {self.path} by {self.summary['run']}"

    def _facts(self) -> Mapping[str, Any]:
        said = self.summary
        return {
            "clips": said["clips_total"],
            "scored": said["clips_scored"],
            "abstained": said["clips_abstained"],
            "failed": said["clips_failed"],
            "ignored, since they are no clips": len(said["not_clips"]) or "",
            "inputs differ": said["inputs"],
            "page": self.page,
            "meaning": meaning(said["positive"]),
            "warning": said["warning"],
        }

    def _table(self) -> pl.DataFrame:
        return self.clips.select("clip", "status", "score", "low", "high", "decision", "coverage", "reason")
