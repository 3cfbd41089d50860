"""JSON and TOML from anyone → plain values, finite and within bounds of depth and size. It means nothing by them."""

import json
import math
import tomllib
from pathlib import Path
from typing import Any

from facedep_jax.errors import UnusableFile
from facedep_jax.file_opening import SETTINGS, SUMMARY, read_text
from facedep_jax.text_escaping import as_name

DEEPEST = 32  # of tables and lists in each other
LARGEST = 2**63  # integers are smaller


def read_toml(path: Path, follow: bool = False, names: bool = True) -> dict[str, Any]:
    """The tables of a TOML file; `names`: those of files in it as `as_name` gives them.

    Raises as `opened` does, and UnusableFile for what is no TOML, too deep or not finite.
    """
    text = read_text(path, SETTINGS, follow)
    try:
        found = tomllib.loads(as_name(text) if names else text)
    except (ValueError, RecursionError) as error:
        raise UnusableFile(path, f"is not TOML: {_said(error)}") from error
    _require_bounded(path, found)
    return found


def read_json(path: Path, most: int = SUMMARY) -> Any:
    """What a JSON file says. Raises as `opened` does, and UnusableFile for what is no JSON, too deep or not finite."""
    return parse_json(path, read_text(path, most))


def parse_json(path: Path, text: str) -> Any:
    """What a JSON text from the file at `path` says. Raises UnusableFile as `read_json` does."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnusableFile(path, f"is not JSON: {_said(error)}") from error
    _require_bounded(path, found)
    return found


def _require_bounded(path: Path, value: Any) -> None:
    """Raise UnusableFile for what is nested too deeply, and for numbers that are too large or not finite."""
    level: list[tuple[str, Any]] = [("", value)]
    for _ in range(DEEPEST + 1):
        inner: list[tuple[str, Any]] = []
        for place, each in level:
            if isinstance(each, dict):
                inner += [(f"{place}.{key}" if place else key, item) for key, item in each.items()]
            elif isinstance(each, list):
                inner += [(place, item) for item in each]
            elif type(each) is int and not -LARGEST <= each < LARGEST:
                raise UnusableFile(path, f"cannot be meant: {place} has {len(str(each))} digits")
            elif type(each) is float and not math.isfinite(each):
                raise UnusableFile(path, f"cannot be meant: {place} is {each}, expected a finite number")
        level = inner
    if level:
        raise UnusableFile(path, f"is nested too deeply, more than {DEEPEST} deep")


def _said(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]
