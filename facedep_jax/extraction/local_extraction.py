"""One pass over listings: files → media → pipeline → writer. Knows nothing of labels, ledgers, or other processes.

Files are decoded side by side, ahead of the pipeline that computes and writes. Items begin in the order of the
listings, and a row does not hang on those computed with it, so a cache's content does not depend on timing.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TypeVar

from facedep_jax.backbones.engine_interface import Engine
from facedep_jax.cache.file_hash_cache import KnownFiles
from facedep_jax.cache.shard_writer import ShardWriter
from facedep_jax.cache.tombstones import Purged
from facedep_jax.errors import MediaError
from facedep_jax.extraction.clip_readers import ClipReaders
from facedep_jax.extraction.decoding_account import account_of, account_of_unlisted
from facedep_jax.extraction.outcomes import Outcome, Outcomes
from facedep_jax.extraction.pending_listings import Pair, Pending
from facedep_jax.extraction.pipeline import Abandon, Begin, End, Pipeline
from facedep_jax.extraction.plan import ExtractionPlan
from facedep_jax.machine_resources import cores, decoders
from facedep_jax.media import ClipInfo, Frame, ImageFile, InputSettings, Picture, read_images
from facedep_jax.media.file_hashing import FileState, Hashed, hash_content, is_changed, state_of
from facedep_jax.progress_events import Note, result_of
from facedep_jax.sources import Listing, Source

AHEAD = 3  # batches of images that are decoded while one is computed
AHEAD_BYTES = 1 << 27  # of pixels up to which it may be more, so that decoders are asked for several files at a time
MOST_A_REQUEST = 16  # files
REQUEST_S = 0.1  # of work that a request is about
HASHERS = 2  # threads that find out which items the next clips are

T = TypeVar("T")
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
        if self._known and content.state and not self.is_purged(content.item):
            self._known.note(listing.file, content.state, content.item)
        return content.item

    @property
    def any_purged(self) -> bool:
        """Whether anything was taken out of this cache for good."""
        return bool(self._purged)

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


class _Requests:
    """How many `files` a decoder is asked for at a time: twice as many while it has them soon, up to `most`."""

    def __init__(self, most: int):
        self.files, self._most = 1, most

    def timed(self, read: Callable[[], list[T]]) -> list[T]:
        """What `read` gives; how long it takes decides of later requests."""
        begun = time.monotonic()
        found = read()
        spent = time.monotonic() - begun
        if len(found) >= self.files and spent < REQUEST_S / 2:
            self.files = min(2 * self.files, self._most)
        elif spent > 2 * REQUEST_S:
            self.files = max(self.files // 2, 1)
        return found


_Hashing = tuple[FileState, Hashed | str]  # of a file before it was read, and its item if that was known


@dataclass(eq=False)
class _Clip:
    """A clip, and its item once it is read, of which rows of the first `committed` frames are in the cache.

    `frames` were read so far, of `seconds` from the first, which was at `first` on the file's clock. `became` ends it,
    and accounts for it, once nothing of it is left to read.
    """

    source: Source
    listing: Listing
    item: str = ""
    committed: int = 0
    frames: int = 0
    first: float = 0.0
    seconds: float = 0.0
    became: Callable[[], None] | None = None


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
        self._clips_begun: deque[_Clip] = deque()  # in the order of the listings, until they are accounted for
        # Whether images are hashed before any is decoded: worth reading them twice where the cache has most of them.
        self._look_first = bool(writer.complete)
        self._over = threading.Event()  # what is read ahead is not wanted any more

    def run(self, pending: Pending) -> None:
        """Images first, then clips."""
        try:
            self._images(pending.of("image"))
            self._clips(pending.of("clip"))
            self.pipeline.finish()
        finally:
            self.pipeline.close()

    def _reuse(self, source: Source, listing: Listing, item: str) -> None:
        """Account for a listing whose item is there."""
        said = account_of_unlisted(self.writer, self.plan, listing, item)
        self.outcomes.add(Outcome(source.where, listing, item, account=said))

    # Images

    def _images(self, pairs: Pending) -> None:
        with closing(self._decoded(pairs)) as decoded:
            for asked, reading in decoded:
                with self.waits.on("decode"):
                    read = result_of(reading, self.outcomes.report)
                for (source, listing), one in zip(asked, read, strict=True):
                    self._image(source, listing, one)
                self.outcomes.progress(asked[-1][1], len(asked))

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
            self.pipeline.add(item, Begin("image"))
            self.pipeline.add(item, picture.frame)
            self.pipeline.add(item, End(picture.width, picture.height, phash=picture.phash))

    def _decoded(self, pairs: Pending) -> Generator[tuple[list[Pair], Future[list[Decoded | Undecoded]]], None, None]:
        """Decode ahead, a bounded number of images at a time: in each thread, by a process of its own, some files one
        after the other, so many that asking for them costs little beside reading them.
        """
        if not len(pairs):
            return
        settings, at_once = self.plan.input_settings("image"), decoders()
        picture = sum(3 * side**2 for side in settings.sizes)
        ahead = max(AHEAD * self.plan.settings.batch_size, min(2 * MOST_A_REQUEST * at_once, AHEAD_BYTES // picture))
        requests = _Requests(max(1, min(MOST_A_REQUEST, ahead // (2 * at_once))))
        begun: deque[tuple[list[Pair], Future[list[Decoded | Undecoded]]]] = deque()
        left, held = iter(pairs), 0  # files of what is begun
        with ThreadPoolExecutor(at_once, "decode") as pool:
            try:
                while asked := list(islice(left, requests.files)):
                    read = partial(self._read_images, [listing for _, listing in asked], settings)
                    begun.append((asked, pool.submit(requests.timed, read)))
                    held += len(asked)
                    # Else all that may lie decoded would be asked for one by one before the first has come.
                    while held > ahead or (len(begun) > 2 * at_once and not begun[0][1].done()):
                        held -= len(begun[0][0])
                        yield begun.popleft()
                while begun:
                    yield begun.popleft()
            finally:
                self._over.set()
                pool.shutdown(wait=False, cancel_futures=True)

    def _read_images(self, listings: Sequence[Listing], settings: InputSettings) -> list[Decoded | Undecoded]:
        """Decoded unless the cache holds the item or knows that it fails; for that, files are hashed first where the
        cache holds most of the request that ended last, and where one is known that must not be decoded again.
        """
        read: dict[int, Decoded | Undecoded] = {}
        for place, listing in enumerate(listings):
            known = self.items.known(listing)
            if known is not None and known in self.writer.complete:
                read[place] = Decoded(known)
        left = [place for place in range(len(listings)) if place not in read]
        look_first = self._look_first or self.items.any_purged or self.outcomes.any_failed_before
        for decode in (False, True) if look_first else (True,):
            rest = [place for place in left if place not in read]
            files = read_images([listings[place].file for place in rest], settings, decode, over=self._over)
            for place, file in zip(rest, files, strict=True):
                if self._over.is_set():
                    raise CancelledError
                if became := self._became(listings[place], file):
                    read[place] = became
        if left:
            held = [read[place].item in self.writer.complete for place in left]
            self._look_first = 2 * sum(held) >= len(held)
        return [read[place] for place in range(len(listings))]

    def _became(self, listing: Listing, file: ImageFile) -> Decoded | Undecoded | None:
        """What became of a file that was read; None where it has to be decoded for that."""
        if file.hashed is None:
            return Undecoded(None, file.failure or MediaError("was not read", stage="read"))
        item = self.items.remember(listing, file.hashed)
        if item in self.writer.complete or self.items.is_purged(item):
            return Decoded(item)
        if failure := self.outcomes.failure_of(item) or file.failure:
            return Undecoded(item, failure)
        return Decoded(item, file.picture) if file.picture else None

    # Clips

    def _clips(self, pairs: Pending) -> None:
        """Several at once, each row as it comes; items begin in the order of the listings."""
        if not len(pairs):
            return
        at_once = min(decoders(), len(pairs))
        threads, report = max(1, cores() // at_once), self.outcomes.report
        with ClipReaders[_Clip](self.plan.input_settings("clip"), threads, report) as readers:
            for source, listing, hashing in self._hashed(pairs):
                while len(readers) == at_once or (len(readers) and not hashing.done()):
                    self._take(readers)
                self._begin_clip(source, listing, hashing, readers)
            while len(readers):
                self._take(readers)

    def _hashed(self, pairs: Pending) -> Iterator[tuple[Source, Listing, Future[_Hashing]]]:
        """Find out ahead, in threads, which items the next files are."""
        ahead: deque[tuple[Source, Listing, Future[_Hashing]]] = deque()
        pool = ThreadPoolExecutor(HASHERS, "hash")
        try:
            for source, listing in pairs:
                ahead.append((source, listing, pool.submit(self._hash, listing)))
                if len(ahead) > HASHERS:
                    yield ahead.popleft()
            yield from ahead
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _hash(self, listing: Listing) -> _Hashing:
        """The state of a file before it is read, and what it is. Raises MediaError."""
        before = state_of(listing.file)
        return before, self.items.known(listing) or hash_content(listing.file)

    def _begin_clip(
        self,
        source: Source,
        listing: Listing,
        hashing: Future[_Hashing],
        readers: "ClipReaders[_Clip]",
    ) -> None:
        """Read a clip, or account for one of which nothing has to be read."""
        item, clip = None, _Clip(source, listing)
        self._clips_begun.append(clip)
        try:
            with self.waits.on("decode"):
                before, found = result_of(hashing, self.outcomes.report)
                if is_changed(listing.file, before):  # replaced while it waited for its turn
                    before, found = self._hash(listing)
            item = found if isinstance(found, str) else self.items.remember(listing, found)
            while any(other.item == item for other in self._clips_begun):  # the same under another name
                self._take(readers)
            if self.items.is_purged(item):
                clip.became = partial(self.outcomes.purged.add, item)
            elif item in self.writer.complete or item in self.outcomes.new:
                clip.became = partial(self._reuse, source, listing, item)
            elif failure := self.outcomes.failure_of(item):
                raise failure
            else:
                if item in self._begun:  # under a name that could not be read to its end: its rows have to be written
                    self.pipeline.finish()
                self._begun[item] = source, listing
                _, clip.committed = self.writer.partial.get(item, (0, 0))
                clip.item = item
                readers.start(clip, listing.file, before)
                return
        except MediaError as error:
            clip.became = partial(self._fail_clip, clip, item, error)
        self._settle()

    def _take(self, readers: "ClipReaders[_Clip]") -> None:
        """What comes next of the clips that are read."""
        with self.waits.on("decode"):
            clip, given = readers.next()
        if isinstance(given, Frame):
            self._add_frame(clip, given)
            return
        if isinstance(given, ClipInfo):
            self._count_seconds(clip, given.duration)
            clip.became = partial(self._end_clip, clip, given)
        else:
            if clip.frames:
                self.pipeline.add(clip.item, Abandon())
            clip.became = partial(self._fail_clip, clip, clip.item, given)
        self._settle()

    def _settle(self) -> None:
        """End clips, and account for them, in the order of the listings: those before the first that is being read."""
        while self._clips_begun and (became := self._clips_begun[0].became):
            clip = self._clips_begun.popleft()
            became()
            self.outcomes.progress(clip.listing)

    def _add_frame(self, clip: "_Clip", frame: Frame) -> None:
        """Pass a frame on, unless an earlier, interrupted run committed its row."""
        if not clip.frames:
            self.pipeline.add(clip.item, Begin("clip"))
            clip.first = frame.time
        number, clip.frames = clip.frames, clip.frames + 1
        self.outcomes.frames += 1
        self._count_seconds(clip, frame.time - clip.first)
        if self._keep:
            self._keep(clip.item, number, frame)
        if number >= clip.committed:
            self.pipeline.add(clip.item, frame)
        if number % 20 == 0:
            self.outcomes.progress(clip.listing, done=0, detail=f"{number} frames")

    def _count_seconds(self, clip: "_Clip", seconds: float) -> None:
        """So many seconds of the clip are read."""
        self.outcomes.media_s += seconds - clip.seconds
        clip.seconds = seconds

    def _end_clip(self, clip: "_Clip", info: ClipInfo) -> None:
        assert clip.frames  # a clip of which no frame can be decoded is a MediaError
        self.pipeline.add(clip.item, End(info.width, info.height, info.duration))
        if clip.item not in self.outcomes.failed:  # else the pipeline has refused it on the way
            said = account_of(info)
            self.outcomes.add(Outcome(clip.source.where, clip.listing, clip.item, new=True, account=said))
        for text in info.notes:
            self.outcomes.report(Note(f"{clip.listing.path}: {text}", "warning"))

    def _fail_clip(self, clip: "_Clip", item: str | None, error: MediaError) -> None:
        # What went wrong with the file says nothing of its bytes: they may come again.
        self.outcomes.fail(clip.source.where, clip.listing, None if error.stage == "read" else item, error)

    def _refuse(self, item: str, error: MediaError) -> None:
        """The pipeline could not use the features of `item`, which was decoded well."""
        source, listing = self._begun[item]
        self.outcomes.fail(source.where, listing, item, error)
