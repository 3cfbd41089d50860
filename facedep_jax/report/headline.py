"""The figures that a report begins with, and which of them are worth a word. It knows what counts as positive.

A head that was asked for other labels than emotions, or for happy faces, is told nothing of sadness: whoever reads its
page has not asked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from facedep_jax.disclaimer import SAD, either
from facedep_jax.report.document import Table, interval, number, sentences

Metrics = Mapping[str, Any]
OF_SADNESS = ("auroc_sadness", "auroc_sad_vs_rest", "auroc_sad_vs_neutral")
NOT_SMILING = "auroc_not_smiling"
HANGS_ON = {  # what a side is needed for, where it is not for the proxy
    "sad": OF_SADNESS[0], "neutral": OF_SADNESS[0], "not sad": OF_SADNESS[0],
    "positive, not happy": NOT_SMILING, "other, not happy": NOT_SMILING,
}  # fmt: skip


def is_told(name: str, metrics: Metrics, positive: Sequence[str]) -> bool:
    """Whether the figure `name` is one to show: those of some emotions are, where they are meant and there."""
    return name not in (*OF_SADNESS, NOT_SMILING) or (_meant(name, positive) and metrics.get(name) is not None)


def _meant(name: str, positive: Sequence[str]) -> bool:
    """Whether those who chose `positive` ask for a figure of some emotions."""
    return bool({*SAD} & {*positive}) if name in OF_SADNESS else "happy" not in positive


def headline(metrics: Metrics, positive: Sequence[str]) -> dict[str, str]:
    """Up to three figures of `metrics` and what they say: the proxy, sadness, and the proxy without happy faces.

    Sadness is what the head says of it where it knows emotions, else what the proxy's score makes of sad faces.
    """
    sadness = {
        "auroc_sadness": "sad against neutral, by what the head says of sadness",
        "auroc_sad_vs_neutral": "sad against neutral, by the same score",
    }
    own = next((name for name in sadness if is_told(name, metrics, positive)), None)
    found = {"auroc": f"{either(positive)} against the rest"}
    found |= {own: sadness[own]} if own else {}
    return found | ({NOT_SMILING: "the same without happy faces"} if is_told(NOT_SMILING, metrics, positive) else {})


def headline_table(metrics: Metrics, positive: Sequence[str], split: str) -> Table:
    """The same with intervals; below stands of whom there are too few to say anything."""
    rows = [
        (said, number(metrics[name]), interval(metrics[f"{name}_ci"]))
        for name, said in headline(metrics, positive).items()
    ]
    told = metrics.get("too_few", {}).items()
    few = sentences([text for side, text in told if side not in HANGS_ON or _meant(HANGS_ON[side], positive)])
    return Table((f"AUC on {split}", "value", "95 % interval"), tuple(rows), note=few, wrapped=True)
