"""How often the intervals of `evaluate` hold what they promise, with few persons and with many.

    python tools/figure_coverage.py [--draws 400] [--json]

Persons are made up who are of one class each and have one to many items (geometric, three on average); half of what
makes a score is the person's, half the item's. So what an AUC, an accuracy, a recall and an F1 are in truth is known.
Calibration: labels are drawn by log odds that are the score's, or bent and shifted. Prints Markdown tables: in how many
of 100 trials the interval holds the truth, of 95 promised, and how wide it is on average. *Ours* is what `evaluate`
gives, *percentiles* those of the same resamples, *BCa* Efron's correction of them, by leaving out a person each.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from benchmark.report import markdown_table
from jaxtyping import Bool, Float, Int
from scipy.special import expit, ndtr, ndtri

from facedep_jax.evaluation.bootstrap import Sampled, Sides, bootstrap
from facedep_jax.evaluation.figures import GAPS, fields, gap_figures
from facedep_jax.evaluation.weighted_metrics import auroc, calibration_gaps, cells, decision_metrics

PERSONS = ((5, 5), (5, 40), (10, 10), (20, 60), (80, 80))  # positive ones, others
SHIFTS = (0.5, 1.5, 3.0)  # deviations between the classes
FIGURES = {"auroc": ("positive", "other"), "accuracy": ("positive", "other"), "recall": ("positive",)}
BENT = {"calibrated": (1.0, 0.0), "a little off": (0.8, 0.2), "shifted": (1.0, 0.6), "overconfident": (0.4, 0.0)}
OF_CALIBRATION = (20, 80, 300)  # persons
OWN, SPREAD, RESAMPLES = 0.5, 1.6, 1000  # the person's part of the variance; deviation of log odds

Persons = Int[np.ndarray, " n"]
Ends = tuple[float, float]


def items_of(rng: np.random.Generator, persons: int) -> Persons:
    """The person of each item."""
    return np.repeat(np.arange(persons), rng.geometric(1 / 3, persons))


def noise(rng: np.random.Generator, person: Persons) -> Float[np.ndarray, " n"]:
    """Of deviation 1, a part of it the person's."""
    own = rng.normal(size=int(person.max()) + 1)[person]
    return np.sqrt(OWN) * own + np.sqrt(1 - OWN) * rng.normal(size=len(person))


def truth(shift: float) -> dict[str, float]:
    """What the figures are in truth, by the normal distribution; decisions are at half the shift."""
    right = float(ndtr(shift / 2))
    return {"auroc": float(ndtr(shift / np.sqrt(2))), "accuracy": right, "recall": right}


def sampled(
    score: Float[np.ndarray, " n"], label: Bool[np.ndarray, " n"], person: Persons, shift: float
) -> tuple[Sampled, dict[str, Float[np.ndarray, " persons"]]]:
    """The figures and their resamples, and what they are without each person."""
    counts = cells(score >= shift / 2, label)

    def figures(weight: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        decided = decision_metrics(weight @ counts)
        return {"auroc": auroc(score, label, weight)} | {name: decided[name] for name in ("accuracy", "recall")}

    sides = Sides({"positive": label, "other": ~label}, FIGURES)
    left_out = figures((np.arange(int(person.max()) + 1)[:, None] != person).astype(float))
    return bootstrap(figures, person, RESAMPLES, 0, sides), left_out


def bca(value: float, drawn: Float[np.ndarray, " r"], left_out: Float[np.ndarray, " persons"]) -> Ends:
    """Efron's interval (J. Am. Stat. Assoc. 82 (1987) 171)."""
    below = np.clip((np.mean(drawn < value) + np.mean(drawn <= value)) / 2, 1 / len(drawn), 1 - 1 / len(drawn))
    away = left_out.mean() - left_out
    skew = (away**3).sum() / (6 * max((away**2).sum(), 1e-12) ** 1.5)
    shifted = ndtri(below) + ndtri(np.array([0.025, 0.975]))
    low, high = np.quantile(drawn, ndtr(ndtri(below) + shifted / (1 - skew * shifted)))
    return low, high


def ways(found: Sampled, left_out: Float[np.ndarray, " persons"], name: str) -> dict[str, Ends]:
    """The interval of a figure by every rule."""
    drawn = found.drawn[name][np.isfinite(found.drawn[name])]
    low, high = found.interval(name)
    assert low is not None and high is not None
    return {
        "ours": (low, high),
        "percentiles": (float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))),
        "BCa": bca(found.value[name], drawn, left_out[np.isfinite(left_out)]),
    }


def of_ranking(persons: tuple[int, int], shift: float, draws: int) -> list[dict[str, Any]]:
    """Coverage and width of each figure by each rule."""
    rng, true = np.random.default_rng(0), truth(shift)
    ends: dict[tuple[str, str], list[Ends]] = {}
    for _ in range(draws):
        person = items_of(rng, sum(persons))
        label = person < persons[0]
        score = shift * label + noise(rng, person)
        order = np.argsort(score)
        found, left_out = sampled(score[order], label[order], person[order], shift)
        for name in FIGURES:
            for rule, interval in ways(found, left_out[name], name).items():
                ends.setdefault((name, rule), []).append(interval)
    return [
        {"persons": f"{persons[0]} and {persons[1]}", "figure": f"{name} {true[name]:.2f}", "rule": rule}
        | covered(np.array(intervals), true[name])
        for (name, rule), intervals in ends.items()
    ]


def of_calibration(persons: int, kind: str, draws: int) -> list[dict[str, Any]]:
    """The same of the calibration error, and what is told of it on average."""
    rng, (slope, bias) = np.random.default_rng(0), BENT[kind]
    odds = SPREAD * np.sort(rng.normal(size=400_000))
    true = float(np.abs((expit(odds) - expit(slope * odds + bias)).reshape(10, -1).mean(1)).mean())
    told: list[tuple[float, float]] = []
    ends: dict[str, list[Any]] = {"ours": [], "percentiles": []}
    for _ in range(draws):
        person = items_of(rng, persons)
        odds = SPREAD * noise(rng, person)
        label = ndtr(noise(rng, person)) < expit(slope * odds + bias)
        order = np.argsort(odds)
        score, above, who = expit(odds[order]), label[order], person[order]
        draw: Callable[..., Any] = lambda w, s=score, y=above: gap_figures(calibration_gaps(s, y, w))  # noqa: E731
        found = bootstrap(draw, who, RESAMPLES, 0)
        fresh = fields(found, ["ece"])
        told.append((fresh["ece"], fresh["ece_debiased"]))
        ends["ours"].append(fresh["ece_debiased_ci"])
        sums = np.abs(np.stack([found.drawn[name] for name in GAPS])).sum(0)
        ends["percentiles"].append(np.quantile(sums, (0.025, 0.975)))
    plain, debiased = np.mean(told, 0)
    shown = {"persons": persons, "kind": kind, "truth": true, "as found": plain, "without chance": debiased}
    return [shown | {"rule": rule} | covered(np.array(intervals), true) for rule, intervals in ends.items()]


def covered(ends: Float[np.ndarray, "draws 2"], true: float) -> dict[str, float]:
    """How often intervals hold the truth, and their mean width."""
    held = (ends[:, 0] <= true + 1e-12) & (true <= ends[:, 1] + 1e-12)
    return {"coverage": float(held.mean()), "width": float((ends[:, 1] - ends[:, 0]).mean())}


def markdown(ranking: list[dict[str, Any]], calibration: list[dict[str, Any]]) -> str:
    """A line for each figure and rule, a column for each number of persons; then a line for each kind and number."""
    columns = dict.fromkeys(row["persons"] for row in ranking)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for row in ranking:
        cell = f"{100 * row['coverage']:.0f} ({row['width']:.2f})"
        rows.setdefault((row["figure"], row["rule"]), {})[row["persons"]] = cell
    lines = [(*key, *(row[persons] for persons in columns)) for key, row in rows.items()]
    first = markdown_table(("figure", "interval", *(f"{persons} persons" for persons in columns)), lines)
    heads = ("labels", "persons", "truth", "as found", "without chance", "ours", "percentiles")
    pairs = zip(calibration[::2], calibration[1::2], strict=True)
    second = [
        (
            one["kind"],
            str(one["persons"]),
            *(f"{one[name]:.3f}" for name in heads[2:5]),
            *(f"{100 * each['coverage']:.0f} ({each['width']:.2f})" for each in (one, two)),
        )
        for one, two in pairs
    ]
    return f"{first}\n\n{markdown_table(heads, second)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=400, help="trials of each kind")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    ranking = [row for p in PERSONS for shift in SHIFTS for row in of_ranking(p, shift, options.draws)]
    calibration = [row for kind in BENT for p in OF_CALIBRATION for row in of_calibration(p, kind, options.draws)]
    print(json.dumps([ranking, calibration], indent=1) if options.json else markdown(ranking, calibration))


if __name__ == "__main__":
    main()
