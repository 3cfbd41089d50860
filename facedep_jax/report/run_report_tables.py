"""The figures of a run as tables, for page, model card and terminal alike. It computes nothing but roundings."""

from collections.abc import Mapping, Sequence
from typing import Any

from facedep_jax.disclaimer import sides
from facedep_jax.report.document import (
    GAP,
    Table,
    brief_estimate,
    estimate,
    interval,
    number,
    percent,
    sentences,
    signed,
)
from facedep_jax.report.headline import is_told
from facedep_jax.subject_ids import drawn, of_subjects

NAMES = {
    "auroc": "AUC",
    "auroc_sad_vs_neutral": "AUC, sad against neutral, by the same score",
    "auroc_not_smiling": "AUC without happy faces",
    "auroc_sad_vs_rest": "AUC, sad against the rest, by the same score",
    "auprc": "average precision",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "specificity": "specificity",
    "mcc": "Matthews' coefficient",
    "brier": "Brier score",
    "ece": "calibration error (10 equal-mass bins), as found",
    "ece_debiased": "calibration error, without chance",
    "calibration_slope": "calibration slope",
    "calibration_intercept": "calibration intercept",
}
CALIBRATION = {
    "brier": "Brier score",
    "ece": "calibration error, as found",
    "ece_debiased": "calibration error, without chance",
    "calibration_slope": "slope (1 is right)",
    "calibration_intercept": "intercept (0 is right)",
}
Metrics = Mapping[str, Any]


def figures_table(metrics: Metrics, positive: Sequence[str]) -> Table:
    """Every figure with its interval, and with each person weighing the same where persons are known; those of single
    emotions where they are worth a word. Runs of earlier versions lack some figures.
    """
    by_person = metrics.get("by_person") or {}
    rows = [
        (label, number(metrics[name]), interval(metrics.get(f"{name}_ci", (None, None))))
        + ((estimate(by_person, name),) if by_person else ())
        for name, label in NAMES.items()
        if name in metrics and is_told(name, metrics, positive)
    ]
    head = ("figure", "value", "95 % interval", *(("each person weighing the same",) if by_person else ()))
    return Table(head, tuple(rows))


def emotions_table(metrics: Metrics, positive: Sequence[str]) -> Table:
    """Mean score of each emotion."""
    side, other = sides(positive)
    rows = [
        (
            name,
            side if name in positive else other,
            f"{entry['n']:,}",
            number(entry["mean"]),
            interval((entry["low"], entry["high"])),
        )
        for name, entry in metrics["score_by_emotion"].items()
    ]
    return Table(("emotion", "counts as", "items", "mean score", "95 % interval"), tuple(rows))


def each_emotion_table(metrics: Metrics) -> Table:
    """How well each emotion's own probability tells it from all others; no rows for a head that knows none."""
    found = metrics.get("by_emotion") or {"emotions": {}}
    persons = found.get("ci_by") != "image"
    rows = [
        (name, f"{row['n']:,}")
        + ((f"{row['subjects']:,}",) if persons else ())
        + (estimate(row, "auroc"), estimate(row, "ece_debiased"))
        for name, row in found["emotions"].items()
    ]
    if not rows:
        return Table((), ())
    note = (
        f"The likeliest emotion, on {found['n']:,} items: accuracy {estimate(found, 'accuracy')}, balanced "
        f"{estimate(found, 'balanced_accuracy')}. {sentences(found['too_few'])}"
    )
    subjects = ("subjects",) if persons else ()
    head = ("emotion", "items", *subjects, "AUC against all others", "calibration error, without chance")
    return Table(head, tuple(rows), "each emotion's own probability", note.strip())


def models_table(summary: Mapping[str, Any], split: str) -> Table:
    """The head above its baselines, and what the head is better or worse by."""
    rows = []
    for name, found in {"head": summary["metrics"], **summary["baselines"]}.items():
        val, here = found.get("val") or {}, found.get(split) or {}
        figures = (number(here.get(figure)) for figure in ("accuracy", "f1", "brier", "ece_debiased"))
        rows.append((name, number(val.get("auroc")), estimate(here, "auroc"), *figures))
    head = ("model", "val AUC", f"{split} AUC", "accuracy", "F1", "Brier", "calibration error")
    return Table(head, tuple(rows))


def differences_table(summary: Mapping[str, Any], split: str) -> Table:
    """Head minus each baseline, whichever way it falls."""
    found = {name: (metrics.get(split) or {}).get("vs_head") for name, metrics in summary["baselines"].items()}
    rows = [
        (name, signed(d, "auroc"), number(d["auroc_below_0"]), signed(d, "brier"), verdict(d))
        for name, d in found.items()
        if d
    ]
    by = (summary["metrics"][split] or {}).get("ci_by", "subject")
    note = (
        f"Paired: both are measured on the same resamples of {drawn(by)}. The AUC is better where it is greater, the "
        "Brier score where it is smaller."
    )
    head = ("head minus", "AUC", "resamples below 0", "Brier score", "that is")
    return Table(head, tuple(rows), note=note)


def verdict(difference: Metrics, first: str = "the head") -> str:
    """A paired difference of AUC in words."""
    low, high = difference["auroc_ci"]
    if low is None:
        return "too few to tell" if difference.get("too_few") else "not defined"
    if low > 0:
        return f"{first} ranks better"
    return f"{first} ranks worse" if high < 0 else "no difference to be told"


def calibration_table(metrics: Metrics) -> Table:
    """Before (the members' mean logit as it is) and after scale and bias."""
    raw = metrics.get("raw") or {}
    rows = [(label, estimate(raw, name), estimate(metrics, name)) for name, label in CALIBRATION.items()]
    return Table(("figure", "before", "after calibration"), tuple(rows))


def operating_table(metrics: Metrics, brief: bool = False) -> Table:
    """Thresholds chosen on validation for a specificity, and what they reach here."""
    show, figures = brief_estimate if brief else estimate, ("specificity", "recall", "precision")
    rows = [
        (percent(point["wanted_specificity"]), number(point["threshold"]), *(show(point, name) for name in figures))
        for point in metrics.get("operating_points", ())
    ]
    note = (
        "Each threshold is the lowest that reaches the wanted specificity on validation items; the rest is measured "
        "here."
    )
    return Table(("wanted", "threshold", "specificity", "recall", "precision"), tuple(rows), note=note)


def predictive_table(metrics: Metrics, positive: Sequence[str]) -> Table:
    """What a decision is worth where a given part of people is of the positive side."""
    side, other = sides(positive)
    rows = [
        (
            percent(row["prevalence"]) + (" (found)" if row["origin"] == "found" else ""),
            estimate(row, "ppv"),
            estimate(row, "npv"),
        )
        for row in metrics.get("predictive_values", ())
    ]
    note = (
        "By Bayes' rule from recall and specificity at the run's threshold, which are taken to be the same at every "
        "prevalence; the intervals are theirs alone."
    )
    return Table((f"part of {side}", f"right if {side} (PPV)", f"right if {other} (NPV)"), tuple(rows), note=note)


def subgroups_table(column: str, found: Mapping[str, Any], positive: Sequence[str], brief: bool = False) -> Table:
    """One row per group; `brief` leaves out all intervals but that of the AUC."""
    side, other = sides(positive)
    rates = ("false_positive_rate", "false_negative_rate", "mean_score")
    rows = [
        (
            (GAP if row["group"] is None else row["group"]) + (" (few)" if row["small"] else ""),
            f"{row['n']:,}",
            GAP if row["ci_by"] == "image" else f"{row['subjects']:,}",
            number(row["prevalence"]),
            brief_estimate(row, "auroc") if brief else estimate(row, "auroc"),
            *(number(row[name]) if brief else estimate(row, name) for name in rates),
        )
        for row in found["groups"]
    ]
    head = ("group", "items", "subjects", side, "AUC", "FPR", "FNR", "mean score")
    notes = [f"FPR and FNR: parts of {other} and of {side} items decided wrongly at the run's threshold."]
    if any(row["small"] for row in found["groups"]):
        notes.append("(few): fewer than 30 items or 10 subjects, too few to say much.")
    if found["label_from_group"] is not None:
        guessed = brief_estimate(found, "label_from_group")
        notes.append(f"Guessing the label from the group alone, by what others of it show, has an AUC of {guessed}.")
    if found.get("gives_labels_away"):
        notes.append("So this column gives labels away.")
    return Table(head, tuple(rows), f"by {column}", " ".join(notes))


def raters_table(column: str, found: Mapping[str, Any], brief: bool = False) -> Table:
    """Agreement of two raters, and of the head with each, on the same items."""
    pairs = {
        "both raters, proxy label": "raters",
        "both raters, emotion": "emotions",
        "head and first rater": "head_and_first",
        "head and second rater": "head_and_second",
    }
    show, figures = brief_estimate if brief else estimate, ("agreement", "kappa", "auroc")
    rows = [(name, *(show(found[key], figure) for figure in figures)) for name, key in pairs.items()]
    note = (
        f"On the {found['n']:,} items {of_subjects(found['subjects'], found['ci_by'])} that both raters labelled. "
        "AUC of both raters: of the second's label, as if it were a score, by the first's. "
    ) + sentences(found.get("too_few", ()))
    return Table(("pair", "agreement", "Cohen's κ", "AUC"), tuple(rows), f"second rater: {column}", note)


def raters_of_models_table(summary: Mapping[str, Any], split: str, column: str) -> Table:
    """The AUC of every model by either rater's labels, below that of the second rater's label."""
    rows: list[tuple[str, ...]] = []
    for name, found in {"head": summary["metrics"], **summary["baselines"]}.items():
        if rated := ((found.get(split) or {}).get("raters") or {}).get(column):
            if not rows:
                rows.append(("the second rater's label", estimate(rated["raters"], "auroc"), GAP, GAP))
            two = rated["head_and_first"], rated["head_and_second"]
            rows.append((name, *(estimate(pair, "auroc") for pair in two), estimate(two[1], "kappa")))
    head = ("ranked by", "AUC, first rater's labels", "AUC, second rater's labels", "κ with the second")
    return Table(head, tuple(rows), f"models and raters: {column}")


def against_table(summary: Mapping[str, Any]) -> Table:
    """Two runs on the same items, and the first minus the second on the same resamples."""
    other, difference = summary["against"], summary["against"]["difference"]
    rows = [
        (label, brief_estimate(summary, name), brief_estimate(other, name), signed(difference, name))
        for name, label in (("auroc", "AUC"), ("brier", "Brier score"))
    ]
    found = verdict(difference, "this run")
    note = f"Paired, on {difference['n']:,} items {of_subjects(difference['subjects'], difference['ci_by'])}: {found}."
    return Table(("figure", "this run", "the other", "difference"), tuple(rows), note=note)
