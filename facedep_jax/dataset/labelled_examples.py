"""Clips, their segments and images as arrays with labels, out of one or several caches. It knows nothing of models.

An image is a clip of one frame, and a segment a clip of the frames in it, at their times on the file's clock. Frames
without a face have no feature and are left out; so are items without any. Clips may be cut into windows
(`clip_windows.py`): each is a row then, and rows of one clip say together what it is. Features that do not fit into
memory stay where they are; the rows that are asked for are read then.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Float32, Int, Int32

from facedep_jax.backbones.taps import FLIPPED
from facedep_jax.cache import Cache
from facedep_jax.cache.feature_reader import rows_are_finite
from facedep_jax.dataset.clip_windows import MAX_FRAMES, cut, thinned
from facedep_jax.dataset.lazy_features import Features, Stored
from facedep_jax.errors import LabelError
from facedep_jax.machine_resources import fits_machine
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.segments import TIMES, UNIT, segment_name, some, times_of, with_units
from facedep_jax.sources.listing_types import BESIDE
from facedep_jax.subject_ids import UNNAMED
from facedep_jax.text_columns import text_series
from facedep_jax.text_escaping import as_name

REST_AND_POSITIVE = np.array([False, True])  # the classes of a target of two: which of them is positive
AT_ONCE = 64 * 2**20  # bytes of features that are read at once to be looked at


@dataclass(frozen=True)
class Examples:
    """n labelled clips, or windows of clips, of up to t frames.

    `times` are in seconds; `mask` says which frames are real. `target` is the class, and `positive` says which classes
    are the proxy's positive side. `item`, `path`, `subject` (or None), `split` and `emotion` are object arrays. `views`
    holds the same clips seen in a mirror, by the same names of taps, where the caches do. Windows of one clip share a
    number in `clip`, which is None where there are none. `start` and `end` are those of segments in seconds, NaN where
    the whole clip is meant.
    """

    tokens: dict[str, Features]
    times: Float32[np.ndarray, "n t"]
    mask: Bool[np.ndarray, "n t"]
    target: Int32[np.ndarray, " n"]  # the heads of a study learn amounts as well: see `training.train_step.wanted_of`
    item: np.ndarray
    path: np.ndarray
    subject: np.ndarray
    split: np.ndarray
    emotion: np.ndarray
    start: Float[np.ndarray, " n"] | None = None
    end: Float[np.ndarray, " n"] | None = None
    views: dict[str, Features] | None = None
    clip: Int[np.ndarray, " n"] | None = None
    positive: Bool[np.ndarray, " classes"] = field(default_factory=REST_AND_POSITIVE.copy)

    def __len__(self) -> int:
        return len(self.target)

    @property
    def label(self) -> Bool[np.ndarray, " n"]:
        """The proxy's side of each."""
        return self.positive[self.target]

    @property
    def unit(self) -> np.ndarray:
        """The id of each item, of a segment its times besides: an object array."""
        rows = {"item": text_series(self.item), **{n: pl.Series(getattr(self, n), dtype=pl.Float64) for n in TIMES}}
        return with_units(pl.DataFrame(rows).fill_nan(None))[UNIT].to_numpy().astype(object)

    @property
    def person(self) -> np.ndarray:
        """The subject of each, for an item that is there several times what stands for its own: an object array."""
        items, count = np.unique(self.item.astype(str), return_inverse=True)[1], None
        count = np.bincount(items)[items]
        own = zip(self.subject, self.item, count, strict=True)
        return np.array([f"{UNNAMED}{i}" if s is None and n > 1 else s for s, i, n in own], object)

    @property
    def streamed(self) -> bool:
        """Whether features are read when they are asked for, and not held."""
        return any(isinstance(x, Stored) for x in self.tokens.values())

    @property
    def feature_bytes(self) -> int:
        """Of all taps and views."""
        return sum(x.nbytes for part in (self.tokens, self.views or {}) for x in part.values())

    def __getitem__(self, rows: Int[np.ndarray, " k"] | Bool[np.ndarray, " n"] | slice) -> "Examples":
        names = (f.name for f in fields(self) if f.name not in ("tokens", "views", "positive"))
        columns = {name: getattr(self, name)[rows] for name in names if getattr(self, name) is not None}
        return self._with(lambda x: x.take(rows) if isinstance(x, Stored) else x[rows], tuple(self.tokens), columns)

    @property
    def own(self) -> "Examples":
        """All but what is only learned from: these are chosen by and judged on. They come first."""
        beside = self.split == BESIDE
        return self[: len(self) - int(beside.sum())] if beside.any() else self

    def only(self, taps: Sequence[str]) -> "Examples":
        """The same clips with some of the taps."""
        return self._with(lambda x: x, taps, {})

    @cached_property
    def clips(self) -> "Examples":
        """What is known of each clip: a row a clip, no features where there are windows, ordered by `clip`."""
        return self if self.clip is None else replace(self.only(()), clip=None)[self.first_windows]

    def over_clips(
        self, scores: Float[np.ndarray, "m n ..."], weight: Float[np.ndarray, "m n"] | None = None
    ) -> Float[np.ndarray, "m k ..."]:
        """Scores of rows → scores of `clips`: the mean over the windows of each, or their sum by `weight`."""
        if self.clip is None:
            return scores
        first, owner, count = self._windows
        sums = np.zeros((len(scores), len(first), *scores.shape[2:]), np.float64)
        further = (1,) * (scores.ndim - 2)
        part = scores if weight is None else scores * weight.reshape(*weight.shape, *further)
        np.add.at(sums.swapaxes(0, 1), owner, part.swapaxes(0, 1))
        return (sums / count.reshape(-1, *further) if weight is None else sums).astype(scores.dtype)

    @property
    def first_windows(self) -> Int[np.ndarray, " k"]:
        """The first row of each of `clips`."""
        return np.arange(len(self)) if self.clip is None else self._windows[0]

    @property
    def share(self) -> Float32[np.ndarray, " n"]:
        """The part that each row is of its clip: 1 for a clip in one piece."""
        if self.clip is None:
            return np.ones(len(self), np.float32)
        _, owner, count = self._windows
        return (1 / count[owner]).astype(np.float32)

    @property
    def frames(self) -> Int[np.ndarray, " n"]:
        """How many frames are seen of the clip that each row is of."""
        _, owner, _ = self._windows
        return np.bincount(owner, self.mask.sum(1)).astype(np.int64)[owner]

    @property
    def places(self) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """Of every row the number of its clip among `clips`, and which of the clip's windows it is."""
        _, owner, _ = self._windows
        order = np.argsort(owner, kind="stable")
        place = np.empty(len(self), np.int64)
        begin = np.cumsum(np.bincount(owner)) - np.bincount(owner)
        place[order] = np.arange(len(self)) - begin[owner[order]]
        return owner, place

    @cached_property
    def _windows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """By number of the clip: its first row; for every row its clip; how many rows each clip has."""
        number = np.arange(len(self)) if self.clip is None else self.clip
        _, first, owner, count = np.unique(number, return_index=True, return_inverse=True, return_counts=True)
        return first, owner, count

    def _with(
        self, change: Callable[[Features], Features], taps: Sequence[str], columns: dict[str, np.ndarray]
    ) -> "Examples":
        tokens = {tap: change(self.tokens[tap]) for tap in taps}
        views = None if self.views is None else {tap: change(self.views[tap]) for tap in taps}
        changed: dict[str, Any] = {"tokens": tokens, "views": views, **columns}
        return replace(self, **changed)


def gather(
    caches: Sequence[Cache],
    labels: pl.DataFrame,
    target: Sequence[int] | Int[np.ndarray, " k"],
    taps: Sequence[str],
    report: Report = silent,
    stream: bool | None = False,
    window: float = 0.0,
    positive: Bool[np.ndarray, " classes"] = REST_AND_POSITIVE,
    fps: float = 0.0,
    told: bool = False,
) -> Examples:
    """Examples of those `labels` that have a frame with a face in one of `caches` (the first that holds the item).

    With `stream` features are left in the caches; None leaves them there if they would take too much memory. With
    `window`, in seconds, clips are cut into such windows, and what has more than MAX_FRAMES frames is cut in any case;
    times are then those since the window's beginning. With `fps`, so many frames a second are looked at and no more.
    How clips are cut is said, unless it was `told` before.
    """
    owner, item = _owners(caches, labels["item"])
    pieces = _pieces(caches, owner, *_frames(caches, owner, item, labels), window, fps)
    number = np.unique(pieces.which)
    for text in _left_out(caches, owner, item, labels, number):
        report(Note(text, "warning"))
    for text in () if told else pieces.said(window, fps):
        report(Note(text))
    if not len(number):
        raise LabelError("no labelled item has a frame with a face; look at the cache with `cache inspect`")
    owner, rows = owner[pieces.which], pieces.rows
    flipped = all(f"{tap}{FLIPPED}" in cache.taps for cache in caches for tap in taps)
    stored = Examples(
        {tap: Stored(tuple(caches), owner, rows, tap) for tap in taps},
        pieces.seconds,
        rows >= 0,
        np.asarray(target, np.int32)[pieces.which],
        **columns_of(labels[pieces.which]),
        views={tap: Stored(tuple(caches), owner, rows, f"{tap}{FLIPPED}") for tap in taps} if flipped else None,
        clip=pieces.which if len(number) < len(rows) else None,
        positive=np.asarray(positive, bool),
    )
    if stream is None and not fits_machine(stored.feature_bytes):
        report(Note(f"features take {stored.feature_bytes / 1e9:.1f} GB: they are read from the caches as needed"))
        stream = True
    return stored if stream else stored._with(lambda x: x[:], taps, {})


class Pieces(NamedTuple):
    """Every window of an item that shows a face: which item it is of, and feature rows (−1: none) and times of its
    frames; and what is to be said of the clips among the items.
    """

    which: Int[np.ndarray, " n"]
    rows: Int[np.ndarray, "n t"]
    seconds: Float32[np.ndarray, "n t"]
    long: int  # clips with more than MAX_FRAMES in one piece
    faces: int  # frames of clips with a face
    seen: int  # those that are looked at
    lasting: float  # seconds of clips, from the first frame to the last

    @property
    def items(self) -> int:
        """How many have a row at least."""
        return len(np.unique(self.which))

    def said(self, window: float, fps: float) -> Iterator[str]:
        """How clips are cut, and how many frames are looked at where they are thinned."""
        if self.items < len(self.which):
            of = f" of {window:g} s" if window else ""
            yield f"{self.items:,} clips are cut into {len(self.which):,} windows{of}"
        if self.long:
            what = f"windows of {window:g} s with more" if window else "more"
            yield f"{self.long:,} clips have {what} than {MAX_FRAMES} frames with a face, and are cut further"
        if fps:
            yield self.thinned(fps)

    def thinned(self, fps: float) -> str:
        """How many frames of clips are looked at where they are thinned to `fps` a second."""
        rate = f" ({self.faces / self.lasting:.3g} a second)" if self.lasting else ""
        told = f"clips are thinned to {fps:g} frames a second: {self.seen:,} of {self.faces:,} frames with a face"
        return f"{told}{rate} are looked at"


def pieces_of(caches: Sequence[Cache], labels: pl.DataFrame, window: float = 0.0, fps: float = 0.0) -> Pieces:
    """What `gather` makes of `labels`."""
    owner, item = _owners(caches, labels["item"])
    return _pieces(caches, owner, *_frames(caches, owner, item, labels), window, fps)


def _owners(caches: Sequence[Cache], items: pl.Series) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Of each item the first cache that holds it, and its place there."""
    place, ends = positions(caches, items), np.cumsum([len(cache.items) for cache in caches])
    owner = np.searchsorted(ends, place, "right")
    return owner, place - np.concatenate([[0], ends])[owner]


def _frames(
    caches: Sequence[Cache], owner: Int[np.ndarray, " k"], item: Int[np.ndarray, " k"], labels: pl.DataFrame
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """The frames of each row of `labels`, those of its segment: the first among its cache's rows, and how many."""
    start, end = times_of(labels)
    first, count = np.zeros((2, len(labels)), np.int64)
    for number, cache in enumerate(caches):
        mine = owner == number
        first[mine], count[mine] = cache.frames_of(item[mine], start[mine], end[mine])
    return first, count


def _left_out(
    caches: Sequence[Cache],
    owner: Int[np.ndarray, " k"],
    item: Int[np.ndarray, " k"],
    labels: pl.DataFrame,
    kept: Int[np.ndarray, " c"],
) -> Iterator[str]:
    """Sentences about the rows of `labels` that are not among those `kept`: no face, or a fault of the segment."""
    lost = np.setdiff1d(np.arange(len(labels)), kept)
    start, end = times_of(labels)
    faults = {n: "" if np.isnan(end[n]) else caches[owner[n]].fault_of(int(item[n]), float(end[n])) for n in lost}
    names = {n: segment_name(as_name(labels["path"][int(n)]), start[n], end[n]) for n in lost}
    if faceless := [names[n] for n in lost if not faults[n]]:
        yield f"{len(faceless)} items without a frame that shows a face are left out, such as {some(faceless)}"
    if beyond := [f"{names[n]}, which {faults[n]}" for n in lost if faults[n]]:
        yield f"{len(beyond)} segments are left out: {some(beyond)}"


def columns_of(labels: pl.DataFrame) -> dict[str, Any]:
    """Items, paths, subjects, splits, emotions and times of segments, as `Examples` holds them."""
    names = ("item", "path", "subject", "split", "emotion")
    start, end = times_of(labels)
    return {name: np.array(labels[name].to_list(), object) for name in names} | {"start": start, "end": end}


def positions(caches: Sequence[Cache], items: pl.Series | np.ndarray) -> Int[np.ndarray, " k"]:
    """Where each item is among the items of all caches, one cache after the other: the first place of several.

    Raises LabelError where one is in no cache.
    """
    ids = pl.concat(pl.Series("item", cache.items.id, dtype=pl.String) for cache in caches)
    known = ids.to_frame().with_row_index("place").unique("item", keep="first")
    wanted = text_series(items, "item").to_frame()
    found = wanted.join(known, on="item", how="left", maintain_order="left")
    absent = found.filter(pl.col("place").is_null())["item"]
    if len(absent):
        raise LabelError(f"{len(absent)} labelled items are in none of the caches, for example {absent[0]}")
    return found["place"].to_numpy().astype(np.int64)


def _pieces(
    caches: Sequence[Cache],
    owner: Int[np.ndarray, " k"],
    first: Int[np.ndarray, " k"],
    count: Int[np.ndarray, " k"],
    window: float,
    fps: float,
) -> Pieces:
    """`first` and `count` say which frames are an item's. What has one, as images have, is looked at all together."""
    single, clips = [], []
    told = np.zeros(4)
    for number, cache in enumerate(caches):
        mine = np.flatnonzero(owner == number)
        one = count[mine] == 1
        row = first[mine[one]]
        single.append((mine[one], cache.rows.feature[row], np.zeros(len(row)) if window else cache.rows.time[row]))
        for n in mine[~one]:
            windows, counts = _windows_of(cache, slice(int(first[n]), int(first[n] + count[n])), window, fps)
            clips += [(n, *shown) for shown in windows]
            told += counts
    images, feature, time = (np.concatenate(column) for column in zip(*single, strict=True))
    seen = feature >= 0
    which = np.concatenate([images[seen], np.array([n for n, *_ in clips], np.int64)])
    longest = max((len(rows) for _, rows, _ in clips), default=1)
    index, times = np.full((len(which), longest), -1, np.int64), np.zeros((len(which), longest), np.float32)
    index[: seen.sum(), 0], times[: seen.sum(), 0] = feature[seen], time[seen]
    for place, (_, rows, seconds) in enumerate(clips, start=int(seen.sum())):
        index[place, : len(rows)], times[place, : len(rows)] = rows, seconds
    order = np.argsort(which, kind="stable")
    long, faces, looked_at = map(int, told[:3])
    return Pieces(which[order], index[order], times[order], long, faces, looked_at, float(told[3]))


def _windows_of(
    cache: Cache, own: slice, window: float, fps: float
) -> tuple[list[tuple[np.ndarray, np.ndarray]], Float[np.ndarray, "4"]]:
    """Feature rows and times of each window of the frames `own`; and, as `Pieces` has them, long to lasting."""
    feature, time = cache.rows.feature[own], cache.rows.time[own]
    if not (feature >= 0).any():
        return [], np.zeros(4)
    used = thinned(time, feature >= 0, fps)
    windows = cut(time, used, window)
    number, since = windows.number[used], windows.since(time)[used]
    ends = np.flatnonzero(np.diff(number)) + 1
    shown = list(zip(np.split(feature[used], ends), np.split(since, ends), strict=True))
    return shown, np.array([windows.divided, (feature >= 0).sum(), used.sum(), time[-1] - time[0]])


def check_finite(tokens: Mapping[str, Features]) -> None:
    """Raise LabelError naming every tap that holds NaN or infinity, with the number of rows."""
    block = max(1, AT_ONCE // max(x.nbytes // max(len(x), 1) for x in tokens.values()))
    bad = {
        tap: sum(int((~rows_are_finite(x[i : i + block])).sum()) for i in range(0, len(x), block))
        for tap, x in tokens.items()
    }
    found = [f"{tap} in {count} rows" for tap, count in bad.items() if count]
    if found:
        raise LabelError(f"features are not finite: {', '.join(found)}; verify the cache and extract it again")


def seen_in_training(examples: Examples) -> Examples:
    """All but the test items."""
    return examples[examples.split != "test"]
