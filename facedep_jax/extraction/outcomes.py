"""What became of every listing: counted, told, and written into a cache's writer. Knows nothing of pixels."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import polars as pl

from facedep_jax.cache.cache_writer import CacheWriter
from facedep_jax.errors import MediaError
from facedep_jax.progress_events import Failure, Progress, Report
from facedep_jax.segments import MEMBER
from facedep_jax.sources import Listing, Listings
from facedep_jax.sources.listing_types import FURTHER, column_of
from facedep_jax.text_escaping import as_text


class Waits:
    """Seconds that the main thread spent waiting for each stage."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(("decode", "engine", "write"), 0.0)

    @contextmanager
    def on(self, stage: str) -> Iterator[None]:
        """Counts the block as waiting for `stage`."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] += time.monotonic() - begun

    @property
    def longest(self) -> str:
        """The stage that was waited for longest; empty before any waiting."""
        stage = max(self.seconds, key=self.seconds.__getitem__)
        return stage if self.seconds[stage] else ""


@dataclass(frozen=True)
class Outcome:
    """What became of one listing of the source at `where`.

    `item` is None for a file that could not be read. `failure`: why there is no result, `known` where the cache has
    recorded it before. `new`: the item was computed for this listing; without it and a failure, it was there already.
    `account`: what decoding says of the item, by member of its listing (`OF_ITEM`); nothing where it was not decoded.
    """

    where: str
    listing: Listing
    item: str | None
    failure: MediaError | None = None
    known: bool = False
    new: bool = False
    account: Mapping[str, str] = field(default_factory=dict)


class FailureRecord(TypedDict):
    """One file without a result, as summaries list it. `stage`: read, decode, faces or compute."""

    path: str
    id: str | None
    stage: str
    reason: str


class Outcomes:
    """Adds up what became of `total` listings. An item that several of them name counts once.

    `failed_before` holds the recorded failures, by item, that are not tried again. `write` is given every
    outcome, to write it down; `report` hears of failures and progress.
    """

    def __init__(
        self, total: int, failed_before: Mapping[str, dict[str, Any]], write: Callable[[Outcome], None], report: Report
    ):
        self._total, self._failed_before, self._write, self.report = total, failed_before, write, report
        self._done = self.frames = 0
        self._there = self._told = 0  # listings of which nothing had to be computed, and how many when it was told last
        self.media_s = 0.0  # of the clips that were read
        self._size = self._size_total = 0  # bytes of clips that are done, and of all that were expected
        self.waits = Waits()
        self.new: set[str] = set()
        self.reused: set[str] = set()
        self._settled = pl.Series(dtype=pl.String)  # items of listings that were settled together
        self.purged: set[str] = set()
        self.failed: dict[str, MediaError] = {}
        self.failures: list[FailureRecord] = []

    @property
    def items_failed(self) -> int:
        """How many items have no result; a file that could not be read counts as one."""
        return len({failure["id"] or failure["path"] for failure in self.failures})

    @property
    def items_reused(self) -> int:
        """How many items were there already."""
        return len(self._settled) + len(self.reused) - int(self._settled.is_in(list(self.reused)).sum())

    def settle(self, kind: str, items: pl.Series) -> None:
        """Count listings of one kind whose `items` are there already, and which are written down already."""
        self._settled = pl.concat([self._settled, items]).unique()
        self._there += len(items)
        self._told = self._there
        self._advance(kind, len(items), "")

    def expect(self, clips: Iterable[Path]) -> None:
        """These may have to be read: what is left is told by their bytes."""
        self._size_total = sum(map(_size_of, clips))

    @property
    def any_failed_before(self) -> bool:
        """Whether there are items that are not tried again."""
        return bool(self._failed_before)

    def failure_of(self, item: str) -> MediaError | None:
        """What `item` ended in before, in this run or in one that the cache remembers."""
        if item in self.failed or item not in self._failed_before:
            return self.failed.get(item)
        known = self._failed_before[item]
        reason = f"{known['reason']} (recorded before; --retry-failed tries again)"
        return MediaError(reason, stage=known["stage"])

    def add(self, outcome: Outcome) -> None:
        """Count the outcome and write it down."""
        item, failure = outcome.item, outcome.failure
        self._there += outcome.known if failure else not outcome.new
        if failure:
            path = str(outcome.listing.file)
            self.failures.append({"path": path, "id": item, "stage": failure.stage, "reason": failure.reason})
            if item:
                self.failed[item] = failure
                if failure.stage == "compute":  # it was decoded well, and counted
                    self.new.discard(item)
        elif item and outcome.new:
            self.new.add(item)
        elif item and item not in self.new:
            self.reused.add(item)
        self._write(outcome)

    def fail(self, where: str, listing: Listing, item: str | None, failure: MediaError) -> None:
        """The listing has no result: count it, write it down and tell the listener."""
        self.add(Outcome(where, listing, item, failure, known=item in self._failed_before))
        self.report(Failure(listing.path, failure.stage, failure.reason))

    def progress(self, listing: Listing, done: int = 1, detail: str = "") -> None:
        """Tell the listener that `done` more listings are done."""
        if done and self._size_total and listing.kind == "clip":
            size = _size_of(listing.file)
            if self._there > self._told:  # it took no time
                self._size_total -= size
            else:
                self._size = min(self._size + size, self._size_total)
        self._told = self._there
        self._advance(listing.kind, done, f"{listing.path} {detail}".strip())

    def _advance(self, kind: str, done: int, detail: str) -> None:
        self._done += done
        unit = "clips" if kind == "clip" else "images"
        failed, read = len(self.failures), (self.frames, round(self.media_s, 3))
        far = min(self._there, self._done), self._size, self._size_total
        self.report(Progress("extract", self._done, self._total, unit, failed, detail, self.waits.longest, *read, *far))


def _size_of(file: Path) -> int:
    """Bytes, 0 where there is nothing to ask: why a file cannot be read is told when its turn comes."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def write_down(writer: CacheWriter, outcome: Outcome) -> None:
    """Put the outcome into a cache's listings and failures."""
    listing, failure = outcome.listing, outcome.failure
    entry: dict[str, Any] = {
        "item": outcome.item,
        "source": outcome.where,
        "path": listing.path,
        "emotion": listing.emotion,
        "subject": listing.subject,
        "split": listing.split,
    }
    if listing.subject_source:
        entry["subject_source"] = listing.subject_source
    if listing.segments:
        entry[MEMBER] = json.loads(listing.segments)
    others = {column_of(name): value for name, value in listing.extra.items()}
    writer.add_listing(entry | others | dict(outcome.account))
    if failure is None:
        writer.clear_failure(str(listing.file))
    elif not outcome.known:
        writer.record_failure(str(listing.file), outcome.item, failure.stage, failure.reason)


def listing_lines(where: str, listings: Listings, items: pl.Series) -> pl.DataFrame:
    """What `write_down` would write of many listings of a source whose items are there, as text columns."""
    frame = listings.frame
    own = ("path", "emotion", "subject", "split", "subject_source", *((MEMBER,) if MEMBER in frame.columns else ()))
    further = [name for name in frame.columns if name.startswith(FURTHER)]
    return frame.select(
        items.alias("item"),
        pl.lit(as_text(where)).alias("source"),
        *own,
        *(pl.col(name).alias(column_of(name[len(FURTHER) :])) for name in further),
    )
