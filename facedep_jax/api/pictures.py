"""Pictures as users hold them, in files or as arrays, and what was found in them. Knows no head."""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from facedep_jax.disclaimer import meaning
from facedep_jax.errors import SettingsError
from facedep_jax.head.trained_head import Head
from facedep_jax.scoring.score_images import Pixels, Prediction
from facedep_jax.shown_facts import ShownFacts
from facedep_jax.sources.label_vocabulary import column_names
from facedep_jax.text_escaping import as_text

FACE: dict[str, Any] = {"face": pl.String, **dict.fromkeys(("x", "y", "width", "height"), pl.Float64)}
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("path", "status", "reason"), pl.String), "probability": pl.Float64, "decision": pl.String,
    **dict.fromkeys(("members_low", "members_high"), pl.Float64), **FACE,
}  # fmt: skip


def named_pictures(pictures: Any) -> list[tuple[str, Pixels | Path]]:
    """Each picture with a name: its path, or `pictures[3]` of an array. One picture is a list of one.

    An array is uint8: (height, width, 3) in RGB, (height, width) in grey, or several of the former in one array of
    four dimensions; what NumPy takes for one, as PIL's pictures, is one too. Raises SettingsError for anything else.
    """
    if isinstance(pictures, str | PathLike) or (_is_array(pictures) and np.asarray(pictures).ndim != 4):
        pictures = [pictures]
    return list(_named(list(pictures)))


def _is_array(value: Any) -> bool:
    return hasattr(value, "__array__") or hasattr(value, "__array_interface__")


def _named(pictures: Sequence[Any]) -> Iterator[tuple[str, Pixels | Path]]:
    for number, picture in enumerate(pictures):
        name = f"pictures[{number}]"
        if isinstance(picture, str | PathLike):
            yield str(picture), Path(picture)
        elif _is_array(picture):
            yield name, _pixels(name, np.asarray(picture))
        else:
            raise SettingsError(f"{name} is a {type(picture).__name__}, expected a path or an array of pixels")


def _pixels(name: str, found: np.ndarray) -> Pixels:
    if found.dtype != np.uint8 or found.ndim not in (2, 3) or (found.ndim == 3 and found.shape[2] != 3):
        raise SettingsError(
            f"{name} is an array of {found.dtype} and {found.shape}, expected uint8 of (height, width, 3) in RGB or "
            "(height, width) in grey; scale it to 0 to 255, or convert the picture to RGB"
        )
    return np.repeat(found[..., None], 3, 2) if found.ndim == 2 else found


class Predictions(ShownFacts, Sequence[Prediction]):
    """What `Run.predict` found, in the order of the pictures; `frame` has a row for each."""

    def __init__(self, found: Sequence[Prediction], head: Head, inputs: str = ""):
        self._found, self.head, self.inputs = list(found), head, inputs

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, index: Any) -> Any:
        """The prediction at `index`, or the list of a slice."""
        return self._found[index]

    @property
    def frame(self) -> pl.DataFrame:
        """Columns as in `predict --json`; the box of the face in pixels, and a column for each emotion of the head."""
        called = column_names(self.head.emotions, SCHEMA)
        rows = [_row(one, called) for one in self._found]
        return pl.DataFrame(rows, {**SCHEMA, **dict.fromkeys(called.values(), pl.Float64)}, orient="row")

    def _title(self) -> str:
        return f"scores by {self.head.path}"

    def _facts(self) -> Mapping[str, Any]:
        statuses = [one.status for one in self._found]
        return {
            "pictures": len(statuses),
            "no face": statuses.count("no face") or "",
            "failed": statuses.count("failed") or "",
            "threshold": f"{self.head.threshold:.3f}",
            "inputs differ": self.inputs,
            "meaning": meaning(self.head.positive_emotions),
            "warning": self.head.warning,
        }

    def _table(self) -> pl.DataFrame:
        return self.frame.select("path", "status", "probability", "decision", "face")


def _row(one: Prediction, called: Mapping[str, str]) -> tuple[Any, ...]:
    face = one.face or {}
    box = face.get("box") or (None,) * 4
    emotions = [one.emotions.get(emotion) for emotion in called]
    members = one.members_low, one.members_high
    known = as_text(one.path), one.status, one.reason or None, one.probability, one.decision or None
    return *known, *members, face.get("state"), *box, *emotions
