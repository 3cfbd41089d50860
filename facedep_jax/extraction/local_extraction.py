"""One pass over listings: files → media → pipeline → writer. Knows nothing of labels, ledgers, or other processes.

Files are decoded ahead of the pipeline that computes and writes; rows keep the order of the listings, so a cache's
content does not depend on timing.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from facedep_jax.backbones.engine_interface import Engine
from facedep_jax.cache.file_hash_cache import KnownFiles
from facedep_jax.cache.shard_writer import ShardWriter
from facedep_jax.cache.tombstones import Purged
from facedep_jax.errors import MediaError
from facedep_jax.extraction.decoding_account import account_of, account_of_unlisted
from facedep_jax.extraction.outcomes import Outcome, Outcomes
from facedep_jax.extraction.pending_listings import Pair, Pending
from facedep_jax.extraction.pipeline import Abandon, Begin, End, Pipeline
from facedep_jax.extraction.plan import ExtractionPlan
from facedep_jax.machine_resources import decoders
from facedep_jax.media import ClipInfo, Frame, InputSettings, Picture, open_clip, read_image
from facedep_jax.media.file_hashing import Hashed, hash_content, read_content, require_unchanged, state_of
from facedep_jax.progress_events import Note, result_of
from facedep_jax.sources import Listing, Source

AHEAD = 3  # batches of images that are decoded while one is computed

KeepFrame = Callable[[str, int, Frame], None]  # item, number of the sample, and the frame


class ItemResolver:
    """Which item a file is, and which may not enter the cache.

    `known` remembers the items of files that have not changed since they were hashed; None: every file is read.
    `purged` are the items taken out for good; None: whoever sent the listings has seen to that.
    """

    def __init__(self, known: KnownFiles | None = None, purged: Purged | None = None, rehash: bool = False):
        self._known, self._purged, self._rehash = known, purged, rehash

    def known(self, listing: Listing) -> str | None:
        """The item of a file that has not changed since it was hashed."""
        return self._known.item_of(listing.file) if self._known and not self._rehash else None

    def of(self, listing: Listing) -> str:
        """The item, for which the file is hashed unless it is known. Raises MediaError."""
        return self.known(listing) or self.remember(listing, hash_content(listing.file))

    def remember(self, listing: Listing, content: Hashed) -> str:
        """The item that was read; kept for the next run, unless the file changed under way."""
        if self._known and content.stat and not self.is_purged(content.item):
            self._known.note(listing.file, content.stat, content.item)
        return content.item

    def is_purged(self, item: str) -> bool:
        """Whether the item was taken out of this cache for good."""
        return self._purged is not None and self._purged.holds(item)


@dataclass(frozen=True)
class Decoded:
    """One image that was read: its item, and its picture, None where nothing has to be computed."""

    item: str
    picture: Picture | None = None


@dataclass(frozen=True)
class Undecoded:
    """One image that cannot be used, and why; its item is None where it could not be read."""

    item: str | None
    failure: MediaError


class Extraction:
    """Every item of some listings into one writer, in the order of the listings; what became of them into `outcomes`.

    `keep(item, number, frame)` is called with every frame of a clip that is decoded.
    """

    def __init__(
        self,
        writer: ShardWriter,
        engine: Engine,
        plan: ExtractionPlan,
        items: ItemResolver,
        outcomes: Outcomes,
        keep: KeepFrame | None = None,
    ):
        self.writer, self.plan, self.items, self.outcomes = writer, plan, items, outcomes
        self.waits, self._keep = outcomes.waits, keep
        self.pipeline = Pipeline(
            writer, engine, plan.sizes, plan.settings.batch_size, self._refuse, self.waits, outcomes.report
        )
        self._begun: dict[str, Pair] = {}  # what the items in the pipeline came from

    def run(self, pending: Pending) -> None:
        """Images first, then clips."""
        try:
            self._images(pending.of("image"))
            for source, listing in pending.of("clip"):
                self._clip(source, listing)
                self.outcomes.progress(listing)
            self.pipeline.finish()
        finally:
            self.pipeline.close()

    def _reuse(self, source: Source, listing: Listing, item: str) -> None:
        """Account for a listing whose item is there."""
        said = account_of_unlisted(self.writer, self.plan, listing, item)
        self.outcomes.add(Outcome(source.where, listing, item, account=said))

    # Images

    def _images(self, pairs: Pending) -> None:
        for source, listing, reading in self._decoded(pairs):
            with self.waits.on("decode"):
                read = result_of(reading, self.outcomes.report)
            self._image(source, listing, read)
            self.outcomes.progress(listing)

    def _image(self, source: Source, listing: Listing, read: Decoded | Undecoded) -> None:
        if isinstance(read, Undecoded):
            self.outcomes.fail(source.where, listing, read.item, read.failure)
            return
        item, picture = read.item, read.picture
        if self.items.is_purged(item):
            self.outcomes.purged.add(item)
        elif failure := self.outcomes.failure_of(item):  # asked again: it may have come while this one was read
            self.outcomes.fail(source.where, listing, item, failure)
        elif picture is None or item in self.outcomes.new:
            self._reuse(source, listing, item)
        else:
            self.outcomes.add(Outcome(source.where, listing, item, new=True, account={"decoding": picture.account}))
            self._begun[item] = source, listing
            self.pipeline.add(Begin(item, "image"))
            self.pipeline.add(picture.frame)
            self.pipeline.add(End(picture.width, picture.height, phash=picture.phash))

    def _decoded(self, pairs: Pending) -> Iterator[tuple[Source, Listing, Future[Decoded | Undecoded]]]:
        """Decode ahead in threads, a bounded number of images at a time; what is known needs no thread."""
        if not len(pairs):
            return
        settings = self.plan.input_settings("image")
        ahead: deque[tuple[Source, Listing, Future[Decoded | Undecoded]]] = deque()
        with ThreadPoolExecutor(decoders(), "decode") as pool:
            try:
                for source, listing in pairs:
                    known = self.items.known(listing)
                    if known is not None and known in self.writer.complete:
                        reading: Future[Decoded | Undecoded] = Future()
                        reading.set_result(Decoded(known))
                    else:
                        reading = pool.submit(self._read_image, listing, settings)
                    ahead.append((source, listing, reading))
                    if len(ahead) > AHEAD * self.plan.settings.batch_size:
                        yield ahead.popleft()
                while ahead:
                    yield ahead.popleft()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _read_image(self, listing: Listing, settings: InputSettings) -> Decoded | Undecoded:
        """Decoded unless the cache holds the item or knows that it fails."""
        item = None
        try:
            content = read_content(listing.file)
            item = self.items.remember(listing, content)
            if item in self.writer.complete or self.items.is_purged(item):
                return Decoded(item)
            if failure := self.outcomes.failure_of(item):
                return Undecoded(item, failure)
            return Decoded(item, read_image(listing.file, content.data, settings))
        except MediaError as error:
            return Undecoded(item, error)

    # Clips

    def _clip(self, source: Source, listing: Listing) -> None:
        item = None
        try:
            before = state_of(listing.file)
            item = self.items.of(listing)
            if self.items.is_purged(item):
                self.outcomes.purged.add(item)
            elif item in self.writer.complete or item in self.outcomes.new:
                self._reuse(source, listing, item)
            elif failure := self.outcomes.failure_of(item):
                raise failure
            else:
                self._begun[item] = source, listing
                info = self._clip_rows(listing, item, before)
                if item not in self.outcomes.failed:  # else the pipeline has refused it on the way
                    said = account_of(info)
                    self.outcomes.add(Outcome(source.where, listing, item, new=True, account=said))
        except MediaError as error:
            # What went wrong with the file says nothing of its bytes: they may come again.
            self.outcomes.fail(source.where, listing, None if error.stage == "read" else item, error)

    def _clip_rows(self, listing: Listing, item: str, before: os.stat_result) -> ClipInfo:
        """Decode a clip and pass its rows on, leaving out those that an earlier, interrupted run committed."""
        outcomes = self.outcomes
        _, committed = self.writer.partial.get(item, (0, 0))
        with open_clip(listing.file, self.plan.input_settings("clip")) as clip:
            self.pipeline.add(Begin(item, "clip"))
            try:
                before_clip, first = outcomes.media_s, None
                for number, frame in enumerate(self._timed(clip)):
                    first = frame.time if first is None else first
                    outcomes.frames, outcomes.media_s = outcomes.frames + 1, before_clip + frame.time - first
                    if self._keep:
                        self._keep(item, number, frame)
                    if number >= committed:
                        self.pipeline.add(frame)
                    if number % 20 == 0:
                        outcomes.progress(listing, done=0, detail=f"{number} frames")
                require_unchanged(listing.file, before)
            except MediaError:
                self.pipeline.add(Abandon())
                raise
            info = clip.info
            outcomes.media_s = before_clip + info.duration
            self.pipeline.add(End(info.width, info.height, info.duration))
            for text in info.notes:
                outcomes.report(Note(f"{listing.path}: {text}", "warning"))
            return info

    def _timed(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """The same frames; the time until each one is there counts as waiting for the decoder."""
        frames = iter(frames)
        while True:
            with self.waits.on("decode"):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame

    def _refuse(self, item: str, error: MediaError) -> None:
        """The pipeline could not use the features of `item`, which was decoded well."""
        source, listing = self._begun[item]
        self.outcomes.fail(source.where, listing, item, error)
