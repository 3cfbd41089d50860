"""Faces → scores, without a cache: pictures here, live sources in monitor/. Knows nothing of training or clips."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float16, UInt8

from facedep_jax.backbones.engine_interface import finite_rows, require_usable
from facedep_jax.errors import MediaError
from facedep_jax.extraction.pipeline import UNUSABLE
from facedep_jax.extraction.plan import ExtractionPlan, load_checked_engine, plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.head.batched_forward import predict_classes, proxy_logits
from facedep_jax.head.trained_head import Head
from facedep_jax.media import Frame, Picture, read_image, read_view, start_ahead
from facedep_jax.media.file_hashing import read_content
from facedep_jax.media.media_writer import encode_png
from facedep_jax.progress_events import Failure, Note, Progress, Report, silent
from facedep_jax.scoring.attribution import places_of, weigh_attention
from facedep_jax.scoring.head_requirements import aligned_as_learned, extract_settings, naming_weights
from facedep_jax.sources.synthetic_faces import EXPRESSIONS, SIDE, draw_face, draw_person

VIEW_SIDE = 640  # pixels of the longer side of a picture that is drawn
Pixels = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class FaceScore:
    """Calibrated probabilities of one face: the head's, each member's, and of each emotion that the head knows.

    `tokens` are its features by tap.
    """

    probability: float
    members: Float[np.ndarray, " m"]
    tokens: dict[str, Float16[np.ndarray, "1 S S C"]]
    emotions: dict[str, float] = field(default_factory=dict)

    @property
    def members_range(self) -> tuple[float, float] | tuple[None, None]:
        """By the lowest and by the highest member, None for a head of one."""
        return (None, None) if len(self.members) == 1 else (float(self.members.min()), float(self.members.max()))


class FaceScorer:
    """Crops of one face → its score by `head`. Raises SpecMismatch where the plan's features are not the head's."""

    def __init__(self, head: Head, plan: ExtractionPlan, report: Report = silent):
        self.inputs = head.require_features(plan.spec, report)  # how they differ from those that it learned from
        self.head, self.plan, self.engine = head, plan, load_checked_engine(plan, report)

    def __call__(self, crops: dict[int, UInt8[np.ndarray, "s s 3"]]) -> FaceScore:
        """The score of the face in `crops`, one for each size of the plan.

        Raises MediaError (stage "compute") for features that float16 cannot hold.
        """
        features = self._features(crops)
        if not finite_rows(features).all():
            raise MediaError(UNUSABLE, stage="compute")
        tokens = {tap: features[tap] for tap in self.head.taps}
        clip = {tap: values[:, None] for tap, values in tokens.items()}  # a clip of one frame
        now, there = np.zeros((1, 1), np.float32), np.ones((1, 1), bool)
        logits = predict_classes(self.head.architecture, self.head.states, clip, now, there, batch=1)
        members = proxy_logits(logits, self.head.positive)[:, 0]
        probability, by_member = float(self.head.probability(members.mean())), self.head.probability(members)
        emotions = {name: float(found[0]) for name, found in self.head.by_emotion(logits).items()}
        return FaceScore(probability, by_member, tokens, emotions)

    def warm_up(self) -> None:
        """Compile, and compare engines, on a drawn face now, so that the first real one need not wait for it.

        Raises EngineError where the engine gives nothing that can be used.
        """
        crops = {size: _drawn(size) for size in self.plan.sizes.values()}
        require_usable(self._features(crops))
        self(crops)

    def _features(self, crops: dict[int, UInt8[np.ndarray, "s s 3"]]) -> dict[str, Float16[np.ndarray, "1 S S C"]]:
        return self.engine({backbone: crops[size][None] for backbone, size in self.plan.sizes.items()})

    def decide(self, probability: float) -> str:
        """What the head decides at its threshold."""
        return "positive" if probability >= self.head.threshold else "negative"


def load_scorer(kind: str, head: Head, given: ExtractSettings, report: Report = silent) -> FaceScorer:
    """A scorer for faces of images or clips (`kind`), one at a time.

    Everything that decides features is the run's own. Raises WeightsError where its weights are not to be found.
    """
    if kind == "image":
        start_ahead()
    if head.face_by_face:
        report(Note(head.face_by_face, "warning"))
    settings = extract_settings(head.features, replace(aligned_as_learned(head, given, report), batch_size=1))
    with naming_weights(head, settings):
        plan = plan_extraction((kind,), settings, report)
    return FaceScorer(head, plan, report)


def _drawn(side: int) -> UInt8[np.ndarray, "s s 3"]:
    face = draw_face(draw_person(0), np.asarray(EXPRESSIONS["neutral"]), np.random.default_rng(0))
    near = np.arange(side) * SIDE // side
    return np.ascontiguousarray(face[near][:, near])


@dataclass(frozen=True)
class Drawable:
    """What a picture of a prediction shows: the whole `picture`, shrunk by `scale`, and of a face that was scored the
    `crop` and its `shading` (weighed attention over the places of the head's finest grid, as on the page of scores).
    """

    picture: UInt8[np.ndarray, "h w 3"]
    scale: float
    crop: UInt8[np.ndarray, "s s 3"] | None = None
    shading: Float[np.ndarray, "side side"] | None = None


@dataclass(frozen=True)
class Prediction:
    """One picture: the calibrated probability of the proxy, None without a face or a readable picture.

    `members_low` and `members_high` are that of the lowest and the highest member, None for a head of one. `emotions`
    are those of a head over emotions, in the vocabulary's order; nothing without a face.
    """

    path: str
    status: str  # scored, no face or failed
    face: dict[str, Any] | None = None
    probability: float | None = None
    decision: str = ""
    members_low: float | None = None
    members_high: float | None = None
    drawable: Drawable | None = None
    reason: str = ""  # why it failed
    emotions: dict[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """What `predict --json` says of a picture; the status names the reason of a failure."""
        names = ("path", "probability", "members_low", "members_high", "decision", "face", "emotions")
        status = f"{self.status}: {self.reason}" if self.reason else self.status
        return {name: getattr(self, name) for name in names} | {"status": status}


def predict(
    paths: list[Path], head: Head, given: ExtractSettings, report: Report = silent, drawable: bool = False
) -> Iterator[Prediction]:
    """Score pictures one by one with `head`, with what is needed to draw them if `drawable`.

    A file that cannot be used gets a prediction with the status `failed` and the reason. Raises what `load_scorer`
    raises.
    """
    named = [(str(path), path) for path in paths]
    yield from score_pictures(named, load_scorer("image", head, given, report), report, drawable)


def score_pictures(
    pictures: Sequence[tuple[str, Pixels | Path]], scorer: FaceScorer, report: Report = silent, drawable: bool = False
) -> Iterator[Prediction]:
    """As `predict`, with a scorer that is there already; each picture is a file or an array, and has a name."""
    failed = 0
    for number, (name, picture) in enumerate(pictures):
        report(Progress("predict", number, len(pictures), "images", failed))
        try:
            yield _predict(name, picture, scorer, drawable, report)
        except MediaError as error:
            failed += 1
            report(Failure(name, error.stage, error.reason))
            yield Prediction(name, "failed", reason=error.reason)
    report(Progress("predict", len(pictures), len(pictures), "images", failed))


def _predict(path: str, given: Pixels | Path, scorer: FaceScorer, drawable: bool, report: Report) -> Prediction:
    data = read_content(given).data if isinstance(given, Path) else encode_png(given)
    picture = read_image(path, data, scorer.plan.input_settings("image"))
    if picture.account:
        report(Note(f"{path}: {picture.account}"))
    frame = picture.frame
    box = None if np.isnan(frame.face.box).any() else [round(float(v), 1) for v in frame.face.box]
    face = {"state": frame.face.state, "box": box}
    score = scorer(frame.crops) if frame.crops else None
    drawn = _drawable(data, picture, scorer, score) if drawable else None
    if score is None:
        return Prediction(path, "no face", face, drawable=drawn)
    decision, (low, high) = scorer.decide(score.probability), score.members_range
    return Prediction(path, "scored", face, score.probability, decision, low, high, drawn, emotions=score.emotions)


def _drawable(data: bytes, picture: Picture, scorer: FaceScorer, score: FaceScore | None) -> Drawable:
    view = read_view(data, VIEW_SIDE)
    scale = view.shape[1] / picture.width
    if score is None:
        return Drawable(view, scale)
    return Drawable(view, scale, _largest(picture.frame), shading_of(scorer.head, score.tokens))


def _largest(frame: Frame) -> UInt8[np.ndarray, "s s 3"]:
    return frame.crops[max(frame.crops)]


def shading_of(head: Head, tokens: dict[str, Float16[np.ndarray, "1 S S C"]]) -> Float[np.ndarray, "side side"]:
    """How the page of scores shades a face: attention, weighed, over the places of the head's finest grid."""
    places = places_of(head.architecture.inputs.cells)
    weighed = weigh_attention(head, tokens, head.attention(tokens), batch=1)
    return places.over(weighed).reshape(places.side, places.side)
