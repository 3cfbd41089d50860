"""A plan → persons, and the clip of each. What is planted is exact: how long, how often, how fast, to the frame.

Everybody has a propensity z ~ N(0, 1) for each of `TRAITS`, all independent. One in which the classes differ has
√2 Φ⁻¹(A) added, or taken away, for the positive ones: who knew z, and nothing else, would tell them apart with an AUC
of A, and no better (binormal model; Green & Swets 1966). The others vary from person to person all the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from scipy.signal import lfilter
from scipy.special import expit
from scipy.stats import norm

from cohorts.pictures import STATES, Pictures
from facedep_jax.media.frame_types import FACE_STATES
from facedep_jax.scoring.frame_scores import Frames

# Which side the positive class is moved to, where it is moved: fewer smiles and less movement, as reported of
# depression (docs/descriptors.md), and recordings that are longer, with fewer faces, smaller ones.
TRAITS = {"smile": -1, "sadness": 1, "movement": -1, "length": 1, "coverage": -1, "size": -1}
FPS = 4.0
WIDTH, HEIGHT = 640, 480  # pixels
POOL = (12, 6, 8)  # pictures of a person, of each of STATES
MEAN_BOUT = (12, 8, 8)  # frames of one
KEPT = 0.5  # of the frames show the picture of the one before, where the state is the same
FOUND, NONE = FACE_STATES.index("found"), FACE_STATES.index("none")


@dataclass(frozen=True)
class Plan:
    """`differ`: the Bayes AUC of each trait in which the classes differ. `missing`: the part of persons in the table of
    whom there is no clip, by class (negative, positive)."""

    persons: int = 40
    differ: dict[str, float] = field(default_factory=dict)
    missing: tuple[float, float] = (0.0, 0.0)
    seed: int = 0


@dataclass(frozen=True)
class Person:
    """`z` by trait, and what hangs on it: parts of the time with a face, box sizes a second, frames, pixels."""

    number: int
    positive: bool
    missing: bool
    z: dict[str, float]

    @property
    def name(self) -> str:
        return f"p{self.number:04d}"

    @property
    def parts(self) -> tuple[float, float]:
        """Smiles, and sadness, of the frames with a face; at most 0.9 together."""
        return 0.45 * float(expit(-0.4 + 0.8 * self.z["smile"])), 0.45 * float(expit(-0.8 + 0.8 * self.z["sadness"]))

    @property
    def speed(self) -> float:
        """Mean, from frame to frame."""
        return 0.07 * float(np.exp(0.4 * self.z["movement"]))

    @property
    def frames(self) -> int:
        """Of the clip: one and a half minutes, more or less."""
        return round(90 * FPS * float(np.exp(0.15 * self.z["length"])))

    @property
    def faceless(self) -> float:
        """Part of the frames."""
        return 0.3 * float(expit(-1.5 - 0.8 * self.z["coverage"]))

    @property
    def size(self) -> float:
        """Of the box, typically."""
        return 110 * float(np.exp(0.2 * self.z["size"]))


def shift(auc: float) -> float:
    """How far apart two normal distributions of deviation 1 lie, of which values are told apart with this AUC."""
    return float(np.sqrt(2) * norm.ppf(auc))


def persons_of(plan: Plan) -> list[Person]:
    """Every second one is positive. Persons hang on the plan's seed and their number, not on how many there are."""
    return [_person(plan, number) for number in range(plan.persons)]


def _person(plan: Plan, number: int) -> Person:
    rng, positive = np.random.default_rng([plan.seed, number]), number % 2 == 1
    missing = bool(rng.random() < plan.missing[positive])
    drawn = dict(zip(TRAITS, rng.normal(size=len(TRAITS)).tolist(), strict=True))
    moved = {name: TRAITS[name] * shift(auc) for name, auc in plan.differ.items() if positive}
    return Person(number, positive, missing, {name: z + moved.get(name, 0.0) for name, z in drawn.items()})


def clip_of(plan: Plan, person: Person, pictures: Pictures) -> Frames:
    """The person's clip, as `score_items` would find it in a cache; `feature` are rows of the pictures' cache."""
    rng = np.random.default_rng([plan.seed, person.number, 1])
    seen = ~_blocks(rng, person.frames, [person.frames - round(person.faceless * person.frames)], (40, 8)).astype(bool)
    shown = np.full(person.frames, -1)
    shown[seen] = _shown(rng, person, pictures, int(seen.sum()))
    box = np.where(seen[:, None], _boxes(rng, person), np.nan).astype(np.float32)

    def known(values: Float[np.ndarray, " p"]) -> Float[np.ndarray, " t"]:
        return np.where(seen, values[shown], np.nan)

    emotions = {name: known(values) for name, values in pictures.emotions.items()}
    feature = np.where(seen, pictures.feature[shown], -1)
    time, face = np.arange(person.frames) / FPS, np.where(seen, FOUND, NONE).astype(np.uint8)
    return Frames(time, face, box, known(pictures.score), feature=feature, emotions=emotions)


def _blocks(rng: np.random.Generator, frames: int, counts: list[int], mean: tuple[int, ...]) -> Int[np.ndarray, " t"]:
    """A state for each of `frames`: exactly `counts` of each but the last, in pieces about `mean` long, shuffled."""
    states, lengths = [], []
    for state, count in enumerate([*counts, frames - sum(counts)]):
        pieces = max(1, round(count / mean[state]))
        lengths.append(rng.multinomial(count, np.full(pieces, 1 / pieces)))
        states.append(np.full(pieces, state))
    order = rng.permutation(sum(map(len, states)))
    return np.repeat(np.concatenate(states)[order], np.concatenate(lengths)[order])


def _shown(rng: np.random.Generator, person: Person, pictures: Pictures, count: int) -> Int[np.ndarray, " k"]:
    """Pictures of the person's own pools, each kept for some frames."""
    smiles, sad = (round(part * count) for part in person.parts)
    state = _blocks(rng, count, [count - smiles - sad, smiles], MEAN_BOUT)
    own = [
        rng.choice(all_, min(size, len(all_)), replace=False) for all_, size in zip(pictures.states, POOL, strict=True)
    ]
    fresh = (rng.random(count) >= KEPT) | (np.diff(state, prepend=-1) != 0)
    draw = rng.random(count)[np.maximum.accumulate(np.where(fresh, np.arange(count), 0))]
    found = np.empty(count, np.int64)
    for number in range(len(STATES)):
        at = state == number
        found[at] = own[number][(draw[at] * len(own[number])).astype(int)]
    return found


def _boxes(rng: np.random.Generator, person: Person) -> Float[np.ndarray, "t 4"]:
    """A box about the picture's middle, whose centre wanders as fast as the person does; its size breathes."""
    wander = lfilter([1], [1, -1.6, 0.63], rng.normal(size=(3, person.frames)), axis=1)
    sizes = person.size * np.exp(0.03 * wander[2] / wander[2].std())
    steps = np.hypot(*np.diff(wander[:2], axis=1)) / ((sizes[1:] + sizes[:-1]) / 2)
    x, y = wander[:2] * (person.speed / FPS / steps.mean())
    return np.stack([WIDTH / 2 + x - sizes / 2, HEIGHT / 2 + y - sizes / 2, sizes, sizes], 1)


def simulate(plan: Plan, pictures: Pictures) -> Iterator[tuple[Person, Frames]]:
    """Everybody with a clip, one after the other."""
    for person in persons_of(plan):
        if not person.missing:
            yield person, clip_of(plan, person, pictures)
