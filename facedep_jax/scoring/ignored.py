"""Files beside the clips → rows that say why they have no score, so that nobody looks for them. It opens none."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from facedep_jax.scoring.clip_scores import ClipScore

EACH = 3  # files of one folder and kind that get a row each; more share one
MOST = 100  # rows; if there were more, files of a kind share one wherever they lie

Kind = tuple[str, str]  # what several files are called, and why they have no score


def ignored_rows(pictures: Sequence[str], others: Sequence[str]) -> list[ClipScore]:
    """Rows of status "ignored", by name, for `pictures` and for `others`, which are neither clips nor pictures."""
    kinds = dict.fromkeys(pictures, ("pictures", "pictures are scored by predict"))
    kinds |= {path: _kind(PurePosixPath(path)) for path in others}
    rows = list(_rows(kinds, by_folder=True))
    if len(rows) > MOST:
        rows = list(_rows(kinds, by_folder=False))
    return sorted(rows, key=lambda row: row.clip)


def _kind(path: PurePosixPath) -> Kind:
    if path.name.startswith("."):
        return "hidden files", "hidden files are passed over"
    if path.suffix:
        return f"{path.suffix.lower()} files", f"{path.suffix.lower()} files are not read"
    return "files", "neither a clip nor a picture by its content"


def _rows(kinds: dict[str, Kind], by_folder: bool) -> Iterator[ClipScore]:
    groups: dict[tuple[str, Kind], list[str]] = defaultdict(list)
    for path, kind in kinds.items():
        groups[f"{PurePosixPath(path).parent}/ " if by_folder else "", kind].append(path)
    for (folder, (what, why)), paths in groups.items():
        if len(paths) <= EACH:
            yield from (_row(path, why) for path in paths)
        else:
            yield _row(f"{folder}({len(paths):,} {what})", why)


def _row(name: str, reason: str) -> ClipScore:
    return ClipScore(name, "ignored", reason, frames_sampled=None, frames_with_face=None, windows=None)
