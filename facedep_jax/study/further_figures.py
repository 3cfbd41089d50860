"""What a study says besides its models: groups, severity bands, visits, and each person's predictions."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from facedep_jax.evaluation.persons.band_agreement import band_agreement
from facedep_jax.evaluation.persons.group_differences import group_classification, group_errors
from facedep_jax.evaluation.persons.limits_of_agreement import bland_altman
from facedep_jax.evaluation.persons.retest_reliability import retest_reliability
from facedep_jax.segments import TIMES
from facedep_jax.study.cohort import Cohort
from facedep_jax.study.cohort_table import bands_of
from facedep_jax.study.linear_models import Columns
from facedep_jax.study.models import DESCRIPTOR, HALF, Judged
from facedep_jax.study.person_values import SCORE as SCORE_COLUMN
from facedep_jax.study.protocols import OFFICIAL, Protocol


class OneTarget(NamedTuple):
    """What became of one target: the models' predictions, columns of behaviour, what is stated, and the persons."""

    judged: Judged
    columns: Columns
    truth: Float[np.ndarray, " n"]
    rows: pl.DataFrame
    how: Protocol
    said: tuple[str, ...]
    weights: pl.DataFrame | None = None  # of each part of a clip in what the attention head says of its person

    @property
    def judged_count(self) -> int:
        """How many persons are judged."""
        return int(np.isfinite(self.judged.predictions[DESCRIPTOR].value).any(0).sum())


def of_scores(one: OneTarget, bands: Sequence[float]) -> dict[str, Any]:
    """How the descriptors' predictions, the mean over repeats, agree with stated scores, and with severity bands."""
    value = mean_over_repeats(one.judged.predictions[DESCRIPTOR].value)
    known = np.isfinite(value)
    more: dict[str, Any] = {"bland_altman": bland_altman(value[known], one.truth[known])}
    if bands:
        given, stated = (bands_of(x[known], bands) for x in (value, one.truth))
        more["bands"] = band_agreement(given, stated, len(bands) + 1, one.how.name != OFFICIAL)
    return more


def of_groups(found: Mapping[str, OneTarget], names: Sequence[str]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Figures of the descriptors' model, by each further column that was asked for."""
    result: dict[str, dict[str, list[dict[str, Any]]]] = {name: {} for name in names}
    for target, one in found.items():
        given, crossed = one.judged.predictions[DESCRIPTOR], one.how.name != OFFICIAL
        for name in names:
            group = np.array(one.rows[f"group {name}"].to_list(), object)
            result[name][target] = (
                group_classification(given.value, one.truth > 0, group, HALF, crossed, given.ranking, one.how.fold)
                if target == "classes"
                else group_errors(given.value, one.truth, group, crossed)
            )
    return result


def of_visits(cohort: Cohort) -> dict[str, dict[str, Any]]:
    """ICC and least detectable change of what nothing was learned for, between the two visits that most have."""
    seen = cohort.visits.join(cohort.values.rows, on="unit", how="inner", maintain_order="left")
    counts = seen.drop_nulls("visit").group_by("visit", maintain_order=True).len()
    common = counts.sort("len", descending=True, maintain_order=True)["visit"].head(2).to_list()
    if len(common) < 2:
        return {}
    found = {}
    for name in (SCORE_COLUMN, "expressivity", "smile_part", "move_mean"):
        if name in seen.columns:
            rows = seen.filter(pl.col("visit").is_in(common))
            wide = rows.pivot("visit", index="subject", values=name, maintain_order=True)
            scores = wide.select(pl.col(common).cast(pl.Float64)).fill_null(np.nan).to_numpy()
            if np.isfinite(scores).all(1).sum() >= 2:
                found[name] = {"between": common} | retest_reliability(scores)
    return found


def predictions(found: Mapping[str, OneTarget]) -> pl.DataFrame:
    """A row a target, model and person: what is stated, the mean over repeats, and in how many they were judged."""
    parts = []
    for target, one in found.items():
        rows = one.rows.select("subject", "visit", "partition", "label", "score")
        for name, given in one.judged.predictions.items():
            value, count = mean_over_repeats(given.value), np.isfinite(given.value).sum(0)
            own = pl.Series("predicted", value, pl.Float64).fill_nan(None), pl.Series("repeats", count)
            parts.append(rows.with_columns(pl.lit(target).alias("target"), pl.lit(name).alias("model"), *own))
    return pl.concat(parts)


def attention_weights(found: Mapping[str, OneTarget], visits: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The table `attention`: what each part of a clip counts in what is said of its person; nothing without a head."""
    parts = [one.weights.with_columns(target=pl.lit(n)) for n, one in found.items() if one.weights is not None]
    if not parts:
        return {}
    rows = pl.concat(parts).join(
        visits.select("unit", "subject", "visit"), on="unit", how="left", maintain_order="left"
    )
    return {"attention": rows.select("target", "subject", "visit", "path", *TIMES, "windows", "weight")}


def mean_over_repeats(rows: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " n"]:
    """What each person is given on average, NaN of who was never judged."""
    count = np.isfinite(rows).sum(0)
    return np.where(count > 0, np.nansum(rows, 0) / np.maximum(count, 1), np.nan)
