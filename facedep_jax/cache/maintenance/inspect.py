"""What is in a cache, in numbers. Knows nothing of what labels are worth, or of how anything is drawn."""

from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import polars as pl
from jaxtyping import Float, Float32, Int

from facedep_jax.cache.cache_reader import Cache, open_cache
from facedep_jax.cache.ledger_state import LISTING, odd_decoding, with_columns
from facedep_jax.cache.maintenance.ignored_files import read_ignored
from facedep_jax.cache.maintenance.segment_faults import SegmentFault, faulty_segments
from facedep_jax.cache.manifest import manifest_is_whole
from facedep_jax.cache.near_duplicates import DISTANCE, LIKENESS, hash_pairs, likenesses
from facedep_jax.cache.tombstones import Purged
from facedep_jax.media.frame_types import FACE_STATES
from facedep_jax.progress_events import Progress, Report, silent
from facedep_jax.segments import count_overlapping
from facedep_jax.subject_ids import subject_key
from facedep_jax.text_escaping import as_name

SAMPLE = 2048  # rows looked at for the statistics of a tap
SAMPLE_BYTES = 2**26  # … and how many bytes of them at most, as float32
PARTS = np.r_[0.0, np.geomspace(1e-6, 1, 120)]  # of values, in the curve of a tap
EDGES = np.linspace(-0.5, 1, 46)  # of the histogram of likenesses


class TapStatistics(TypedDict):
    """Of one tap; None where there are no features. `shape` is (S, S, C), `zeros` a part of all values, `dead` a number
    of channels that say nothing of these rows. The curves are values by the part of all that is above them (`PARTS`),
    and the part of zeros by channel in rising order.
    """

    shape: list[int]
    mean: float | None
    sd: float | None
    max: float | None
    zeros: float | None
    dead: int | None
    above: NotRequired[list[float]]
    zeros_by_channel: NotRequired[list[float]]


class Subject(TypedDict):
    """One subject `of` a source or table: items, listings, and how many of these are in each split."""

    subject: str
    of: str
    items: int
    listings: int
    splits: dict[str, int]


class Pair(TypedDict):
    """Two items that are nearly the same: ids, first paths, and the splits of each; `across` where these differ."""

    items: list[str]
    paths: list[str | None]
    splits: list[list[str]]
    across: bool


class NearDuplicates(TypedDict):
    """Pairs and how they were found: those whose items are listed in different splits come first. `all` is false where
    there were more pairs of near hashes than are looked at, so that these may not be all.
    """

    hash_distance: int
    likeness: float
    all: bool
    items: int
    across_splits: int
    pairs: list[Pair]


class InspectSummary(TypedDict):
    """What is in a cache. `segments` are those of the `files_cut` among the listings, `segments_failed` those that hold
    no frame; emotions and subjects are counted by segment. `files_odd` counts listings whose `decoding` says what was
    odd, mended or left out, `files_ignored` what was passed over in the sources; `likenesses` are those of all
    candidates, counted between `EDGES`.
    """

    cache: str
    fingerprint: str
    untrained: bool
    spec: dict[str, Any]
    items: int
    items_cut_off: int
    items_purged: int
    rows: int
    shards: int
    manifest_whole: bool
    bytes: int
    engines: dict[str, int]
    kinds: dict[str, int]
    face_states: dict[str, int]
    listings: int
    items_listed_twice: int
    segments: int
    files_cut: int
    segments_overlapping: int
    segments_failed: list[SegmentFault]
    files_odd: int
    files_ignored: int
    emotions: dict[str, dict[str, int]]
    subjects: int
    subjects_in_several_splits: int
    subject_table: list[Subject]
    near_duplicates: NearDuplicates
    failures: list[dict[str, Any]]
    taps: dict[str, TapStatistics]
    likenesses: NotRequired[list[int]]


def inspect_cache(folder: str | Path, report: Report = silent, curves: bool = False) -> InspectSummary:
    """Counts, spec, sizes, failures, labels, subjects, near-duplicates, and statistics of every tap, ready for JSON.

    Statistics come from at most 2,048 evenly spaced rows. With `curves` the summary also has what a picture of the
    cache is drawn from. Raises CacheError as `open_cache` does.
    """
    steps = (Progress("inspect", done, 4, "steps") for done in range(5))
    report(next(steps))
    cache = open_cache(folder)
    report(next(steps))
    listings, rows = cache.listings, cache.listing_rows
    segments = rows.drop_nulls("start")
    subjects = _subjects(rows)
    report(next(steps))
    pairs, alike, every = _candidates(cache)
    report(next(steps))
    summary: InspectSummary = {
        "cache": str(folder),
        "fingerprint": cache.fingerprint,
        "untrained": cache.untrained,
        "spec": cache.spec,
        "items": len(cache.items),
        "items_cut_off": cache.items_cut_off,
        "items_purged": len(Purged(folder)),
        "rows": len(cache.rows),
        "shards": len(cache.shards),
        "manifest_whole": manifest_is_whole(cache.path),
        "bytes": sum(shard.path.stat().st_size for shard in cache.shards),
        "engines": dict(Counter(shard.computed_by for shard in cache.shards).most_common()),
        "kinds": _counts(cache.items.kind),
        "face_states": {FACE_STATES[int(code)]: count for code, count in _counts(cache.rows.face).items()},
        "listings": listings.height,
        "items_listed_twice": listings["item"].drop_nulls().value_counts().filter(pl.col("count") > 1).height,
        "segments": segments.height,
        "files_cut": segments.n_unique(("source", "path")) if segments.height else 0,
        "segments_overlapping": count_overlapping(segments, "item"),
        "segments_failed": faulty_segments(cache),
        "files_odd": int(odd_decoding(listings).sum()),
        "files_ignored": len(read_ignored(cache.path)),
        "emotions": _emotions(rows),
        "subjects": len(subjects),
        "subjects_in_several_splits": sum(len(row["splits"]) > 1 for row in subjects),
        "subject_table": subjects,
        "near_duplicates": _near_duplicates(cache, pairs[alike >= LIKENESS], every),
        "failures": [row | {"path": as_name(row["path"])} for row in cache.failures.iter_rows(named=True)],
        "taps": {tap: _statistics(_sample(cache, tap), curves) for tap in cache.taps},
    }
    if curves:
        summary["likenesses"] = np.histogram(np.clip(alike, EDGES[0], 1), EDGES)[0].tolist()
    report(next(steps))
    return summary


def _counts(values: np.ndarray) -> dict[Any, int]:
    """How often each value is there, the most frequent first, then in order of appearance."""
    found, first, counts = np.unique(values, return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    return dict(zip(found[order].tolist(), counts[order].tolist(), strict=True))


def _said(column: str, otherwise: str) -> pl.Expr:
    return pl.when(pl.col(column).fill_null("") == "").then(pl.lit(otherwise)).otherwise(pl.col(column)).alias(column)


def _counted(listings: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """How often each combination is there (`len`), the most frequent first, then in order of appearance."""
    counts = listings.group_by(columns, maintain_order=True).len()
    return counts.sort("len", descending=True, maintain_order=True)


def _emotions(listings: pl.DataFrame) -> dict[str, dict[str, int]]:
    """Of each split how often each emotion is listed."""
    named = listings.select(_said("split", ""), _said("emotion", "none"))
    found: dict[str, dict[str, int]] = {split or "no split": {} for split in named["split"].unique().sort()}
    for split, emotion, count in _counted(named, "split", "emotion").iter_rows():
        found[split or "no split"][emotion] = count
    return found


def _subjects(listings: pl.DataFrame) -> list[Subject]:
    """All subjects, most items first: by source, or by the table that names them, and however they are spelt."""
    named = with_columns(listings, (*LISTING, "subject_source")).filter(pl.col("subject").fill_null("") != "")
    known = named["subject"].unique()
    key = named["subject"].replace_strict(known, [subject_key(name) for name in known], return_dtype=pl.String)
    of = pl.coalesce("subject_source", "source")
    theirs = named.select("subject", "item", _said("split", "no split"), key=key, of=of)
    splits: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for *who, split, count in theirs.group_by("key", "of", "split").len("n").sort("n", descending=True).iter_rows():
        splits[who[0], who[1]][split] = count
    table = theirs.group_by("key", "of").agg(
        pl.col("subject").first(), pl.col("item").n_unique().alias("items"), pl.len().alias("listings")
    )
    rows = table.sort(["items", "subject", "of"], descending=[True, False, False]).iter_rows()
    return [
        Subject(subject=name, of=place, items=items, listings=count, splits=splits[key, place])
        for key, place, name, items, count in rows
    ]


def _candidates(cache: Cache) -> tuple[Int[np.ndarray, "pairs 2"], Float[np.ndarray, " pairs"], bool]:
    """Pairs of pictures with near hashes, how alike they are in the tap that tells them apart best, and whether these
    are all.
    """
    feature = cache.rows.feature[cache.items.first_row] if len(cache.items) else np.zeros(0, np.int64)
    seen = np.flatnonzero(feature >= 0)
    pairs, _, every = hash_pairs(cache.items.phash[seen])
    alike = np.ones(len(pairs))
    for tap in cache.taps:
        still = np.flatnonzero(alike >= LIKENESS)  # the others are told apart already
        found = likenesses(pairs[still], len(seen), partial(_features_at, cache, tap, feature[seen]))
        alike[still] = np.minimum(alike[still], found)
    return seen[pairs], alike, every


def _features_at(cache: Cache, tap: str, rows: Int[np.ndarray, " n"], index: np.ndarray) -> np.ndarray:
    return cache.features(tap, rows[index])


def _near_duplicates(cache: Cache, pairs: Int[np.ndarray, "pairs 2"], every: bool) -> NearDuplicates:
    places: dict[str, list[dict[str, Any]]] = defaultdict(list)
    wanted = pl.Series(np.unique(cache.items.id[pairs]).tolist(), dtype=pl.String)
    listed = cache.listings.select("item", "path", "split").filter(pl.col("item").is_in(wanted.implode()))
    for entry in listed.iter_rows(named=True):
        places[entry["item"]].append(entry)
    found: list[Pair] = []
    for pair in cache.items.id[pairs].tolist():
        said = [places.get(item) or [{"path": None, "split": None}] for item in pair]
        splits = [sorted({entry.get("split") or "no split" for entry in entries}) for entries in said]
        found.append(
            {
                "items": pair,
                "paths": [entries[0]["path"] for entries in said],
                "splits": splits,
                "across": len({*splits[0], *splits[1]}) > 1,
            }
        )
    return {
        "hash_distance": DISTANCE,
        "likeness": LIKENESS,
        "all": every,
        "items": len({item for entry in found for item in entry["items"]}),
        "across_splits": sum(entry["across"] for entry in found),
        "pairs": sorted(found, key=lambda entry: not entry["across"]),
    }


def _sample(cache: Cache, tap: str) -> Float32[np.ndarray, "n cells cells channels"]:
    """Features of some evenly spaced rows."""
    kept = cache.rows.feature[cache.rows.feature >= 0]
    size = 4 * int(np.prod(cache.shape(tap)))
    most = min(SAMPLE, len(kept), max(1, SAMPLE_BYTES // size))
    index = np.linspace(0, len(kept) - 1, most).astype(np.int64) if len(kept) else kept
    return cache.features(tap, kept[index]).astype(np.float32)


def _statistics(values: Float32[np.ndarray, "n cells cells channels"], curves: bool) -> TapStatistics:
    found: TapStatistics = {
        "shape": list(values.shape[1:]), "mean": None, "sd": None, "max": None, "zeros": None, "dead": None
    }  # fmt: skip
    if values.size:
        zeros = (values == 0).mean((0, 1, 2))
        found |= {
            "mean": float(values.mean()),
            "sd": float(values.std()),
            "max": float(values.max()),
            "zeros": float(zeros.mean()),
            "dead": int((zeros == 1).sum()),
        }
    if curves:
        found["above"] = np.quantile(values, 1 - PARTS).astype(float).tolist() if values.size else []
        found["zeros_by_channel"] = np.sort(zeros).tolist() if values.size else []
    return found
