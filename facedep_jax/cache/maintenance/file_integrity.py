"""What each file of a cache has to look like to be what was written. Changes nothing."""

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence, Sized
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict, TypeVar

import numpy as np

from facedep_jax.cache.checksummed_jsonl import LEDGERS, read_ledger
from facedep_jax.cache.feature_spec import FORMAT_VERSION, cells_of, fingerprint
from facedep_jax.cache.lock import LOCK, being_written, leftovers
from facedep_jax.cache.manifest import load_manifest
from facedep_jax.cache.shard import Shard, open_shard, sha256_of
from facedep_jax.errors import DamagedCache
from facedep_jax.media.frame_types import FACE_STATES, WITHOUT_CROP
from facedep_jax.progress_events import Progress, Report, silent
from facedep_jax.provenance import config_check

T = TypeVar("T")

DROPPED = "dropped"
FILES = {*LEDGERS, "cache.json", "config.toml", LOCK}
FOLDERS = {"shards", DROPPED}
ROWS_AT_ONCE = 1024

_SHARD_NAME = re.compile(r"[0-9a-f]{64}\.h5")


ProblemKind = Literal[
    "copy", "entry", "foreign", "hash", "item", "line", "missing", "parts", "purged", "rows", "stray", "structure",
    "taps", "text", "unlisted", "values",
]  # fmt: skip


class CacheProblem(TypedDict):
    """One thing that is not as it was written."""

    file: str
    kind: ProblemKind
    detail: str


def problem(file: str, kind: ProblemKind, detail: str) -> CacheProblem:
    """One `CacheProblem`."""
    return {"file": file, "kind": kind, "detail": detail}


class Ledger(NamedTuple):
    """The lines of a ledger that are as they were written, and what is wrong with the others."""

    entries: list[dict[str, Any]]
    problems: list[CacheProblem]
    absent: bool = False


def check_ledger(folder: Path, name: str, being_written: bool = False) -> Ledger:
    """Read a ledger line by line. The last line of one that is being written may be unfinished."""
    if not (folder / name).is_file():
        return Ledger([], [], absent=True)
    entries, bad = read_ledger(folder, name)
    if being_written and bad and bad[-1].number == len(entries) + len(bad):
        bad = bad[:-1]
    return Ledger(entries, [problem(name, "line", f"line {line.number}: {line.reason}") for line in bad])


def check_small_files(folder: Path) -> Iterator[CacheProblem]:
    """`cache.json` and `config.toml`, byte for byte. That `cache.json` can be used is known already."""
    text = (folder / "cache.json").read_bytes()
    if (json.dumps(json.loads(text), indent=2) + "\n").encode() != text:
        yield problem("cache.json", "text", "it says what it said but is not written as it was")
    config = folder / "config.toml"
    if config.is_file() and not _is_config(config.read_bytes()):
        yield problem("config.toml", "text", "it is not what was written; the next extract-features writes it anew")


def _is_config(data: bytes) -> bool:
    """TOML whose last line, if it is a comment, is the checksum of all before it."""
    head, _, last = data.removesuffix(b"\n").rpartition(b"\n")
    try:
        tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        return False
    return not last.startswith(b"#") or data == head + b"\n" + config_check(head + b"\n")


def strays(folder: Path, being_written: bool = False) -> list[Path]:
    """Whatever lies in a cache and is none of its files. `dropped/` is not looked into."""
    here = [path for path in map(folder.joinpath, os.listdir(folder)) if not _belongs(path)]
    shards = folder / "shards"
    there = [shards / name for name in os.listdir(shards)] if shards.is_dir() else []
    found = here + [path for path in there if not _is_shard(path)]
    return sorted(set(found) - set(leftovers(folder) if being_written else ()))


def _belongs(path: Path) -> bool:
    return path.is_dir() if path.name in FOLDERS else path.name in FILES and path.is_file()


def _is_shard(path: Path) -> bool:
    return bool(_SHARD_NAME.fullmatch(path.name)) and path.is_file() and not path.is_symlink()


def shard_paths(folder: Path) -> list[Path]:
    """The files in `shards/` that are named like shards, in the order of their names."""
    return sorted(filter(_is_shard, (folder / "shards").glob("*.h5")))


def check_shard(path: Path, spec: dict[str, Any], values: bool = True) -> tuple[Shard | None, list[CacheProblem]]:
    """Structure and tables of a shard and, with `values`, its hash and that all its features are finite.

    The shard is None where it cannot be read at all.
    """
    if values and (digest := sha256_of(path)) != path.stem:
        return None, [problem(path.name, "hash", f"its SHA-256 is {digest}")]
    try:
        shard = open_shard(path)
    except DamagedCache as error:
        return None, [problem(path.name, "structure", str(error))]
    problems = list(_foreign(shard, spec))
    problems += [problem(path.name, "rows", rule) for rule, holds in _RULES.items() if not holds(shard)]
    if values:
        bad = (tap for tap in shard.layout if not _finite(shard.features(tap)))
        problems += [problem(path.name, "values", f"{tap} holds values that are not finite") for tap in bad]
    return shard, problems


def _foreign(shard: Shard, spec: dict[str, Any]) -> Iterator[CacheProblem]:
    """What says that a shard belongs to another cache."""
    name = shard.path.name
    if shard.attributes["fingerprint"] != fingerprint(spec):
        yield problem(name, "foreign", "its fingerprint is another cache's")
    if shard.attributes["format"] != FORMAT_VERSION:
        yield problem(name, "foreign", f"its format version is {shard.attributes['format']}")
    if set(shard.layout) != set(spec["features"]["taps"]):
        yield problem(name, "taps", f"holds {sorted(shard.layout)}")
        return
    for tap, (_, shape) in shard.layout.items():
        cells, channels = cells_of(tap), spec["features"]["channels"][tap]
        if shape[1:] != (cells, cells, channels):
            yield problem(name, "taps", f"holds {tap} of shape {shape}")


def _images_are_whole(shard: Shard) -> bool:
    items = shard.items
    image = items["kind"] == b"image"
    return bool((items["part"][image] == 0).all() and items["last"][image].all() and (items["rows"][image] == 1).all())


def _ends_have_sizes(shard: Shard) -> bool:
    items = shard.items
    sized = (items["width"] > 0) & (items["height"] > 0) & np.isfinite(items["duration"])
    empty = (items["width"] == 0) & (items["height"] == 0) & (items["duration"] == 0) & (items["phash"] == 0)
    return bool(np.where(items["last"] == 1, sized & (items["duration"] >= 0), empty).all())


def _boxes_are_whole(shard: Shard) -> bool:
    finite = np.isfinite(shard.rows["box"])
    return bool((finite.all(1) | np.isnan(shard.rows["box"]).all(1)).all())


def _times_go_on(shard: Shard) -> bool:
    time, item = shard.rows["time"], shard.rows["item"]
    return bool(np.isfinite(time).all() and ((np.diff(time) >= 0) | (np.diff(item) != 0)).all())


def _crops_have_features(shard: Shard) -> bool:
    without = np.isin(shard.rows["face"], [FACE_STATES.index(state) for state in WITHOUT_CROP])
    return bool(((shard.rows["feature"] >= 0) != without).all())


_RULES: dict[str, Callable[[Shard], bool]] = {
    "`last` is 0 or 1": lambda s: bool((s.items["last"] <= 1).all()),
    "an image is one part of one row": _images_are_whole,
    "the last part of an item states its size, others state none": _ends_have_sizes,
    "a row has a feature unless it has no crop": _crops_have_features,
    "a box is four numbers or none": _boxes_are_whole,
    "the times of an item go on": _times_go_on,
}


def _finite(values: np.ndarray) -> bool:
    return all(np.isfinite(values[i : i + ROWS_AT_ONCE]).all() for i in range(0, len(values), ROWS_AT_ONCE))


def one_by_one(stage: str, shards: Sequence[T], report: Report, failed: Sized = ()) -> Iterator[T]:
    """`shards`, reporting before each and after the last how many are done, and how many things have `failed`."""
    for done, shard in enumerate(shards):
        report(Progress(stage, done, len(shards), "shards", len(failed)))
        yield shard
    report(Progress(stage, len(shards), len(shards), "shards", len(failed)))


def sound_shards(
    folder: Path, spec: dict[str, Any], otherwise: str, report: Report = silent, locked: bool = False
) -> list[Shard]:
    """The shards of a cache in the order of its manifest, each hashed and checked. `locked`: by this process.

    Raises DamagedCache where anything is not as it was written, saying what follows (`otherwise`) and what to do.
    """
    writing = not locked and being_written(folder)
    problems = [found for name in LEDGERS for found in check_ledger(folder, name, writing).problems]
    entries = [] if problems else load_manifest(folder)
    shards = []
    for number, entry in enumerate(entries):
        report(Progress("check", number, len(entries), "shards"))
        shard, found = check_shard(folder / "shards" / entry["file"], spec)
        problems += found
        shards += [shard] if shard else []
    if problems:
        first = problems[0]
        raise DamagedCache(
            f"{folder} is damaged ({first['file']}: {first['detail']}), so {otherwise}; run `cache repair` on it first"
        )
    if entries:
        report(Progress("check", len(entries), len(entries), "shards"))
    return shards
