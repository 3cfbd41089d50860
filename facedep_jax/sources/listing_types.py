"""One mention of a file in a source, kept as found. Knows nothing of what labels mean."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np
import polars as pl
from jaxtyping import Int

from facedep_jax.segments import MEMBER, TIMES, with_times
from facedep_jax.text_columns import text_frame, text_series
from facedep_jax.text_escaping import as_name, as_text

SPLITS = ("train", "val", "test")
BESIDE = "beside"  # in place of a split: what is only learned from, beside the items of the caches
RATER = re.compile(r"(emotion|label)_?[0-9]+")  # heading of another rater's emotions, which `evaluate` compares
FURTHER = "+"  # in front of the name of a column that is the source's own
TAKEN = (  # names that columns of listings have; a further column of a source that is called so has NAME_column
    "item", "source", "path", "emotion", "subject", "subject_id", "subject_source", "split", "decoding", "gone",
    "clip_light", "check", MEMBER,
)  # fmt: skip
# Columns of what a listing says itself.
OWN = ("path", "kind", "emotion", "subject", "split", "subject_source", "refused")
OF_FILES = ("path", "kind", "refused", "file")  # of these, what segments of one file have in common


def passed_over(files: Iterable[tuple[str, str]]) -> pl.DataFrame:
    """The `others` of a `Source`, of paths and reasons."""
    paths, reasons = zip(*files, strict=True) if (files := list(files)) else ((), ())
    return pl.DataFrame([text_series(map(as_text, paths), "path"), text_series(reasons, "reason")])


def column_of(name: str) -> str:
    """What a further column of a source is called among listings."""
    return f"{name}_column" if name in TAKEN else name


@dataclass(frozen=True, slots=True)
class Listing:
    """`path` as the source names it, `file` where its bytes are; emotion, subject and split where said.

    `subject_source` is the table that names the subject, where one does: it may name a person in several sources.
    `refused` is why a file of a kind that is not read fails, unopened. `start` and `end` are seconds where a segment
    of the file is meant; `segments` are all of them as JSON, in a listing that stands for the whole file.
    """

    path: str
    file: Path
    kind: str  # "image" or "clip"
    emotion: str | None = None
    subject: str | None = None
    split: str | None = None
    extra: dict[str, str] = field(default_factory=dict)
    subject_source: str | None = None
    refused: str | None = None
    start: float | None = None
    end: float | None = None
    segments: str | None = None


class Listings(Sequence[Listing]):
    """Listings of files below `root` as columns, of which a `Listing` is made when it is asked for.

    `frame` has the text columns `OWN`, the times of segments, `file` where files are called otherwise than their paths,
    and the source's further columns with `FURTHER` in front.
    """

    def __init__(self, root: Path, frame: pl.DataFrame):
        lacking = {name: pl.lit(None, pl.String) for name in OWN if name not in frame.columns}
        self.root, self.frame = root, with_times(frame.with_columns(**lacking))

    @classmethod
    def of(cls, listings: Sequence[Listing]) -> "Listings":
        """Those, wherever their files are."""
        further = ({f"{FURTHER}{name}": value for name, value in one.extra.items()} for one in listings)
        own = ({name: getattr(one, name) for name in (*OWN, MEMBER)} | {"file": str(one.file)} for one in listings)
        frame = text_frame([a | b for a, b in zip(own, further, strict=True)], (*OWN, "file"))
        times = {name: pl.Series([getattr(one, name) for one in listings], dtype=pl.Float64) for name in TIMES}
        return cls(Path("/"), frame.with_columns(**times))

    def __len__(self) -> int:
        return len(self.frame)

    @overload
    def __getitem__(self, index: int) -> Listing: ...
    @overload
    def __getitem__(self, index: slice) -> "Listings": ...
    def __getitem__(self, index: int | slice) -> "Listing | Listings":
        """One listing, or some of them, still as columns."""
        if isinstance(index, slice):
            return self.with_frame(self.frame[index])
        return next(iter(self[index : index + 1 or None]))

    def __iter__(self) -> Iterator[Listing]:
        further = {name: name[len(FURTHER) :] for name in self.frame.columns if name.startswith(FURTHER)}
        for row in self.frame.iter_rows(named=True):
            start, end = row.pop("start"), row.pop("end")
            said: dict[str, Any] = {name: as_name(value) for name, value in row.items() if value is not None}
            file = self.root / said.pop("file", said["path"])
            extra = {further[name]: said.pop(name) for name in further if name in said}
            yield Listing(file=file, extra=extra, start=start, end=end, **said)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Listings) and list(self) == list(other)

    @property
    def files(self) -> int:
        """How many files there are."""
        return self.frame["path"].n_unique() if self.frame["start"].count() else len(self)

    def kinds(self) -> tuple[str, ...]:
        """The kinds of item present, images first; those of files that are not read only where there are no others."""
        read = self.frame.filter(pl.col("refused").is_null())
        present = set((read if len(read) else self.frame)["kind"].unique())
        return tuple(kind for kind in ("image", "clip") if kind in present)

    def with_frame(self, frame: pl.DataFrame) -> "Listings":
        """The same folder with other columns or rows."""
        return Listings(self.root, frame)


def spread(listings: Sequence[Listings], count: int) -> list[pl.Series]:
    """Which rows of each to take for `count` of all: of every split and emotion of every source its part, at least one
    while there are enough, evenly along the order. In a sorted folder the first ones are all of one class.
    """
    frames = [one.frame.select("split", "emotion", source=pl.lit(at)) for at, one in enumerate(listings)]
    rows = pl.concat(frames).with_row_index("row")
    by = rows.group_by("source", "split", "emotion", maintain_order=True)
    groups = [group["row"].to_numpy() for _, group in by]
    sizes = np.array([len(group) for group in groups])
    chosen = np.zeros(len(rows), bool)
    for group, taken in zip(groups, _parts(sizes, count), strict=True):
        chosen[group[np.arange(taken) * len(group) // max(taken, 1)]] = True
    ends = np.cumsum([len(one) for one in listings])
    return [pl.Series(mask) for mask in np.split(chosen, ends[:-1])]


def _parts(sizes: Int[np.ndarray, " g"], count: int) -> Int[np.ndarray, " g"]:
    """`count` shared out as `sizes` are, at least one to each; to some of them one where there are fewer."""
    if count < len(sizes):
        parts = np.zeros(len(sizes), int)
        parts[np.arange(count) * len(sizes) // count] = 1
        return parts
    wanted = 1 + (sizes - 1) * (count - len(sizes)) / max(1, sizes.sum() - len(sizes))
    parts = np.floor(wanted).astype(int)
    parts[np.argsort(parts - wanted, kind="stable")[: count - parts.sum()]] += 1
    return parts


@dataclass(frozen=True)
class Source:
    """Everything that one SOURCE argument named. `others` are files and folders that are passed over: text columns path
    and reason, in order.
    """

    name: str  # a short name for default output directories
    where: str  # absolute path, or the argument as given
    listings: Listings
    others: pl.DataFrame
    whole: bool  # whether these are all the media at `where`, so that what is not listed is gone
    layout: str  # how the listing's columns were found, for the user to check
    warnings: tuple[str, ...] = ()

    @property
    def ignored(self) -> int:
        """How many files are passed over, as they are neither image nor clip."""
        return len(self.others)

    def kinds(self) -> tuple[str, ...]:
        """The kinds of item present, images first."""
        return self.listings.kinds()
