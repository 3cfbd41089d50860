"""Clips read side by side, each by a thread and a decoding process of its own. Knows nothing of caches or networks."""

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

from facedep_jax.errors import MediaError
from facedep_jax.media import Clip, ClipInfo, Frame, InputSettings, open_clip
from facedep_jax.media.file_hashing import FileState, require_unchanged
from facedep_jax.progress_events import TICK, Report, Tick, silent

AHEAD = 16  # frames of each clip that are decoded before somebody takes them

T = TypeVar("T")
Given = Frame | ClipInfo | MediaError


class _Closed(Exception):
    """Nobody takes what is read any more."""


@dataclass(eq=False)
class _Reader(Generic[T]):
    """A clip that is read for `owner`, and what nobody has taken yet of it; `begun` once something was taken."""

    owner: T
    waiting: deque[Given | BaseException] = field(default_factory=deque)
    begun: bool = False
    clip: Clip | None = None


class ClipReaders(Generic[T]):
    """Reads clips at once, each with `threads` for its pixels. Use as a context manager: leaving it ends them.

    Of each clip its frames come in order, then its ClipInfo, or a MediaError at any place. A clip gives nothing until
    all those started before have given something, so that clips begin in the order in which they were started.
    """

    def __init__(self, settings: InputSettings, threads: int, report: Report = silent):
        self._settings, self._threads, self._report = settings, threads, report
        self._changed = threading.Condition()  # of anything below
        self._readers: list[_Reader[T]] = []  # as they were started
        self._closed = False

    def __enter__(self) -> "ClipReaders[T]":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for reader in self._readers:
                if reader.clip:
                    reader.clip.stop()

    def __len__(self) -> int:
        return len(self._readers)

    def start(self, owner: T, file: Path, before: FileState) -> None:
        """Read a clip, which fails unless the file is at its end what it was `before`."""
        reader = _Reader(owner)
        self._readers.append(reader)
        # Nobody waits for it when the program ends: its decoder ends with the program.
        threading.Thread(target=self._read, args=(reader, file, before), name=f"read {file.name}", daemon=True).start()

    def next(self) -> tuple[T, Given]:
        """Whose clip it is, and what comes next of it; of several that have something, of the one started first.

        Raises whatever else than a MediaError reading a clip has raised.
        """
        told = time.monotonic()
        while (taken := self._take()) is None:
            if time.monotonic() - told >= TICK:  # others may wake it all the time
                self._report(Tick())
                told = time.monotonic()
        owner, given = taken
        if isinstance(given, Frame | ClipInfo | MediaError):
            return owner, given
        raise given

    def _take(self) -> tuple[T, Given | BaseException] | None:
        """What is there, after a while; None if nothing is."""
        with self._changed:
            found = self._ready()
            if found is None:
                self._changed.wait(TICK)
                return None
            given = found.waiting.popleft()
            found.begun = True
            if not isinstance(given, Frame):
                self._readers.remove(found)
            self._changed.notify_all()
            return found.owner, given

    def _ready(self) -> _Reader[T] | None:
        for reader in self._readers:
            if reader.waiting:
                return reader
            if not reader.begun:
                return None
        return None

    def _read(self, reader: _Reader[T], file: Path, before: FileState) -> None:
        try:
            self._hold(reader, None)
            with open_clip(file, self._settings, threads=self._threads) as clip:
                self._hold(reader, clip)
                for frame in clip:
                    self._give(reader, frame)
                self._hold(reader, None)  # its decoder is the next one's from here on
                require_unchanged(file, before)
                self._give(reader, clip.info)
        except _Closed:
            return
        except BaseException as error:  # raised again by `next`
            with self._changed:
                reader.waiting.append(error)
                self._changed.notify_all()

    def _hold(self, reader: _Reader[T], clip: Clip | None) -> None:
        """Whose decoder is ended where nobody takes what is read any more. Raises _Closed where that is so already."""
        with self._changed:
            reader.clip = clip
            if self._closed:
                raise _Closed

    def _give(self, reader: _Reader[T], given: Given) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(reader.waiting) < AHEAD)
            if self._closed:
                raise _Closed
            reader.waiting.append(given)
            self._changed.notify_all()
