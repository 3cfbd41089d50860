"""One pass over listings: files → media → pipeline → writer. Knows nothing of labels, ledgers, or other processes.

Files are decoded ahead of the pipeline that computes and writes; rows keep the order of the listings, so a cache's
content does not depend on timing.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from facedep_jax.cache.file_hash_cache import KnownFiles
from facedep_jax.cache.tombstones import Purged
from facedep_jax.errors import MediaError
from facedep_jax.extraction.outcomes import Accounts, Tally
from facedep_jax.extraction.pipeline import Pipeline
from facedep_jax.extraction.plan import Plan
from facedep_jax.machine_resources import decoders
from facedep_jax.media import ClipInfo, Frame, InputSettings, open_clip, read_image
from facedep_jax.media.file_hashing import hash_content, read_content, require_unchanged, state_of
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.sources import Listing, Source

AHEAD = 3  # batches of images that are decoded while one is computed


class Extraction(Accounts):
    """Every item of some listings into one writer, in the order of the listings.

    See `Accounts` for `known` and `purged`. `keep(item, number, frame)` is called with every frame of a clip that is
    decoded.
    """

    def __init__(
        self,
        writer: Any,
        engine: Any,
        plan: Plan,
        known: KnownFiles | None = None,
        purged: Purged | None = None,
        report: Report = silent,
        keep: Callable[[str, int, Frame], None] | None = None,
    ):
        super().__init__(writer, plan, known, purged, report)
        self._keep = keep
        self.pipeline = Pipeline(writer, engine, plan.sizes, plan.settings.batch_size, self._refuse, self.waits)
        self._begun: dict[str, tuple[Source, Listing]] = {}  # what the items in the pipeline came from

    def run(self, pairs: Sequence[tuple[Source, Listing]]) -> Tally:
        """Images first, then clips."""
        self.total = len(pairs)
        try:
            self._images([pair for pair in pairs if pair[1].kind == "image"])
            for source, listing in (pair for pair in pairs if pair[1].kind == "clip"):
                self._clip(source, listing)
            self.pipeline.finish()
        finally:
            self.pipeline.close()
        return self.tally

    # Images

    def _images(self, pairs: list[tuple[Source, Listing]]) -> None:
        for source, listing, read in self._decoded(pairs):
            try:
                with self.waits.on("decode"):
                    item, picture = read.result()
            except MediaError as error:
                self.fail(source, listing, getattr(error, "item", None), error)
                continue
            if self.is_purged(item):
                self.leave_out(listing, item)
                continue
            self.enter(source, listing, item)
            if picture is None or item in self.tally.new:
                self.reuse(listing, item)
                continue
            self.tally.new.add(item)
            self._begun[item] = source, listing
            self.pipeline.begin_item(item, "image")
            self.pipeline.add_frame(picture.frame)
            self.pipeline.end_item(picture.width, picture.height, phash=picture.phash)
            self.progress(listing)

    def _decoded(self, pairs: list[tuple[Source, Listing]]) -> Iterator[tuple[Source, Listing, Future]]:
        """Decode ahead in threads, a bounded number of images at a time; what is known needs no thread."""
        settings = self.plan.input_settings("image") if pairs else None
        ahead: deque[tuple[Source, Listing, Future]] = deque()
        with ThreadPoolExecutor(decoders(), "decode") as pool:
            try:
                for source, listing in pairs:
                    known = self.known_item(listing)
                    if known in self.writer.complete:
                        read: Future = Future()
                        read.set_result((known, None))
                    else:
                        read = pool.submit(self._read_image, listing, settings)
                    ahead.append((source, listing, read))
                    if len(ahead) > AHEAD * self.plan.settings.batch_size:
                        yield ahead.popleft()
                while ahead:
                    yield ahead.popleft()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _read_image(self, listing: Listing, settings: InputSettings) -> tuple[str, Any]:
        """The item's id, and its picture unless the cache holds the item or knows that it fails."""
        content = read_content(listing.file)
        item = content.item
        self.remember(listing, content)
        if item in self.writer.complete or self.is_purged(item):
            return item, None
        try:
            self.refuse_known_failure(item)
            return item, read_image(listing.file, content.data, settings)
        except MediaError as error:
            error.item = item
            raise

    # Clips

    def _clip(self, source: Source, listing: Listing) -> None:
        item = None
        try:
            before = state_of(listing.file)
            item = self.known_item(listing)
            if item is None:
                content = hash_content(listing.file)
                item = content.item
                self.remember(listing, content)
            if self.is_purged(item):
                self.leave_out(listing, item)
                return
            if item in self.writer.complete or item in self.tally.new:
                self.enter(source, listing, item)
                self.reuse(listing, item)
                return
            self.refuse_known_failure(item)
            self._begun[item] = source, listing
            info = self._clip_rows(listing, item, before)
        except MediaError as error:
            # What went wrong with the file says nothing of its bytes: they may come again.
            self.fail(source, listing, None if error.stage == "read" else item, error)
            return
        if item not in self.tally.failed_ids:  # else the pipeline has refused it on the way
            self.enter(source, listing, item, decoding=info.account)
            self.tally.new.add(item)
        self.progress(listing)

    def _clip_rows(self, listing: Listing, item: str, before: os.stat_result) -> ClipInfo:
        """Decode a clip and pass its rows on, leaving out those that an earlier, interrupted run committed."""
        _, committed = self.writer.partial.get(item, (0, 0))
        with open_clip(listing.file, self.plan.input_settings("clip")) as clip:
            self.pipeline.begin_item(item, "clip")
            try:
                before_clip, first = self.media_s, None
                for number, frame in enumerate(self._timed(clip)):
                    first = frame.time if first is None else first
                    self.frames, self.media_s = self.frames + 1, before_clip + frame.time - first
                    if self._keep:
                        self._keep(item, number, frame)
                    if number >= committed:
                        self.pipeline.add_frame(frame)
                    if number % 20 == 0:
                        self.progress(listing, done=0, detail=f"{number} frames")
                require_unchanged(listing.file, before)
            except MediaError:
                self.pipeline.abandon_item()
                raise
            self.media_s = before_clip + clip.info.duration
            self.pipeline.end_item(clip.info.width, clip.info.height, clip.info.duration)
            for text in clip.info.notes:
                self.report(Note(f"{listing.path}: {text}", "warning"))
            return clip.info

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
        self.tally.new.discard(item)
        self.record(*self._begun[item], item, error)
