"""Sessions → rows of a cache, each read as a whole before its first row is written. Knows nothing of summaries."""

import hashlib
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from facedep_jax.cache.cache_writer import CacheWriter
from facedep_jax.cache.file_hash_cache import KnownFiles
from facedep_jax.cache.tombstones import Purged
from facedep_jax.errors import MediaError
from facedep_jax.extraction.outcomes import Outcome, Outcomes, write_down
from facedep_jax.extraction.pending_listings import Pending, say_unsaid, settle_known, settle_refused
from facedep_jax.feature_import.frame_tables import read_file
from facedep_jax.feature_import.frames import NONE, MeasuredFrames, frames_of, joined, thinned
from facedep_jax.feature_import.layouts import LAYOUTS
from facedep_jax.feature_import.plan import RowShape
from facedep_jax.feature_import.sessions import Session
from facedep_jax.feature_import.settings import ImportSettings
from facedep_jax.media.file_hashing import hash_content, require_unchanged, state_of
from facedep_jax.progress_events import Note, Report
from facedep_jax.sources import Listing, Source

KEPT_BY = {"emotion": "--labels", "subject": "--labels or --subjects", "split": "--labels"}  # what is said of files


def read_session(
    session: Session, folder: Path, settings: ImportSettings
) -> tuple[MeasuredFrames, dict[str, tuple[str, ...]]]:
    """The frames of a session, and the headings of its taps' columns. Raises MediaError."""
    if session.lacking:
        raise MediaError(session.lacking)
    asked = [name.strip() for name in settings.columns.split(",")] if settings.columns else None
    layout = LAYOUTS[settings.format]
    parts, columns = [], dict[str, tuple[str, ...]]()
    for one in session.files:
        before = state_of(folder / one.path)
        table = read_file(folder / one.path, one.kind, one.groups, asked)
        rate = settings.rate or layout.rate
        parts.append((one.path, frames_of(table, rate, settings.confidence, layout.zeros)))
        columns |= table.names
        require_unchanged(folder / one.path, before)
    frames = joined(parts)
    order = {tap: columns[tap] for tap in settings.groups if tap in columns}
    frames = thinned(frames, settings.fps) if settings.fps else frames
    return frames, order


class SessionImport:
    """One pass over the sessions of a source, into one writer."""

    def __init__(
        self,
        writer: CacheWriter,
        source: Source,
        by_path: dict[str, Session],
        settings: ImportSettings,
        shape: RowShape,
        report: Report,
    ):
        self.writer, self.source, self.by_path, self.settings, self.shape = writer, source, by_path, settings, shape
        self.known, self.purged = KnownFiles(writer.folder), Purged(writer.folder)
        failed = {} if settings.retry_failed else dict(writer.failed)
        self.outcomes = Outcomes(len(source.listings), failed, partial(write_down, writer), report)
        self.lost: Counter[str] = Counter()

    def run(self) -> None:
        """Account for every listing."""
        pending = Pending([(self.source, self.source.listings)])
        say_unsaid(pending, self.writer, self.outcomes.report, KEPT_BY)
        pending = settle_refused(pending, self.outcomes)
        if not self.settings.rehash:
            pending = settle_known(pending, self.known, self.purged, self.writer, self.outcomes)
        try:
            for _, listing in pending:
                self._session(listing)
                self.outcomes.progress(listing)
        finally:
            self.known.save()
        gone = self.writer.retire_listings(self.source.where, self.source.listings.frame["path"])
        if gone:
            self.outcomes.report(
                Note(f"{self.source.where}: {gone} files listed before are gone and not listed any more")
            )
        if self.outcomes.purged:
            told = f"{len(self.outcomes.purged)} items were purged from this cache and are left out"
            self.outcomes.report(Note(told))

    def _session(self, listing: Listing) -> None:
        outcomes, writer, where = self.outcomes, self.writer, self.source.where
        item = None
        try:
            item = self._item(listing)
            if self.purged.holds(item):
                outcomes.purged.add(item)
            elif item in writer.complete or item in outcomes.new:
                said = {"decoding": self._frames(listing).account} if item in writer.unlisted else {}
                writer.unlisted.discard(item)
                outcomes.add(Outcome(where, listing, item, account=said))
            elif failure := outcomes.failure_of(item):
                raise failure
            else:
                frames = self._frames(listing)
                self._write(item, frames)
                outcomes.add(Outcome(where, listing, item, new=True, account={"decoding": frames.account}))
        except MediaError as error:
            # What went wrong with the file says nothing of its bytes: they may come again.
            outcomes.fail(where, listing, None if error.stage == "read" else item, error)

    def _item(self, listing: Listing) -> str:
        """The SHA-256 of a session's file; of several, that of their SHA-256s, each with a newline."""
        session = self.by_path.get(listing.path)
        files = [self.source.listings.root / one.path for one in session.files] if session else [listing.file]
        if len(files) == 1 and not self.settings.rehash and (known := self.known.item_of(files[0])):
            return known
        hashed = [hash_content(file) for file in files]
        if len(files) > 1:
            return hashlib.sha256("".join(f"{one.item}\n" for one in hashed).encode()).hexdigest()
        if hashed[0].state and not self.purged.holds(hashed[0].item):
            self.known.note(files[0], hashed[0].state, hashed[0].item)
        return hashed[0].item

    def _frames(self, listing: Listing) -> MeasuredFrames:
        session = self.by_path.get(listing.path)
        if session is None:
            raise MediaError("is no file of this layout, though a table names it")
        frames, columns = read_session(session, self.source.listings.root, self.settings)
        self.shape.require(frames, columns, thinned=bool(self.settings.fps))
        return _ordered(frames, columns, self.shape)

    def _write(self, item: str, frames: MeasuredFrames) -> None:
        """All rows but those that an earlier, interrupted run committed."""
        _, committed = self.writer.partial.get(item, (0, 0))
        self.writer.begin_item(item, "clip")
        columns = (frames.time.tolist(), frames.face.tolist(), frames.box.tolist(), frames.score.tolist())
        values = {tap: np.ascontiguousarray(rows)[:, None, None] for tap, rows in frames.values.items()}
        for number, (seconds, face, box, score) in enumerate(zip(*columns, strict=True)):
            if number >= committed:
                seen = None if face == NONE else {tap: rows[number] for tap, rows in values.items()}
                self.writer.add_row(seconds, face, (box[0], box[1], box[2], box[3]), score, seen)
        duration = float(frames.time[-1] - frames.time[0]) + 1 / self.shape.fps
        self.writer.end_item(1, 1, duration)
        self.lost.update(frames.without_face)
        self.outcomes.frames += len(frames.time)
        self.outcomes.media_s += duration


def _ordered(frames: MeasuredFrames, columns: dict[str, tuple[str, ...]], shape: RowShape) -> MeasuredFrames:
    """The frames with the columns of each tap in the order of the cache's."""
    for tap, wanted in shape.columns.items():
        own = columns[tap]
        if list(own) != wanted:
            frames.values[tap] = frames.values[tap][:, [own.index(name) for name in wanted]]
    return frames
