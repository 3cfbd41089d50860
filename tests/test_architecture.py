"""The rules of docs/architecture.md on every import of every module, also inside functions and for types alone."""

import ast
import re
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from support.paths import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from draw_architecture import DOORS, GROUND, PACKAGE, PAGE, PLACES, Import, imports, layers, room_of, rooms

MOST_FILES = 20  # in one folder; more cannot be read as a list
ONLY_IN = {
    "cv2": "facedep_jax/media/decode",
    "PIL": "facedep_jax/media/decode",
    "av": "facedep_jax/media/decode",
    "click": "facedep_jax/cli",
    "rich": "facedep_jax/cli",
}
ENDS = {"print", "exit", "quit", "sys.exit", "os._exit"}
ABSENT = re.compile(r"\b(?:DESIGN|INTERFACE|LAYOUT|STYLE)\.md\b|[(]DESIGN\b")  # they are no part of the project
READ = {".py", ".md", ".toml", ".txt", ".html", ".c", ".cff", ""}

# What still breaks a rule, and why; an entry that no longer does has to go.
AGAINST_THE_TABLE: dict[tuple[str, str], str] = {}  # (file, module that it imports) → reason
OUT_OF_PLACE = {("facedep_jax/media/media_writer.py", "cv2"): "writes drawn faces, in the process that asks for them"}
ENDS_A_PROCESS = {"facedep_jax/machine_resources.py": "is a process of its own"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_the_table_names_every_room_and_no_other():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert set(rooms()) == set(PLACES) == folders | {GROUND}
    assert all(room.may_import <= folders for room in rooms().values())


def test_rooms_import_what_the_table_lets_them():
    found = {}
    for one in imports():
        room, other = room_of(one.file), one.room()
        if other not in (None, GROUND, room) and other not in rooms()[room].may_import:
            found[one.file, one.module] = f"{room} may not import {other}: {one.file}, {one.module}"
    new = [said for place, said in found.items() if place not in AGAINST_THE_TABLE]
    assert not new, "\n".join(new)
    assert set(AGAINST_THE_TABLE) <= set(found), "allowed, but no longer needed"


def test_imports_are_absolute():
    """So that the other tests see them all."""
    assert [one for one in imports() if one.module.startswith(".")] == []


def test_there_are_no_circles_between_rooms():
    layers()  # of the table
    graph: dict[str, set[str]] = {name: set() for name in rooms()}
    for one in imports():
        room, other = room_of(one.file), one.room()
        if other not in (None, room) and (one.file, one.module) not in AGAINST_THE_TABLE:
            graph[room].add(str(other))
    assert next(TopologicalSorter(graph).static_order()) == GROUND  # CycleError where there is one


@pytest.mark.parametrize("library", ONLY_IN)
def test_only_one_room_imports(library):
    """Also by way of a module that has it: `from …opencv_setup import cv2`."""
    users = {one.file for one in imports() if library in (one.module.split(".")[0], one.name)}
    assert users, f"nobody imports {library}"
    outside = {(file, library) for file in users if not file.startswith(ONLY_IN[library] + "/")}
    assert outside == {place for place in OUT_OF_PLACE if place[1] == library}


def test_nothing_below_the_command_line_prints_or_exits():
    found = set()
    for path in modules():
        file = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        if room_of(file) != "cli" and (called & ENDS or "SystemExit" in names):
            found.add(file)
    assert found == set(ENDS_A_PROCESS)


def test_no_room_is_too_large_to_be_read_as_a_list():
    files = [path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in files)
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES} == {}


def test_the_package_s_doors_lead_where_they_say():
    source = {name: (PACKAGE / name).read_text(encoding="utf-8") for name in DOORS}
    names = {name: set(re.findall(r"from facedep_jax\.(\w+)[\w.]* import", text)) for name, text in source.items()}
    assert names == {"__init__.py": {"api", "cache"}, "__main__.py": {"cli"}}


def test_what_the_page_names_is_there():
    """Files named in docs/architecture.md, from the package or the checkout."""
    said = re.findall(r"`([\w/]+\.(?:py|md))`", PAGE.read_text(encoding="utf-8"))
    inner = ROOT / "facedep_jax" / "backbones" / "weights"
    assert len(said) > 20
    assert [name for name in said if not any((base / name).is_file() for base in (PACKAGE, ROOT, inner))] == []


def test_no_file_cites_a_document_that_is_not_in_the_project():
    folders = [ROOT / name for name in ("facedep_jax", "tests", "tools", "docs", ".ci")]
    files = [*ROOT.glob("*"), *ROOT.glob("cache/*.md"), *(path for folder in folders for path in folder.rglob("*"))]
    read = [path for path in files if path.suffix in READ and path.is_file()]
    citing = {
        path.relative_to(ROOT).as_posix()
        for path in read
        if ABSENT.search(path.read_text(encoding="utf-8", errors="replace"))
    }
    assert citing == set()


def test_names_of_the_package_in_words_and_strings_are_there():
    """Programs in strings, patches by name, pages: what is moved is found by no import there."""
    folders = [ROOT / name for name in ("facedep_jax", "tests", "tools", "docs")]
    files = [*ROOT.glob("*.*"), *ROOT.glob("cache/*.md"), *(path for folder in folders for path in folder.rglob("*"))]
    absent = set()
    for path in files:
        if path.suffix in (".py", ".md", ".toml") and path.is_file():
            said = path.read_text(encoding="utf-8")
            names = set(re.findall(r"\bfacedep_jax(?>(?:\.\w+)+)(?!\{)", said))
            for module, imported in re.findall(r"^\s*from (facedep_jax[.\w]*) import ([\w, ]+)", said, re.MULTILINE):
                names |= {f"{module}.{name.split(' as ')[0].strip()}" for name in imported.split(",") if name.strip()}
            absent |= {f"{path.relative_to(ROOT)}: {name}" for name in names if not _is_there(name.split(".")[1:])}
    assert absent == set()


def _is_there(parts: list[str]) -> bool:
    """Modules as far as they go, then a name that the last of them has."""
    place = PACKAGE
    for depth, part in enumerate(parts):
        if (place / part).is_dir():
            place = place / part
        elif (place / f"{part}.py").is_file():
            return not parts[depth + 1 :] or _says(place / f"{part}.py", parts[depth + 1])
        else:
            return _says(place / "__init__.py", part)
    return True


def _says(module: Path, name: str) -> bool:
    return name == "__file__" or re.search(rf"\b{name}\b", module.read_text(encoding="utf-8")) is not None


def test_imports_are_seen_wherever_they_stand():
    """As in `head/model.py`, if it took something of training's for its types, or in a function."""
    assert Import("facedep_jax/head/model.py", "facedep_jax.training.settings", "TrainSettings").room() == "training"
    assert Import("facedep_jax/head/model.py", "facedep_jax", "training").room() == "training"
    assert Import("facedep_jax/head/model.py", "facedep_jax", "__version__").room() == GROUND
    assert Import("facedep_jax/head/model.py", "facedep_jax.training", "").room() == "training"
    assert Import("facedep_jax/head/model.py", "facedepot", "training").room() is None
    lazy = Import("facedep_jax/sources/__init__.py", "facedep_jax.sources.kaggle", "fetch")
    assert lazy in set(imports())
