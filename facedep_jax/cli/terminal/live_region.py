"""Lines at the foot of a terminal that are drawn again and again, with what is said above them.

Knows nothing of what the lines say. When a terminal becomes narrower it breaks lines that it shows into more rows: as
many rows are taken back as the lines have at the width of now.
"""

import threading

from rich.console import Console
from rich.control import Control
from rich.segment import ControlType
from rich.text import Text


class LiveRegion:
    """Safe to use from several threads."""

    def __init__(self, console: Console) -> None:
        self._console, self._lock = console, threading.RLock()
        self._drawn: list[int] = []  # cells of each line on the screen

    def draw(self, lines: list[Text]) -> None:
        """Show `lines` in place of those before, as many as the terminal is high and as much of them as it is wide."""
        with self._lock, self._console:
            self._take_back()
            self._put(lines)

    def above(self, said: Text, lines: list[Text]) -> None:
        """Print `said`, to stay, and `lines` below."""
        with self._lock, self._console:
            self._take_back()
            self._console.print(said)
            self._put(lines)

    def open(self) -> None:
        """Hide the cursor, which would jump about."""
        self._console.show_cursor(False)

    def close(self) -> None:
        """Leave what is drawn as it is, and show the cursor."""
        with self._lock, self._console:
            if self._drawn:
                self._console.print()
            self._drawn = []
            self._console.show_cursor(True)

    def _take_back(self) -> None:
        """Erase every row that the lines take, from the last up."""
        width = max(1, self._console.width)
        rows = sum(max(1, -(-cells // width)) for cells in self._drawn)
        self._drawn = []
        if rows:
            erase = (ControlType.ERASE_IN_LINE, 2)
            self._console.control(
                Control(ControlType.CARRIAGE_RETURN, erase, *((ControlType.CURSOR_UP, 1), erase) * (rows - 1))
            )

    def _put(self, lines: list[Text]) -> None:
        # One column and one row are left free: whoever fills the last of either moves the screen.
        width, height = max(1, self._console.width - 1), max(1, self._console.height - 1)
        for number, line in enumerate(lines[:height]):
            line = line.copy()
            line.truncate(width, overflow="crop")
            self._console.print(line, end="", no_wrap=True, crop=False, overflow="ignore")
            if number + 1 < min(len(lines), height):
                self._console.print()
            self._drawn.append(line.cell_len)
