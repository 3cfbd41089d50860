"""Reading a cache: it reads what h5py reads, shuffled blocks have every row once, and opening changes nothing."""

import json
import os
import shutil
from types import SimpleNamespace

import h5py
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import facedep_jax
from facedep_jax.cache import CacheWriter, feature_reader, open_cache
from facedep_jax.cache.checksummed_jsonl import append_lines
from facedep_jax.cache.feature_reader import shuffled_blocks
from facedep_jax.cache.feature_spec import write_header
from facedep_jax.cache.shard import open_shard
from facedep_jax.errors import CacheError, DamagedCache

TAPS = {"mobilenet_v2:mid@2": (2, 2, 3), "resnet50:top@1": (1, 1, 5)}
MID, TOP = TAPS
ENGINE = SimpleNamespace(name="xla", version="1 ü", device="cpu")


def spec(color="rgb", taps=TAPS):
    channels = {tap: shape[-1] for tap, shape in taps.items()}
    weights = {"mobilenet_v2": {"sha256": "0" * 64, "family": "keras"}}
    features = {"weights": weights, "taps": list(taps), "channels": channels, "size": {}, "color": color}
    return {"features": features, "input": {"image": {"faces": "none"}}}


def write(folder, clips, shard_rows=5, first=0, taps=TAPS, **settings):
    """Clips of so many frames; every third frame of the longer ones has no face."""
    with CacheWriter(folder, spec(taps=taps, **settings), ENGINE, shard_rows) as writer:
        for number, frames in enumerate(clips, start=first):
            rng = np.random.default_rng(number)
            writer.begin_item(f"{number:064x}", "clip")
            for frame in range(frames):
                face = frame % 3 != 2
                features = {tap: rng.normal(size=shape).astype(np.float16) for tap, shape in taps.items()}
                writer.add_row(frame / 4, 1 if face else 3, (1, 2, 3, 4), 0.5, features if face else None)
            writer.end_item(30, 40, frames / 4)
            writer.add_listing({"item": f"{number:064x}", "source": "/s", "path": f"{number}.mp4", "emotion": "sad"})
    return folder


@pytest.fixture
def cache(tmp_path):
    return open_cache(write(tmp_path / "c", [4, 1, 9, 2, 7, 1, 1, 3]))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9), max_size=6), st.integers(1, 40), st.integers(1, 9))
def test_the_reader_reads_what_the_hdf5_library_reads(tmp_path_factory, clips, shard_rows, count):
    taps = {f"b{n % 3}:t{n}@{1 + n % 2}": (1 + n % 2, 1 + n % 2, 3 + n) for n in range(count)}
    folder = write(tmp_path_factory.mktemp("c"), clips, shard_rows, taps=taps)
    for path in (folder / "shards").glob("*.h5"):
        shard = open_shard(path)
        with h5py.File(path) as file:
            assert dict(file.attrs) == shard.attributes
            for group, table in (("items", shard.items), ("rows", shard.rows)):
                assert file[group].keys() == table.keys()
                for name, column in table.items():
                    assert column.dtype == file[group][name].dtype
                    np.testing.assert_array_equal(column, file[group][name])
            assert shard.layout.keys() == taps.keys()
            for tap in taps:
                np.testing.assert_array_equal(shard.features(tap), file["features"][tap.replace(":", "/")])


def by_hdf5(cache, tap):
    """All features of a tap, as h5py reads them."""
    parts = []
    for shard in cache.shards:
        with h5py.File(shard.path) as file:
            parts.append(file["features"][tap.replace(":", "/")][()])
    return np.concatenate(parts)


@pytest.mark.parametrize("piece", [None, 32])
@settings(max_examples=25, deadline=None)
@given(index=st.lists(st.integers(0, 20), max_size=60))
def test_rows_come_in_the_order_asked_for(tmp_path_factory, piece, index):
    """Also when the rows are read in many pieces by several threads."""
    folder = tmp_path_factory.getbasetemp() / "in-order"
    opened = open_cache(folder if folder.exists() else write(folder, [4, 1, 9, 2, 7, 1, 1, 3]))
    assert opened.starts[-1] == 21
    with pytest.MonkeyPatch.context() as patch:
        if piece:
            patch.setattr(feature_reader, "PIECE", piece)
            patch.setattr(feature_reader, "ALONE", 0)
            patch.setattr(feature_reader, "BUFFERS", 2)
        for tap in TAPS:
            whole = by_hdf5(opened, tap)
            np.testing.assert_array_equal(opened.features(tap), whole)
            np.testing.assert_array_equal(opened.features(tap, np.array(index, int)), whole[np.array(index, int)])


def test_a_read_that_the_kernel_cuts_short_goes_on(cache, monkeypatch):
    whole, preadv = cache.features(MID), os.preadv
    index = np.random.default_rng(0).permutation(21)
    monkeypatch.setattr(os, "preadv", lambda handle, buffers, at: preadv(handle, [buffers[0][:7]], at))
    np.testing.assert_array_equal(cache.features(MID), whole)
    np.testing.assert_array_equal(cache.features(MID, index), whole[index])


def test_a_shard_that_changes_under_the_reader_is_said(cache):
    path = cache.shards[0].path
    os.truncate(path, cache.shards[0].layout[MID][0] + 10)
    with pytest.raises(DamagedCache, match=f"{path.name} cannot be read any more: it is shorter"):
        cache.features(MID)
    path.unlink()
    with pytest.raises(DamagedCache, match=f"{path.name} cannot be read any more: .*No such file"):
        cache.features(TOP, np.array([0]))


def test_features_can_be_put_into_memory_that_is_there(cache):
    out = np.full((21, *TAPS[MID]), np.nan, np.float16)
    assert cache.features(MID, out=out) is out
    np.testing.assert_array_equal(out, by_hdf5(cache, MID))
    index = np.array([7, 0, 7])
    assert cache.features(MID, index, out[4:7]).base is out
    np.testing.assert_array_equal(out[4:7], by_hdf5(cache, MID)[index])
    for wrong in (out[:20], out.astype(np.float32), out[::-1], np.zeros((2, *out.shape), np.float16)[:, :, 0]):
        with pytest.raises(ValueError, match=r"contiguous float16 array of \(21, 2, 2, 3\)"):
            cache.features(MID, out=wrong)


def test_maps_are_the_features_where_they_lie(cache):
    maps = cache.maps(MID)
    assert [isinstance(part, np.memmap) and not part.flags.writeable for part in maps] == [True] * len(cache.shards)
    np.testing.assert_array_equal(np.concatenate(maps), by_hdf5(cache, MID))
    with pytest.raises(CacheError, match="not resnet50:mid@3"):
        cache.maps("resnet50:mid@3")


def test_rows_that_are_not_there(cache):
    for index in ([21], [-1], [0, 30]):
        with pytest.raises(IndexError, match="from 0 to 20"):
            cache.features(TOP, np.array(index))


def test_three_lines_give_arrays_and_a_table(cache):
    append_lines(cache.path / "listings.jsonl", [{"item": None, "source": "/s", "path": "x", "rows": "own", "age": 7}])
    opened = facedep_jax.open_cache(cache.path)
    table = opened.table
    x = opened.features(TOP, opened.rows.feature[table.filter(pl.col("rows") > 0)["first_row"]])
    assert x.shape == (8, 1, 1, 5)
    assert table["path"].to_list() == [*(f"{n}.mp4" for n in range(8)), "x"]
    assert table["emotion"].to_list() == ["sad"] * 8 + [None]
    assert table["age"].to_list() == [None] * 8 + ["7"]
    assert table["rows"].to_list() == [4, 1, 9, 2, 7, 1, 1, 3, 0]
    assert table["first_row"].to_list() == [0, 4, 5, 14, 16, 23, 24, 25, -1]
    assert table["rows_column"].to_list() == [None] * 8 + ["own"]
    assert "check" not in table.columns


# Shuffled blocks


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 300)), min_size=1, max_size=200),
    st.integers(1, 50),
    st.integers(1, 50),
    st.integers(0, 9),
)
def test_an_epoch_has_every_example_once_in_blocks(examples, block, segment, seed):
    owner, rows = (np.array(column) for column in zip(*examples, strict=True))
    blocks = list(shuffled_blocks(np.stack([rows, rows], 1), owner, block, segment, seed, epoch=3))
    assert sorted(np.concatenate(blocks)) == list(range(len(examples)))
    assert {len(each) for each in blocks[:-1]} <= {block} and len(blocks[-1]) <= block


def order(count=200, block=200, segment=10, seed=0, epoch=0):
    """All examples of one epoch, one row each, lying in the opposite order."""
    rows = np.arange(count)[::-1, None]
    return np.concatenate(list(shuffled_blocks(rows, np.zeros(count, int), block, segment, seed, epoch))).tolist()


def test_seed_and_epoch_decide_the_order():
    assert order() == order()
    others = [order(seed=1), order(epoch=1), order(seed=1, epoch=1)]
    assert len({tuple(each) for each in [order(), *others]}) == 4


def test_a_block_mixes_the_whole_cache():
    """Segments of 2 examples and blocks of 200: a block has parts from all over."""
    first = np.array(order(1000, segment=2)[:200])
    assert (np.bincount(first // 100, minlength=10) > 0).all()
    assert (np.abs(np.diff(first)) == 1).mean() < 0.05


def test_an_epoch_reads_every_byte_once_in_long_pieces(tmp_path, monkeypatch):
    cache = open_cache(write(tmp_path / "c", [1] * 1000, shard_rows=100))
    reads, preadv = [], os.preadv

    def counting(handle, buffers, at):
        reads.append(sum(map(len, buffers)))
        return preadv(handle, buffers, at)

    monkeypatch.setattr(os, "preadv", counting)
    rows = np.arange(1000)
    for examples in shuffled_blocks(rows[:, None], np.zeros(1000, int), block=200, segment=50, seed=0, epoch=0):
        cache.features(TOP, rows[examples])
    assert sum(reads) == 1000 * 10
    assert len(reads) <= 21 + 10 + 5  # segments, and those that the end of a shard or of a block cuts


# Opening what cannot be used


def state(folder):
    """Everything on the disk that opening must not change."""
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_ctime_ns, path.read_bytes() if path.is_file() else None)
        for path in [folder, *sorted(folder.rglob("*"))]
    }


def newer(folder):
    header = json.loads((folder / "cache.json").read_text())
    (folder / "cache.json").write_text(json.dumps(header | {"format": 3}))


def foreign_shard(folder):
    other = write(folder.parent / "other", [2], color="grey")
    shutil.copy(next((other / "shards").glob("*.h5")), folder / "shards")


def newer_shard(folder):
    shard = sorted((folder / "shards").glob("*.h5"))[0]
    with h5py.File(shard, "r+") as file:
        file.attrs.modify("format", np.int64(3))


def other_taps(folder):
    other = write(folder.parent / "other", [2], taps={TOP: TAPS[TOP]})
    header = json.loads((other / "cache.json").read_text())
    text = (folder / "cache.json").read_text()
    (folder / "cache.json").write_text(json.dumps(json.loads(text) | header))


def other_width(folder):
    """A shard that is of this cache by what it says, with another number of channels."""
    path = sorted((folder / "shards").glob("*.h5"))[0]
    with h5py.File(path, "r+") as file:
        group, name = file["features/resnet50"], TOP.partition(":")[2]
        values = group[name][()]
        del group[name]
        group[name] = np.repeat(values, 2, -1)


def channels_of(width):
    def change(folder):
        said = json.loads((folder / "cache.json").read_text())["spec"]
        write_header(folder, said | {"features": said["features"] | {"channels": {MID: 3, TOP: width}}})

    return change


def no_taps(folder):
    write_header(folder, {"features": {"taps": [MID], "channels": {}, "weights": {}, "size": {}}, "input": {}})


DAMAGES = {
    "another width": (other_width, DamagedCache, r"holds \{.*\(1, 1, 10\).*the spec says \{.*\(1, 1, 5\)"),
    "too many channels": (channels_of(2**20), DamagedCache, "its spec states channels that cannot be"),
    "channels that are no number": (channels_of(True), DamagedCache, "its spec states channels that cannot be"),
    "channels not said": (no_taps, DamagedCache, "its spec does not say which taps there are"),
    "newer": (newer, CacheError, "has format version 3, this program reads 1 and 2; update facedep-jax"),
    "newer shard": (newer_shard, CacheError, "has format version 3, this program reads 1 and 2; update facedep-jax"),
    "another fingerprint": (other_taps, DamagedCache, "cache.json: it is another cache's: its fingerprint is"),
    "without a shard": (
        lambda folder: sorted((folder / "shards").glob("*.h5"))[0].unlink(),
        CacheError,
        "1 of 6 shards named in its manifest are gone",
    ),
    "shard of another cache": (foreign_shard, CacheError, "belongs to another cache; move it away"),
    "without a header": (lambda folder: (folder / "cache.json").unlink(), CacheError, "it has no cache.json"),
    "header cut off": (lambda folder: os.truncate(folder / "cache.json", 30), CacheError, "is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_cannot_be_opened_is_said_and_left_alone(tmp_path, damage):
    folder = write(tmp_path / "c", [4, 1, 9, 2, 7, 1, 1, 3])
    change, error, says = DAMAGES[damage]
    change(folder)
    before = state(folder)
    with pytest.raises(error, match=says) as caught:
        open_cache(folder)
    assert "\n" not in str(caught.value)
    assert state(folder) == before


def test_reading_changes_nothing_on_the_disk(tmp_path):
    """So it works on a read-only disk, and without the manifest, which a writer would rebuild."""
    folder = write(tmp_path / "c", [4, 1, 9, 2, 7, 1, 1, 3])
    with_manifest = open_cache(folder)
    (folder / "manifest.jsonl").unlink()
    before = state(folder)
    opened = open_cache(folder)
    assert sorted(opened.items.id) == sorted(with_manifest.items.id)
    assert len(opened.table["path"]) == len(opened.listings) == 8
    assert opened.features(MID).shape == (21, 2, 2, 3)
    assert opened.failures.is_empty()
    assert state(folder) == before


def test_a_path_that_is_a_file_or_nothing(tmp_path):
    (tmp_path / "file").write_text("x")
    for name, says in (("file", "is a file; a cache is a directory"), ("absent", "does not exist")):
        with pytest.raises(CacheError, match=says):
            open_cache(tmp_path / name)
    assert (tmp_path / "file").read_text() == "x"
