"""Examples of a prepared TFDS data set as files: copied once, byte by byte as they are stored, and listed.

Items are files everywhere else, and equal bytes are one item wherever they came from. Knows nothing of where data sets
are found, nor which feature is what.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from facedep_jax.errors import SourceError
from facedep_jax.file_signatures import JPEG, PNG
from facedep_jax.file_system import write_atomically, writing
from facedep_jax.sources.listing_types import Listing

_SUFFIXES = {JPEG: ".jpg", PNG: ".png"}
_INDEX = "index.jsonl"


class Roles(NamedTuple):
    """Which features of an example are what; `others` are further columns, `names` those of classes by feature."""

    image: str
    emotion: str | None
    subject: str | None
    others: list[str]
    names: dict[str, list[str]]


def stored(source: str, builder: Any, split: str, roles: Roles, folder: Path) -> list[Listing]:
    """Listings of the copies in `folder`, made first unless they are there and of this very data set."""
    identity = {"data_set": _identity(builder), "roles": roles._asdict()}
    index = folder / _INDEX
    if index.is_file():
        with open(index, encoding="utf-8") as stream:
            if json.loads(stream.readline() or "null") == identity:
                return [_listing(folder, json.loads(line)) for line in stream]
    examples = _data_source(source, builder, split)
    rows = []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for data, row in _examples(source, examples, split, roles):
            (folder / row["file"]).write_bytes(data)
            rows.append(row)
    lines = [json.dumps(entry) for entry in (identity, *rows)]
    write_atomically(index, "\n".join(lines) + "\n")
    return [_listing(folder, row) for row in rows]


def _identity(builder: Any) -> str:
    """A hash of the names, sizes and times of the data set's files."""
    states = []
    for path in sorted(Path(builder.data_path).iterdir()):
        state = path.stat()
        states.append((path.name, state.st_size, state.st_mtime_ns))
    return hashlib.sha256(json.dumps([str(builder.data_path), states]).encode()).hexdigest()


def _data_source(source: str, builder: Any, split: str) -> Any:
    """The examples of a split, with images as the bytes that are stored."""
    import tensorflow_datasets as tfds

    kinds = (tfds.features.Image, tfds.features.Video, tfds.features.Audio)
    as_stored = {n: tfds.decode.SkipDecoding() for n, f in builder.info.features.items() if isinstance(f, kinds)}
    try:
        return builder.as_data_source(split=split, decoders=as_stored)
    except Exception as error:  # a slice that cannot be meant, a file that is gone, array_record not installed
        raise SourceError(f"{source}: {split} cannot be read: {one_line(error)}") from error


def _examples(source: str, examples: Any, split: str, roles: Roles) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for number in range(len(examples)):
        try:
            example = examples[number]
        except Exception as error:  # damaged records end in errors of several libraries
            raise SourceError(f"{source}: example {number} of {split} cannot be read: {one_line(error)}") from error
        data = example[roles.image]
        yield data, {"file": f"{number:07d}{_suffix(data)}", "split": split_of(split)} | _columns(example, roles)


def split_of(asked: str) -> str:
    """The split that `asked` is all or a part of: train[:10%] is of train."""
    return re.split(r"[\[+]", asked, maxsplit=1)[0]


def _columns(example: dict[str, Any], roles: Roles) -> dict[str, Any]:
    def text(name: str | None) -> str | None:
        if name is None:
            return None
        value = example[name]
        if name in roles.names:
            return roles.names[name][value] if value >= 0 else None  # −1: not labelled
        return value.decode(errors="replace") if isinstance(value, bytes) else None if value is None else str(value)

    extra = {name: value for name in roles.others if (value := text(name)) is not None}
    return {"emotion": text(roles.emotion), "subject": text(roles.subject), "extra": extra}


def _listing(folder: Path, row: dict[str, Any]) -> Listing:
    path = f"{row['split']}/{row['file']}"
    return Listing(path, folder / row["file"], "image", row["emotion"], row["subject"], row["split"], row["extra"])


def _suffix(data: bytes) -> str:
    return next((suffix for magic, suffix in _SUFFIXES.items() if data.startswith(magic)), "")


def one_line(error: Exception) -> str:
    """What a library's `error` says, in at most 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
