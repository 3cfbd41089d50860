"""One mention of a file in a source, kept as found. Knows nothing of what labels mean."""

from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {  # the names in use for them
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """`path` as the source names it, `file` where its bytes are; emotion, subject and split where said."""

    path: str
    file: Path
    kind: str  # "image" or "clip"
    emotion: str | None = None
    subject: str | None = None
    split: str | None = None
    extra: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """Everything that one SOURCE argument named. `others` are the files that are neither image nor clip."""

    name: str  # a short name for default output directories
    where: str  # absolute path, or the argument as given
    listings: tuple[Listing, ...]
    others: tuple[str, ...]
    whole: bool  # whether these are all the media at `where`, so that what is not listed is gone
    layout: str  # how the listing's columns were found, for the user to check

    @property
    def ignored(self) -> int:
        """How many files are neither image nor clip."""
        return len(self.others)

    def kinds(self) -> tuple[str, ...]:
        """The kinds of item present, images first."""
        present = {listing.kind for listing in self.listings}
        return tuple(kind for kind in ("image", "clip") if kind in present)
