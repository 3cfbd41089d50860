"""A run or a batch of scores as one self-contained page. Knows nothing of how the figures were made.

Everything from outside is escaped by the templates, pictures are embedded, and the page's own policy forbids forms,
anything from another place, and any style or script but its own.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from facedep_jax.report.document import GAP, BulletList, PlotFile, Section, Table
from facedep_jax.report.emotion_bands import COLOURS
from facedep_jax.report.scores_page import TINT
from facedep_jax.text_escaping import printable


def render_sections(
    title: str, meaning: str, facts: Mapping[str, Any], sections: Sequence[Section], pictures: Path, warning: str = ""
) -> str:
    """HTML with what a score means, `facts`, contents and sections, whose pictures lie in `pictures`."""
    return _render(
        "page.html",
        title,
        meaning,
        warning,
        facts=facts,
        sections=sections,
        embedded=lambda picture: base64.b64encode((pictures / picture.file).read_bytes()).decode(),
    )


def render_scores(
    title: str, meaning: str, facts: Mapping[str, Any], content: Mapping[str, Any], warning: str = ""
) -> str:
    """HTML of a batch of scores: `content` is what `scores_page.content` makes. Its table can be sorted."""
    return _render("scores.html", title, meaning, warning, script="script.html", facts=facts, **content)


def _render(template: str, title: str, meaning: str, warning: str, script: str = "", **values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("facedep_jax.report", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["cell"] = _cell
    kinds = {"table": Table, "plot": PlotFile, "bullets": BulletList}
    environment.tests |= {name: lambda block, kind=kind: isinstance(block, kind) for name, kind in kinds.items()}
    style = environment.get_template("style.html").render(colours=COLOURS.values(), tint=TINT)
    own = {"script": environment.get_template(script).render()} if script else {}
    # A content security policy allows these texts, by their hashes, and no other.
    hashes = {
        f"{name}_hash": base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in (("style", style), *own.items())
    }
    return environment.get_template(template).render(
        title=title, warning=warning, meaning=meaning, style=style, **own, **hashes, **values
    )


def _cell(value: Any) -> str:
    if value is None or value == "":
        return GAP
    return f"{value:.3f}" if isinstance(value, float) else printable(str(value))
