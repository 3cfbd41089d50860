"""A grammar of what a stranger may have done to a file: other values, types, depth, size, links, pipes, devices.

Every alteration is drawn from a `random.Random` and nothing else, so that equal seeds make equal files.
"""

import copy
import hashlib
import json
import os
import random
import shutil
import struct
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tomli_w
from safetensors.numpy import load, save

from facedep_jax.cache.checksummed_jsonl import encode_line
from facedep_jax.cache.feature_spec import fingerprint

Alteration = Callable[[Path, random.Random, Path], str]  # file, chance, folder of canaries → what was done
SPARSE = 20 * 10**9
MANY_DIGITS = "@many digits@"
VALUES: tuple[Any, ...] = (
    float("nan"), float("inf"), -float("inf"), -1, 0, 1, 10**9, 10**18, 10**30, 1e300, 0.5, "", "x", "../../secret",
    "x" * 100_000, "\x1b]8;;http://x\x07y", "$x^2$", "1e999", [], {}, [[]], [1, "x", None], {"a": 1}, True, None,
    MANY_DIGITS,
)  # fmt: skip


def in_its_place(path: Path, rng: random.Random, canaries: Path) -> str:
    """Something else than a regular file, or nothing."""
    kinds: dict[str, Callable[[], Any]] = {
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "device": lambda: path.symlink_to("/dev/zero"),
        "link": lambda: path.symlink_to(canaries / "secret"),
        "link to a pipe": lambda: path.symlink_to(canaries / "pipe"),
        "link to itself": lambda: path.symlink_to(path.name),
        "nothing": lambda: None,
    }
    name = rng.choice(list(kinds))
    path.unlink()
    kinds[name]()
    return name


def other_bytes(path: Path, rng: random.Random, canaries: Path) -> str:
    """Cut, flipped, filled, long, or large beyond what the disk holds."""
    held = path.read_bytes()
    kind = rng.choice(
        ("empty", "cut", "flips", "zeros", "noise", "tail", "long line", "no UTF-8", "brackets", "sparse")
    )
    if kind == "sparse":
        os.truncate(path, SPARSE)
        return kind
    flipped = bytearray(held or b"\0")
    for _ in range(rng.randint(1, 20)):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    made = {
        "empty": b"",
        "cut": held[: rng.randrange(len(held) or 1)],
        "flips": bytes(flipped),
        "zeros": bytes(len(held)),
        "noise": rng.randbytes(rng.randint(1, 4096)),
        "tail": held + rng.randbytes(rng.randint(1, 200)),
        "long line": b"x" * 3_000_000,
        "no UTF-8": held[: len(held) // 2] + b"\xff\xfe" + held[len(held) // 2 :],
        "brackets": rng.choice((b"[", b'{"a":', b"a=[")) * rng.choice((50, 5000, 100_000)),
    }
    path.write_bytes(made[kind])
    return kind


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value within a nested one."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way for key, each in inner for way in ((*at, key), *places(each, (*at, key)))]


def other_value(tree: Any, rng: random.Random) -> str:
    """Another value, a member less or more, or a value in lists, at a place of a nested one."""
    ways = places(tree)
    if not ways:
        return "no place"
    way = rng.choice(ways)
    owner = tree
    for key in way[:-1]:
        owner = owner[key]
    kind = rng.choice(("value", "value", "value", "less", "more", "deeper", "twice"))
    if kind == "less":
        del owner[way[-1]]
    elif kind == "more" and isinstance(owner, dict):
        owner["one more"] = copy.deepcopy(rng.choice(VALUES))
    elif kind == "twice" and isinstance(owner, list):
        owner.append(owner[way[-1]])
    elif kind == "deeper":
        value = owner[way[-1]]
        for _ in range(rng.choice((1, 9, 40, 100))):
            value = [value]
        owner[way[-1]] = value
    else:
        owner[way[-1]] = copy.deepcopy(rng.choice(VALUES))
    return f"{kind} at {'.'.join(map(str, way))}"


def toml_values(path: Path, rng: random.Random, canaries: Path) -> str:
    tables = tomllib.loads(path.read_text())
    said = "; ".join(other_value(tables, rng) for _ in range(rng.choice((1, 1, 1, 2, 5))))
    text = tomli_w.dumps(_without_none(tables))
    path.write_text(text.replace(f'"{MANY_DIGITS}"', "9" * rng.choice((4000, 5000))))
    return said


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _without_none(each) for key, each in value.items() if each is not None}
    return [_without_none(each) for each in value if each is not None] if isinstance(value, list) else value


def _json_text(value: Any, rng: random.Random) -> str:
    return json.dumps(value).replace(f'"{MANY_DIGITS}"', "9" * rng.choice((4000, 5000)))


def json_values(path: Path, rng: random.Random, canaries: Path) -> str:
    tree = json.loads(path.read_text())
    if rng.random() < 0.1:
        path.write_text(_json_text(rng.choice(VALUES), rng))
        return "another value as a whole"
    said = "; ".join(other_value(tree, rng) for _ in range(rng.choice((1, 1, 2))))
    if path.name == "cache.json" and rng.random() < 0.7 and isinstance(tree.get("spec"), dict):
        try:  # as somebody writes it who knows the format
            tree["fingerprint"], said = fingerprint(tree["spec"]), f"{said}, with its fingerprint"
        except (TypeError, ValueError):
            said += ", of which there is no fingerprint"
    path.write_text(_json_text(tree, rng))
    return said


def line_values(path: Path, rng: random.Random, canaries: Path) -> str:
    """Other values in a line of JSON, with the checksum that it then has, or without one that fits."""
    lines = path.read_bytes().splitlines(keepends=True)
    if not lines:
        return "no line"
    at = rng.randrange(len(lines))
    entry = json.loads(lines[at])
    checked = entry.pop("check", None) is not None
    said = other_value(entry, rng)
    try:
        written = encode_line(entry) if checked and rng.random() < 0.8 else json.dumps(entry).encode() + b"\n"
    except ValueError:
        written = json.dumps(entry).encode() + b"\n"
    lines[at] = written
    if rng.random() < 0.2:
        lines += [written] * rng.choice((1, 1000))
    path.write_bytes(b"".join(lines))
    return f"line {at}: {said}"


CELLS = (
    "",
    "nan",
    "inf",
    "-1",
    "2",
    "x",
    "=1+1",
    "val",
    "train",
    "test",
    "\x1b[31m",
    "1e400",
    "9" * 5000,
    '"',
    "a,b",
    "\0",
)


def csv_cells(path: Path, rng: random.Random, canaries: Path) -> str:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    kind = rng.choice(("cell", "cells", "column", "heading", "rows", "no val", "short", "no rows", "twice"))
    column = rng.randrange(len(rows[0]))
    if kind == "cell":
        rows[rng.randrange(1, len(rows))][column] = rng.choice(CELLS)
    elif kind == "cells":
        cell = rng.choice(CELLS)
        rows[1:] = [[*row[:column], cell, *row[column + 1 :]] for row in rows[1:]]
    elif kind == "column":
        rows = [row[:column] + row[column + 1 :] for row in rows]
    elif kind == "heading":
        rows[0][column] = rng.choice((*CELLS, rows[0][0]))
    elif kind == "rows":
        rows = rows[: rng.randrange(len(rows))]
    elif kind == "no val":
        rows = [row for row in rows if '"val"' not in row]
    elif kind == "short":
        at = rng.randrange(len(rows))
        rows[at] = rows[at][:column]
    elif kind == "no rows":
        rows = rows[:1]
    else:
        rows += rows[1:]
    path.write_text("\r\n".join(",".join(row) for row in rows) + "\r\n")
    return kind


def arrays(path: Path, rng: random.Random, canaries: Path) -> str:
    held = dict(sorted(load(path.read_bytes()).items()))  # which come in any order
    name = rng.choice(list(held))
    array = held[name].copy()
    kinds: dict[str, Callable[[], Any]] = {
        "NaN": lambda: {name: np.full_like(array, np.nan)} if array.dtype.kind == "f" else {name: array - 9},
        "infinite": lambda: {name: np.full_like(array, np.inf)} if array.dtype.kind == "f" else {name: array + 99},
        "one NaN": lambda: {name: np.where(np.arange(array.size).reshape(array.shape) == 0, np.nan, array)},
        "huge": lambda: {key: np.nan_to_num(x * np.float32(1e30)) for key, x in held.items() if x.dtype.kind == "f"},
        "large": lambda: {key: x * np.float32(1e4) for key, x in held.items() if x.dtype.kind == "f"},
        "half": lambda: {name: array.astype(np.float16)},
        "double": lambda: {name: array.astype(np.float64)},
        "integers": lambda: {name: array.astype(np.int64)},
        "no members": lambda: {key: x[:0] for key, x in held.items()},
        "one member": lambda: {key: x[:1] for key, x in held.items()},
        "one of it": lambda: {name: array[:1]},
        "flat": lambda: {name: array.reshape(-1)},
        "millions of nothing": lambda: {name: np.zeros((10**9, 0), array.dtype)},
        "one more": lambda: {"one more": array},
        "zeros": lambda: {name: np.zeros_like(array)},
    }
    kind = rng.choice([*kinds, "one fewer", "nothing", "float8", "long header"])
    if kind in ("float8", "long header"):
        header = b'{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}'
        length = len(header) if kind == "float8" else rng.choice((2**20, 2**40, 2**63))
        path.write_bytes(struct.pack("<Q", length) + header + b"\0\0")
        return kind
    if kind == "one fewer":
        del held[name]
    with np.errstate(all="ignore"):
        held = {} if kind == "nothing" else held | (kinds[kind]() if kind in kinds else {})
    path.write_bytes(save({key: np.ascontiguousarray(x) for key, x in held.items()}))
    return kind


def hdf5_weights(path: Path, rng: random.Random, canaries: Path) -> str:
    """Links out of the file and round in it, and arrays that lie elsewhere."""
    kind = rng.choice(
        ("external link", "link to a pipe", "soft cycle", "soft link", "virtual", "external array", "names")
    )
    with h5py.File(path, "r+") as file:
        layer = rng.choice(sorted(file))
        if kind == "names":
            file.attrs["layer_names"] = rng.choice(([b"../x"], [b""], b"x", 3, [b"/"], [b"a/b/c"] * 99))
            return kind
        del file[layer]
        if kind in ("external link", "link to a pipe"):
            target = canaries / ("pipe" if kind == "link to a pipe" else "canary.h5")
            file[layer] = h5py.ExternalLink(str(target), "/x")
        elif kind == "soft cycle":
            file[layer] = h5py.SoftLink(f"/{layer}")
        elif kind == "soft link":
            file[layer] = h5py.SoftLink(f"/{next(iter(file))}")
        else:
            group = file.create_group(layer)
            group.attrs["weight_names"] = [b"x"]
            if kind == "virtual":
                layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
                layout[:] = h5py.VirtualSource(str(canaries / "canary.h5"), "x", shape=(4,))
                group.create_virtual_dataset("x", layout)
            else:
                group.create_dataset("x", shape=(4,), dtype="f4", external=[(str(canaries / "secret"), 0, 16)])
    return kind


def checkpoint(path: Path, rng: random.Random, canaries: Path) -> str:
    """A file of a checkpoint's folder altered or odd beside it, mostly with the checksum that the folder then has."""
    folder = path.with_suffix("")
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    if rng.random() < 0.25:
        odd = folder.parent / rng.choice(
            ("x.sha256", "-1.sha256", "9.sha256", "99999999999999999999.sha256", "a\nb.sha256")
        )
        odd.write_text("0" * 64)
        return f"beside it {odd.name!r}"
    chosen = rng.choice(files)
    alter = rng.choice((in_its_place, other_bytes, json_values if _is_json(chosen) else other_bytes))
    said = f"{chosen.relative_to(folder)}: {alter(chosen, rng, canaries)}"
    if "sparse" not in said and rng.random() < 0.8:
        path.write_text(_digest(folder))
        said += ", with its checksum"
    return said


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except ValueError:
        return False


def _digest(folder: Path) -> str:
    """What `runs/checkpoint.py` makes of a folder of plain files."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if not path.is_symlink() and path.is_file()):
        content = path.read_bytes()
        total.update(os.fsencode(path.relative_to(folder)) + f" {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()


GRAMMAR: dict[str, tuple[Alteration, ...]] = {  # by what a file's name ends with
    ".toml": (toml_values, toml_values, toml_values, other_bytes, in_its_place),
    ".json": (json_values, json_values, other_bytes, in_its_place),
    ".jsonl": (line_values, line_values, other_bytes, in_its_place),
    ".csv": (csv_cells, csv_cells, other_bytes, in_its_place),
    ".safetensors": (arrays, arrays, other_bytes, in_its_place),
    ".h5": (hdf5_weights, other_bytes, in_its_place),
    ".md": (other_bytes, in_its_place),
    ".sha256": (checkpoint,),
    "lock": (in_its_place,),
    ".done": (json_values, other_bytes, in_its_place),
}


def alter(path: Path, rng: random.Random, canaries: Path) -> str:
    """Do something to a file; returns what it was."""
    choices = next(found for ending, found in GRAMMAR.items() if path.name.endswith(ending))
    if path.parent.name == "shards":
        choices = (other_bytes, in_its_place)
    chosen = rng.choice(choices)
    return f"{path.name}: {chosen(path, rng, canaries)}"


def copied(folder: Path, to: Path) -> Path:
    """A folder's plain copy."""
    shutil.copytree(folder, to)
    return to
