"""Scores of clips against their labels, whatever made them: chosen on val, then evaluated on any rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Float, Float32

from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.dataset.listing_columns import Columns, Groups, all_groups, groups, rater_columns
from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.bootstrap import cluster_index
from facedep_jax.evaluation.emotion_metrics import emotion_metrics
from facedep_jax.evaluation.intervals import FEWEST
from facedep_jax.evaluation.metrics import Evaluation, Spread, headline_metrics
from facedep_jax.evaluation.own_sadness import own_sadness, sadness_of
from facedep_jax.evaluation.rater_agreement import compare_raters
from facedep_jax.evaluation.subgroups import SubgroupTable, subgroup_table
from facedep_jax.evaluation.weighted_metrics import none_if_nan, plain_auroc
from facedep_jax.head.batched_forward import class_probabilities, proxy_logits
from facedep_jax.head.calibration import (
    RAW,
    Calibration,
    OperatingPoint,
    calibrate,
    clip_logit,
    operating_points,
    over_frames,
)
from facedep_jax.sources.class_labels import DEFAULT_POSITIVE, PROXY_CLASSES, normal
from facedep_jax.sources.label_vocabulary import parse_aliases


@dataclass(frozen=True)
class Wanted:
    """What is wanted besides the headline figures, and how intervals are drawn. None: what the columns offer."""

    positive: Sequence[str] = DEFAULT_POSITIVE  # emotions, by which another rater's labels are read
    prevalences: Sequence[float] = ()  # at which predictive values are wanted besides the one found
    by: Sequence[str] | None = None  # columns whose groups are compared
    second: str | None = None  # the column of another rater's emotions
    resamples: int = 2000  # of the bootstrap over subjects
    seed: int = 0
    aliases: Sequence[str] = ()  # further words of emotions that another rater may have used


class Emotions(NamedTuple):
    """Classes, which of them are positive, and members' logits of them for the frames of n clips."""

    classes: tuple[str, ...]
    positive: Bool[np.ndarray, " classes"]
    logits: Float32[np.ndarray, "m n t classes"]


@dataclass(frozen=True)
class Scores:
    """Logits of the frames of n clips by one model, what the clips are, and what was chosen on validation for it.

    `frames` are NaN where a clip has fewer frames than others; `members` are the logits whose mean they are. `subject`
    and `emotion` are object arrays that may hold None; `columns` say further things of the clips, object arrays by
    name.
    """

    frames: Float[np.ndarray, "n t"]
    label: Bool[np.ndarray, " n"]
    subject: np.ndarray
    emotion: np.ndarray
    members: Float[np.ndarray, "m n t"] | None = None
    columns: Columns = field(default_factory=dict)
    calibration: Calibration = RAW
    points: tuple[OperatingPoint, ...] = ()
    emotions: Emotions | None = None  # of a model of emotions

    def __getitem__(self, rows: Bool[np.ndarray, " n"]) -> "Scores":
        return replace(
            self,
            frames=self.frames[rows],
            label=self.label[rows],
            subject=self.subject[rows],
            emotion=self.emotion[rows],
            members=None if self.members is None else self.members[:, rows],
            columns={name: values[rows] for name, values in self.columns.items()},
            emotions=self.emotions and self.emotions._replace(logits=self.emotions.logits[:, rows]),
        )

    @property
    def probability(self) -> Float[np.ndarray, " n"]:
        """Calibrated: the mean over the frames of each."""
        return over_frames(self.calibration.probability(self.frames))

    @property
    def logit(self) -> Float[np.ndarray, " n"]:
        """Of clips, not calibrated."""
        return clip_logit(self.frames)

    @property
    def member_logits(self) -> Float[np.ndarray, "m n"]:
        """Of clips by every member, not calibrated."""
        return clip_logit(self.frames[None] if self.members is None else self.members)

    @property
    def classes(self) -> tuple[str, ...]:
        """Of a model of emotions; else none."""
        return self.emotions.classes if self.emotions else ()

    @property
    def emotion_probability(self) -> Float[np.ndarray, "n classes"] | None:
        """Of each of `classes`, calibrated: the mean over the frames of each."""
        if self.emotions is None:
            return None
        each = class_probabilities(self.emotions.logits, self.emotions.positive, self.calibration)
        return over_frames(np.moveaxis(each, -2, -1))

    @property
    def sadness(self) -> Float[np.ndarray, " n"] | None:
        """See `sadness_of`."""
        each = self.emotion_probability
        return None if each is None else sadness_of(self.classes, each)

    @property
    def uncalibrated(self) -> Float[np.ndarray, " n"]:
        """Probabilities before calibration."""
        return over_frames(RAW.probability(self.frames))

    @property
    def several(self) -> Float[np.ndarray, "m n t"] | None:
        """The logits of the members where there are at least two."""
        return self.members if self.members is not None and len(self.members) > 1 else None

    @property
    def members_sd(self) -> Float[np.ndarray, " n"] | None:
        """Standard deviation over the members of each clip's calibrated probability, None for fewer than two."""
        if self.several is None:
            return None
        return over_frames(self.calibration.probability(self.several)).std(0, ddof=1)


@dataclass(frozen=True)
class Evaluated:
    """Scores of all examples, and what came out of it by split: val and test, None where there is none."""

    scores: Scores
    metrics: dict[str, Evaluation | None]


def scores_of(clips: Examples, logit: Float[np.ndarray, " n"], columns: Columns | None = None) -> Scores:
    """Scores of `clips` by a model that says one thing of each, not calibrated."""
    return Scores(logit[:, None], clips.label, clips.person, clips.emotion, columns=columns or {})


def scores_of_members(clips: Examples, members: Float[np.ndarray, "m n t"], columns: Columns | None = None) -> Scores:
    """Scores of `clips` by an ensemble, from the logits of its members, not calibrated."""
    return Scores(members.mean(0), clips.label, clips.person, clips.emotion, members, columns or {})


def class_scores(
    clips: Examples,
    logits: Float32[np.ndarray, "m n t classes"],
    classes: Sequence[str],
    positive: Bool[np.ndarray, " classes"],
    columns: Columns | None = None,
) -> Scores:
    """Scores of `clips` from members' logits of `classes`, not calibrated."""
    scores = scores_of_members(clips, proxy_logits(logits, positive), columns)
    if tuple(classes) == PROXY_CLASSES:
        return scores
    return replace(scores, emotions=Emotions(tuple(classes), positive, logits))


def calibrated(scores: Scores, val: Bool[np.ndarray, " n"]) -> Scores:
    """The same scores with calibration, threshold and operating points chosen on the rows `val`."""
    scores = replace(scores, calibration=calibrate(scores.frames[val], scores.label[val]))
    return replace(scores, points=operating_points(scores.probability[val], scores.label[val]))


def evaluate_splits(scores: Scores, split: np.ndarray, wanted: Wanted) -> Evaluated:
    """`evaluate` for the rows of val and of test."""
    parts = {name: scores[split == name] for name in ("val", "test")}
    metrics = {name: evaluate(part, wanted) if len(part.label) else None for name, part in parts.items()}
    return Evaluated(scores, metrics)


def majority(clips: Examples, wanted: Wanted) -> Evaluated:
    """The training part of positives as everyone's probability; nothing is chosen."""
    share = float(clips.label[clips.split == "train"].mean())
    logit = np.full(len(clips), np.log(share / (1 - share)))
    return evaluate_splits(scores_of(clips, logit), clips.split, wanted)


def evaluate(scores: Scores, wanted: Wanted) -> Evaluation:
    """Every figure of `scores`, with tables of subgroups, other raters and, of several members, their spread.

    Raises SettingsError for columns that are asked for and not there; what cannot be compared is said.
    """
    asked = all_groups(scores.columns) if wanted.by is None else {n: groups(n, scores.columns) for n in wanted.by}
    probability, threshold = scores.probability, scores.calibration.threshold
    result = headline_metrics(
        probability,
        scores.label,
        threshold,
        scores.subject,
        scores.emotion,
        raw=scores.uncalibrated,
        points=scores.points,
        prevalences=wanted.prevalences,
        resamples=wanted.resamples,
        seed=wanted.seed,
    )
    result["subgroups"] = {n: _subgroups(found, scores, wanted) for n, found in asked.items() if not found.why_not}
    result["not_compared"] = {name: found.why_not for name, found in asked.items() if found.why_not}
    result["raters"] = rater_tables(scores, wanted)
    result["spread"] = _spread(scores)
    each = scores.emotion_probability
    if each is not None:
        shown, drawing = (scores.emotion, scores.subject), (wanted.resamples, wanted.seed)
        result |= cast(Evaluation, own_sadness(sadness_of(scores.classes, each), *shown, *drawing))
        result["by_emotion"] = emotion_metrics(each, scores.classes, *shown, *drawing)
    return result


def _subgroups(made: Groups, scores: Scores, wanted: Wanted) -> SubgroupTable:
    judged = scores.probability, scores.label, scores.calibration.threshold, scores.subject
    return subgroup_table(made.of, made.names, *judged, resamples=wanted.resamples, seed=wanted.seed)


def rater_tables(scores: Scores, wanted: Wanted) -> dict[str, dict[str, Any]]:
    """Agreement with every further rater whose emotions the columns hold, or with the one asked for, by column."""
    names = rater_columns(scores.columns) if wanted.second is None else (wanted.second,)
    absent = [name for name in names if name not in scores.columns]
    if absent:
        raise SettingsError(
            f"no listing has a column {absent[0]!r} with a second rater's emotions; there are "
            f"{', '.join(scores.columns) or 'none'}"
        )
    judged = scores.probability, scores.calibration.threshold, scores.subject
    drawing = wanted.resamples, wanted.seed
    aliases = parse_aliases(wanted.aliases)
    seconds = {name: np.array([normal(e, aliases) for e in scores.columns[name]], object) for name in names}
    found = {
        name: compare_raters(scores.emotion, second, wanted.positive, *judged, *drawing)
        for name, second in seconds.items()
    }
    return {name: result for name, result in found.items() if result is not None}


def _spread(scores: Scores) -> Spread | None:
    """How far members differ on items decided rightly and wrongly, and the AUC of finding the wrong ones by it, None
    of fewer than five persons on a side."""
    away = scores.members_sd
    if scores.several is None or away is None:
        return None
    wrong = (scores.probability >= scores.calibration.threshold) != scores.label
    persons = cluster_index(scores.subject)[0]
    enough = min(len(np.unique(persons[side])) for side in (wrong, ~wrong)) >= FEWEST
    return {
        "members": len(scores.several),
        "mean": float(away.mean()),
        "mean_right": _mean(away[~wrong]),
        "mean_wrong": _mean(away[wrong]),
        "auroc_of_wrong": none_if_nan(plain_auroc(away, wrong)) if enough else None,
    }


def _mean(values: Float[np.ndarray, " k"]) -> float | None:
    return float(values.mean()) if len(values) else None
