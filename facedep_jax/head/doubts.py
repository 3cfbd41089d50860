"""What there is to doubt about a head, in a few words that stand beside its scores. It knows figures alone.

A head that has learned nothing still gives probabilities, calibrated ones even, and decides by their fifth decimal.
"""

import numpy as np
from jaxtyping import Bool, Float

WORD = "DOUBTFUL HEAD: "
RANKING = ("ranks backwards", "may rank by chance")
LEAST_GAIN = 0.02  # part of the loss of guessing by frequencies that training has to take away


def of_loss(loss: float, chance: float) -> str:
    """Of a training loss, beside that of guessing by how often each class occurs."""
    return (
        "" if loss < (1 - LEAST_GAIN) * chance else f"hardly learned (training loss {loss:.3f}, guessing {chance:.3f})"
    )


def of_ranking(auroc: float | None, low: float | None = None, high: float | None = None) -> str:
    """Of an AUC on validation and its 95 % interval."""
    if auroc is None:
        return ""
    if auroc < 0.5:
        return f"{RANKING[0]} (validation AUC {auroc:.2f})"
    if low is None or high is None or low > 0.5:
        return ""
    return f"{RANKING[1]} (validation AUC {auroc:.2f}, {low:.2f} to {high:.2f})"


def joined(*parts: str) -> str:
    """All that is said, once, behind a word to see; empty where nothing is."""
    said = dict.fromkeys(part.removeprefix(WORD) for part in parts if part)
    return f"{WORD}{'; '.join(said)}" if said else ""


def without_ranking(doubt: str) -> str:
    """What of a doubt holds whatever counts as positive."""
    return joined(*(part for part in doubt.removeprefix(WORD).split("; ") if not part.startswith(RANKING)))


def auroc(score: Float[np.ndarray, " n"], label: Bool[np.ndarray, " n"]) -> float:
    """Area under the ROC curve, ties half; both sides are there."""
    up, down = score[label], np.sort(score[~label])
    below = sum(np.searchsorted(down, up, side).sum() for side in ("left", "right"))
    return float(below / 2 / (len(up) * len(down)))
