"""The picture of docs/architecture.md: rooms in layers, arrows downwards to what they really import.

    python tools/draw_architecture.py [--out docs/pictures/architecture.png]

Rooms and what they may import are read from the table in docs/architecture.md, the imports from the code by `ast`, also
those inside functions and for types alone. Imports that a longer way down implies are not drawn. The same imports give
the same picture. tests/test_architecture.py reads the table and the imports through this module.
"""

import argparse
import ast
import re
import textwrap
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path as Line

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, PAGE = ROOT / "facedep_jax", ROOT / "docs" / "architecture.md"
GROUND, TOP = "ground", "cli"
DOORS = ("__init__.py", "__main__.py")  # they lead into the rooms and belong to none
INK, QUIET = "#22313f", "#5d6b78"
FEATURES, HEADS, SCORES, PLAIN = "#d5e8ef", "#fbe3c6", "#e4dbef", "#eceff1"
PARTS = {"features, once": FEATURES, "heads, often": HEADS, "scores, offline": SCORES}
# Where rooms stand from left to right, and of which part they are; from top to bottom says the table.
PLACES = {
    TOP: (5.9, PLAIN), GROUND: (5.9, PLAIN),
    "api": (7.3, PLAIN),
    "study": (9.8, SCORES),
    "training": (1.3, HEADS), "cnn": (3.62, HEADS), "baselines": (2.6, HEADS), "evaluation": (2.6, HEADS),
    "runs": (2.6, HEADS), "head": (4.2, HEADS), "dataset": (3.0, HEADS),
    "onnx_export": (5.0, SCORES), "descriptors": (7.4, SCORES), "monitor": (9.8, SCORES), "scoring": (7.3, SCORES),
    "report": (10.3, SCORES),
    "feature_import": (8.6, FEATURES),
    "extraction": (6.6, FEATURES), "sources": (3.0, FEATURES), "backbones": (5.7, FEATURES), "cache": (8.4, FEATURES),
    "media": (5.7, FEATURES),
}  # fmt: skip
WIDTH, HEIGHT, GAP = 2.3, 0.66, 0.5  # of a box, and between rows, in inches
STEP, SLIM, EDGES = HEIGHT + GAP, 0.4, (0.1, 11.6)  # from row to row; of cli and ground


class Room(NamedTuple):
    """A row of the table; `may_import` is without the ground, which every room may import."""

    holds: str
    may_import: frozenset[str]


class Import(NamedTuple):
    """A name that a file takes from elsewhere: `from module import name`; `import module` has no name."""

    file: str  # from the checkout's root
    module: str
    name: str

    def room(self) -> str | None:
        """The room that it is taken from; None outside the package."""
        first, _, rest = f"{self.module}.{self.name}".partition(".")
        room = rest.split(".")[0]
        if first != PACKAGE.name:
            return None
        return room if (PACKAGE / room / "__init__.py").is_file() and room else GROUND


@cache
def rooms() -> dict[str, Room]:
    """The table of docs/architecture.md, in its order; "everything" is every room but the reader itself."""
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    every = frozenset(name for name, *_ in rows) - {GROUND}
    return {
        name: Room(holds, every - {name} if may == "everything" else frozenset(re.findall(r"`(\w+)`", may)))
        for name, holds, may in rows
    }


def room_of(file: str) -> str:
    """The room in which a file of the package lies."""
    parts = Path(file).parts
    return parts[1] if len(parts) > 2 else GROUND


@cache
def imports() -> tuple[Import, ...]:
    """Everything that is imported anywhere in the package but by its doors."""
    return tuple(_imports())


def _imports() -> Iterator[Import]:
    for path in sorted(PACKAGE.rglob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        if path.parent == PACKAGE and path.name in DOORS:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (Import(file, alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from (Import(file, "." * node.level + (node.module or ""), alias.name) for alias in node.names)


def used() -> dict[str, set[str]]:
    """The rooms that each room imports, without itself and the ground."""
    found: dict[str, set[str]] = {name: set() for name in rooms()}
    for one in imports():
        room, other = room_of(one.file), one.room()
        if other not in (None, GROUND, room):
            found[room].add(str(other))
    return found


def layers() -> list[list[str]]:
    """Rooms from the bottom up: each lies one above the highest that it may import. RecursionError if circular."""
    table = rooms()

    @cache
    def height(name: str) -> int:
        return 1 + max((height(other) for other in table[name].may_import), default=0)

    heights = {name: height(name) for name in table if name != GROUND}
    return [[GROUND], *([n for n, h in heights.items() if h == level] for level in range(1, max(heights.values()) + 1))]


def arrows() -> list[tuple[str, str]]:
    """Imports between rooms, downwards, but for those that a longer way implies."""
    height = {name: level for level, row in enumerate(layers()) for name in row}
    down = {(room, other) for room, others in used().items() for other in others if height[room] > height[other]}

    def reached(start: str) -> set[str]:
        return {start}.union(*(reached(other) for room, other in down if room == start))

    return sorted((a, b) for a, b in down if not any(b in reached(via) for room, via in down if room == a and via != b))


def modules(room: str) -> list[str]:
    """Names of a room's modules, those of its inner rooms too."""
    if room == GROUND:
        return sorted(path.stem for path in PACKAGE.glob("*.py") if path.name not in DOORS)
    return [path.stem for path in (PACKAGE / room).rglob("*.py")]


def draw(out: Path) -> None:
    """Write the picture to `out`."""
    rows, between = layers(), arrows()
    y = {name: STEP * i for i, row in enumerate(rows) for name in row} | {GROUND: STEP - GAP - SLIM}
    top = y[TOP] + SLIM
    figure = Figure(figsize=(EDGES[0] + EDGES[1], top), dpi=110)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, EDGES[0] + EDGES[1]), ylim=(0.1, top + 0.1))
    axes.set_axis_off()
    for room, other in between:
        begin = _port(room, other, [b for a, b in between if a == room])
        end = _port(other, room, [a for a, b in between if b == other])
        _draw_arrow(axes, (end if room == TOP else begin, y[room]), (end, y[other] + HEIGHT))
    for name, (holds, _) in rooms().items():
        _draw_box(axes, name, holds, y[name])
    for i, (part, color) in enumerate(PARTS.items()):
        axes.add_patch(_box(EDGES[1] - 1.5, y[TOP] - 0.5 - 0.34 * i, 0.36, 0.24, color))
        axes.text(EDGES[1] - 1.05, y[TOP] - 0.39 - 0.34 * i, part, va="center", size=10, color=INK)
    figure.savefig(out, metadata={"Software": None})


def _box(x: float, y: float, width: float, height: float, color: str) -> FancyBboxPatch:
    return FancyBboxPatch((x, y), width, height, "round,pad=0,rounding_size=0.09", fc=color, ec="none", zorder=2)


def _draw_box(axes: Axes, name: str, holds: str, y: float) -> None:
    """A room with its name, what it holds and how many files; the ends of the picture go all the way across."""
    slim, files = name in (TOP, GROUND), modules(name)
    x, color = PLACES[name]
    left, right = EDGES if slim else (x - WIDTH / 2, x + WIDTH / 2)
    height = SLIM if slim else HEIGHT
    axes.add_patch(_box(left, y, right - left, height, color))
    say = partial(axes.text, size=8.5, color=QUIET, zorder=3)
    baseline = y + height - 0.25
    axes.text(left + 0.11, baseline, name, size=11, weight="bold", color=INK, zorder=3)
    say(right - 0.11, baseline, f"{len(files)} files", ha="right")
    if slim:
        say(left + 1.0, baseline, textwrap.fill(", ".join(files), 150) if name == GROUND else holds, size=6.6)
    else:
        say(left + 0.11, baseline - 0.1, textwrap.fill(holds, 33), va="top", linespacing=1.15)


def _port(name: str, other: str, others: list[str]) -> float:
    """Where on the edge of a room an arrow from or to another begins or ends: in the order in which those stand."""
    ordered = sorted((room for room in others if room != TOP), key=lambda room: PLACES[room][0])
    # What comes from the top comes straight down, right of the others.
    place = ordered.index(other) if other in ordered else len(ordered)
    return PLACES[name][0] + 0.4 * (place - (len(others) - 1) / 2)


def _draw_arrow(axes: Axes, begin: tuple[float, float], end: tuple[float, float]) -> None:
    """Curved over one gap between rows, then straight down beside whatever lies between."""
    (x, y), (goal_x, goal_y) = begin, end
    tip, turn = goal_y + 0.03, max(y - GAP, goal_y) + 0.12
    points = [(x, y), (x, (y + turn) / 2), (goal_x, (y + turn) / 2), (goal_x, turn), (goal_x, tip + 0.09)]
    path = Line(points, [Line.MOVETO, Line.CURVE4, Line.CURVE4, Line.CURVE4, Line.LINETO])
    axes.add_patch(PathPatch(path, fc="none", ec=INK, lw=1.1, zorder=1))
    axes.add_patch(
        Polygon([(goal_x, tip), (goal_x - 0.05, tip + 0.12), (goal_x + 0.05, tip + 0.12)], fc=INK, ec="none")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "architecture.png")
    draw(parser.parse_args().out)


if __name__ == "__main__":
    main()
