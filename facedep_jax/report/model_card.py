"""MODEL_CARD.md: what a run is for and what it is not for. It knows only the summary."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from facedep_jax.disclaimer import INTENDED_USE, NOT_FOR, either, meaning
from facedep_jax.report.document import BulletList, Section
from facedep_jax.report.markdown import to_markdown
from facedep_jax.report.run_sections import reported_split, result_sections
from facedep_jax.subject_ids import drawn


def model_card(summary: Mapping[str, Any], positive: Sequence[str]) -> str:
    """The card as Markdown."""
    warning = [Section("", (summary["warning"],))] if summary.get("warning") else []
    sections = [*_scope(summary, positive), *result_sections(summary, positive), *_doubt_sections(summary)]
    title = f"Model card of {Path(summary['run']).name}"
    return to_markdown(title, [*warning, Section("", (meaning(positive),)), *sections])


def page_sections(summary: Mapping[str, Any], positive: Sequence[str], plots: Collection[str]) -> list[Section]:
    """The card with the results first; `plots` names the pictures that go with them."""
    return [*result_sections(summary, positive, plots), *_doubt_sections(summary), *_scope(summary, positive)]


def _scope(summary: Mapping[str, Any], positive: Sequence[str]) -> list[Section]:
    return [
        Section(
            "What it scores",
            (
                f"This head scores how much a face looks like those labelled {either(positive)} in its training data. "
                "It is a proxy of an expression, seen in one picture or clip.",
            ),
        ),
        Section("Intended use", (INTENDED_USE,)),
        Section("Not to be used for", (NOT_FOR,)),
        Section("Data", _data(summary)),
    ]


def _doubt_sections(summary: Mapping[str, Any]) -> list[Section]:
    metrics = summary["metrics"][reported_split(summary)]
    return [
        Section("Known leaks and doubts", (BulletList(_doubts(summary, metrics)),)),
        Section("Uncertainty", (BulletList(_uncertainty(summary, metrics)),)),
    ]


def _data(summary: Mapping[str, Any]) -> tuple[str | BulletList, ...]:
    more = summary.get("n_beside")
    beside = f" and {more:,} of further data sets that only were learned from" if more else ""
    text = (
        f"{summary['n_train']:,} items to learn from{beside}, {summary['n_val']:,} to choose epoch, calibration and "
        f"thresholds by, {summary['n_test']:,} to report. Labels are what raters saw in pictures; raters of such sets "
        "often disagree."
    )
    notes = summary.get("notes", ())
    return (text, BulletList(tuple(notes))) if notes else (text,)


def _doubts(summary: Mapping[str, Any], metrics: Mapping[str, Any]) -> tuple[str, ...]:
    """What is known to make the figures better than they should be, or worth less."""
    left_out = summary.get("left_out", {})
    points = [text for text in summary.get("warnings", ()) if text != summary.get("warning")]
    if left_out.get("conflicting"):
        points.append(
            f"{left_out['conflicting']:,} items carried conflicting labels and were left out; how many of the others "
            "are labelled wrongly is not known."
        )
    if metrics["ci_by"] != "subject":
        whose = "No item names a subject" if metrics["ci_by"] == "image" else "Some items name no subject"
        points.append(
            f"{whose}: one person may be in several splits, which flatters, and the intervals take items for "
            "independent, which makes them too narrow."
        )
    points += [
        f"The column {column} gives labels away: guessing by it alone has an AUC of {found['label_from_group']:.2f}. "
        "Whatever tells its groups apart (colour, camera, light) may be part of what was learned."
        for column, found in metrics.get("subgroups", {}).items()
        if found.get("gives_labels_away")
    ]
    points.append(
        "Persons, ages, skin colours and cameras that are rare in the data are judged less reliably; only the groups "
        "above have been measured."
        if metrics.get("subgroups")
        else "Persons, ages, skin colours and cameras that are rare in the data are judged less reliably, and this run "
        "has not measured by how much."
    )
    if not metrics.get("raters"):
        points.append("One label an item: the raters' agreement is not known.")
    return tuple(points)


def _uncertainty(summary: Mapping[str, Any], metrics: Mapping[str, Any]) -> tuple[str, ...]:
    points = [
        f"Intervals are 95 %, from drawing {metrics['subjects']:,} {drawn(metrics['ci_by'])} again and again. They say "
        "how far the figures hang on who happens to be in the split. They do not cover wrong labels, other kinds of "
        "pictures, or training again.",
    ]
    members = [row for row in summary.get("members", ()) if row.get("test_auroc") is not None]
    if len(members) > 1:
        aucs = [row["test_auroc"] for row in members]
        points.append(
            f"The {len(members)} heads of the ensemble, which differ in their seed alone, reach an AUC of "
            f"{min(aucs):.3f} to {max(aucs):.3f} each on test."
        )
    if spread := metrics.get("spread"):
        points.append(_spread(spread))
    return tuple(points)


def _spread(spread: Mapping[str, Any]) -> str:
    text = f"Their probabilities of one item differ by a standard deviation of {spread['mean']:.3f} on average"
    if spread["mean_wrong"] is not None and spread["mean_right"] is not None:
        text += f", {spread['mean_right']:.3f} where the decision is right and {spread['mean_wrong']:.3f} where wrong"
    if spread["auroc_of_wrong"] is not None:
        text += f"; as a sign of a wrong decision it has an AUC of {spread['auroc_of_wrong']:.2f}"
    return f"{text}."
