"""The same figures for parts of a split: film actors and others, older and younger; why they differ it cannot say."""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Bool, Float

from facedep_jax.evaluation.bootstrap import Sides, bootstrap, cluster_index
from facedep_jax.evaluation.intervals import Ends
from facedep_jax.evaluation.label_leak import label_from_group
from facedep_jax.evaluation.weighted_metrics import auroc, cells, ratio

FEW_ITEMS = 30
FEW_SUBJECTS = 10


class SubgroupTable(TypedDict):
    """What is shown of the groups of one column."""

    groups: list[dict[str, Any]]
    label_from_group: float | None
    label_from_group_ci: Ends
    gives_labels_away: bool


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

    A row of fewer than 30 items or 10 subjects is marked `small`; figures of fewer than 5 subjects on a side have no
    interval. `label_from_group` tells whether the groups give the label away (see there): then whatever else tells them
    apart may be what a head has learned.
    """
    held = [name for name in (*names, None) if np.any(group == name)]
    rows = []
    for name in held:
        mine = group == name
        own = probability[mine], positive[mine], threshold, subject[mine]
        rows.append({"group": name} | _row(*own, resamples=resamples, seed=seed))
    leak = label_from_group(group, positive, cluster_index(subject)[0], resamples, seed)
    return {"groups": rows, **leak}


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

    hang = {
        "auroc": ("positive", "other"), "false_positive_rate": ("other",), "false_negative_rate": ("positive",),
    }  # fmt: skip
    sides = Sides({"positive": positive, "other": ~positive}, hang)
    found = bootstrap(figures, clusters, resamples, seed, sides)
    count, subjects = len(positive), int(clusters.max()) + 1
    row: dict[str, Any] = {
        "n": count,
        "subjects": subjects,
        "small": count < FEW_ITEMS or subjects < FEW_SUBJECTS,
    }
    for name in found.value:
        row |= found.field(name)
    return row | {"ci_by": by}
