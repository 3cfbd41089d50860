"""Pictures of a cache, each looked at once by a head → those that a simulated person smiles, is sad or rests with."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from facedep_jax.cache import Cache
from facedep_jax.descriptors.describe_frames import TAKEN
from facedep_jax.errors import RunError
from facedep_jax.head.trained_head import Head
from facedep_jax.scoring.frame_scores import score_items
from facedep_jax.sources.label_vocabulary import column_names

STATES = ("rest", "smile", "sadness")
SMILES, SAD, RESTS = 0.3, 0.05, 0.5  # parts of the pictures; of those that are left; of those left then
SHOWN_BY = {"rest": "neutral", "smile": "happy", "sadness": "sad"}


@dataclass(frozen=True)
class Pictures:
    """p pictures as a head sees them; `states` are those that show each of STATES most clearly *to this head*, so that
    what is planted is there to be seen by it, whatever raters would say."""

    score: Float[np.ndarray, " p"]
    emotions: dict[str, Float[np.ndarray, " p"]]
    threshold: float
    feature: Int[np.ndarray, " p"]
    states: tuple[Int[np.ndarray, " s"], ...]


def look_at(cache: Cache, head: Head) -> Pictures:
    """Every picture of `cache` that shows a face. Raises RunError for a head that does not know these emotions."""
    if absent := [name for name in SHOWN_BY.values() if name not in head.emotions]:
        raise RunError(f"{head.path} knows no {', '.join(absent)}; choose a run over emotions (--target emotion)")
    seen = score_items(cache, np.flatnonzero(cache.items.kind == "image").tolist(), head)
    seen = [one for one in seen if one.feature[0] >= 0]
    called = column_names(head.emotions, TAKEN)
    emotions = {called[name]: np.array([one.emotions[name][0] for one in seen]) for name in head.emotions}
    shown = {state: emotions[called[name]] for state, name in SHOWN_BY.items()}
    score, feature = np.array([one.probability[0] for one in seen]), np.array([one.feature[0] for one in seen])
    return Pictures(score, emotions, head.threshold, feature, states_of(shown))


def states_of(shown: dict[str, Float[np.ndarray, " p"]]) -> tuple[Int[np.ndarray, " s"], ...]:
    """Pictures of each of STATES: the surest smiles, then the saddest of the others, then the calmest."""
    left, found = np.arange(len(shown["smile"])), {}
    for state, part in (("smile", SMILES), ("sadness", SAD), ("rest", RESTS)):
        surest = left[np.argsort(-shown[state][left], kind="stable")]
        found[state], left = np.split(surest, [max(1, round(part * len(surest)))])
    return tuple(np.sort(found[state]) for state in STATES)
