"""What became of every listing, in numbers and in the writer's ledgers. Knows nothing of pixels or features."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from facedep_jax.cache.file_hash_cache import KnownFiles
from facedep_jax.cache.tombstones import Purged
from facedep_jax.errors import MediaError
from facedep_jax.extraction.plan import Plan
from facedep_jax.media.file_hashing import Content
from facedep_jax.progress_events import Failure, Progress, Report
from facedep_jax.sources import Listing, Source


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


@dataclass
class Tally:
    """What became of some listings. An item that several of them name counts once."""

    new: set[str] = field(default_factory=set)
    reused: set[str] = field(default_factory=set)
    failures: list[dict[str, Any]] = field(default_factory=list)
    failed_ids: dict[str, MediaError] = field(default_factory=dict)
    purged: set[str] = field(default_factory=set)

    def counts(self) -> dict[str, int]:
        failed = len({failure["id"] or failure["path"] for failure in self.failures})
        return {
            "items_total": len(self.new) + len(self.reused) + failed,
            "items_new": len(self.new),
            "items_reused": len(self.reused),
            "items_failed": failed,
            "items_purged": len(self.purged),
        }


class Accounts:
    """Tells the writer and the listener what became of the listings, and adds it up in `tally`.

    `known` remembers the items of files that have not changed since they were hashed; None: every file is read.
    `purged` are the items that may not enter the cache again; None: whoever sent the listings has seen to that.
    """

    def __init__(self, writer: Any, plan: Plan, known: KnownFiles | None, purged: Purged | None, report: Report):
        self.writer, self.plan, self.known, self.purged, self.report = writer, plan, known, purged, report
        self.tally, self.waits = Tally(), Waits()
        self.total = self._done = self.frames = 0
        self.media_s = 0.0  # of the clips that were read
        self._failed_before = {} if plan.settings.retry_failed else dict(writer.failed)

    def known_item(self, listing: Listing) -> str | None:
        """The item of a file that has not changed since it was hashed."""
        return self.known.item_of(listing.file) if self.known and not self.plan.settings.rehash else None

    def remember(self, listing: Listing, content: Content) -> None:
        """Keep what was read for the next run, unless the file changed under way."""
        if self.known and content.stat and not self.is_purged(content.item):
            self.known.note(listing.file, content.stat, content.item)

    def is_purged(self, item: str) -> bool:
        """Whether the item was taken out of this cache for good."""
        return self.purged is not None and self.purged.holds(item)

    def leave_out(self, listing: Listing, item: str) -> None:
        """The listing is done, and nothing of it is written down: its item was purged."""
        self.tally.purged.add(item)
        self.progress(listing)

    def refuse_known_failure(self, item: str) -> None:
        """Raise the MediaError that `item` ended in before."""
        if item in self.tally.failed_ids:
            raise self.tally.failed_ids[item]
        if item in self._failed_before:
            known = self._failed_before[item]
            raise MediaError(f"{known['reason']} (recorded before; --retry-failed tries again)", stage=known["stage"])

    def reuse(self, listing: Listing, item: str) -> None:
        """The cache, or this run, has the item already."""
        if item not in self.tally.new:
            self.tally.reused.add(item)
        self.progress(listing)

    def fail(self, source: Source, listing: Listing, item: str | None, error: MediaError) -> None:
        """The listing is done, without a result."""
        self.record(source, listing, item, error)
        self.progress(listing)

    def record(self, source: Source, listing: Listing, item: str | None, error: MediaError) -> None:
        """Write the failure down, in the listings too."""
        self.enter(source, listing, item, failed=True)
        self.tally.failures.append(
            {"path": str(listing.file), "id": item, "stage": error.stage, "reason": error.reason}
        )
        if item:
            self.tally.failed_ids[item] = error
        if item not in self._failed_before:
            self.writer.record_failure(str(listing.file), item, error.stage, error.reason)
        self.report(Failure(listing.path, error.stage, error.reason))

    def enter(
        self, source: Source, listing: Listing, item: str | None, failed: bool = False, decoding: str = ""
    ) -> None:
        """Put the listing and its item into the cache's listings; `decoding`: what was odd, mended or left out."""
        entry = {
            "item": item,
            "source": source.where,
            "path": listing.path,
            "emotion": listing.emotion,
            "subject": listing.subject,
            "split": listing.split,
        }
        taken = (*entry, "check", "decoding")
        others = {f"{name}_column" if name in taken else name: v for name, v in listing.extra.items()}
        self.writer.add_listing(entry | others | ({"decoding": decoding} if decoding else {}))
        if not failed:
            self.writer.clear_failure(str(listing.file))

    def progress(self, listing: Listing, done: int = 1, detail: str = "") -> None:
        """Tell the listener that `done` more listings are done."""
        self._done += done
        unit = "clips" if listing.kind == "clip" else "images"
        detail = f"{listing.path} {detail}".strip()
        failed, read = len(self.tally.failures), (self.frames, round(self.media_s, 3))
        self.report(Progress("extract", self._done, self.total, unit, failed, detail, self.waits.longest, *read))
