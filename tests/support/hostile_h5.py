"""Shards that a stranger might send, made from seeds: attacks by name, and caches that hold one each.

Every attack changes the bytes of a good shard. Attacks that name another file name a canary, which must stay unread.
"""

import ctypes
import hashlib
import os
import random
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import h5py
import numpy as np

from facedep_jax.cache import CacheWriter

TAPS = {"mobilenet_v2:mid@2": (2, 2, 3), "resnet50:top@1": (1, 1, 5)}
SPEC = {
    "features": {
        "weights": {"mobilenet_v2": {"sha256": "0" * 64, "family": "keras"}},
        "taps": list(TAPS),
        "channels": {tap: shape[-1] for tap, shape in TAPS.items()},
        "size": {"mobilenet_v2": 32},
        "color": "rgb",
        "precision": "float32",
        "interpolation": "area",
    },
    "input": {"image": {"faces": "none"}},
}
COLUMNS = ("items/width", "items/height", "items/duration", "rows/time", "rows/score", "rows/box", "rows/feature")
ITEMS = 12
Make = Callable[[random.Random, bytes, Path], bytes]


class Attack(NamedTuple):
    """How to change a good shard, and whether every file that comes out must be refused."""

    make: Make
    refused: bool = True


ATTACKS: dict[str, Attack] = {}


def attack(name: str, refused: bool = True) -> Callable[[Make], Make]:
    def add(make: Make) -> Make:
        ATTACKS[name] = Attack(make, refused)
        return make

    return add


def write_good(folder: Path) -> Path:
    """A small good cache; returns its only shard."""
    rng = np.random.default_rng(0)
    with CacheWriter(folder, SPEC, SimpleNamespace(name="xla", version="1", device="cpu"), 64) as writer:
        for number in range(ITEMS):
            writer.begin_item(f"{number:064x}", "image")
            values = {tap: rng.normal(size=shape).astype(np.float16) for tap, shape in TAPS.items()}
            writer.add_row(0.0, 0, (np.nan,) * 4, np.nan, values)
            writer.end_item(10, 20, 0.0, number)
    return next((folder / "shards").glob("*.h5"))


@cache
def good_files() -> dict[str, bytes]:
    """The files of a good cache, by their paths in it."""
    with tempfile.TemporaryDirectory() as folder:
        write_good(Path(folder))
        return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def good_shard() -> bytes:
    return next(content for name, content in good_files().items() if name.endswith(".h5"))


def write_hostile(folder: Path, content: bytes, own_hash: bool) -> Path:
    """A cache whose only shard has `content`: under its own hash and in no manifest, or in the place of a good one."""
    (folder / "shards").mkdir(parents=True)
    for name, good in good_files().items():
        if not name.endswith(".h5"):
            (folder / name).write_bytes(good)
        else:
            name = f"shards/{hashlib.sha256(content).hexdigest()}.h5" if own_hash else name
            (folder / name).write_bytes(content)
    if own_hash:
        (folder / "manifest.jsonl").unlink()
    return folder


def hostile_bytes(name: str, seed: int, canary: Path) -> bytes:
    """The file of attack `name` number `seed`; `canary` is a folder made by `lay_canaries`."""
    return ATTACKS[name].make(random.Random(f"{name} {seed}"), good_shard(), canary)


def lay_canaries(folder: Path) -> Path:
    """Files that nobody may open: one that HDF5 could read, one that holds a secret, and a pipe that blocks."""
    folder.mkdir()
    with h5py.File(folder / "canary.h5", "w") as file:
        file["x"] = np.full(ITEMS, 42.0)
    (folder / "secret").write_bytes(b"secret" * 1000)
    os.mkfifo(folder / "pipe")
    return folder


class Watch:
    """inotify(7) on a folder: which of its files were opened or read, by whomever."""

    IN_ACCESS, IN_OPEN = 0x1, 0x20

    def __init__(self, folder: Path):
        libc = ctypes.CDLL(None, use_errno=True)
        self.handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if libc.inotify_add_watch(self.handle, os.fsencode(folder), self.IN_ACCESS | self.IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")

    def touched(self) -> set[str]:
        """Names of the files that were touched since the last call."""
        names = set()
        try:
            events = os.read(self.handle, 2**16)
        except BlockingIOError:
            return names
        while events:
            (length,) = struct.unpack_from("<12xI", events)
            names.add(events[16 : 16 + length].rstrip(b"\0").decode())
            events = events[16 + length :]
        return names

    def close(self) -> None:
        os.close(self.handle)


# With the HDF5 library's own means


def edited(base: bytes, change: Callable[[h5py.File], None], **how) -> bytes:
    """`base` after `change` by h5py."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "edited.h5"
        path.write_bytes(base)
        with h5py.File(path, "r+", **how) as file:
            change(file)
        return path.read_bytes()


def replaced(base: bytes, where: str, make: Callable[[h5py.File], None], **how) -> bytes:
    """`base` without `where`, and with what `make` puts there."""

    def change(file: h5py.File) -> None:
        del file[where]
        make(file)

    return edited(base, change, **how)


def near_or_far(rng: random.Random, canary: Path, name: str) -> str:
    """An absolute path, or one relative to a shard of a cache in a folder beside the canaries."""
    return str(canary / name) if rng.random() < 0.5 else f"../../../{canary.name}/{name}"


@attack("external storage")
def _(rng, base, canary):
    where, target = rng.choice(COLUMNS[:5]), str(canary / rng.choice(["secret", "canary.h5"]))
    return replaced(base, where, lambda f: f.create_dataset(where, (ITEMS,), "<f8", external=[(target, 0, 8 * ITEMS)]))


@attack("external link to a dataset")
def _(rng, base, canary):
    where, target = rng.choice(COLUMNS), near_or_far(rng, canary, "canary.h5")
    return replaced(base, where, lambda f: f.__setitem__(where, h5py.ExternalLink(target, "/x")))


@attack("external link to a pipe")
def _(rng, base, canary):
    where = rng.choice(COLUMNS)
    return replaced(base, where, lambda f: f.__setitem__(where, h5py.ExternalLink(str(canary / "pipe"), "/x")))


@attack("external link for a group")
def _(rng, base, canary):
    where = rng.choice(["items", "rows", "features", "features/resnet50"])
    return replaced(base, where, lambda f: f.__setitem__(where, h5py.ExternalLink(str(canary / "canary.h5"), "/")))


@attack("soft link")
def _(rng, base, canary):
    where, other = rng.sample(COLUMNS, 2)
    target = rng.choice([f"/{other}", "/", ".", "/nothing", f"/{where}"])
    return replaced(base, where, lambda f: f.__setitem__(where, h5py.SoftLink(target)))


@attack("virtual dataset")
def _(rng, base, canary):
    where = rng.choice(COLUMNS[2:5])

    def make(file):
        layout = h5py.VirtualLayout((ITEMS,), "<f8")
        layout[:] = h5py.VirtualSource(near_or_far(rng, canary, "canary.h5"), "x", (ITEMS,))
        file.create_virtual_dataset(where, layout)

    return replaced(base, where, make)


@attack("virtual dataset without end")
def _(rng, base, canary):
    where = rng.choice(COLUMNS[2:5])

    def make(file):
        layout = h5py.VirtualLayout((ITEMS,), "<f8", maxshape=(None,))
        source = h5py.VirtualSource(str(canary / "canary.h5"), "x", (ITEMS,), maxshape=(None,))
        layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
        file.create_virtual_dataset(where, layout)

    return replaced(base, where, make)


@attack("shape bomb")
def _(rng, base, canary):
    where = rng.choice(["features/resnet50/top@1", *COLUMNS])
    shape = (1 << rng.randrange(28, 60), *((1, 1, 5) if "features" in where else ()))

    def make(file):
        h5py.h5d.create(file.id, where.encode(), h5py.h5t.IEEE_F16LE, h5py.h5s.create_simple(shape))

    return replaced(base, where, make)


@attack("filter")
def _(rng, base, canary):
    where = rng.choice(COLUMNS)
    how = rng.choice([{"compression": "gzip"}, {"compression": "lzf"}, {"shuffle": True}, {"fletcher32": True}])
    return replaced(base, where, lambda f: f.create_dataset(where, (ITEMS,), "<f8", chunks=(4,), **how))


@cache
def deflated_zeros(mebibytes: int) -> bytes:
    """A zlib stream of so many MiB of zeros: one flushed block, over and over, and the checksum of all."""
    deflate = zlib.compressobj(9)
    head = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    block = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = 1
    for _ in range(mebibytes):
        checksum = zlib.adler32(bytes(2**20), checksum)
    return head + block * (mebibytes - 1) + b"\x03\x00" + struct.pack(">I", checksum)


@attack("filter bomb")
def _(rng, base, canary):
    where, bomb = rng.choice(COLUMNS[2:5]), deflated_zeros(1280)

    def make(file):
        count = 1280 * 2**17
        file.create_dataset(where, (count,), "<f8", chunks=(count,), compression="gzip")
        file[where].id.write_direct_chunk((0,), bomb)

    return replaced(base, where, make)


@attack("chunked or compact storage")
def _(rng, base, canary):
    where = rng.choice(COLUMNS[2:5])

    def make(file):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if rng.random() < 0.5:
            plist.set_layout(h5py.h5d.COMPACT)
        else:
            plist.set_chunk((4,))
        h5py.h5d.create(file.id, where.encode(), h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple((ITEMS,)), plist)

    return replaced(base, where, make)


@attack("values that were never stored")
def _(rng, base, canary):
    where = rng.choice(COLUMNS[2:5])
    return replaced(base, where, lambda f: f.create_dataset(where, (ITEMS,), "<f8", fillvalue=rng.random()))


def _nested(depth: int) -> np.dtype:
    kind = np.dtype("<f8")
    for _ in range(depth):
        kind = np.dtype([("a", kind)])
    return kind


ODD = {
    "reference": h5py.ref_dtype,
    "region reference": h5py.regionref_dtype,
    "text of any length": h5py.string_dtype(),
    "array of any length": h5py.vlen_dtype(np.dtype("<i4")),
    "opaque": np.dtype("V8"),
    "compound": np.dtype([("a", "<u4"), ("b", "<f4")]),
    "nested compound": _nested(40),
    "big-endian": np.dtype(">f8"),
    "long double": np.dtype(np.longdouble),
    "complex": np.dtype("<c16"),
    "enum": h5py.enum_dtype({"a": 0, "b": 1}, basetype="u1"),
    "bool": np.dtype(bool),
    "array": np.dtype(("<f8", (3,))),
    "another width": np.dtype("<f4"),
    "another sign": np.dtype("<i8"),
    "wide text": np.dtype("S100000"),
}


@attack("odd dtype")
def _(rng, base, canary):
    where = rng.choice(COLUMNS[2:4])
    kind = ODD[rng.choice(sorted(ODD))]
    values = None if kind.hasobject or kind.subdtype else np.zeros(ITEMS, kind)
    return replaced(base, where, lambda f: f.create_dataset(where, (ITEMS,), kind, values))


@attack("committed datatype")
def _(rng, base, canary):
    where, member = rng.choice(COLUMNS[2:5]), rng.random() < 0.5

    def make(file):
        file["features/t" if member else "t"] = np.dtype("<f8")
        file.create_dataset(where, (ITEMS,), file["features/t" if member else "t"])
        if not member:
            del file["t"]

    return replaced(base, where, make)


@attack("cycle of groups")
def _(rng, base, canary):
    inner, outer = rng.choice(["features/resnet50", "features", "items"]), rng.choice(["/", "features", "rows"])
    return edited(base, lambda f: f.__setitem__(f"{inner}/loop", f[outer]))


@attack("one dataset under two names")
def _(rng, base, canary):
    one, other = rng.sample(["items/width", "items/height", "items/part", "items/rows", "rows/item"], 2)
    return replaced(base, one, lambda f: f.__setitem__(one, f[other]))


@attack("very many members")
def _(rng, base, canary):
    where, count = rng.choice(["features", "items", "/"]), rng.randrange(65, 3000)

    def change(file):
        for number in range(count):
            file[where].create_group(f"g{number}")

    return edited(base, change, libver=rng.choice(["earliest", "latest"]))


@attack("deep nesting")
def _(rng, base, canary):
    return edited(base, lambda f: f.create_group("features/" + "/".join("d" * rng.randrange(3, 700))))


@attack("huge name")
def _(rng, base, canary):
    return edited(base, lambda f: f.create_group(f"features/{'n' * rng.randrange(65, 60000)}"))


@attack("names that are paths")
def _(rng, base, canary):
    old, new = (
        b"duration",
        rng.choice([b"../dura\0", b"a/b/c/d\0", b"\xff\xfe\xfd\xfc\0\0\0\0", b".\0\0\0\0\0\0\0", bytes(8)]),
    )
    return base.replace(old, new)


@attack("huge or many attributes")
def _(rng, base, canary):
    where, count = rng.choice(["/", "items", "rows/time"]), rng.choice([1, 30, 2000])
    size, latest = rng.choice([8, 8000]) if count > 1 else 60000, rng.random() < 0.5

    def change(file):
        for number in range(count if size < 8000 else min(count, 30)):
            file[where].attrs[f"a{number}"] = np.zeros(size, "u1")

    return edited(base, change, libver="latest" if latest else "earliest")


@attack("attributes of another kind")
def _(rng, base, canary):
    name = rng.choice(["format", "engine", "fingerprint", "device"])
    value = rng.choice([np.arange(9), 1.5, h5py.Empty("f8"), np.bytes_(b"fixed"), ["a", "b"], "x" * 60000])
    return edited(base, lambda f: f.attrs.__setitem__(name, value) if name != "engine" else f.attrs.__delitem__(name))


@attack("written by a newer library")
def _(rng, base, canary):
    with tempfile.TemporaryDirectory() as folder:
        old, new = Path(folder) / "old.h5", Path(folder) / "new.h5"
        old.write_bytes(base)
        with h5py.File(old) as source, h5py.File(new, "w", libver=("latest", "latest")) as copy:
            for name in source:
                source.copy(name, copy)
            copy.attrs.update(source.attrs)
        return new.read_bytes()


@attack("user block")
def _(rng, base, canary):
    return bytes(512 * 2 ** rng.randrange(4)) + base


# By changing bytes of the metadata


def patched(base: bytes, at: int, value: bytes) -> bytes:
    return base[:at] + value + base[at + len(value) :]


def places(base: bytes, pattern: bytes) -> list[int]:
    found, at = [], base.find(pattern)
    while at >= 0:
        found.append(at)
        at = base.find(pattern, at + 1)
    return found


def number(rng: random.Random, base: bytes) -> bytes:
    """A 64-bit number that programs trip over."""
    tempting = [0, 1, len(base), len(base) - 1, 96, 2**31, 2**32 - 1, 2**63, 2**64 - 1, 2**64 - 8]
    return struct.pack("<Q", rng.choice([*tempting, 1 << rng.randrange(64), rng.randrange(len(base))]))


def layouts(base: bytes) -> Iterator[int]:
    """Where the layout messages of the datasets begin: version 3, contiguous, after a header of 24 bytes."""
    return (at + 8 for at in places(base, bytes.fromhex("08001800000000000301")))


@attack("offset or size that cannot be", refused=False)
def _(rng, base, canary):
    return patched(base, rng.choice(list(layouts(base))) + rng.choice([2, 10]), number(rng, base))


@attack("two datasets in one place")
def _(rng, base, canary):
    one, other = rng.sample([at for at in layouts(base)], 2)
    return patched(base, one + 2, base[other + 2 : other + 10])


@attack("tree that is its own child")
def _(rng, base, canary):
    at = rng.choice(places(base, b"TREE"))
    return patched(patched(base, at + 5, b"\1"), at + 32, struct.pack("<Q", at))


@attack("tree that is its own neighbour")
def _(rng, base, canary):
    at = rng.choice(places(base, b"TREE"))
    return patched(base, at + rng.choice([8, 16]), struct.pack("<Q", at))


@attack("table of names that points anywhere", refused=False)
def _(rng, base, canary):
    at = rng.choice(places(base, b"TREE") + places(base, b"HEAP") + places(base, b"SNOD"))
    return patched(base, at + rng.choice(range(4, 96, 4)), number(rng, base))


@attack("header that goes on for ever")
def _(rng, base, canary):
    """The root's header continues elsewhere: there it continues where it is."""
    (at,) = struct.unpack_from("<Q", base, 120)
    message = struct.pack("<HHBxxxQQ", 0x10, 16, 0, at, 24)
    return patched(base, at, message)


@attack("text of another length")
def _(rng, base, canary):
    at = rng.choice(places(base, b"GCOL")) + rng.choice([8, 24, 16])
    return patched(base, at, number(rng, base).replace(base[at : at + 8], bytes(8)))


@attack("header field", refused=False)
def _(rng, base, canary):
    return patched(base, rng.randrange(8, 96), bytes([rng.choice([0, 1, 2, 127, 128, 255])]))


@attack("truncated")
def _(rng, base, canary):
    return base[: rng.choice([0, 7, 8, 95, 96, 2048, len(base) - 1, rng.randrange(len(base))])]


@attack("bytes behind the end")
def _(rng, base, canary):
    return base + rng.randbytes(rng.randrange(1, 4096))


@attack("no HDF5 at all")
def _(rng, base, canary):
    return rng.choice(
        [b"", b"\x89HDF\r\n\x1a\n", bytes(4096), rng.randbytes(4096), b"\x89HDF\r\n\x1a\n" + rng.randbytes(999)]
    )


# At random


@attack("random bytes", refused=False)
def _(rng, base, canary):
    data = bytearray(base)
    for _ in range(rng.choice([1, 1, 2, 4, 16, 256])):
        data[rng.randrange(len(data))] = rng.choice([0, 1, 255, rng.randrange(256)])
    return bytes(data)


@attack("random numbers", refused=False)
def _(rng, base, canary):
    data = base
    for _ in range(rng.choice([1, 2, 8])):
        data = patched(data, rng.randrange(len(base) - 8), number(rng, base))
    return data


@attack("spliced", refused=False)
def _(rng, base, canary):
    length = rng.choice([8, 16, 64, 512, 4096])
    source, target = (rng.randrange(len(base) - length) for _ in range(2))
    return patched(base, target, base[source : source + length])


@attack("random metadata", refused=False)
def _(rng, base, canary):
    """Changes where the library keeps what it follows, and not in the values."""
    data = bytearray(base)
    for _ in range(rng.choice([1, 2, 3])):
        sign = rng.choice(places(base, b"TREE") + places(base, b"HEAP") + places(base, b"SNOD") + places(base, b"GCOL"))
        data[min(sign + rng.randrange(256), len(data) - 1)] = rng.randrange(256)
    return bytes(data)


# The planted bug: a program for the child in which shards are read by the HDF5 library, without any check before
NAIVE = """
import sys
import h5py
from facedep_jax.cache import manifest
from facedep_jax.cache.maintenance import sandboxed_reader
from facedep_jax.cache.shard import Shard

def trusting(path):
    with h5py.File(path) as file:
        items, rows = ({name: file[group][name][()] for name in file[group]} for group in ("items", "rows"))
        layout = {
            f"{backbone}:{tap}": (values.id.get_offset(), values.shape)
            for backbone, taps in file["features"].items() for tap, values in taps.items()
        }
        return Shard(path, dict(file.attrs), items, rows, layout)

manifest.open_shard = trusting
sandboxed_reader.main(sys.argv[1])
"""
