"""Lines that terminals of any width can show. Knows nothing of events."""

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
        if lines and len(lines[-1]) + 2 + len(fact) <= width:
            lines[-1] += f", {fact}"
        else:
            lines.append(f"{indent}{fact}")
    return [Text(line) for line in lines]
