"""A study as sections: who was judged, models side by side, what carries them, and what is not to be concluded.

Knows only the summary.
"""

from collections.abc import Mapping
from typing import Any

from facedep_jax.disclaimer import NOT_FOR
from facedep_jax.report.document import GAP, BulletList, PlotFile, Section, Table, estimate, number, signed

MODELS = {
    "dummy": "dummy: the part of each class, or the mean",
    "confounds": "confounds: how persons were filmed",
    "descriptors": "descriptors: how their faces behaved",
    "attention": "attention: a head that weighs windows of their clips",
    "score": "the head's score (of scores: a line through it)",
}
CLASSES = {
    "auc": "AUC",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}
SCORES = {"mae": "MAE", "rmse": "RMSE", "ccc": "CCC", "spearman": "Spearman"}
ORDER = {
    "auc": "AUC, mean over cuts",
    "kappa_quadratic": "quadratic κ",
    "kappa_linear": "linear κ",
    "mae": "MAE, bands",
}
SHOWN = 15  # carriers
TARGETS = (("classes", "Classes", CLASSES), ("scores", "Scores", SCORES), ("order", "Ordered classes", ORDER))
NOT_CONCLUDED = (
    "A proxy or a questionnaire is not a diagnosis, and what tells groups apart here may be how they were recorded, "
    "treated or instructed.",
    "Figures are of persons like these, filmed alike. Another corpus is another question (--train, --test).",
    "Columns of confounds are those that a cache knows: sound, language and the interviewer are not among them.",
    "Every further model, cut-off or group that was looked at makes one good figure by chance more likely; only what "
    "was planned before counts as a test.",
)


def study_sections(summary: Mapping[str, Any], plots: Mapping[str, str]) -> list[Section]:
    """The page's sections; `plots` are captions of the pictures that are there, by file."""
    found = [
        Section("Not to be used for", (NOT_FOR,)),
        Section("What it says", (BulletList(tuple(f"{text}." for text in summary["verdicts"])),)),
        Section("Persons", _persons(summary)),
    ]
    for target, title, figures in TARGETS:
        if summary[target]:
            pictures = tuple(PlotFile(name, said) for name, said in plots.items() if name.startswith(target))
            tables = (*_agreement(summary[target]), *_cuts(summary[target]))
            found.append(Section(title, (*_models(summary[target], figures), *pictures, *tables)))
            found.append(Section(f"What carries the model of {title.lower()}", _carriers(summary["carriers"][target])))
    if summary["groups"]:
        found.append(Section("Groups", tuple(_group(name, one) for name, one in _by_target(summary["groups"]))))
    if summary["retest"]:
        found.append(Section("From visit to visit", (_retest(summary["retest"]),)))
    return [*found, Section("What cannot be concluded", (BulletList(NOT_CONCLUDED),))]


def _persons(summary: Mapping[str, Any]) -> tuple[Any, ...]:
    flow = Table(("step", "count"), tuple((what, f"{count:,}") for what, count in summary["flow"].items()))
    said = (f"Clips are found by {summary['rule']}.", *(f"{text}." for text in summary["notes"]))
    warned = tuple(f"{text}." for text in summary["warnings"])
    if summary["inputs"]:
        warned += (f"Frames differ from those that the head learned from: {summary['inputs']}.",)
    return (
        flow,
        BulletList((*said, *warned)),
        f"Protocol: {summary['protocol']}. Each person is judged by one visit: the first row with a face and "
        "something stated.",
    )


def _models(target: Mapping[str, Any], figures: Mapping[str, str]) -> tuple[Table, Table]:
    first = "mae" if figures is ORDER else next(iter(figures))
    rows = []
    for name, entry in target["models"].items():
        chance = target["chance"].get(name)
        p = GAP if chance is None else f"{chance['p']:.3f}"
        rows.append((MODELS[name], f"{entry['n']:,}", *(estimate(entry, figure) for figure in figures), p))
    note = "95 % intervals over persons; p by permutation of the whole protocol"
    note += ", which is too long for the attention head." if "attention" in target["models"] else "."
    note += " Bands are the median of what is likely; p is of the mean AUC." if figures is ORDER else ""
    models = Table(("model", "persons", *figures.values(), "p"), tuple(rows), note=note)
    pairs = tuple((name, signed(entry, first)) for name, entry in target["differences"].items())
    return models, Table(("difference", figures[first]), pairs, title="Paired differences, the same persons")


def _agreement(target: Mapping[str, Any]) -> tuple[Table, ...]:
    found = []
    if one := target.get("bland_altman"):
        rows = tuple(
            (name.replace("_", " "), estimate(one, name)) for name in ("bias", "lower_limit", "upper_limit", "slope")
        )
        found.append(Table(("predicted minus stated", "points"), rows, title="Bland–Altman"))
    if bands := target.get("band_agreement"):
        rows = tuple(
            (name.replace("_", " "), estimate(bands, name)) for name in ("accuracy", "kappa_linear", "kappa_quadratic")
        )
        found.append(Table(("predicted scores, cut into bands", ""), rows))
    return tuple(found)


def _cuts(target: Mapping[str, Any]) -> tuple[Table, ...]:
    """Of ordered classes: how well each cut is found by the model of behaviour, and by how persons were filmed."""
    shown = [target["models"][name].get("cuts", ()) for name in ("descriptors", "confounds")]
    rows = tuple(
        (one["from"], f"{one['positive']:,}", estimate(one, "auc"), estimate(two, "auc"))
        for one, two in zip(*shown, strict=True)
    )
    heads = ("from … on", "persons", "AUC, descriptors", "AUC, confounds")
    return (Table(heads, rows, title="Who lies in a band or above it, told from who lies below"),) if rows else ()


def _carriers(rows: list[dict[str, Any]]) -> tuple[Table]:
    shown = tuple((row["name"], signed(row, "coefficient"), f"{row['known']:,}") for row in rows[:SHOWN])
    more = f" {len(rows) - SHOWN} more are in metrics.json." if len(rows) > SHOWN else ""
    note = (
        "Of a model of all persons with a statement: coefficient per deviation of the column, shrunken, with 95 % by "
        "leaving persons out; columns of one signal "
        f"share what it carries.{more}"
    )
    return (Table(("descriptor", "coefficient", "persons known"), shown, note=note),)


def _by_target(groups: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Any]]:
    return [(f"{name}, {target}", (target, rows)) for name, one in groups.items() for target, rows in one.items()]


def _group(name: str, one: tuple[str, list[dict[str, Any]]]) -> Table:
    target, rows = one
    figure, heading = ("auc", "AUC") if target == "classes" else ("mae", "MAE")
    shown = tuple(
        (
            str(row["group"] if row["group"] is not None else "not said"),
            f"{row['n']:,}",
            estimate(row, figure),
            signed(row, f"{figure}_difference"),
            "; ".join(row.get("too_few") or ()),
        )
        for row in rows
    )
    return Table((name, "persons", heading, "minus all others", ""), shown, wrapped=True)


def _retest(found: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = tuple(
        (
            name,
            " and ".join(one["between"]),
            f"{one['n']:,} of {one['n'] + one['left_out']:,}",
            estimate(one, "icc_agreement"),
            number(one["mdc_agreement"]),
        )
        for name, one in found.items()
    )
    note = "Of values that nothing was learned for; who lacks one of the two visits is left out."
    return Table(("value", "visits", "persons", "ICC(A,1)", "minimal detectable change"), rows, note=note)
