"""What a study may be said to show, in sentences: the first lines of its page. It computes nothing."""

from collections.abc import Mapping
from typing import Any

from facedep_jax.study.models import ATTENTION, CONFOUND, DESCRIPTOR, DUMMY, SCORE, Judged

ALPHA = 0.05
CALLED = {
    DESCRIPTOR: "The model of behaviour",
    ATTENTION: "The attention head",
    SCORE: "The head's score, as it is,",
}
FEW = 100  # persons below whom an AUC is known to a tenth at best


def verdicts(classes: Judged | None, scores: Judged | None, order: Judged | None, persons: int) -> list[str]:
    """Whether each model beats chance, and the confounds, for every target."""
    found = []
    if classes:
        to_be_shown = "to tell the classes apart better than chance"
        found += _of(classes, "auc", "tells the classes apart", to_be_shown, better=1)
    if scores:
        to_be_shown = "to come nearer to the scores than their mean does"
        found += _of(scores, "mae", "comes nearer to the scores than their mean does", to_be_shown, better=-1)
    if order:
        to_be_shown = "to put persons in the order of their bands better than chance"
        found += _of(order, "auc", "puts persons in the order of their bands", to_be_shown, better=-1, compared="mae")
    if persons < FEW:
        found.append(
            f"With {persons} persons intervals are wide: what is not shown here may be there, and models between which "
            "no difference is shown need not be equal"
        )
    return list(dict.fromkeys(found))  # what holds for two targets is said once


def _of(judged: Judged, figure: str, does: str, to_be_shown: str, better: int, compared: str = "") -> list[str]:
    """`figure` is shown; the difference of two models is of `compared`, where that is another one."""
    if few := judged.figures[DESCRIPTOR].get("too_few"):
        return [f"{text[:1].upper()}{text[1:]}" for text in few]
    found, compared = [], compared or figure
    beats = {name: _beats(judged, name, compared, better) for name in (CONFOUND, *CALLED)}
    if judged.columns.get(CONFOUND) == 0:
        found.append(
            "Whether it is how persons were filmed CANNOT be said: nothing of that is known in which they differ"
        )
    if beats[CONFOUND]:
        shown = _shown(judged, CONFOUND, figure)
        found.append(f"CONFOUNDED: how persons were filmed alone {does}{shown}")
    for name, called in CALLED.items():
        if name not in judged.figures:
            continue
        shown = _shown(judged, name, figure)
        if not beats[name]:
            found.append(f"{called} is NOT shown {to_be_shown}{shown}")
        elif beats[CONFOUND] and not _above(judged.differences.get(f"{name} − {CONFOUND}"), compared, better):
            found.append(f"{called} {does}, but is NOT shown to be better than how persons were filmed{shown}")
        else:
            found.append(f"{called} {does}{shown}")
    return found


def _beats(judged: Judged, name: str, figure: str, better: int) -> bool:
    """Whether the permutation test says so or, where there is none, the interval."""
    if name not in judged.figures:
        return False
    if name in judged.chance:
        return bool(judged.chance[name]["p"] <= ALPHA)
    return _above(judged.differences.get(f"{name} − {DUMMY}"), figure, better)


def _above(difference: Mapping[str, Any] | None, figure: str, better: int) -> bool:
    low, high = (difference or {}).get(f"{figure}_ci") or (None, None)
    return low is not None and high is not None and (low > 0 if better > 0 else high < 0)


def _shown(judged: Judged, name: str, figure: str) -> str:
    entry = judged.figures[name]
    value, (low, high) = entry.get(figure), entry.get(f"{figure}_ci") or (None, None)
    if value is None:
        return ""
    interval = "" if low is None or high is None else f", {low:.2f} to {high:.2f}"
    p = f", p = {judged.chance[name]['p']:.3f}" if name in judged.chance else ""
    return f" ({figure.upper()} {value:.2f}{interval}{p})"
