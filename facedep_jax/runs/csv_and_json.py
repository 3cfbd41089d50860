"""Tables and JSON as runs and scores keep them. They know nothing of how scores came about."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.file_opening import TABLE, read_bytes
from facedep_jax.segments import TIMES, UNIT, with_units
from facedep_jax.sources.label_vocabulary import column_names
from facedep_jax.text_columns import text_series
from facedep_jax.text_escaping import FORMULA, as_text

LEARNED_BESIDE = "learned_beside.csv"  # of a run: items that were only learned from
ORIGIN = ("source", "subject_id", "subject_source")  # where a subject's name comes from
_FORMULA = f"([{''.join(FORMULA).replace('-', chr(92) + '-')}])"
_BYTES = r"\\u(dc[89a-f][0-9a-f])"  # how `write_csv` writes one
_TEXT = pl.col(pl.String)


def scored_table(
    clips: Examples,
    said: pl.DataFrame,
    logit: Float[np.ndarray, " n"],
    probability: Float[np.ndarray, " n"],
    threshold: float,
) -> pl.DataFrame:
    """One row per clip, whatever scored it. `label` is the proxy's, 0 or 1; `probability` is calibrated.

    `said` are the labelled items, by which is told where the clips' subjects come from.
    """
    names = ("item", "path", "subject", "split", "emotion")
    rows = pl.DataFrame({name: text_series(getattr(clips, name)) for name in names} | {UNIT: text_series(clips.unit)})
    origin = with_units(said).select(UNIT, "split", *ORIGIN, *TIMES).unique([UNIT, "split"], keep="first")
    rows = rows.join(origin, on=[UNIT, "split"], how="left", maintain_order="left").drop(UNIT)
    return rows.with_columns(
        pl.Series("label", clips.label.astype(int)),
        pl.Series("logit", logit, pl.Float64),
        pl.Series("probability", probability, pl.Float64),
        pl.Series("decision", (probability >= threshold).astype(int)),
    )


def emotion_columns(
    classes: Sequence[str], probability: Float[np.ndarray, "n classes"] | None, taken: Sequence[str]
) -> list[pl.Series]:
    """A column for each class, in the vocabulary's order, called as `column_names` has it."""
    if probability is None:
        return []
    return [
        pl.Series(name, probability[:, classes.index(emotion)], pl.Float64)
        for emotion, name in column_names(classes, taken).items()
    ]


def read_written(path: Path) -> pl.DataFrame:
    """What `text_columns.write_csv` wrote, all of it as text, null where nothing is said, bytes that are no text as
    `as_text` has them.

    Raises OSError, also for what is no regular file, or PolarsError for what cannot be read.
    """
    rows = pl.read_csv(read_bytes(path, TABLE), infer_schema=False).with_columns(
        _TEXT.str.replace(f"^'{_FORMULA}", "${1}")
    )
    rows = rows.with_columns(pl.when(_TEXT != "").then(_TEXT))
    escaped = [name for name in rows.columns if rows[name].str.contains(_BYTES).any()]
    return rows.with_columns(rows[name].map_elements(_read_bytes, pl.String) for name in escaped)


def _read_bytes(text: str) -> str:
    return as_text(re.sub(_BYTES, lambda escape: chr(int(escape[1], 16)), text))


def write_json(path: Path, value: Any) -> None:
    """JSON without NaN."""
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
