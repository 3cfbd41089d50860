"""Markdown as `sections.to_markdown` writes it → sections again. It knows that dialect and no other."""

import html
import re

from facedep_jax.report.document import Block, Listing, Section, Table

_CELL = re.compile(r"(?<!\\)\|")


def from_markdown(text: str) -> tuple[str, list[Section]]:
    """The title, and the sections below it. What is none of its forms is a paragraph, as it stands."""
    title, sections, blocks = "", [], []
    heading = ""
    for part in filter(None, (p.strip("\n") for p in text.split("\n\n"))):
        if part.startswith("# ") and not title:
            title = _text(part[2:])
        elif part.startswith("## "):
            sections.append(Section(heading, tuple(blocks)))
            heading, blocks = _text(part[3:]), []
        else:
            blocks.append(_block(part))
    sections.append(Section(heading, tuple(blocks)))
    return title, [section for section in sections if section.blocks]


def _block(part: str) -> Block:
    lines = part.split("\n")
    if all(line.startswith("- ") for line in lines):
        return Listing(tuple(_text(line[2:]) for line in lines))
    if len(lines) > 1 and all(line.startswith("|") for line in lines):
        head, _, *rows = (_cells(line) for line in lines)
        return Table(head, tuple(rows))
    return _text(part.strip("*") if part.startswith("**") and part.endswith("**") else part)


def _cells(line: str) -> tuple[str, ...]:
    return tuple(_text(cell.strip().replace("\\|", "|")) for cell in _CELL.split(line)[1:-1])


def _text(part: str) -> str:
    return html.unescape(part)
