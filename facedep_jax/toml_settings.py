"""Typed settings and their TOML form. Knows nothing of what a setting does.

A configuration file holds one table per command (`[extract]`, `[train]`, `[score]`). The
resolved file that a command writes beside its output adds tables that only record
(`[versions]`, `[weights]`, `[cache]`), so it can be given back as `--config`.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from facedep_jax import file_opening
from facedep_jax.errors import SettingsError, UnusableFile

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

COMMANDS = ("extract", "import", "train", "score", "study")
RECORDS = ("versions", "weights", "cache", "run", "inputs")
# Settings of training that came later, and what they were before.
EARLIER = {"class_weight": 0.0, "pooling": "mean", "train_fps": 0.0, "beside_weight": 0.1}
MOST_RESAMPLES = 10**6  # an interval has long stopped to move
SEEDS = 2**31  # what JAX without 64-bit integers, NumPy and SciPy all take

T = TypeVar("T")


def check_rules(*rules: tuple[bool, str]) -> None:
    """Raise SettingsError with what every broken rule says."""
    broken = [said for kept, said in rules if not kept]
    if broken:
        raise SettingsError("; ".join(broken))


def wrong_seed(seed: int) -> list[str]:
    """What to say of a seed that cannot be used."""
    return [] if 0 <= seed < SEEDS else [f"seed = {seed}, expected 0 to {SEEDS - 1}"]


def resolve(cls: type[T], command: str, file: Path | None, given: dict[str, Any]) -> T:
    """Defaults of `cls`, overlaid by `[command]` of the TOML `file`, overlaid by what was `given` (not None)."""
    table = read_table(file, command) if file else {}
    return build(cls, table | {k: v for k, v in given.items() if v is not None}, where=str(file or "options"))


def presets() -> dict[str, Path]:
    """Settings that come with the package, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "configs").glob("*.toml"))}


def settings_file(file: Path) -> Path:
    """`file`, or where there is none the preset of that name."""
    return file if file.exists() else presets().get(str(file), file)


def read_toml(file: Path, follow: bool = True) -> dict[str, Any]:
    """A TOML file, a link to one if `follow`, or a preset by its name. Raises SettingsError where it cannot be read."""
    try:
        return file_opening.read_toml(settings_file(Path(file)), follow)
    except UnusableFile as error:
        raise SettingsError(str(error)) from error
    except FileNotFoundError as error:
        raise SettingsError(f"{file} is no file, and no preset; these are: {', '.join(presets())}") from error
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error


def read_table(file: Path, command: str) -> dict[str, Any]:
    """The table `[command]` of a configuration file. Raises SettingsError for anything not understood."""
    document = read_toml(file)
    for name in document:
        if name not in COMMANDS + RECORDS:
            what = f"table [{name}]" if isinstance(document[name], dict) else f"key {name!r} outside a table"
            raise _unknown(what, name, COMMANDS, str(file))
    if command not in document:
        raise SettingsError(f"{file} has no table [{command}]; it has {', '.join(map(repr, document)) or 'nothing'}")
    if not isinstance(document[command], dict):
        raise SettingsError(f"{file}: {command} is {document[command]!r}, expected a table [{command}]")
    return of_earlier_versions(document) if command == "train" else document[command]


def of_earlier_versions(document: Mapping[str, Any]) -> dict[str, Any]:
    """The table [train]; of a run of a head also what its version did not name yet, as it was then."""
    of_head = "run" in document and document["run"].get("kind") != "cnn"
    return (EARLIER if of_head else {}) | document["train"]


def read_records(file: Path, tables: tuple[str, ...], follow: bool = True) -> dict[str, Any]:
    """The named tables of a resolved configuration that a command wrote. Raises SettingsError if it is damaged."""
    document = read_toml(file, follow)
    found = {name: document.get(name, {}) for name in tables}
    for name, table in found.items():
        if not isinstance(table, dict):
            raise SettingsError(f"{file} is damaged: {name} is {table!r}, expected a table [{name}]")
    return found


def build(cls: type[T], table: dict[str, Any], where: str) -> T:
    """An instance of the settings dataclass `cls`; unknown keys and wrong types are errors."""
    known = typing.get_type_hints(cls)
    for key, value in table.items():
        if key not in known:
            raise _unknown(f"key {key!r}", key, tuple(known), where)
        if not _fits(value, known[key]):
            raise SettingsError(f"{where}: {key} is {value!r}, expected {_type_name(known[key])}")
    values = {k: _convert(v, known[k]) for k, v in table.items()}
    return cls(**values)


def to_table(settings: "DataclassInstance") -> dict[str, Any]:
    """A settings dataclass as a TOML table; unset values are left out, since TOML has no null."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(settings).items() if v is not None}


def differences(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[str]:
    """Every leaf in which two nested tables differ, as `key: before → after`."""
    found = []
    for key in sorted(before.keys() | after.keys(), key=str):
        a, b = before.get(key), after.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {_show(a)} → {_show(b)}")
    return found


def _show(value: Any) -> str:
    return "nothing" if value is None else str(value)


def _unknown(what: str, name: str, known: tuple[str, ...], where: str) -> SettingsError:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
    return SettingsError(f"{where}: unknown {what}; {hint}")


def _options(hint: Any) -> tuple[Any, ...]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _fits(value: Any, hint: Any) -> bool:
    return any(_fits_one(value, option) for option in _options(hint))


def _fits_one(value: Any, option: Any) -> bool:
    if option is type(None):
        return value is None
    if typing.get_origin(option) is tuple:
        return isinstance(value, list | tuple)
    if isinstance(value, bool):
        return option is bool
    return isinstance(value, int | float) if option is float else isinstance(value, option)


def _convert(value: Any, hint: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    floats = float in _options(hint) and isinstance(value, int) and not isinstance(value, bool)
    return float(value) if floats else value


def _type_name(hint: Any) -> str:
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    return " or ".join(names.get(o, "a list") for o in _options(hint) if o is not type(None))


def without_none(table: Any) -> Any:
    """The same nested table without the entries that are None, as TOML keeps it."""
    if isinstance(table, Mapping):
        return {key: without_none(value) for key, value in table.items() if value is not None}
    return [without_none(value) for value in table] if isinstance(table, list | tuple) else table
