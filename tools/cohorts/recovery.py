"""Simulated cohorts through a study's classifier: does it find what is there, and nothing where nothing is?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from cohorts.persons import FPS, HEIGHT, TRAITS, WIDTH, Person, Plan, simulate
from cohorts.pictures import Pictures
from facedep_jax.descriptors.describe_frames import SCORE as SIGNAL
from facedep_jax.descriptors.describe_frames import SEEN, describe, descriptor_names
from facedep_jax.descriptors.movement import COVERAGE
from facedep_jax.evaluation.persons.auc_placements import aucs_of_rows
from facedep_jax.evaluation.weighted_metrics import plain_auroc
from facedep_jax.scoring.frame_scores import Frames
from facedep_jax.study.models import CONFOUND, DESCRIPTOR, SCORE, Judged, judge_classes, labellings
from facedep_jax.study.person_values import CONFOUNDS, LIGHT, family_of
from facedep_jax.study.protocols import repeated_folds
from facedep_jax.study.ridge.linear_models import Columns

FOLDS, REPEATS = 5, 10
MODELS = (DESCRIPTOR, CONFOUND, SCORE)
PERSONS = (40, 120, 300)


@dataclass(frozen=True)
class Measured:
    """What a study knows of n persons. Cohorts are persons `cut` out, since nobody hangs on another."""

    names: tuple[str, ...]
    values: Float[np.ndarray, "n k"]
    people: tuple[Person, ...]

    @property
    def label(self) -> Bool[np.ndarray, " n"]:
        return np.array([person.positive for person in self.people])

    def columns(self, wanted: Sequence[str]) -> Columns:
        """Those in which anybody differs."""
        chosen = [self.names.index(name) for name in wanted]
        chosen = [at for at in chosen if len(np.unique(self.values[np.isfinite(self.values[:, at]), at])) > 1]
        names = tuple(self.names[at] for at in chosen)
        return Columns(self.values[:, chosen], names, tuple(map(family_of, names)))

    @property
    def descriptors(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in (*SEEN, *COVERAGE, *CONFOUNDS))

    def as_it_is(self, model: str) -> Float[np.ndarray, " n"]:
        """The plain score, or a trait turned so that more of it is positive."""
        if model in TRAITS:
            return np.array([TRAITS[model] * person.z[model] for person in self.people])
        return self.values[:, self.names.index(f"{SIGNAL}_mean")]

    def cut(self, persons: int) -> Iterator["Measured"]:
        """Cohorts of so many, as often as there are that many."""
        for start in range(0, len(self.people) - persons + 1, persons):
            own = slice(start, start + persons)
            yield Measured(self.names, self.values[own], self.people[own])


def measure(plan: Plan, pictures: Pictures) -> Measured:
    """Everybody of whom there is a clip, described as `describe` does."""
    found = [(person, _described(frames, pictures)) for person, frames in simulate(plan, pictures)]
    names = tuple(dict.fromkeys((*SEEN, *descriptor_names(True, pictures.emotions), *CONFOUNDS)))
    values = [[row[name] for name in names] for _, row in found]
    return Measured(names, np.array(values, np.float64), tuple(person for person, _ in found))


def _described(frames: Frames, pictures: Pictures) -> dict[str, float]:
    row = describe(frames, 0.0, len(frames.time) / FPS, pictures.threshold)
    side, area = np.sqrt(WIDTH * HEIGHT), frames.box[:, 2] * frames.box[:, 3]
    size = float(np.sqrt(area[np.isfinite(area)], dtype=np.float64).mean() / side)
    rate = row["samples"] / row["seconds"]
    row |= dict.fromkeys(LIGHT, np.nan)  # pictures of all kinds, in turn: of no light of a clip's own
    return row | {"clips": 1.0, "samples_per_second": rate, "face_size": size, "resolution": float(side)}


def judge(cohort: Measured, permutations: int = 0, repeats: int = REPEATS, seed: int = 0) -> Judged:
    """As a study judges classes by repeated folds."""
    columns = {DESCRIPTOR: cohort.columns(cohort.descriptors), CONFOUND: cohort.columns(CONFOUNDS)}
    how = repeated_folds(cohort.label.astype(float), FOLDS, repeats, seed)
    return judge_classes(columns, cohort.as_it_is(SCORE), cohort.label, how, labellings(how, permutations, seed))


def nothing_planted(pictures: Pictures, cohorts: int, permutations: int, seed: int) -> Iterator[tuple[object, ...]]:
    """By number of persons and model: in what part of cohorts p is below 0.05 and the AUC's interval holds 0.5, the
    AUC, and what it would be over all pairs. The fewest persons are judged by two repeats and with permutations, which
    their intervals are by; more persons by all repeats without."""
    people = measure(Plan(cohorts * PERSONS[0], seed=seed), pictures)
    for persons in PERSONS:
        own = list(people.cut(persons))
        few = persons == PERSONS[0]
        how = (permutations, 2) if few else (0, REPEATS)
        found = [judge(one, *how, number) for number, one in enumerate(own)]
        for model in MODELS:
            figures = [one.figures[model] for one in found]
            low = f"{np.mean([one.chance[model]['p'] < 0.05 for one in found]):.1%}" if few else "–"
            held = np.mean([one["auc_ci"][0] <= 0.5 <= one["auc_ci"][1] for one in figures])
            auc = np.array([one["auc"] for one in figures])
            rows = [judged.predictions[model].ranking for judged in found]
            over = [np.mean(aucs_of_rows(row, one.label)) for row, one in zip(rows, own, strict=True)]
            spread = f"{auc.mean():.3f} ± {auc.std():.3f}"
            yield persons, model, len(own), low, f"{held:.1%}", spread, mean_of(np.array(over))


def planted(pictures: Pictures, trait: str, auc: float, people: int, seed: int) -> Iterator[tuple[object, ...]]:
    """Mean AUC of models in the cohorts of each size that so many `people` make, and of who knows the trait itself."""
    found = measure(Plan(people, {trait: auc}, seed=seed), pictures)
    for persons in PERSONS:
        own = list(found.cut(persons))
        knew = np.array([plain_auroc(one.as_it_is(trait), one.label) for one in own])
        judged = [judge(one, seed=number).figures for number, one in enumerate(own)]
        by_model = [np.array([figures[model]["auc"] for figures in judged]) for model in MODELS]
        yield trait, persons, len(own), *map(mean_of, (knew, *by_model))


def mean_of(values: Float[np.ndarray, " c"]) -> str:
    """With its standard error, which one value alone does not have."""
    error = f" ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{error}"
