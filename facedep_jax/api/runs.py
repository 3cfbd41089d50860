"""`load_run`: a trained head with its figures, and what it says of pictures and clips."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import Any, cast

import polars as pl

from facedep_jax.api.extraction import Place
from facedep_jax.api.figures import metrics_frame
from facedep_jax.api.listeners import automatic
from facedep_jax.api.pictures import Predictions, named_pictures
from facedep_jax.api.public_function import public
from facedep_jax.api.scores import Scores
from facedep_jax.disclaimer import meaning
from facedep_jax.errors import RunError
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.file_opening import read_json
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Report
from facedep_jax.report.run_sections import reported_split
from facedep_jax.runs.csv_and_json import read_written
from facedep_jax.runs.run_directory import load_head
from facedep_jax.runs.run_record import RESTORE
from facedep_jax.scoring.clip_scores import ScoreSettings
from facedep_jax.scoring.score_images import FaceScorer, load_scorer, score_pictures
from facedep_jax.scoring.score_videos import score_videos, usual_window
from facedep_jax.shown_facts import ShownFacts
from facedep_jax.sources import read_source, say_source
from facedep_jax.sources.label_vocabulary import column_names
from facedep_jax.toml_settings import resolve

# What decides features is the run's own; these say how files are read.
READING = ("weights", "engine", "backbone", "faces", "detector_model", "face_policy", "align", "min_face")
OF_CLIPS = (*READING, "margin", "fps", "retry_failed")
NUMBERS = ("logit", "probability", "logit_sd", "probability_sd")


class Run(ShownFacts):
    """A run directory: `head` is the trained head, `metrics` and `predictions` are its tables."""

    def __init__(self, path: Place):
        self.path = Path(path)
        self.head: Head = load_head(self.path)
        self._scorers: dict[Any, FaceScorer] = {}  # the last one: to load networks again takes seconds

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What `train` said of it, from metrics.json. Raises RunError where that is not there, or damaged."""
        try:
            return cast(dict[str, Any], read_json(self.path / "metrics.json"))
        except OSError as error:
            raise RunError(f"{error}; {RESTORE}") from error

    @property
    def metrics(self) -> pl.DataFrame:
        """Every figure with its interval: of the head and of each baseline, on each split."""
        return metrics_frame(self.summary)

    @property
    def predictions(self) -> pl.DataFrame:
        """A row for each item that the run was made with: split, label, probability, emotions."""
        rows = read_written(self.path / "predictions.csv")
        numbers = {*NUMBERS, *column_names(self.head.emotions, ()).values()} & set(rows.columns)
        return rows.with_columns(pl.col(*sorted(numbers)).cast(pl.Float64), pl.col("label").cast(pl.Int64))

    @public((ExtractSettings, READING))
    def predict(
        self,
        pictures: Any,
        *,
        positive: Sequence[str] | None = None,
        plot: Place | None = None,
        report: Report = automatic,
        **settings: Any,
    ) -> Predictions:
        """Score pictures, as the command `predict`: paths or arrays, one or several (see `named_pictures`).

        Faces are taken as tight crops unless `faces` says otherwise. `plot` names a folder for pictures of face, score
        and attention. A picture that cannot be used has the status `failed`. Networks stay loaded for the next call
        with the same settings. Raises WeightsError where the run's weights are not found.
        """
        head, named = self.head_of(positive), named_pictures(pictures)
        asked = resolve(ExtractSettings, "extract", None, settings)
        key = (asked, head.positive_emotions)
        if key not in self._scorers:
            self._scorers = {key: load_scorer("image", head, asked, report)}
        found = score_pictures(named, self._scorers[key], report, drawable=plot is not None)
        if plot is not None:
            from facedep_jax.report.scored_image_plot import drawing

            found = drawing(Path(plot), found, head.threshold, head.positive_emotions, head.warning)
        return Predictions(list(found), head, self._scorers[key].inputs)

    @public((ExtractSettings, OF_CLIPS), (ScoreSettings, None))
    def score(
        self,
        clips: Place | Sequence[Place],
        out: Place | None = None,
        *,
        cache: Place | None = None,
        positive: Sequence[str] | None = None,
        recursive: bool = True,
        subjects: Place | None = None,
        subject_regex: str | None = None,
        segments: Place | None = None,
        tables_only: bool = False,
        keep_crops: bool = False,
        report: Report = automatic,
        **settings: Any,
    ) -> Scores:
        """Score a folder of clips, a glob, a table, or files, into the directory `out`; as `score-videos`.

        `out` is `scores/<name of the folder>` where it is left out. Tables are also written as Parquet, from which
        `Scores` reads them. A clip that cannot be used is a row with its reason, and the others are scored.
        """
        head = self.head_of(positive)
        one = isinstance(clips, str | PathLike)
        source = read_source(
            fspath(clips) if isinstance(clips, str | PathLike) else [Path(clip) for clip in clips],
            subjects=Path(subjects) if subjects else None,
            subject_regex=subject_regex,
            recursive=recursive,
            segments=Path(segments) if segments else None,
            report=report,
        )
        if out is None and not one:
            raise RunError("clips are several files, which no folder names; say where their scores go: --out")
        say_source(source, report)
        of_scores = {name: settings.pop(name, None) for name in ("window", "min_coverage")}
        if of_scores["window"] is None:
            of_scores["window"] = usual_window(head)
        summary = score_videos(
            source,
            head,
            Path(out or Path("scores") / source.name),
            resolve(ExtractSettings, "extract", None, settings),
            resolve(ScoreSettings, "score", None, of_scores),
            Path(cache) if cache else None,
            report,
            tables_only=tables_only,
            keep_crops=keep_crops,
            parquet=True,
            segments=str(Path(segments).resolve()) if segments else None,
        )
        return Scores(summary)

    def head_of(self, positive: Sequence[str] | None) -> Head:
        """The head, with other positive emotions where some are named. Raises LabelError for what it does not know."""
        return self.head if positive is None else self.head.with_positive(positive)

    def _title(self) -> str:
        return f"run {self.path}"

    def _facts(self) -> Mapping[str, Any]:
        head = self.head
        return {
            "knows": ", ".join(head.emotions) or ", ".join(head.classes),
            "positive": ", ".join(head.positive_emotions),
            "features": ", ".join(head.taps),
            "threshold": f"{head.threshold:.3f}",
            "meaning": meaning(head.positive_emotions),
            "warning": head.warning,
        }

    def _table(self) -> pl.DataFrame | None:
        if not (self.path / "metrics.json").is_file():
            return None
        split = reported_split(self.summary)
        shown = self.metrics.filter((pl.col("split") == split) & (pl.col("figure") == "auroc"))
        return shown.select("model", "split", "figure", "value", "low", "high")


@public(computes=False)
def load_run(path: Place, *, report: Report = automatic) -> Run:
    """The run at `path`. Raises RunError for what is no run of a head, or is damaged."""
    return Run(path)
