"""The same figures for parts of a split: film actors and others, older and younger; why they differ it cannot say."""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Bool, Float

from facedep_jax.evaluation.bootstrap import FEWEST, bootstrap, cluster_index
from facedep_jax.evaluation.weighted_metrics import auroc, cells, none_if_nan, plain_auroc, ratio

FEW_ITEMS = 30
FEW_SUBJECTS = 10


class SubgroupTable(TypedDict):
    """What is shown of the groups of one column."""

    groups: list[dict[str, Any]]
    label_from_group: float | None


def subgroup_table(
    group: np.ndarray,
    names: Sequence[str],
    probability: Float[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    threshold: float,
    subject: np.ndarray,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> SubgroupTable:
    """`groups`, one row per name (and one, named null, of items of which nothing is said), and `label_from_group`.

    A row of fewer than 30 items or 10 subjects is marked `small`; below 5 subjects there are no intervals.
    `label_from_group` is the AUC of guessing the label from nothing but the group (each group's own part of positives
    as the score): far above 0.5, the groups give the label away, and whatever else tells them apart may be what a head
    has learned.
    """
    held = [name for name in (*names, None) if np.any(group == name)]
    rows = []
    share = np.zeros(len(positive))
    for name in held:
        mine = group == name
        share[mine] = positive[mine].mean()
        rows.append(
            {"group": name}
            | _row(probability[mine], positive[mine], threshold, subject[mine], resamples=resamples, seed=seed)
        )
    return {"groups": rows, "label_from_group": none_if_nan(plain_auroc(share, positive))}


def _row(
    probability: Float[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    threshold: float,
    subject: np.ndarray,
    *,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    clusters, by = cluster_index(subject)
    order = np.argsort(probability, kind="stable")
    probability, positive, clusters = probability[order], positive[order], clusters[order]
    sums = np.column_stack([np.ones(len(positive)), probability, cells(probability >= threshold, positive)])

    def figures(weight: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        total, score, tn, fp, fn, tp = (weight @ sums).T
        return {
            "prevalence": ratio(fn + tp, total),
            "auroc": auroc(probability, positive, weight),
            "false_positive_rate": ratio(fp, fp + tn),
            "false_negative_rate": ratio(fn, fn + tp),
            "mean_score": ratio(score, total),
        }

    found = bootstrap(figures, clusters, resamples, seed)
    count, subjects = len(positive), int(clusters.max()) + 1
    if subjects < FEWEST:
        found = found.without_interval(found.value)
    row: dict[str, Any] = {
        "n": count,
        "subjects": subjects,
        "small": count < FEW_ITEMS or subjects < FEW_SUBJECTS,
    }
    for name in found.value:
        row |= found.field(name)
    return row | {"ci_by": by}
