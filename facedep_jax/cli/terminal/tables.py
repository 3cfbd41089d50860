"""Tables and lines on standard output. They know nothing of what a figure means.

rich is loaded only when a table is made.
"""

from collections.abc import Iterable, Mapping
from itertools import islice
from textwrap import fill
from typing import TYPE_CHECKING, Any

from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.text_escaping import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from facedep_jax.report.document import Table as Content

SHOWN_LINES = 20  # of a long list; --json has all
NAME_WIDTH = 8  # characters below which a folded name cannot be read

PLAIN_TABLE: dict[str, Any] = {
    "box": None,
    "pad_edge": False,
    "padding": (0, 1),
    "header_style": "bold",
    "title_justify": "left",
    "title_style": "bold",
}


def plain_table(title: str, *headings: str, names: tuple[str, ...]) -> "Table":
    """A rich Table of figures, which stay whole, and of the columns `names`, which are folded to fit.

    Title, headings and cells are text and no markup: what they hold, line breaks too, is shown and not obeyed.
    """
    from rich.console import RenderableType
    from rich.table import Column, Table

    class Shown(Table):
        def add_row(self, *cells: RenderableType | None, **how: Any) -> None:
            super().add_row(*(as_shown(cell) if isinstance(cell, str) else cell for cell in cells), **how)

    folds = ({"overflow": "fold"} if heading in names else {"no_wrap": True} for heading in headings)
    columns = (Column(as_shown(h), **how) for h, how in zip(headings, folds, strict=True))
    return Shown(*columns, title=as_shown(title), **PLAIN_TABLE)


def facts_table(title: str, facts: Iterable[tuple[str, Any]]) -> "Table":
    """Two columns: what a fact is called, and the fact, as it is written."""
    from rich.table import Table

    table = Table(title=as_shown(title), **PLAIN_TABLE, show_header=False)
    for label, fact in facts:
        table.add_row(as_shown(label), as_shown(str(fact)))
    return table


def as_shown(text: str) -> "Text":
    """Text as it stands, whatever rich makes of brackets and a terminal of control characters."""
    from rich.text import Text

    return Text(printable(text))


def show_table(console: "Console", table: "Table") -> None:
    """Print a table, with headings in several lines where that makes it fit; where its figures do not fit side by side
    all the same, each row as a block of lines instead.

    In a pipe or a file a row is a line with tabs between its cells, and a line with its title stands above.
    """
    if not console.is_terminal:
        _show_lines(console, table)
        return
    headings = [str(column.header) for column in table.columns]
    if not fits(console, table):
        _fold_headings(table)
    if fits(console, table):
        console.print(table)
        return
    console.print(table.title, style="bold")
    for name, *figures in zip(*(column.cells for column in table.columns), strict=True):
        console.print(name, style="bold")
        for heading, figure in zip(headings[1:], figures, strict=True):
            console.print(as_shown(f"  {heading}: {figure}"))


def _fold_headings(table: "Table") -> None:
    """Between words, to the width of what stands below them or of their longest word."""
    from rich.cells import cell_len
    from rich.text import Text

    for column in table.columns[1:]:
        width = max(map(cell_len, (*map(str, column.cells), *str(column.header).split())), default=1)
        column.header = Text(fill(str(column.header), width, break_long_words=False, break_on_hyphens=False))


def _show_lines(console: "Console", table: "Table") -> None:
    from rich.text import Text

    def plain(cell: Any) -> str:
        return cell.plain if isinstance(cell, Text) else Text.from_markup(str(cell or ""), emoji=False).plain

    rows = [[column.header for column in table.columns]] if table.show_header else []
    rows += map(list, zip(*(column.cells for column in table.columns), strict=True))
    show_as_they_are(console, [plain(table.title)] if table.title else [])
    show_as_they_are(console, ["\t".join(map(plain, row)) for row in rows])


def show_as_they_are(console: "Console", lines: Iterable[str]) -> None:
    """Lines that were made for this console already: it would make blanks of tabs, and escape colours."""
    from rich.segment import Segment, Segments

    console.print(Segments([Segment(f"{line}\n") for line in lines]), end="")


def show_content(console: "Console", content: "Content", title: str = "") -> None:
    """A table of a report; what its figures do not say by themselves stands below."""
    if not content.rows:
        return
    table = plain_table(title or content.title, *content.head, names=content.head[:1])
    for name, *figures in content.rows:
        table.add_row(name, *figures)
    show_table(console, table)
    if content.note:
        console.print(content.note, style="dim", markup=False, soft_wrap=not console.is_terminal)


def fits(console: "Console", table: "Table", names: int = NAME_WIDTH) -> bool:
    """Whether the figures of a table fit side by side where names are folded to no less than `names` characters.

    In a pipe or a file there is room for all.
    """
    if not console.is_terminal:
        return True
    from rich.cells import cell_len

    lines = [(*str(column.header).splitlines(), *map(str, column.cells)) for column in table.columns]
    wanted = [max(map(cell_len, each), default=0) for each in lines]
    widths = [
        width if column.no_wrap else min(width, names) for width, column in zip(wanted, table.columns, strict=True)
    ]
    return sum(widths) + 2 * (len(widths) - 1) <= console.width  # PLAIN_TABLE pads both sides


def show_number(value: float | str | None) -> str:
    """A figure for a table: three decimals, a dash for what could not be computed."""
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def say(console: "Console", line: str) -> None:
    """A line of text, folded on a terminal only; what a terminal would obey, such as colours in a name, is escaped."""
    console.print(printable(line), markup=False, soft_wrap=not console.is_terminal)


def counted(number: int, noun: str) -> str:
    """`1 shard`, `2 shards`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def show_lines(console: "Console", lines: Iterable[str], limit: int | None = None) -> None:
    """Indented lines; of more than `limit` only the first."""
    lines = iter(lines)
    for line in islice(lines, limit):
        say(console, f"  {line}")
    rest = sum(1 for _ in lines)
    if rest:
        say(console, f"  and {rest} more; --json lists all")


def show_doubts(console: "Console", summary: Mapping[str, Any]) -> None:
    """What makes the figures of a run doubtful, one line each."""
    for text in summary.get("warnings", ()):
        if text != summary.get("warning"):
            console.print(
                printable(f"warning: {text}"), style="yellow", markup=False, soft_wrap=not console.is_terminal
            )


def show_next(console: "Console", page: str, command: str) -> None:
    """The last line: what to open, and the command that may follow, by the name that this one was called by."""
    import click

    context = click.get_current_context(silent=True)
    called = (context.find_root().info_name if context else None) or "cli"
    console.print(printable(f"open {page}; next: {called} {command}"), markup=False, soft_wrap=True)


def show_warning(console: "Console", summary: Mapping[str, Any]) -> None:
    """Say loudly what makes the scores mean nothing."""
    if said := summary.get("warning") or (UNTRAINED if summary["untrained"] else ""):
        console.print(said, style="bold yellow", markup=False, soft_wrap=not console.is_terminal)
