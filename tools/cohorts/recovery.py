"""Simulated cohorts through a study's classifier: does it find what is there, and nothing where nothing is?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from cohorts.persons import FPS, HEIGHT, TRAITS, WIDTH, Person, Plan, simulate
from cohorts.pictures import Pictures
from facedep_jax.descriptors.describe_frames import SCORE, SEEN, describe, descriptor_names
from facedep_jax.descriptors.movement import COVERAGE
from facedep_jax.scoring.frame_scores import Frames
from facedep_jax.study.linear_models import Columns
from facedep_jax.study.out_of_fold import rank_labels
from facedep_jax.study.permutation_test import auc_of_labellings, permuted_rows
from facedep_jax.study.person_values import CONFOUNDS, family_of
from facedep_jax.study.protocols import repeated_folds

FOLDS, REPEATS = 5, 10
MODELS = ("descriptors", "confounds", "plain score")  # and each of TRAITS: who knew it
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
        return self.values[:, self.names.index(f"{SCORE}_mean")]

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
    return row | {"clips": 1.0, "samples_per_second": rate, "face_size": size, "resolution": float(side)}


@dataclass(frozen=True)
class Judged:
    """The AUC of a model in one cohort, and of the same persons with labels dealt out anew."""

    auc: float
    permuted: Float[np.ndarray, " m"]

    @property
    def p(self) -> float:
        return (1 + int((self.permuted >= self.auc - 1e-12).sum())) / (1 + len(self.permuted))


def judge(cohort: Measured, model: str, permutations: int = 0, seed: int = 0) -> Judged:
    """One of MODELS by repeated folds; the plain score, and a trait, are ranked as they are, and learn nothing."""
    how = repeated_folds(cohort.label.astype(float), FOLDS, REPEATS, seed)
    dealt = permuted_rows(np.zeros(len(cohort.label)), permutations, seed)
    labels = np.concatenate([cohort.label[:, None], cohort.label[dealt]], 1)
    if model in ("descriptors", "confounds"):
        wanted = cohort.descriptors if model == "descriptors" else CONFOUNDS
        ranking = rank_labels(cohort.columns(wanted), labels, how)
    else:
        ranking = np.broadcast_to(cohort.as_it_is(model)[None, :, None], (REPEATS, *labels.shape))
    auc = auc_of_labellings(ranking, labels, how)
    return Judged(float(auc[0]), auc[1:])


def aucs(people: Measured, persons: int, model: str) -> Float[np.ndarray, " c"]:
    """Of every cohort that can be cut out."""
    return np.array([judge(one, model, seed=n).auc for n, one in enumerate(people.cut(persons))])


def nothing_planted(pictures: Pictures, cohorts: int, permutations: int, seed: int) -> Iterator[tuple[object, ...]]:
    """In what part of cohorts p is below 0.05, and what AUC is there with the labels as they are and dealt out anew."""
    people = measure(Plan(cohorts * PERSONS[0], seed=seed), pictures)
    for model in ("descriptors", "plain score"):
        found = [judge(one, model, permutations, number) for number, one in enumerate(people.cut(PERSONS[0]))]
        own, dealt = np.array([one.auc for one in found]), np.array([one.permuted for one in found])
        low = np.mean([one.p < 0.05 for one in found])
        yield model, len(found), f"{low:.1%}", _spread(own), _spread(dealt.ravel())


def planted(pictures: Pictures, trait: str, auc: float, people: int, seed: int) -> Iterator[tuple[object, ...]]:
    """Mean AUC of models in the cohorts of each size that so many `people` make."""
    found = measure(Plan(people, {trait: auc}, seed=seed), pictures)
    for persons in PERSONS:
        own = {model: aucs(found, persons, model) for model in (trait, *MODELS)}
        yield trait, persons, len(own[trait]), *map(_mean, own.values())


def _spread(values: Float[np.ndarray, " n"]) -> str:
    return f"{values.mean():.3f} ± {values.std():.3f}"


def _mean(values: Float[np.ndarray, " c"]) -> str:
    """With its standard error."""
    return f"{values.mean():.3f} ± {values.std() / np.sqrt(len(values)):.3f}"
