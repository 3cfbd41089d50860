"""Single pictures → scores, without a cache. Knows nothing of training or clips."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from facedep_jax.backbones.contract import finite_rows
from facedep_jax.config import ExtractSettings
from facedep_jax.engine import load_checked_engine
from facedep_jax.errors import MediaError
from facedep_jax.events import Progress, Report, silent
from facedep_jax.media import Frame, read_image
from facedep_jax.media.content import read_content
from facedep_jax.pipeline import UNUSABLE
from facedep_jax.plan import plan_extraction
from facedep_jax.score import extract_settings


@dataclass(frozen=True)
class Prediction:
    """One picture: the calibrated probability of the proxy, None without a face or a readable picture.

    `members_low` and `members_high` are that of the lowest and the highest member, None for a head of one. `crop` and
    `attention` (weights of each tap's cells, adding up to 1 over all taps) are for drawing.
    """

    path: str
    status: str  # scored, no face, or failed: …
    face: dict[str, Any] | None = None
    probability: float | None = None
    decision: str = ""
    members_low: float | None = None
    members_high: float | None = None
    crop: UInt8[np.ndarray, "s s 3"] | None = None
    attention: dict[str, Float[np.ndarray, "S S"]] | None = None

    def record(self) -> dict[str, Any]:
        """The fields of INTERFACE.md, and how far the members are apart."""
        names = ("path", "probability", "members_low", "members_high", "decision", "face", "status")
        return {name: getattr(self, name) for name in names}


def predict(paths: list[Path], head: Any, given: ExtractSettings, report: Report = silent) -> list[Prediction]:
    """Score pictures one by one with `head`. Raises WeightsError where the run's weights are not to be found.

    A file that cannot be used gets a prediction with the status `failed: <reason>`.
    """
    settings = extract_settings(head.features, replace(given, batch_size=1))
    plan = plan_extraction(("image",), settings, report)
    head.require_features(plan.spec, report)
    engine = load_checked_engine(plan, report)
    results = []
    for number, path in enumerate(paths):
        report(Progress("predict", number, len(paths), "images"))
        try:
            frame = _read(path, plan).frame
        except MediaError as error:
            results.append(Prediction(str(path), f"failed: {error.reason}"))
        else:
            results.append(_predict_frame(str(path), frame, head, engine, plan.sizes))
    report(Progress("predict", len(paths), len(paths), "images"))
    return results


def _read(path: Path, plan: Any) -> Any:
    return read_image(path, read_content(path).data, plan.input_settings("image"))


def _predict_frame(path: str, frame: Frame, head: Any, engine: Any, sizes: dict[str, int]) -> Prediction:
    box = [round(float(v), 1) for v in frame.face.box]
    face = {"state": frame.face.state, "box": None if np.isnan(frame.face.box).any() else box}
    if not frame.crops:
        return Prediction(path, "no face", face)
    tokens = engine({backbone: frame.crops[size][None] for backbone, size in sizes.items()})
    if not finite_rows(tokens).all():
        return Prediction(path, f"failed: {UNUSABLE}", face)
    tokens = {tap: tokens[tap] for tap in head.taps}
    members = head.frame_members(tokens)
    probability = float(head.probability(members.mean(0))[0])
    low, high = (float(edge[0]) for edge in head.members_range(members))
    return Prediction(
        path,
        "scored",
        face,
        probability,
        "positive" if probability >= head.threshold else "negative",
        *((low, high) if head.members > 1 else (None, None)),
        crop=frame.crops[max(sizes.values())],
        attention=_by_tap(head.attention(tokens)[0], tokens),
    )


def _by_tap(attention: np.ndarray, tokens: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Attention over all cells of a frame, cut into the grids of its taps."""
    grids, start = {}, 0
    for tap, values in tokens.items():
        cells = values.shape[1]
        grids[tap] = attention[start : start + cells * cells].reshape(cells, cells)
        start += cells * cells
    return grids
