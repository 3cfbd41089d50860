"""A folder of others' features → sessions, each of one or several files, and what is passed over. Opens no file."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from facedep_jax.errors import SettingsError, SourceError
from facedep_jax.feature_import.layouts import LAYOUTS, NEVER, PASSED, FileKind, Layout
from facedep_jax.feature_import.settings import ImportSettings

TABLE = "labels.csv"  # of labels, in the folder itself


@dataclass(frozen=True)
class SessionFile:
    """A file of a session, and the group of each tap that it holds."""

    path: str  # relative to the folder
    kind: FileKind
    groups: Mapping[str, str]


@dataclass(frozen=True)
class Session:
    """What was measured of one clip: `id` as the corpus calls it, and its files in the order of the taps."""

    id: str
    files: tuple[SessionFile, ...]
    lacking: str = ""  # why it cannot be used

    @property
    def path(self) -> str:
        """By which it is listed: that of its first file."""
        return self.files[0].path


def find_sessions(
    folder: Path, settings: ImportSettings, tables: Iterable[str] = ()
) -> tuple[list[Session], list[str]]:
    """The sessions of a folder in the order of their paths, and the other files; `tables` are of labels or subjects.

    Raises SourceError where there is none, SettingsError for a group that the layout has not.
    """
    layout = LAYOUTS[settings.format]
    serving = _kinds(layout, settings)
    sessions: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    others: list[str] = []
    for path in _files(folder):
        found = next(((n, m) for n, kind in enumerate(layout.kinds) if (m := kind.path.fullmatch(path))), None)
        if found is None or found[0] not in serving or never_taken(path) or path in (TABLE, *tables):
            others.append(path)
        else:
            number, match = found
            key = match["id"] if layout.by_session else path
            sessions[key][number].append(path)
    made = [_session(key, files, layout, settings) for key, files in sessions.items()]
    if not made:
        raise SourceError(f"{folder} holds no file of --format {settings.format} with {settings.name}{_seen(others)}")
    return sorted(made, key=lambda session: session.path), others


def _kinds(layout: Layout, settings: ImportSettings) -> set[int]:
    """Which kinds of files hold one of the groups."""
    groups = settings.groups
    for group in groups.values():
        if not any(kind.serves(group) for kind in layout.kinds):
            known = dict.fromkeys(name for kind in layout.kinds for name in kind.known)
            raise SettingsError(f"--name asks for the group {group}; --format {settings.format} has {', '.join(known)}")
    if len(groups) > 1 and settings.format in ("npy", "csv", "parquet"):
        raise SettingsError(f"--format {settings.format} makes one tap of a file: name one, such as features:all")
    return {n for n, kind in enumerate(layout.kinds) if any(kind.serves(group) for group in groups.values())}


def _session(key: str, files: Mapping[int, list[str]], layout: Layout, settings: ImportSettings) -> Session:
    """The files of a session that the taps need, each once."""
    taken: dict[int, dict[str, str]] = {}
    lacking = ""
    for tap, group in settings.groups.items():
        serving = [number for number in files if layout.kinds[number].serves(group)]
        if len(serving) > 1 or any(len(files[number]) > 1 for number in serving):
            twice = [path for number in serving for path in files[number]]
            lacking = f"has {group} in several files: {', '.join(twice)}; keep one"
        elif not serving:
            lacking = f"has no file with the group {group}"
        for number in serving[:1]:
            taken.setdefault(number, {})[tap] = group
    order = taken or {number: {} for number in list(files)[:1]}
    own = tuple(SessionFile(files[number][0], layout.kinds[number], groups) for number, groups in order.items())
    return Session(key, own, lacking)


def reason_of(path: str) -> str:
    """Why a file that belongs to no session is passed over."""
    if path.endswith("/"):
        return "a link to a folder, which is not followed"
    reasons = {**NEVER, **PASSED}
    return next((why for pattern, why in reasons.items() if pattern.search(path)), "no part of this layout")


def never_taken(path: str) -> bool:
    """Whether the name says that no layout means this file."""
    return any(pattern.search(path) for pattern in NEVER)


def _seen(others: list[str]) -> str:
    shown = "; ".join(f"{path}: {reason_of(path)}" for path in others[:3])
    return f" ({len(others):,} others: {shown}{' …' * (len(others) > 3)})" if others else ": it is empty"


def _files(folder: Path) -> list[str]:
    """All files below a folder, relative, sorted. Raises SourceError where one of its folders cannot be read."""

    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename} cannot be read: {error.strerror}") from error

    if not folder.is_dir():
        raise SourceError(f"{folder} is no folder; name the one that holds the features")
    found = []
    for place, folders, names in os.walk(folder, onerror=refuse):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        found += [os.path.relpath(os.path.join(place, name), folder) for name in names]
        found += [f"{os.path.relpath(os.path.join(place, name), folder)}/" for name in links]
    return sorted(found)
