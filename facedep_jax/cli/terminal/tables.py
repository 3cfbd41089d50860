"""Tables on standard output. They know nothing of what a figure means.

rich is loaded only when a table is made.
"""

from typing import Any

from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.text_escaping import printable

NAME_WIDTH = 8  # characters below which a folded name cannot be read

PLAIN_TABLE: dict[str, Any] = {
    "box": None,
    "pad_edge": False,
    "padding": (0, 1),
    "header_style": "bold",
    "title_justify": "left",
    "title_style": "bold",
}


def plain_table(title: str, *headings: str, names: tuple[str, ...]) -> Any:
    """A rich Table of figures, which stay whole, and of the columns `names`, which are folded to fit.

    Cells may hold names from outside: line breaks in them, too, are shown and not obeyed.
    """
    from rich.markup import escape
    from rich.table import Column, Table

    class Shown(Table):
        def add_row(self, *cells: Any, **how: Any) -> None:
            super().add_row(*(printable(cell) if isinstance(cell, str) else cell for cell in cells), **how)

    columns = (Column(h, overflow="fold") if h in names else Column(h, no_wrap=True) for h in headings)
    return Shown(*columns, title=escape(printable(title)), **PLAIN_TABLE)


def show_table(console: Any, table: Any) -> None:
    """Print a table; where its figures do not fit side by side, each row as a block of lines instead."""
    if _least_width(table) <= console.width:
        console.print(table)
        return
    console.print(table.title, style="bold")
    for name, *figures in zip(*(column.cells for column in table.columns), strict=True):
        console.print(name, style="bold")
        for column, figure in zip(table.columns[1:], figures, strict=True):
            console.print(f"  {column.header}: {figure}")


def _least_width(table: Any) -> int:
    from rich.cells import cell_len

    widths = [
        max(map(cell_len, (column.header, *column.cells))) if column.no_wrap else NAME_WIDTH for column in table.columns
    ]
    return sum(widths) + 2 * (len(widths) - 1)  # PLAIN_TABLE pads both sides


def show_number(value: Any) -> str:
    """A figure for a table: three decimals, a dash for what could not be computed."""
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def show_warning(console: Any, summary: dict[str, Any]) -> None:
    """Say loudly if weights were untrained."""
    if summary["untrained"]:
        console.print(UNTRAINED, style="bold yellow")
