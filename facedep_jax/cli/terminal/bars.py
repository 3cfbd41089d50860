"""Lines that terminals of any width can show, measured in cells: some characters take two. Knows nothing of events."""

from rich.cells import cell_len
from rich.text import Text

MARK = "bold red"


def bar(share: float, columns: int, ascii_only: bool, mark: float | None = None) -> Text:
    """`share` of `columns` filled, told apart without colours too, with a mark at the part `mark`."""
    full, empty, marker = ("#", "-", "|") if ascii_only else ("━", "─", "┃")
    filled = round(min(max(share, 0.0), 1.0) * columns)
    drawn = Text(full * filled, style="cyan") + Text(empty * (columns - filled), style="dim")
    if mark is None:
        return drawn
    at = min(int(min(max(mark, 0.0), 1.0) * columns), columns - 1)
    return drawn[:at] + Text(marker, style=MARK) + drawn[at + 1 :]


def wrapped(said: list[str], width: int, indent: str = "  ") -> list[Text]:
    """Facts in as few lines as they need, none of them broken."""
    lines: list[str] = []
    for fact in said:
        if lines and cell_len(lines[-1]) + 2 + cell_len(fact) <= width:
            lines[-1] += f", {fact}"
        else:
            lines.append(f"{indent}{fact}")
    return [Text(line) for line in lines]


def ending(text: str, cells: int) -> str:
    """As much of the end of `text` as fits."""
    cells = max(0, cells)
    text = text[max(0, len(text) - cells) :]  # long paths: counting is slow
    while cell_len(text) > cells:
        text = text[1:]
    return text
