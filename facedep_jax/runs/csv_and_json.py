"""Tables and JSON as runs and scores keep them. They know nothing of how scores came about."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.head.calibration import Calibration
from facedep_jax.text_escaping import quoted


def scored_rows(clips: Examples, logit: Float[np.ndarray, " n"], calibration: Calibration) -> Iterator[dict[str, Any]]:
    """One row per clip, whatever scored it. `label` is the proxy's, 0 or 1; `probability` is calibrated."""
    probability = calibration.probability(logit)
    for i in range(len(clips)):
        yield {
            **{name: getattr(clips, name)[i] for name in ("item", "path", "subject", "split", "emotion")},
            "label": int(clips.label[i]),
            "logit": float(logit[i]),
            "probability": float(probability[i]),
            "decision": int(probability[i] >= calibration.threshold),
        }


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A CSV with the keys of the first row as headings; None is an empty cell. Bytes that are no text are escaped, text
    is in quotes, and what a spreadsheet would take for a formula is `text_escaping.quoted`."""
    rows = [{k: quoted(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows]
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if rows else [], quoting=csv.QUOTE_NONNUMERIC)
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, value: Any) -> None:
    """JSON without NaN."""
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
