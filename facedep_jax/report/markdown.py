"""Sections → Markdown, and back. It knows the dialect that it writes and no other."""

import re
from collections.abc import Sequence
from html import unescape

from facedep_jax.report.document import Block, BulletList, PlotFile, Section, Table
from facedep_jax.text_escaping import in_markdown

_CELL = re.compile(r"(?<!\\)\|")


def from_markdown(text: str) -> tuple[str, list[Section]]:
    """The title, and the sections below it. What is none of its forms is a paragraph, as it stands."""
    title, heading = "", ""
    sections: list[Section] = []
    blocks: list[Block] = []
    for part in filter(None, (p.strip("\n") for p in text.split("\n\n"))):
        if part.startswith("# ") and not title:
            title = unescape(part[2:])
        elif part.startswith("## "):
            sections.append(Section(heading, tuple(blocks)))
            heading, blocks = unescape(part[3:]), []
        else:
            blocks.append(_block(part))
    sections.append(Section(heading, tuple(blocks)))
    return title, [section for section in sections if section.blocks]


def _block(part: str) -> Block:
    lines = part.split("\n")
    if all(line.startswith("- ") for line in lines):
        return BulletList(tuple(unescape(line[2:]) for line in lines))
    if len(lines) > 1 and all(line.startswith("|") for line in lines):
        head, _, *rows = (_cells(line) for line in lines)
        return Table(head, tuple(rows))
    return unescape(part.strip("*") if part.startswith("**") and part.endswith("**") else part)


def _cells(line: str) -> tuple[str, ...]:
    return tuple(unescape(cell.strip().replace("\\|", "|")) for cell in _CELL.split(line)[1:-1])


def to_markdown(title: str, sections: Sequence[Section]) -> str:
    """GitHub's Markdown, without the pictures. Names from outside are shown as they are written."""
    parts = [f"# {in_markdown(title)}"]
    for section in sections:
        parts += [f"## {in_markdown(section.title)}"] if section.title else []
        parts += [text for block in section.blocks if (text := _markdown(block))]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block) -> str:
    if isinstance(block, Table):
        heading = [f"**{in_markdown(block.title)}**\n"] if block.title else []
        lines = [_row(block.head), _row(("---",) * len(block.head)), *map(_row, block.rows)]
        return "\n".join([*heading, *lines, *(["", in_markdown(block.note)] if block.note else [])])
    if isinstance(block, BulletList):
        return "\n".join(f"- {in_markdown(point)}" for point in block.points)
    return "" if isinstance(block, PlotFile) else in_markdown(block)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(in_markdown(cell).replace('|', chr(92) + '|') for cell in cells)} |"
