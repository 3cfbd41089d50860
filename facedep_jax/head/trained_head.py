"""A trained head in use: features in, logits and probabilities out. It does not know how it was trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float, Float16, Float32, Int32

from facedep_jax.cache.feature_spec import check_features, stated_input
from facedep_jax.dataset.clip_windows import MAX_FRAMES
from facedep_jax.dataset.lazy_features import Features
from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.errors import LabelError, RunError
from facedep_jax.head.batched_forward import (
    class_probabilities,
    predict_classes,
    predict_windows,
    proxy_logits,
    step_rows,
)
from facedep_jax.head.calibration import RAW, Calibration, calibrate, over_frames
from facedep_jax.head.doubts import auroc, joined, of_ranking, without_ranking
from facedep_jax.head.model import Architecture, Inputs, Tokens, abstract_state, graph_of
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.sources.class_labels import PROXY_CLASSES, choose_positive
from facedep_jax.sources.label_vocabulary import in_order
from facedep_jax.toml_settings import differences, without_none

# Of a spec's input, what decides how a face that was found is cut out, whatever kind of file it is in.
_CUT = ("faces", "detector_sha256", "margin", "align", "min_face", "min_sharpness", "detection")


class Validation(NamedTuple):
    """Logits of every member, of each frame of the items (NaN where one has fewer), and the classes of the items.

    Those of runs of earlier versions are of whole items, and have no axis of frames.
    """

    logits: Float32[np.ndarray, "m n ... classes"]
    target: Int32[np.ndarray, " n"]

    def sides(self, positive: Bool[np.ndarray, " classes"]) -> Float32[np.ndarray, "n t"]:
        """The members' mean proxy logit of each frame."""
        frames = self.logits[:, :, None] if self.logits.ndim == 3 else self.logits
        return proxy_logits(frames, positive).mean(0)

    def calibrate(self, positive: Bool[np.ndarray, " classes"]) -> Calibration:
        """Scale, bias and threshold for other positive classes, as training finds them for its own.

        Raises LabelError where these items are all on one side.
        """
        label = positive[self.target]
        if label.all() or not label.any():
            raise LabelError(
                f"by these emotions all {len(label):,} validation items of the run are "
                f"{'positive' if label.all() else 'negative'}, so nothing can be calibrated; choose other --positive"
            )
        return calibrate(self.sides(positive), label)

    def auroc(self, positive: Bool[np.ndarray, " classes"]) -> float:
        """How well the head ranks these items by other positive classes."""
        return auroc(over_frames(RAW.probability(self.sides(positive))), positive[self.target])


@dataclass(frozen=True)
class Head:
    """m members whose mean logit is the head's. `features` is the spec of the features that it was trained on."""

    architecture: Architecture
    states: nnx.State
    classes: tuple[str, ...]
    positive: Bool[np.ndarray, " classes"]
    positive_emotions: tuple[str, ...]
    calibration: Calibration
    features: dict[str, Any]
    input: dict[str, Any] = field(default_factory=dict)
    untrained: bool = False
    fingerprint: str = ""  # of the first cache that it was trained on
    path: Path | None = None  # of the run, where there is one
    sha256: str = ""  # of head.safetensors
    validation: Validation | None = None  # of a head over emotions
    window: float = 0.0  # seconds of the windows that it learned from, 0 for clips in as few as hold all frames
    fps: float = 0.0  # frames a second of clips that it learned from, 0 for all that there were
    before_windows: bool = False  # of a version that looked at MAX_FRAMES, spread over it, of a clip with more
    doubt: str = ""  # whether it has learned anything; empty where there is no reason to ask

    @property
    def taps(self) -> tuple[str, ...]:
        """What it reads, in its own order."""
        return self.architecture.inputs.taps

    @property
    def mixes(self) -> bool:
        """Whether it looks at several frames of a clip at once, or weighs its windows, and not at each for itself."""
        return self.architecture.temporal != "none" or self.weighs

    @property
    def weighs(self) -> bool:
        """Whether it gives the windows of a clip weights of their own."""
        return self.architecture.pooling == "attention"

    @property
    def mixing(self) -> str:
        """What it does with the frames of clips where it `mixes`, in words."""
        parts = ["mixes frames in time"] if self.architecture.temporal != "none" else []
        return " and ".join([*parts, *(["weighs the windows of a clip"] if self.weighs else [])])

    @property
    def face_by_face(self) -> str:
        """What to say where it is given single faces; empty where that is what it was trained for."""
        said = f"the head {self.mixing}, and here every face is a clip of one frame to it: it was not trained so"
        return said if self.mixes else ""

    def of_long_clips(self, count: int) -> str:
        """What to say where `count` clips have more frames in one piece than its version looked at; else empty."""
        if not (self.before_windows and count):
            return ""
        version = f"{self.path} is of a version that looked at {MAX_FRAMES} frames of a clip with more"
        told = f"{version}, as {count:,} have here"
        if self.mixes:
            return f"{told}: it has not learned from windows of such clips, which it sees now; train it again"
        return f"{told}: it learned from no more of each; train it again to learn from all"

    @property
    def target(self) -> str:
        """`proxy` for a head of two classes, `emotion` for one class per emotion."""
        return "proxy" if self.classes == PROXY_CLASSES else "emotion"

    @property
    def weights(self) -> dict[str, str]:
        """SHA-256 of the weights of each backbone that the features came from."""
        return {name: entry["sha256"] for name, entry in self.features["weights"].items()}

    @property
    def threshold(self) -> float:
        """Calibrated probabilities from here on are decided positive."""
        return self.calibration.threshold

    @property
    def warning(self) -> str:
        """What to say beside every score where features are untrained or the head has learned nothing; else empty."""
        return "; ".join(filter(None, (UNTRAINED if self.untrained else "", self.doubt)))

    def probability(self, logits: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Calibrated probability of the proxy's positive side."""
        return self.calibration.probability(logits)

    def emotion_probabilities(self, logits: Float32[np.ndarray, "m ... classes"]) -> Float[np.ndarray, "... classes"]:
        """Calibrated probabilities of the classes from members' logits of them; the positive ones sum to
        `probability`."""
        return class_probabilities(logits, self.positive, self.calibration)

    @property
    def emotions(self) -> tuple[str, ...]:
        """The classes of a head over emotions in the vocabulary's order; none of a head of two classes."""
        return in_order(self.classes) if self.target == "emotion" else ()

    def by_emotion(self, logits: Float[np.ndarray, "m ... classes"]) -> dict[str, Float[np.ndarray, "..."]]:
        """`emotion_probabilities` by name, as `emotions` has them; nothing of a head of two classes."""
        if not self.emotions:
            return {}
        found = self.emotion_probabilities(logits)
        return {name: found[..., self.classes.index(name)] for name in self.emotions}

    def frame_logits(self, tokens: Mapping[str, Float16[np.ndarray, "n S S C"]]) -> Float32[np.ndarray, " n"]:
        """Logits of single frames, each as a clip of its own."""
        return self.frame_members(tokens).mean(0)

    def frame_members(self, tokens: Mapping[str, Float16[np.ndarray, "n S S C"]]) -> Float32[np.ndarray, "m n"]:
        """The same by every member."""
        return proxy_logits(self.frame_classes(tokens), self.positive)

    def frame_classes(self, tokens: Mapping[str, Float16[np.ndarray, "n S S C"]]) -> Float32[np.ndarray, "m n classes"]:
        """The same for every class."""
        count = len(tokens[self.taps[0]])
        clips = {tap: np.asarray(tokens[tap])[:, None] for tap in self.taps}
        return self.class_logits(clips, np.zeros((count, 1), np.float32), np.ones((count, 1), bool))

    def finite_on_probe(self, batch: int | None = None) -> bool:
        """Whether one frame of fixed features, in the range of real ones, gets finite logits of every class, by the
        program for so many frames at once."""
        inputs = self.architecture.inputs
        shapes = {t: (1, 1, s, s, c) for t, s, c in zip(inputs.taps, inputs.cells, inputs.channels, strict=True)}
        probe = {
            tap: np.linspace(-1, 6, np.prod(shape), dtype=np.float16).reshape(shape) for tap, shape in shapes.items()
        }
        now, there = np.zeros((1, 1), np.float32), np.ones((1, 1), bool)
        return bool(np.isfinite(predict_classes(self.architecture, self.states, probe, now, there, batch)).all())

    def class_logits(
        self,
        tokens: Mapping[str, Features],
        times: Float32[np.ndarray, "n t"],
        mask: Bool[np.ndarray, "n t"],
    ) -> Float32[np.ndarray, "m n classes"]:
        """Logits of clips by every member, one per class."""
        if not len(times):
            return np.zeros((self.members, 0, len(self.classes)), np.float32)
        return predict_classes(self.architecture, self.states, {tap: tokens[tap] for tap in self.taps}, times, mask)

    def window_logits(
        self,
        tokens: Mapping[str, Features],
        times: Float32[np.ndarray, "n t"],
        mask: Bool[np.ndarray, "n t"],
    ) -> tuple[Float32[np.ndarray, "m n classes"], Float32[np.ndarray, "m n"]]:
        """`class_logits`, and how much each window is to count before the softmax over the windows of its clip."""
        own = {tap: tokens[tap] for tap in self.taps}
        return predict_windows(self.architecture, self.states, own, times, mask)

    def members_range(
        self, logits: Float[np.ndarray, "m n"]
    ) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Calibrated probabilities by the lowest and by the highest member, NaN for a head of one.

        It says how far heads that differ in their seed alone are apart, and nothing of errors that they share.
        """
        if self.members == 1:
            return np.full(logits.shape[1], np.nan), np.full(logits.shape[1], np.nan)
        return self.probability(logits.min(0)), self.probability(logits.max(0))

    def with_positive(self, names: Sequence[str]) -> "Head":
        """The same members with other positive emotions; calibration and threshold by the run's validation items.

        Raises LabelError for a head of two classes, for emotions that it does not know, and where its validation items
        are all on one side; RunError where the run did not keep what its members said of them.
        """
        name = self.path or "the head"
        if self.target == "proxy":
            raise LabelError(
                f"{name} knows {', '.join(self.positive_emotions)} against the rest and no single emotion, so its "
                "positives cannot be changed; train one with --target emotion"
            )
        chosen, unknown = choose_positive(self.classes, names)
        if unknown:
            raise LabelError(f"{name} does not know {', '.join(unknown)}; it has {', '.join(self.classes)}")
        if self.validation is None:
            raise RunError(f"{name} has no validation.safetensors to calibrate other positives by; train it again")
        positive = np.array([name in chosen for name in self.classes])
        return replace(
            self,
            positive=positive,
            positive_emotions=tuple(sorted(chosen)),
            calibration=self.validation.calibrate(positive),
            doubt=joined(without_ranking(self.doubt), of_ranking(self.validation.auroc(positive))),
        )

    @property
    def members(self) -> int:
        """How many heads the mean is over."""
        return int(jax.tree.leaves(self.states)[0].shape[0])

    def attention(self, tokens: Mapping[str, Float16[np.ndarray, "n S S C"]]) -> Float32[np.ndarray, "n cells"]:
        """Weight that pooling gave to every cell, taps in the order of `self.taps`, rows of a grid from the top.

        Averaged over members; every row sums to 1. Spatial blocks mix cells before pooling, so this shows where the
        head read, not what alone decided.
        """
        parts = []
        count, batch = len(tokens[self.taps[0]]), step_rows()
        for start in range(0, count, batch):
            rows = np.arange(start, min(start + batch, count))
            index = np.resize(rows, batch)
            part = {tap: np.asarray(tokens[tap])[index][:, None] for tap in self.taps}
            parts.append(np.asarray(_weights(self.architecture, self.states, jax.device_put(part)))[: len(rows)])
        return np.concatenate(parts) if parts else np.zeros((0, self.architecture.inputs.tokens), np.float32)

    def require_features(self, spec: Mapping[str, Any], report: Report = silent) -> str:
        """In what inputs of `spec` differ from the run's, "" where they are alike; it is also reported.

        Raises SpecMismatch naming the fields in which its features differ.
        """
        check_features(self.features, spec, self.taps, f"run {self.path}" if self.path else "the head")
        differing = [
            d
            for kind in spec["input"].keys() & self.input.keys()
            for d in differences(
                stated_input(self.input[kind]), stated_input(without_none(spec["input"][kind])), f"{kind}."
            )
        ]
        if not spec["input"].keys() & self.input.keys():
            differing = [
                f"the run learned from {'s and '.join(self.input)}s, these are {'s and '.join(spec['input'])}s",
                *self._other_faces(spec["input"]),
            ]
        said = "; ".join(differing)
        if said:
            report(Note(f"inputs differ from those of the run: {said}", "warning"))
        return said

    def _other_faces(self, inputs: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """How faces are found and cut otherwise, where the kinds of files differ."""
        learned: Mapping[str, Any] = next(iter(self.input.values()), {})
        given: Mapping[str, Any] = next(iter(inputs.values()), {})
        if learned.get("faces", "none") == "none":  # tight pictures, which faces that are cut out look like
            return []
        if given.get("faces", "none") == "none":
            return ["the run learned from faces that were cut out, and these are whole pictures"]
        before, after = ({key: record.get(key) for key in _CUT} for record in (learned, given))
        return differences(before, after)


@partial(jax.jit, static_argnums=0)
def _weights(architecture: Architecture, states: nnx.State, tokens: Tokens) -> Float32[jax.Array, "n cells"]:
    graph = graph_of(architecture)
    return jax.vmap(lambda state: nnx.merge(graph, state).frames(tokens, 0.0, None)[1])(states).mean(0)


def inputs_of(tokens: Mapping[str, Features], taps: tuple[str, ...], classes: int) -> Inputs:
    """What a head for these tokens is built for; those that are kept as float32 are measurements."""
    measured = tuple(place for place, tap in enumerate(taps) if tokens[tap].dtype == np.float32)
    cells, channels = (tuple(tokens[tap].shape[axis] for tap in taps) for axis in (2, -1))
    return Inputs(taps, cells, channels, classes, measured)


def flat_names(states: nnx.State) -> dict[str, np.ndarray]:
    """Parameters by dotted name, members on the leading axis."""
    named = jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(states))[0]
    return {".".join(str(part.key) for part in path): np.asarray(leaf) for path, leaf in named}


def from_names(architecture: Architecture, arrays: Mapping[str, np.ndarray]) -> tuple[nnx.State, list[str]]:
    """States out of parameters by name, and everything that is missing, extra or misshapen."""
    members = next(iter(arrays.values())).shape[0] if arrays else 1
    state = abstract_state(architecture, members)
    named, tree = jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(state))
    shapes = {".".join(str(part.key) for part in path): leaf.shape for path, leaf in named}
    wrong = [f"{name} is missing" for name in shapes if name not in arrays]
    wrong += [f"{name} is not part of the head" for name in arrays if name not in shapes]
    wrong += [
        f"{name} has shape {arrays[name].shape}, expected {shape}"
        for name, shape in shapes.items()
        if name in arrays and arrays[name].shape != shape
    ]
    if wrong:
        return nnx.State({}), wrong
    pure = jax.tree_util.tree_unflatten(tree, jax.device_put([arrays[name] for name in shapes]))
    nnx.replace_by_pure_dict(state, pure)
    return state, []
