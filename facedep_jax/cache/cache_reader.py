"""Reading a cache: arrays and tables out of shards. Knows nothing of what labels mean."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int, Int64

from facedep_jax.cache.feature_reader import read_rows
from facedep_jax.cache.feature_spec import (
    fingerprint,
    format_of,
    read_header,
    require_known,
    require_own_header,
    shapes_of,
)
from facedep_jax.cache.item_table import join
from facedep_jax.cache.ledger_state import LISTING, latest_failures, listings_in_force, read_listings
from facedep_jax.cache.manifest import load_manifest, open_shards
from facedep_jax.cache.shard import FEATURES, Shard
from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.errors import CacheError, DamagedCache
from facedep_jax.segments import in_rows
from facedep_jax.shown_facts import ShownFacts

__all__ = ["LISTING", "Cache", "open_cache"]

_ROUNDING = 1e-6  # seconds


class Cache(ShownFacts):
    """A cache opened for reading. Nothing is loaded but its tables until `features` is called.

    `starts` is where the feature rows of each shard begin, and last where they end; `items_cut_off` counts items whose
    end is not there. The tables of the shards are in `items` and `rows`, and not in `shards`.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder)
        self.spec: dict[str, Any] = read_header(self.path)
        self.fingerprint = fingerprint(self.spec)
        self._shapes = shapes_of(self.spec)
        shards = open_shards(self.path, load_manifest(self.path, items=False))
        require_own_header(self.path, self.fingerprint, [shard.attributes["fingerprint"] for shard in shards])
        for shard in shards:
            self._check_shard(shard)
        lengths = [int((shard.rows["feature"] >= 0).sum()) for shard in shards]
        self.starts: Int64[np.ndarray, " shards+1"] = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self.shards = [shard.without_tables() for shard in shards]
        self.items, self.rows, self.items_cut_off = join([s.items for s in shards], [s.rows for s in shards])

    def _check_shard(self, shard: Shard) -> None:
        where = f"{self.path}: shard {shard.path.name}"
        require_known(shard.attributes["format"], where)
        if shard.attributes["fingerprint"] != self.fingerprint:
            raise CacheError(f"{where} belongs to another cache; move it away, or run `cache repair`")
        if shard.attributes["format"] != format_of(self.spec):
            raise DamagedCache(f"{where} has format version {shard.attributes['format']}, its cache another")
        held = {tap: shape[1:] for tap, (_, shape) in shard.layout.items()}
        if held != self._shapes:
            raise DamagedCache(f"{where} holds {held}, the spec says {self._shapes}")

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the cached taps, such as `mobilenet_v2:mid@3`."""
        return tuple(self._shapes)

    @property
    def dtype(self) -> np.dtype:
        """What features are kept as: float16, or float32."""
        return np.dtype(FEATURES[format_of(self.spec)])

    @property
    def untrained(self) -> bool:
        """Whether any backbone had random weights, so that nothing scored from here means anything."""
        return any(w["family"] == "random" for w in self.spec["features"]["weights"].values())

    @cached_property
    def engines(self) -> np.ndarray:
        """Of each item what computed it: engine, version and device, as its shard states them."""
        said = [shard.computed_by for shard in self.shards]
        return np.array(said, object)[self.items.shard]  # each text once

    @cached_property
    def listings(self) -> pl.DataFrame:
        """One row for each source and path, as its last line says: text columns `LISTING`, then the source's own.

        Names of files that are not UTF-8 are written by `as_text`. Raises DamagedCache naming the lines that are not as
        written.
        """
        lines, bad = read_listings(self.path)
        if bad:
            raise DamagedCache(
                f"{self.path}/listings.jsonl: line {bad[0].number}: {bad[0].reason} "
                f"({len(bad)} bad lines); the next extract-features into it mends them, or `cache repair`"
            )
        return listings_in_force(lines)

    @cached_property
    def listing_rows(self) -> pl.DataFrame:
        """The listings, those of files that are cut with a row for each segment: `start` and `end` are its seconds."""
        return in_rows(self.listings)

    @cached_property
    def table(self) -> pl.DataFrame:
        """The listings, and where the rows of each one's item lie: `first_row` and `rows`, −1 and 0 without an item.

        Columns of the source with these names are called `first_row_column` and `rows_column`.
        """
        added = {"first_row", "rows"}
        listings = self.listings.rename({name: f"{name}_column" for name in self.listings.columns if name in added})
        lies = pl.DataFrame({"item": self.items.ids(), "first_row": self.items.first_row, "rows": self.items.rows})
        found = listings.join(lies, on="item", how="left", maintain_order="left")
        return found.with_columns(pl.col("first_row").fill_null(-1), pl.col("rows").cast(pl.Int64).fill_null(0))

    @cached_property
    def failures(self) -> pl.DataFrame:
        """The last failure of each path that still fails: text columns path, id, stage and reason."""
        failing = latest_failures(self.path).filter(pl.col("reason").fill_null("") != "")
        if failing.is_empty():
            return failing
        return failing.join(pl.DataFrame({"id": self.items.ids()}), on="id", how="anti", maintain_order="left")

    def frames_of(
        self, items: Int[np.ndarray, " k"], start: Float[np.ndarray, " k"], end: Float[np.ndarray, " k"]
    ) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
        """The first row of each of `items` (places in `items`), and how many there are, from `start` to `end` seconds
        on the file's clock, itself not in it; NaN: all of the item. None of a segment that has a fault.
        """
        first, count = self.items.first_row[items].astype(np.int64), self.items.rows[items].astype(np.int64)
        for n in np.flatnonzero(~np.isnan(start)):
            time = self.rows.time[first[n] : first[n] + count[n]]
            low, high = np.searchsorted(time, (start[n], end[n]))
            first[n], count[n] = first[n] + low, 0 if self.fault_of(int(items[n]), float(end[n])) else high - low
        return first, count

    def fault_of(self, item: int, end: float) -> str:
        """Why no segment of `item` ends at `end`; empty if it may: so long after its clip as two frames are apart."""
        first, count = int(self.items.first_row[item]), int(self.items.rows[item])
        time = self.rows.time[first : first + count]
        if not count:
            return ""
        last = max(float(time[-1]), float(time[0] + self.items.duration[item]))
        apart = float(np.median(np.diff(time))) if count > 1 else 0.0
        return f"ends at {end:g} s, and its clip at {last:.2f} s" if end > last + apart + _ROUNDING else ""

    def features(
        self,
        tap: str,
        index: Int[np.ndarray, " n"] | None = None,
        out: Float[np.ndarray, "n s s c"] | None = None,
    ) -> Float[np.ndarray, "n s s c"]:
        """Features of one tap: all of them, or those at `index`, in the order of `index`. In memory of their own.

        With `out` they are put there and it is returned: into memory that was used before a large load takes half the
        time, since the system hands out new memory page by page and zeroed. Raises CacheError for a tap that the cache
        does not hold, IndexError for rows that are not there, ValueError for an `out` that does not fit.
        """
        index = np.arange(self.starts[-1]) if index is None else np.asarray(index, np.int64)
        shape = (len(index), *self.shape(tap))
        if out is None:
            out = np.empty(shape, self.dtype)
        elif out.shape != shape or out.dtype != self.dtype or not out.flags.carray:
            raise ValueError(
                f"out has to be a contiguous {self.dtype} array of {shape}, got {out.dtype} of {out.shape}"
            )
        read_rows(self.shards, self.starts, tap, index, np.arange(len(index)), out)
        return out

    def maps(self, tap: str) -> list[Float[np.ndarray, "n s s c"]]:
        """The features of one tap where they lie: a read-only memory map for each shard. Nothing is copied."""
        self.shape(tap)
        return [shard.features(tap) for shard in self.shards]

    def _title(self) -> str:
        return f"cache {self.path}"

    def _facts(self) -> dict[str, Any]:
        return {
            "items": len(self.items),
            "rows": len(self.rows),
            "taps": ", ".join(f"{tap} {'×'.join(map(str, shape))}" for tap, shape in self._shapes.items()),
            "cut off": self.items_cut_off or "",
            "fingerprint": self.fingerprint[:16],
            "warning": UNTRAINED if self.untrained else "",
        }

    def shape(self, tap: str) -> tuple[int, int, int]:
        """(S, S, C) of one row. Raises CacheError for a tap that the cache does not hold."""
        if tap not in self._shapes:
            raise CacheError(f"{self.path} holds {', '.join(self.taps)}, not {tap}; extract into a new cache")
        return self._shapes[tap]


def open_cache(folder: str | Path) -> Cache:
    """Open a cache for reading.

    Raises CacheError (no cache, newer format, missing shard, foreign shard) or DamagedCache (bytes that are not
    the format's). The values themselves are checked against their hashes by `verify`, not here.
    """
    return Cache(folder)
