"""Planted bugs of reading: real functions replaced by careless ones, to show that `strangers` can fail."""

import contextlib
import importlib
import os
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from facedep_jax import file_opening
from facedep_jax.backbones.weights import keras_file
from facedep_jax.head.trained_head import Head, Validation
from facedep_jax.runs import run_arrays, run_record
from soak.plants import replaced


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """With the planted bug `name` in this process; none where the name is empty."""
    with contextlib.ExitStack() as stack:
        for owner, what, careless in PLANTS[name].replaced if name else ():
            place = importlib.import_module(owner) if isinstance(owner, str) else owner
            stack.enter_context(replaced(place, what, careless))
        yield


def _as_they_are(path: Path, follow: bool) -> int:
    return os.open(path, os.O_RDONLY | (0 if follow else os.O_NOFOLLOW))


def _following(path: Path, follow: bool) -> int:
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK)


def _in_no_sentence(path: Path, follow: bool) -> int:
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))


def _of_any_size(path: Path, found: os.stat_result, most: int) -> None:
    return None


def _unbounded_toml(path: Path, follow: bool = False, names: bool = True) -> dict[str, Any]:
    return tomllib.loads(path.read_text())


def _any_validation(path: Path, members: int, classes: int) -> Validation | None:
    return Validation(**run_arrays._arrays(path, path.read_bytes())) if path.exists() else None


def _any_numbers(path: Path, content: bytes, architecture: Any) -> Any:
    arrays = run_arrays._arrays(path, content)
    return run_arrays.from_names(architecture, arrays)[0], len(next(iter(arrays.values())))


FOLLOWING = """import sys
from facedep_jax.backbones.weights import keras_file_reader as reader
reader.inside = lambda group, name: group[name]
reader.main(sys.argv[1])"""


HEADS = ("predict", "evaluate", "against")
RUNS = "facedep_jax.runs.run_directory"


class Plant(NamedTuple):
    """What is replaced by what, the tasks that read so, and the alterations that it is about."""

    replaced: tuple[tuple[Any, str, Any], ...]
    tasks: tuple[str, ...]
    about: str


PLANTS = {
    "pipes are waited for": Plant(((file_opening, "_descriptor", _as_they_are),), HEADS, ": pipe"),
    "links are followed": Plant(((file_opening, "_descriptor", _following),), HEADS, ": link(;|$)"),
    "files may have any size": Plant(((file_opening, "_require_plain", _of_any_size),), HEADS, "sparse"),
    "TOML may be anything": Plant(
        ((run_record, "read_toml", _unbounded_toml),), HEADS, "config.toml: (brackets|deeper)"
    ),
    "validation is not looked at": Plant(
        ((RUNS, "read_validation", _any_validation),),
        HEADS,
        "validation.safetensors: (nothing|one fewer|one more|half)",
    ),
    "numbers of a head are not looked at": Plant(
        ((RUNS, "states_of", _any_numbers), (Head, "finite_on_probe", lambda *_: True)),
        HEADS,
        "head.safetensors: (NaN|infinite|no members|millions)",
    ),
    "the system's errors are passed on": Plant(
        ((file_opening, "_descriptor", _in_no_sentence),), HEADS, ": link( to|;|$)"
    ),
    "links in HDF5 are followed": Plant(
        ((keras_file, "READER", (sys.executable, "-c", FOLLOWING)),), ("weights",), "link|virtual"
    ),
}
