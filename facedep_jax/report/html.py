"""A run or a batch of scores as one self-contained page. Knows nothing of how the figures were made.

Everything from outside is escaped by the templates, pictures are embedded, and the page's own policy forbids
scripts, forms, anything from another place, and any style but its own.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from facedep_jax.meaning import MEANING
from facedep_jax.report.sections import GAP, Listing, Picture, Section, Table


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
    embedded = {caption: _embedded(path) for caption, path in pictures.items()}
    return _render("page.html", title, warning, tables=tables, pictures=embedded, facts=facts)


def render_sections(
    title: str, facts: Mapping[str, Any], sections: Sequence[Section], pictures: Path, warning: str = ""
) -> str:
    """HTML with `facts`, a table of contents, and the sections; files of their pictures lie in `pictures`."""
    return _render(
        "sections.html",
        title,
        warning,
        facts=facts,
        sections=sections,
        embedded=lambda picture: _embedded(pictures / picture.file),
    )


def _render(template: str, title: str, warning: str, **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("facedep_jax.report", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = _cell
    kinds = {"table": Table, "picture": Picture, "listing": Listing}
    environment.tests |= {name: lambda block, kind=kind: isinstance(block, kind) for name, kind in kinds.items()}
    style = environment.get_template("style.html").render()
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template(template).render(
        title=title, warning=warning, meaning=MEANING, style=style, style_hash=allowed, **values
    )


def _embedded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _cell(value: Any) -> str:
    if value is None or value == "":
        return GAP
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
