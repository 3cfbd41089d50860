"""Tables and JSON as runs and scores keep them. They know nothing of how scores came about."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.head.calibration import Calibration
from facedep_jax.text_columns import text_series
from facedep_jax.text_escaping import FORMULA, as_name

ORIGIN = ("source", "subject_id", "subject_source")  # where a subject's name comes from
_FORMULA = f"([{''.join(FORMULA).replace('-', chr(92) + '-')}])"
_TEXT = pl.col(pl.String)


def scored_table(
    clips: Examples, said: pl.DataFrame, logit: Float[np.ndarray, " n"], calibration: Calibration
) -> pl.DataFrame:
    """One row per clip, whatever scored it. `label` is the proxy's, 0 or 1; `probability` is calibrated.

    `said` are the labelled items, by which is told where the clips' subjects come from.
    """
    probability = calibration.probability(logit)
    names = ("item", "path", "subject", "split", "emotion")
    rows = pl.DataFrame({name: text_series(getattr(clips, name)) for name in names})
    origin = said.select("item", "split", *ORIGIN).unique(["item", "split"], keep="first")
    rows = rows.join(origin, on=["item", "split"], how="left", maintain_order="left")
    return rows.with_columns(
        pl.Series("label", clips.label.astype(int)),
        pl.Series("logit", logit, pl.Float64),
        pl.Series("probability", probability, pl.Float64),
        pl.Series("decision", (probability >= calibration.threshold).astype(int)),
    )


def write_table(path: Path, rows: pl.DataFrame) -> None:
    """A CSV; null is an empty cell. Bytes that are no text are escaped, text is in quotes, and what a spreadsheet would
    take for a formula is `text_escaping.quoted`."""
    escaped = [_escaped(rows[name]) for name, kind in rows.schema.items() if kind == pl.String]
    truth = pl.col(pl.Boolean).replace_strict({True: "True", False: "False"}, return_dtype=pl.String)
    written = (
        rows.with_columns(escaped)
        .with_columns(truth)
        .with_columns(_TEXT.fill_null("").str.replace(f"^{_FORMULA}", "'${1}"))
    )
    text = written.write_csv(quote_style="non_numeric", line_terminator="\r\n")
    path.write_text(text, encoding="utf-8", newline="")


def read_written(path: Path) -> pl.DataFrame:
    """What `write_table` wrote, all of it as text, null where nothing is said; escaped bytes stay escaped.

    Raises OSError or PolarsError for what cannot be read.
    """
    rows = pl.read_csv(path, infer_schema=False).with_columns(_TEXT.str.replace(f"^'{_FORMULA}", "${1}"))
    return rows.with_columns(pl.when(_TEXT != "").then(_TEXT))


def _escaped(column: pl.Series) -> pl.Series:
    """Private characters that stand for bytes as `\\udc80` to `\\udcff`."""
    held = column.str.contains("[\U0010d800-\U0010dfff]")
    if not held.any():
        return column
    return column.map_elements(lambda t: as_name(t).encode("utf-8", "backslashreplace").decode(), pl.String)


def write_json(path: Path, value: Any) -> None:
    """JSON without NaN."""
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
