"""Stage one: sources → media → backbones → cache. Knows nothing of labels.

Files are decoded ahead of the pipeline that computes and writes; rows keep the order of the listings, so a cache's
content does not depend on timing.
"""

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from facedep_jax.cache.spec import fingerprint, read_header
from facedep_jax.cache.writer import CacheWriter
from facedep_jax.config import ExtractSettings, to_table
from facedep_jax.errors import MediaError
from facedep_jax.events import Note, Progress, Report, silent
from facedep_jax.media import Frame, InputSettings, open_clip, read_image
from facedep_jax.media.clips import regular_file
from facedep_jax.media.images import MAX_BYTES
from facedep_jax.pipeline import Pipeline
from facedep_jax.plan import Plan, plan_extraction
from facedep_jax.sources import Listing, Source
from facedep_jax.versions import write_config


def extract(
    sources: list[Source],
    out: Path,
    settings: ExtractSettings,
    report: Report = silent,
    check: Callable[[dict[str, Any]], None] = lambda spec: None,
) -> dict[str, Any]:
    """Extract everything that `sources` list into the cache at `out`; returns INTERFACE.md's summary.

    What the cache holds already is not computed again. `check` gets the spec and may raise before anything is
    written. Raises FacedepError for settings, weights, engines and outputs that cannot be used; a file that cannot
    be used is recorded and counted.
    """
    begun = time.monotonic()
    kinds = tuple(k for k in ("image", "clip") if any(k in source.kinds() for source in sources))
    plan = plan_extraction(kinds, settings, report)
    check(plan.spec)
    engine = load_checked_engine(plan, report)
    spec = _with_held_kinds(out, plan.spec)
    with CacheWriter(out, spec, engine, settings.shard_rows) as writer:
        record = {"fingerprint": fingerprint(spec), **spec}
        write_config(out / "config.toml", "extract", to_table(settings), {"cache": record})
        extraction = _Extraction(writer, engine, plan, report)
        tally, waits = extraction.run(sources), extraction.pipeline.waits
        with waits.on("write"):
            writer.commit()
    seconds = time.monotonic() - begun
    return {
        "cache": str(out),
        "fingerprint": fingerprint(spec),
        **tally.counts(),
        "rows": writer.rows_committed,
        "items_ignored": sum(source.ignored for source in sources),
        "seconds": round(seconds, 3),
        "images_per_second": round(writer.features_committed / seconds, 3),
        "waited_seconds": {stage: round(spent, 3) for stage, spent in waits.seconds.items()},
        "engine": engine.name,
        "precision": engine.precision,
        "untrained": any(w.untrained for w in plan.weights.values()),
        "features": {str(t): [t.cells, t.cells, t.channels] for t in plan.taps},
        "failures": tally.failures,
    }


def _with_held_kinds(out: Path, spec: dict[str, Any]) -> dict[str, Any]:
    """`spec`, and for a kind that this call has no file of, what the cache at `out` says of it."""
    held = read_header(out)["input"] if (out / "cache.json").is_file() else {}
    return {**spec, "input": held | spec["input"]}


def load_checked_engine(plan: Plan, report: Report = silent) -> Any:
    """The engine asked for, to be compared with XLA float32 on its first batch."""
    from facedep_jax.backbones.checked import CheckedEngine
    from facedep_jax.backbones.engine import load_engine

    settings, inputs = plan.settings, (plan.weights, plan.taps, plan.sizes)
    engine = load_engine(settings.engine, *inputs, settings.precision, settings.batch_size)
    report(Note(f"engine: {engine.name} {engine.version} on {engine.device}, {engine.precision} ({engine.reason})"))
    return CheckedEngine(
        engine, lambda: load_engine("xla", *inputs, "float32", settings.batch_size), settings.engine != "auto", report
    )


@dataclass
class _Tally:
    """What became of the listings. An item that several listings name counts once."""

    new: set[str] = field(default_factory=set)
    reused: set[str] = field(default_factory=set)
    failures: list[dict[str, Any]] = field(default_factory=list)
    failed_ids: dict[str, MediaError] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        failed = len({failure["id"] or failure["path"] for failure in self.failures})
        return {
            "items_total": len(self.new) + len(self.reused) + failed,
            "items_new": len(self.new),
            "items_reused": len(self.reused),
            "items_failed": failed,
        }


class _Extraction:
    """One pass over the listings of some sources into one cache."""

    def __init__(self, writer: CacheWriter, engine: Any, plan: Plan, report: Report):
        self.writer, self.plan, self.report = writer, plan, report
        self.pipeline = Pipeline(writer, engine, plan.sizes, self._refuse)
        self.tally = _Tally()
        self._begun: dict[str, tuple[Source, Listing]] = {}  # what the items in the pipeline came from
        self._total = self._done = 0
        self._failed_before = {} if plan.settings.retry_failed else dict(writer.failed)

    def run(self, sources: list[Source]) -> _Tally:
        pairs = [(source, listing) for source in sources for listing in source.listings][: self.plan.settings.limit]
        self._total = len(pairs)
        try:
            self._images([pair for pair in pairs if pair[1].kind == "image"])
            for source, listing in (pair for pair in pairs if pair[1].kind == "clip"):
                self._clip(source, listing)
            self.pipeline.finish()
        finally:
            self.pipeline.close()
        if self.plan.settings.limit is None:
            self._retire(sources)
        return self.tally

    def _retire(self, sources: list[Source]) -> None:
        """A file that was moved, renamed or deleted since the last pass leaves the listings; its features stay."""
        for source in sources:
            if source.whole:
                gone = self.writer.retire_listings(source.where, {listing.path for listing in source.listings})
                if gone:
                    self.report(Note(f"{source.where}: {gone} files listed before are gone and not listed any more"))

    # Images

    def _images(self, pairs: list[tuple[Source, Listing]]) -> None:
        for source, listing, read in self._decoded(pairs):
            try:
                with self.pipeline.waits.on("decode"):
                    item, picture = read.result()
            except MediaError as error:
                self._fail(source, listing, getattr(error, "item", None), error)
                continue
            self._list(source, listing, item)
            if picture is None or item in self.tally.new:
                self._reuse(listing, item)
                continue
            self.tally.new.add(item)
            self._begun[item] = source, listing
            self.pipeline.begin_item(item, "image")
            self.pipeline.add_frame(picture.frame)
            self.pipeline.end_item(picture.width, picture.height, phash=picture.phash)
            self._progress(listing)

    def _decoded(self, pairs: list[tuple[Source, Listing]]) -> Iterator[tuple[Source, Listing, Future]]:
        """Decode ahead in threads, a bounded number of images at a time."""
        settings = self.plan.input_settings("image") if pairs else None
        ahead: deque[tuple[Source, Listing, Future]] = deque()
        with ThreadPoolExecutor(4, "decode") as pool:
            try:
                for source, listing in pairs:
                    ahead.append((source, listing, pool.submit(self._read_image, listing, settings)))
                    if len(ahead) > 3 * self.pipeline.engine.batch_size:
                        yield ahead.popleft()
                while ahead:
                    yield ahead.popleft()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _read_image(self, listing: Listing, settings: InputSettings) -> tuple[str, Any]:
        """The item's id, and its picture unless the cache holds the item or knows that it fails."""
        data = read_bytes(listing.file)
        item = hashlib.sha256(data).hexdigest()
        if item in self.writer.complete:
            return item, None
        try:
            self._refuse_known_failure(item)
            return item, read_image(listing.file, data, settings)
        except MediaError as error:
            error.item = item
            raise

    # Clips

    def _clip(self, source: Source, listing: Listing) -> None:
        item = None
        try:
            item = _hash_file(listing.file)
            if item in self.writer.complete or item in self.tally.new:
                self._list(source, listing, item)
                self._reuse(listing, item)
                return
            self._refuse_known_failure(item)
            self._begun[item] = source, listing
            self._clip_rows(listing, item)
        except MediaError as error:
            self._fail(source, listing, item, error)
            return
        if item not in self.tally.failed_ids:  # else the pipeline has refused it on the way
            self._list(source, listing, item)
            self.tally.new.add(item)
        self._progress(listing)

    def _clip_rows(self, listing: Listing, item: str) -> None:
        """Decode a clip and pass its rows on, leaving out those that an earlier, interrupted run committed."""
        _, committed = self.writer.partial.get(item, (0, 0))
        with open_clip(listing.file, self.plan.input_settings("clip")) as clip:
            self.pipeline.begin_item(item, "clip")
            try:
                for number, frame in enumerate(self._timed(clip)):
                    if number >= committed:
                        self.pipeline.add_frame(frame)
                    if number % 20 == 0:
                        self._progress(listing, done=0, detail=f"{number} frames")
            except MediaError:
                self.pipeline.abandon_item()
                raise
            self.pipeline.end_item(clip.info.width, clip.info.height, clip.info.duration)
            for text in clip.info.notes:
                self.report(Note(f"{listing.path}: {text}", "warning"))

    def _timed(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames; the time until each one is there counts as waiting for the decoder."""
        frames = iter(frames)
        while True:
            with self.pipeline.waits.on("decode"):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame

    # Accounts

    def _refuse(self, item: str, error: MediaError) -> None:
        """The pipeline could not use the features of `item`, which was decoded well."""
        self.tally.new.discard(item)
        self._record(*self._begun[item], item, error)

    def _refuse_known_failure(self, item: str) -> None:
        if item in self.tally.failed_ids:
            raise self.tally.failed_ids[item]
        if item in self._failed_before:
            known = self._failed_before[item]
            raise MediaError(f"{known['reason']} (recorded before; --retry-failed tries again)", stage=known["stage"])

    def _reuse(self, listing: Listing, item: str) -> None:
        if item not in self.tally.new:
            self.tally.reused.add(item)
        self._progress(listing)

    def _fail(self, source: Source, listing: Listing, item: str | None, error: MediaError) -> None:
        self._record(source, listing, item, error)
        self._progress(listing)

    def _record(self, source: Source, listing: Listing, item: str | None, error: MediaError) -> None:
        self._list(source, listing, item, failed=True)
        self.tally.failures.append(
            {"path": str(listing.file), "id": item, "stage": error.stage, "reason": error.reason}
        )
        if item:
            self.tally.failed_ids[item] = error
        if item not in self._failed_before:
            self.writer.record_failure(str(listing.file), item, error.stage, error.reason)

    def _list(self, source: Source, listing: Listing, item: str | None, failed: bool = False) -> None:
        entry = {
            "item": item,
            "source": source.where,
            "path": listing.path,
            "emotion": listing.emotion,
            "subject": listing.subject,
            "split": listing.split,
        }
        others = {f"{name}_column" if name in (*entry, "check") else name: v for name, v in listing.extra.items()}
        self.writer.add_listing(entry | others)
        if not failed:
            self.writer.clear_failure(str(listing.file))

    def _progress(self, listing: Listing, done: int = 1, detail: str = "") -> None:
        self._done += done
        unit = "clips" if listing.kind == "clip" else "images"
        detail = f"{listing.path} {detail}".strip()
        failed, waiting = len(self.tally.failures), self.pipeline.waits.longest
        self.report(Progress("extract", self._done, self._total, unit, failed, detail, waiting))


def read_bytes(file: Path) -> bytes:
    """The whole file. Raises MediaError unless it is a regular file of bearable size that can be read."""
    with _opened(file) as stream:
        if os.fstat(stream.fileno()).st_size > MAX_BYTES:
            raise MediaError(f"more than {MAX_BYTES:,} bytes, which no picture needs", stage="read")
        return stream.read()


def _hash_file(file: Path) -> str:
    with _opened(file) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    path = regular_file(file)
    try:
        with open(path, "rb") as stream:
            yield stream
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror}", stage="read") from error
