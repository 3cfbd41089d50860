"""What each file of a cache has to look like to be what was written. Changes nothing."""

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypedDict, TypeVar

import numpy as np
import polars as pl

from facedep_jax.cache.checksummed_jsonl import BadLine
from facedep_jax.cache.feature_reader import rows_are_finite
from facedep_jax.cache.feature_spec import fingerprint, format_of, shapes_of
from facedep_jax.cache.ledger_columns import read_columns
from facedep_jax.cache.ledger_members import LEDGERS, read_ledger
from facedep_jax.cache.ledger_state import FAILURE, KEY, with_columns
from facedep_jax.cache.lock import LOCK, being_written, left_by_macos, leftovers
from facedep_jax.cache.manifest import load_manifest, shard_names
from facedep_jax.cache.manifest_lines import NAME as MANIFEST
from facedep_jax.cache.manifest_lines import ManifestLine, read_manifest
from facedep_jax.cache.shard import Shard, open_shard, sha256_of
from facedep_jax.errors import DamagedCache, UnusableFile
from facedep_jax.file_opening import SETTINGS, SUMMARY, read_bytes
from facedep_jax.media.frame_types import FACE_STATES, WITHOUT_CROP
from facedep_jax.progress_events import Progress, Report, silent
from facedep_jax.provenance import config_check

T = TypeVar("T")
Lines = TypeVar("Lines")

DROPPED = "dropped"
FILES = {*LEDGERS, "cache.json", "config.toml", LOCK}
FOLDERS = {"shards", DROPPED}

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


@dataclass(frozen=True)
class Ledger(Generic[Lines]):
    """The lines of a ledger that can be used, as far as anything is asked of them, and the others."""

    name: str
    lines: Lines
    bad: list[BadLine]
    absent: bool = False

    @property
    def problems(self) -> list[CacheProblem]:
        """What is wrong with the others."""
        return [problem(self.name, "line", f"line {line.number}: {line.reason}") for line in self.bad]


# What is asked of each ledger; all that its lines have is checked.
ASKED = {
    "listings.jsonl": (*KEY, "item"),
    "failures.jsonl": FAILURE,
    "files.jsonl": ("item",),
    "ignored.jsonl": ("source",),
}


def check_ledger(folder: Path, name: str, being_written: bool = False) -> Ledger[pl.DataFrame]:
    """Read a ledger other than the manifest line by line. The last line of one that is being written may be unfinished.

    Of `purged.jsonl`, which `tombstones` reads, only the bad lines are told.
    """
    if not (folder / name).is_file():
        return Ledger(name, with_columns(pl.DataFrame(), ASKED.get(name, ())), [], absent=True)
    if name not in ASKED:
        entries, bad = read_ledger(folder, name)
        return Ledger(name, pl.DataFrame(), _settled(bad, len(entries), being_written))
    lines, bad = read_columns(folder, name, ASKED[name], numbered=True)
    return Ledger(name, with_columns(lines, ASKED[name]), _settled(bad, lines.height, being_written))


def check_manifest_lines(folder: Path, being_written: bool = False) -> Ledger[list[ManifestLine]]:
    """The same for the manifest."""
    lines, bad = read_manifest(folder)
    return Ledger(MANIFEST, lines, _settled(bad, len(lines), being_written), not (folder / MANIFEST).is_file())


def _settled(bad: list[BadLine], good: int, being_written: bool) -> list[BadLine]:
    unfinished = being_written and bad and bad[-1].number == good + len(bad)
    return bad[:-1] if unfinished else bad


def all_ledger_problems(folder: Path, being_written: bool = False) -> list[CacheProblem]:
    """What is wrong with the lines of any ledger."""
    found = check_manifest_lines(folder, being_written).problems
    return found + [
        p for name in LEDGERS if name != MANIFEST for p in check_ledger(folder, name, being_written).problems
    ]


def check_small_files(folder: Path) -> Iterator[CacheProblem]:
    """`cache.json` and `config.toml`, byte for byte. That `cache.json` can be used is known already."""
    text = read_bytes(folder / "cache.json", SUMMARY)
    if (json.dumps(json.loads(text), indent=2) + "\n").encode() != text:
        yield problem("cache.json", "text", "it says what it said but is not written as it was")
    config = folder / "config.toml"
    if config.is_file() and not _is_config(config):
        yield problem("config.toml", "text", "it is not what was written; the next extract-features writes it anew")


def _is_config(path: Path) -> bool:
    """TOML whose last line, if it is a comment, is the checksum of all before it."""
    try:
        data = read_bytes(path, SETTINGS)
        tomllib.loads(data.decode())
    except (UnusableFile, ValueError, RecursionError):
        return False
    head, _, last = data.removesuffix(b"\n").rpartition(b"\n")
    return not last.startswith(b"#") or data == head + b"\n" + config_check(head + b"\n")


def strays(folder: Path, being_written: bool = False) -> list[Path]:
    """Whatever lies in a cache and is none of its files. `dropped/` is not looked into."""
    here = [path for path in map(folder.joinpath, os.listdir(folder)) if not _belongs(path)]
    shards = folder / "shards"
    there = [shards / name for name in os.listdir(shards)] if shards.is_dir() else []
    found = here + [path for path in there if not _is_shard(path)]
    return sorted(set(found) - set(leftovers(folder) if being_written else ()))


def stray_problems(folder: Path, being_written: bool = False) -> Iterator[CacheProblem]:
    """One for each stray, and one for all that macOS has left."""
    found = strays(folder, being_written)
    macos = [path for path in found if left_by_macos(path.name)]
    if macos:
        first, more = str(macos[0].relative_to(folder)), len(macos) - 1
        alike = f", as {more} others that begin with ._ or are called .DS_Store" if more else ""
        yield problem(first, "stray", f"macOS left it{alike}; no part of the cache, and may be deleted")
    for path in found:
        if path not in macos:
            yield problem(str(path.relative_to(folder)), "stray", "no file of a cache")


def _belongs(path: Path) -> bool:
    return path.is_dir() if path.name in FOLDERS else path.name in FILES and path.is_file()


def _is_shard(path: Path) -> bool:
    return bool(_SHARD_NAME.fullmatch(path.name)) and path.is_file() and not path.is_symlink()


def shard_paths(folder: Path) -> list[Path]:
    """The files in `shards/` that are named like shards, in the order of their names."""
    return [path for path in (folder / "shards" / name for name in shard_names(folder)) if _is_shard(path)]


def check_shard(path: Path, spec: dict[str, Any], values: bool = True) -> tuple[Shard | None, list[CacheProblem]]:
    """Structure and tables of a shard and, with `values`, its hash and that all its features are finite.

    The shard is None where it cannot be read at all.
    """
    try:
        if values and (digest := sha256_of(path)) != path.stem:
            return None, [problem(path.name, "hash", f"its SHA-256 is {digest}")]
        shard = open_shard(path)
    except DamagedCache as error:
        return None, [problem(path.name, "structure", str(error))]
    problems = list(_foreign(shard, spec))
    problems += [problem(path.name, "rows", rule) for rule, holds in _RULES.items() if not holds(shard)]
    if values:
        bad = (tap for tap in shard.layout if not rows_are_finite(shard.features(tap)).all())
        problems += [problem(path.name, "values", f"{tap} holds values that are not finite") for tap in bad]
    return shard, problems


def _foreign(shard: Shard, spec: dict[str, Any]) -> Iterator[CacheProblem]:
    """What says that a shard belongs to another cache."""
    name = shard.path.name
    if shard.attributes["fingerprint"] != fingerprint(spec):
        yield problem(name, "foreign", "its fingerprint is another cache's")
    if shard.attributes["format"] != format_of(spec):
        yield problem(name, "foreign", f"its format version is {shard.attributes['format']}")
    shapes = shapes_of(spec)
    if set(shard.layout) != set(shapes):
        yield problem(name, "taps", f"holds {sorted(shard.layout)}")
        return
    for tap, (_, shape) in shard.layout.items():
        if shape[1:] != shapes[tap]:
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


def one_by_one(
    stage: str, things: Sequence[T], report: Report, failed: Sized = (), unit: str = "shards"
) -> Iterator[T]:
    """`things`, reporting before each and after the last how many are done, and how many have `failed`."""
    for done, thing in enumerate(things):
        report(Progress(stage, done, len(things), unit, len(failed)))
        yield thing
    report(Progress(stage, len(things), len(things), unit, len(failed)))


def sound_shards(
    folder: Path, spec: dict[str, Any], otherwise: str, report: Report = silent, locked: bool = False
) -> list[Shard]:
    """The shards of a cache in the order of its manifest, each hashed and checked. `locked`: by this process.

    Raises DamagedCache where anything is not as it was written, saying what follows (`otherwise`) and what to do.
    """
    writing = not locked and being_written(folder)
    problems = all_ledger_problems(folder, writing)
    lines = [] if problems else load_manifest(folder, items=False)
    shards = []
    for number, line in enumerate(lines):
        report(Progress("check", number, len(lines), "shards"))
        shard, found = check_shard(folder / "shards" / line.file, spec)
        problems += found
        shards += [shard] if shard else []
    if problems:
        first = problems[0]
        raise DamagedCache(
            f"{folder} is damaged ({first['file']}: {first['detail']}), so {otherwise}; run `cache repair` on it first"
        )
    if lines:
        report(Progress("check", len(lines), len(lines), "shards"))
    return shards
