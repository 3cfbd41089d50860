"""A table of persons and caches → models, figures and tables. Who does what in which order."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import polars as pl

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.disclaimer import behaviour
from facedep_jax.errors import LabelError, OutputError, SettingsError
from facedep_jax.file_system import require_output
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.study.attention.attention_head import Attended, attend
from facedep_jax.study.attention.person_bags import bags_of, how_to_attend
from facedep_jax.study.cohort import LEAST_PERSONS, Cohort, by_corpora, cohort_of, left_out, unmatched
from facedep_jax.study.cohort_labels import band_names
from facedep_jax.study.cohort_matching import match_clips
from facedep_jax.study.cohort_table import read_cohort
from facedep_jax.study.cohort_units import units_of
from facedep_jax.study.further_figures import OneTarget, attention_weights, of_groups, of_scores, of_visits, predictions
from facedep_jax.study.models import (
    ATTENTION,
    CONFOUND,
    DESCRIPTOR,
    LEARNED,
    Judged,
    judge_classes,
    judge_scores,
    labellings,
)
from facedep_jax.study.ordered_classes import judge_order
from facedep_jax.study.person_values import CONFOUNDS, describe_persons
from facedep_jax.study.person_values import SCORE as SCORE_COLUMN
from facedep_jax.study.protocols import LEAVE_ONE_OUT, OFFICIAL, Protocol, choose_protocol
from facedep_jax.study.ridge.carriers import Carrier, carriers
from facedep_jax.study.ridge.linear_models import Columns
from facedep_jax.study.settings import NONE, WARM, StudySettings
from facedep_jax.study.verdict import verdicts

TARGETS = {"classes": "label", "scores": "score", "order": "band"}  # and the columns that state them


class StudySummary(TypedDict):
    """What a study found; `classes`, `scores` and `order` hold models, differences and tests against chance, and are
    null where the table has no such target."""

    study: str
    tables: list[str]
    caches: list[str]
    run: str | None
    run_positive: list[str]
    flow: dict[str, int]
    rule: str
    protocol: str
    persons: dict[str, int]
    positive: int | None
    class_names: list[str] | None  # of the label false and true, in the words of the table
    classes: dict[str, Any] | None
    scores: dict[str, Any] | None
    order: dict[str, Any] | None
    groups: dict[str, dict[str, list[dict[str, Any]]]]
    retest: dict[str, dict[str, Any]]
    carriers: dict[str, list[Carrier]]
    verdicts: list[str]
    warnings: list[str]
    notes: list[str]
    warning: str
    untrained: bool
    inputs: str
    meaning: str
    seconds: float


def run_study(
    tables: Sequence[Path],
    caches: Sequence[Cache],
    settings: StudySettings,
    out: Path,
    head: Head | None = None,
    report: Report = silent,
) -> tuple[StudySummary, dict[str, pl.DataFrame]]:
    """The summary, and the tables `predictions`, `persons`, `unmatched` and, of an attention head, `attention`.

    Raises TableError for what a table cannot mean, LabelError where persons are too few, OutputError where `out` holds
    something, and what `require_framewise` raises for the head.
    """
    begun = time.monotonic()
    require_output(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is there already and not empty; a study is written once: choose another --out")
    table = read_cohort(tables, settings)
    units = units_of(table)
    train, test = (_numbers(caches, names) for names in (settings.train, settings.test))
    matched = match_clips(table, units, caches, train, test)
    units = by_corpora(units, matched, train) if train else units
    cohort = cohort_of(units, matched, describe_persons(caches, matched.parts, head, report))
    warnings = left_out(table, matched, cohort)
    attend = _attention(caches, matched.parts, cohort, settings, head, report)
    found = {n: one for n in TARGETS if (one := _judge(n, cohort, settings, head is not None, attend, report))}
    if settings.bands and "scores" not in found:
        raise SettingsError(f"--bands are of scores, and {table.name} has none")
    warnings += _doubts(found, len(cohort.units))
    for text in warnings:
        report(Note(text, "warning"))
    classes, scores, order = (found.get(name) for name in TARGETS)
    summary: StudySummary = {
        "study": str(out),
        "tables": list(map(str, tables)),
        "caches": [str(cache.path) for cache in caches],
        "run": str(head.path) if head else None,
        "run_positive": list(head.positive_emotions) if head else [],
        "flow": cohort.flow,
        "rule": matched.rule,
        "protocol": "; ".join(f"{name}: {one.how.said}" for name, one in found.items()),
        "persons": {name: one.judged_count for name, one in found.items()},
        "positive": int(classes.truth.sum()) if classes else None,
        "class_names": list(table.class_names) if classes else None,
        "classes": _figures(classes) if classes else None,
        "scores": _figures(scores) | of_scores(scores, settings.bands) if scores else None,
        "order": _figures(order) | {"bands": list(band_names(settings))} if order else None,
        "groups": of_groups(found, settings.groups),
        "retest": of_visits(cohort),
        "carriers": {name: carriers(one.columns, one.truth) for name, one in found.items()},
        "verdicts": verdicts(
            classes and classes.judged,
            scores and scores.judged,
            order and order.judged,
            min(one.judged_count for one in found.values()),
        ),
        "warnings": warnings,
        "notes": [
            *table.said,
            *matched.said,
            *cohort.values.said,
            *(said for one in found.values() for said in one.said),
        ],
        "warning": head.warning if head else "",
        "untrained": head.untrained if head else any(cache.untrained for cache in caches),
        "inputs": cohort.values.inputs,
        "meaning": f"{behaviour(head.positive_emotions if head else ())} What is learned here is what the table says.",
        "seconds": round(time.monotonic() - begun, 3),
    }
    written = {
        "predictions": predictions(found),
        "persons": cohort.visits.join(cohort.values.rows, on="unit", how="left", maintain_order="left").drop("unit"),
        "unmatched": unmatched(matched),
    } | attention_weights(found, cohort.visits)
    return summary, written


def _numbers(caches: Sequence[Cache], names: Sequence[str]) -> list[int]:
    """Which of the caches are called so."""
    places = [Path(name).resolve() for name in names]
    return [number for number, cache in enumerate(caches) if cache.path.resolve() in places]


Attend = Callable[[Sequence[int], Any, Protocol], Attended]


def _attention(
    caches: Sequence[Cache],
    parts: pl.DataFrame,
    cohort: Cohort,
    settings: StudySettings,
    head: Head | None,
    report: Report,
) -> tuple[Attend | None, str]:
    """The attention head on what these persons show, or none; and what to say of it."""
    how, why = how_to_attend(settings.attention, head, caches)
    if how == NONE:
        return None, why
    own = parts.filter(pl.col("unit").is_in(cohort.units["unit"].implode()))
    bags = bags_of(caches, own, how, head, settings.window, report)
    begun = head if how == WARM else None

    def judged(units: Sequence[int], target: Any, protocol: Protocol) -> Attended:
        return attend(bags, units, target, protocol, settings.seed, begun, report)

    return judged, bags.said


def _judge(
    name: str,
    cohort: Cohort,
    settings: StudySettings,
    scored: bool,
    attention: tuple[Attend | None, str],
    report: Report,
) -> OneTarget | None:
    """The models of one target, None where the table states none. Raises LabelError where nothing can be judged."""
    rows = cohort.units.drop_nulls(TARGETS[name])
    if rows.is_empty():
        return None
    truth = rows[TARGETS[name]].to_numpy()
    if len(np.unique(truth)) < 2 or len(rows) < LEAST_PERSONS:
        raise LabelError(
            f"{name}: {len(rows)} persons with a face state one, {len(np.unique(truth))} of them different; at least "
            f"{LEAST_PERSONS} persons and two are needed, or leave it out{_without(name, settings)}"
        )
    asked = OFFICIAL if settings.train else settings.protocol
    partition = np.array(rows["partition"].to_list(), object)
    drawn = settings.folds, settings.repeats, settings.seed
    how = choose_protocol(asked, truth.astype(float), partition, name == "classes", *drawn)
    report(Note(f"{name}: {len(rows)} persons; {how.said}"))
    names = {CONFOUND: CONFOUNDS, DESCRIPTOR: cohort.values.descriptors}
    columns = {model: cohort.values.columns(names[model], rows["unit"]) for model in LEARNED}
    if not columns[DESCRIPTOR].names:
        raise LabelError(
            f"{name}: no descriptor is known in which two of {len(rows)} persons differ, so there is no behaviour to "
            "judge; give --head, look for faces when extracting, or import landmarks in pixels"
        )
    said = tuple(_known(name, model, names[model], one) for model, one in columns.items())
    plain = None
    if scored:
        values = rows.select("unit").join(cohort.values.rows, on="unit", how="left", maintain_order="left")
        plain = values[SCORE_COLUMN].cast(pl.Float64).fill_null(np.nan).to_numpy()
    further, weights = {}, None
    if attention[0]:
        attended = attention[0](rows["unit"].to_list(), truth, how)
        further, weights = {ATTENTION: attended.given}, attended.weights
    said += (f"{name}, {ATTENTION}: {attention[1]}",)
    judge: Mapping[str, Callable[..., Judged]] = {
        "classes": judge_classes,
        "scores": judge_scores,
        "order": partial(judge_order, names=band_names(settings)),
    }
    rest = how, labellings(how, settings.permutations, settings.seed), report, further
    judged = judge[name](columns, plain, truth, *rest)
    return OneTarget(judged, columns[DESCRIPTOR], truth.astype(float), rows, how, said, weights)


def _without(name: str, settings: StudySettings) -> str:
    """How a target is not asked for."""
    if name == "order":
        return f": without --{'order' if settings.order else 'bands'}"
    return f" with --column {TARGETS[name]}="


def _known(target: str, model: str, wanted: Sequence[str], columns: Columns) -> str:
    """Which columns a model has, and of how many persons it knows none."""
    absent = [name for name in wanted if name not in columns.names]
    said = f"{target}, {model}: {len(columns.names)} columns"
    if model == CONFOUND:
        said += f" ({', '.join(columns.names) or 'none'}); not known or the same of all: {', '.join(absent) or 'none'}"
        lacking = np.isnan(columns.values).sum(0).tolist()
        some = [f"{one} of {count}" for one, count in zip(columns.names, lacking, strict=True) if count]
        said += f"; not known of some persons: {', '.join(some)}" if some else ""
    unknown = int(np.isnan(columns.values).all(1).sum()) if columns.names else 0
    return said + (f"; {unknown} persons of whom none is known count as the mean" if unknown else "")


def _doubts(found: Mapping[str, OneTarget], persons: int) -> list[str]:
    """Who is not judged, and figures that lie too low."""
    lacking = {name: persons - one.judged_count for name, one in found.items()}
    said = [
        f"{name}: {count} of {persons} persons are not judged: nothing is stated, or they are learned from only"
        for name, count in lacking.items()
        if count
    ]
    if any(one.how.name == LEAVE_ONE_OUT for one in found.values()):
        said.append(
            "with one person left out at a time, each moves what is learned from away from themselves: AUCs, "
            "correlations and figures at 0.5 lie too low where little is to be found, of which p alone takes account"
        )
    return said


def _figures(one: OneTarget) -> dict[str, Any]:
    return {
        "models": one.judged.figures,
        "differences": one.judged.differences,
        "chance": one.judged.chance,
        "columns": one.judged.columns,
    }
