"""Files beside the clips → rows that say why they have no score, so that nobody looks for them. It opens none."""

import mimetypes
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

from facedep_jax.scoring.clips import ClipScore

EACH = 3  # files of one folder and kind that get a row each; more share one


def ignored_rows(pictures: Sequence[str], others: Sequence[str]) -> list[ClipScore]:
    """Rows of status "ignored", by name, for `pictures` and for `others`, which are neither clips nor pictures."""
    rows = [
        *_rows(pictures, lambda path: "a picture; score it with predict", "pictures; score them with predict"),
        *_rows(others, _by_name, "files that are no clips by their names"),
    ]
    return sorted(rows, key=lambda row: row.clip)


def _rows(paths: Sequence[str], reason: Callable[[str], str], together: str) -> Iterator[ClipScore]:
    groups: dict[tuple[PurePosixPath, str], list[str]] = defaultdict(list)
    for path in paths:
        place = PurePosixPath(path)
        groups[place.parent, place.suffix.lower()].append(path)
    for (folder, suffix), own in groups.items():
        if len(own) <= EACH:
            yield from (ClipScore(path, "ignored", reason(path)) for path in own)
        else:
            yield ClipScore(str(folder / f"*{suffix}"), "ignored", f"{len(own)} {together}")


def _by_name(path: str) -> str:
    kind, _ = mimetypes.guess_type(path)
    return f"no clip by its name ({kind})" if kind else "no clip by its name or content"
