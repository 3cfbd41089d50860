"""Objects as a person looks at them: at a prompt, and in a notebook. Knows nothing of what they are."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from facedep_jax.text_escaping import printable

if TYPE_CHECKING:
    import polars as pl

LONGEST, WIDTH = 100, 160  # characters of a cell, and of a table at a prompt
CELL = "text-align:left;padding:0.1em 1em 0.1em 0"


class ShownFacts:
    """What has `_title`, `_facts` and perhaps `_table`: shown as lines by `repr`, as HTML in a notebook."""

    def _title(self) -> str:
        raise NotImplementedError

    def _facts(self) -> Mapping[str, Any]:
        """What there is to say, by name; what is empty is left out."""
        raise NotImplementedError

    def _table(self) -> "pl.DataFrame | None":
        """What is most worth looking at."""
        return None

    def _said(self) -> dict[str, str]:
        return {name: printable(str(value)) for name, value in self._facts().items() if value not in (None, "")}

    def __repr__(self) -> str:
        said = self._said()
        width = max(map(len, said), default=0)
        lines = [printable(self._title()), *(f"  {name:{width}}  {value}" for name, value in said.items())]
        return "\n".join([*lines, *filter(None, [_drawn(self._table(), "__str__")])])

    def _repr_html_(self) -> str:
        """The same for a notebook; everything from outside is escaped."""
        cells = (
            f'<tr><th style="{CELL}">{escape(name)}</th><td style="{CELL}">{escape(value)}</td></tr>'
            for name, value in self._said().items()
        )
        title, table = escape(printable(self._title())), _drawn(self._table(), "_repr_html_")
        return f"<div><b>{title}</b><table>{''.join(cells)}</table>{table}</div>"


def _drawn(table: "pl.DataFrame | None", how: str) -> str:
    """A table as one of its own methods draws it, with names long enough to tell files apart."""
    if table is None:
        return ""
    import polars as pl

    with pl.Config(fmt_str_lengths=LONGEST, tbl_width_chars=WIDTH, tbl_hide_column_data_types=True):
        return getattr(table, how)()
