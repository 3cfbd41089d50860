"""A run or a batch of scores as one self-contained page. Knows nothing of how the figures were made.

Everything from outside is escaped by the template, pictures are embedded, and the page's own policy forbids
scripts and anything from another place.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from facedep_jax.meaning import MEANING


def render_page(
    title: str,
    tables: Mapping[str, Sequence[Sequence[Any]]],
    pictures: Mapping[str, Path],
    facts: Mapping[str, Any],
    warning: str = "",
) -> str:
    """HTML with `facts`, then `tables` (the first row of each is its head), then `pictures` by caption.

    Cells are shown as text: floats with three decimals, None as a dash.
    """
    environment = Environment(
        loader=PackageLoader("facedep_jax.report", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = _cell
    embedded = {caption: base64.b64encode(path.read_bytes()).decode() for caption, path in pictures.items()}
    return environment.get_template("page.html").render(
        title=title, tables=tables, pictures=embedded, facts=facts, warning=warning, meaning=MEANING
    )


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "–"
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
