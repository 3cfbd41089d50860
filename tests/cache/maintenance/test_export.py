"""An export holds what the cache holds, in one file that needs nothing of ours to be read."""

import csv
import json
import os
import shutil
import signal
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from support.caches import BAD, ENGINE, cut_off, killed_everywhere, listing, make, tree
from support.hostile_h5 import SPEC, TAPS

from facedep_jax.cache import CacheWriter, open_cache
from facedep_jax.cache.maintenance.export import TABLES, export_cache
from facedep_jax.errors import CacheError, OutputError
from facedep_jax.text_escaping import FORMULA, as_name

NAMES = ["=1+1.jpg", "@SUM(A1)", "'quoted", "-3", "\tx", 'plain, with "marks"', "a\nb"]


@pytest.fixture
def cache(tmp_path):
    """A clip in parts among images, a second clip that was cut off, and names that a spreadsheet would compute."""
    cut_off(tmp_path / "c", range(1, 3), 4)
    make(tmp_path / "c", range(3, 12), clip=True)
    with CacheWriter(tmp_path / "c", SPEC, ENGINE) as writer:
        for number, name in enumerate(NAMES, start=1):
            writer.add_listing(listing(number, path=name, note=f"+{number}"))
        writer.add_listing(listing(8, path="\udcff.jpg"))
        writer.record_failure("/s/bad.jpg", "f" * 64, "decode", "=cut short")
    return tmp_path / "c"


def arrays(out):
    """name → array of any kind of export, and its attributes."""
    if out.suffix == ".h5":
        with h5py.File(out) as file:
            found = {}
            file.visititems(lambda name, d: found.update({name: d[()]}) if isinstance(d, h5py.Dataset) else None)
            return found, {k: v.item() if hasattr(v, "item") else v for k, v in file.attrs.items()}
    if out.suffix == ".npz":
        with np.load(out) as file:
            found = {name: file[name] for name in file.files}
        return {k: v for k, v in found.items() if v.ndim}, {k: v.item() for k, v in found.items() if not v.ndim}
    found = {p.stem: np.load(p, mmap_mode="r") for p in out.glob("*.npy")}
    named = {(".".join(k.split(".")[:1]) + "/" + k.partition(".")[2].replace(".", "/")): v for k, v in found.items()}
    return named, json.loads((out / "attributes.json").read_text())


@pytest.mark.parametrize("name", ["e.h5", "e.npz", "e"])
def test_an_export_holds_what_the_cache_holds(cache, tmp_path, name):
    held = open_cache(cache)
    summary = export_cache(cache, tmp_path / "out" / name)
    found, attributes = arrays(tmp_path / "out" / name)
    assert json.loads(attributes["spec"]) == SPEC
    assert (attributes["fingerprint"], attributes["engine"]) == (held.fingerprint, "xla")
    items = {k.removeprefix("items/"): v for k, v in found.items() if k.startswith("items/")}
    rows = {k.removeprefix("rows/"): v for k, v in found.items() if k.startswith("rows/")}
    assert np.char.decode(items["id"]).tolist() == held.items.id.tolist() and len(items["id"]) == 12
    assert items["last"].all() and not items["part"].any()
    for column in ("width", "height", "duration", "phash", "first_row", "rows"):
        np.testing.assert_array_equal(items[column], getattr(held.items, column))
    for column in ("item", "time", "face", "box", "score"):
        np.testing.assert_array_equal(rows[column], getattr(held.rows, column))
    for tap in TAPS:
        values = found[f"features/{tap.replace(':', '/')}"]
        assert values.dtype == np.float16 and summary["features"][tap] == list(values.shape)
        kept = rows["feature"] >= 0
        np.testing.assert_array_equal(kept, held.rows.feature >= 0)
        np.testing.assert_array_equal(values[rows["feature"][kept]], held.features(tap, held.rows.feature[kept]))
        assert len(values) == kept.sum()


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_tables_say_what_the_cache_says_and_compute_nothing(cache, tmp_path):
    summary = export_cache(cache, tmp_path / "e.h5")
    assert [os.path.basename(p) for p in summary["tables"]] == [f"e.{name}.csv" for name in TABLES]
    tables = {name: read_csv(tmp_path / f"e.{name}.csv") for name in TABLES}
    assert (tmp_path / "e.items.csv").read_text().startswith('"id","kind",')  # a ; in text divides nothing
    held = open_cache(cache)
    text = [cell for row in (*tables["listings"], *tables["failures"]) for cell in row.values()]
    assert not [cell for cell in text if cell.startswith(FORMULA) and not cell.startswith("'")]
    plain = [e["path"].removeprefix("'") if e["path"][:2] != "''" else e["path"][1:] for e in tables["listings"]]
    assert plain == [as_name(e["path"]).replace("\udcff", "\\udcff") for e in held.listings.to_dicts()]
    assert [e["item"] for e in tables["listings"]] == [e["item"] for e in held.listings.to_dicts()]
    assert {e["note"] for e in tables["listings"]} == {""} | {f"'+{n}" for n in range(1, len(NAMES) + 1)}
    assert [e["reason"] for e in tables["failures"]] == ["'=cut short"]
    assert [int(e["rows"]) for e in tables["items"]] == held.items.rows.tolist()
    assert [int(e["phash"], 16) for e in tables["items"]] == held.items.phash.tolist()
    assert [int(e["feature"]) >= 0 for e in tables["rows"]] == (held.rows.feature >= 0).tolist()
    assert {e["feature"] for e in tables["rows"] if e["face"] == "none"} == {"-1"}  # a number, not text


def test_an_export_is_the_same_bytes_each_time(cache, tmp_path):
    for name in ("a.h5", "b.npz", "c"):
        export_cache(cache, tmp_path / "1" / name)
        export_cache(cache, tmp_path / "2" / name)
    assert tree(tmp_path / "1") == tree(tmp_path / "2")


@pytest.mark.parametrize(
    ("name", "there"), [("e.h5", "e.h5"), ("e.h5", "e.rows.csv"), ("e.npz", "e.npz"), ("e", "e/x")]
)
def test_nothing_is_overwritten(cache, tmp_path, name, there):
    (tmp_path / "e").mkdir()
    (tmp_path / there).write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(OutputError, match="is there already"):
        export_cache(cache, tmp_path / name)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("what", [name for name in BAD if name != "another fingerprint"])
def test_what_cannot_be_exported_leaves_nothing(tmp_path, what):
    BAD[what][0](tmp_path)
    before = tree(tmp_path)
    with pytest.raises(CacheError, match=BAD[what][2].replace("nothing of it goes into", "it is not exported")):
        export_cache(tmp_path / "other", tmp_path / "new" / "e.h5")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["e.h5", "e.npz", "e"])
def test_a_full_disk_leaves_nothing(cache, tmp_path, name):
    import resource

    before, limits = tree(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot be written|disk is full"):
            export_cache(cache, tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["e.h5", "e"])
def test_an_export_that_was_killed_is_made_anew_by_running_it_again(cache, tmp_path, name):
    """Whatever of it had been put in its place already, while a file of somebody else's there stays."""
    export_cache(cache, tmp_path / "whole" / name)
    imports = "from facedep_jax.cache.maintenance.export import export_cache"
    call, halfway = f"export_cache({str(cache)!r}, out + '/{name}')", 0
    for step, folder in killed_everywhere(imports, call, tmp_path / "at", tmp_path / "at", 2, 3):
        placed = {path.name for path in folder.glob("e*")} if folder.exists() else set()
        if name not in placed:
            halfway += bool(placed)
            export_cache(cache, folder / name)
        else:
            with pytest.raises(OutputError, match="is there already"):
                export_cache(cache, folder / name)
        assert tree(folder) == tree(tmp_path / "whole"), step
    assert step > 10 and (halfway or name == "e")


def test_what_a_killed_export_did_not_put_there_is_not_taken_back(cache, tmp_path):
    stage = tmp_path / ".e.h5.exporting"
    stage.mkdir()
    (tmp_path / "e.rows.csv").write_text("mine")
    stat = (tmp_path / "e.rows.csv").stat()
    (stage / "placing.json").write_text(json.dumps({"e.rows.csv": [stat.st_ino + 1, stat.st_size, stat.st_mtime_ns]}))
    with pytest.raises(OutputError, match=r"e\.rows\.csv is there already"):
        export_cache(cache, tmp_path / "e.h5")
    assert (tmp_path / "e.rows.csv").read_text() == "mine"


def test_two_exports_to_one_place_do_not_mix(cache, tmp_path):
    from facedep_jax.cache.maintenance.atomic_placement import staged

    with staged(tmp_path / "e.h5", [tmp_path / "e.rows.csv"]) as stage:
        for name in ("e.h5", "e.rows.csv"):
            (stage / name).write_text("first")
        with pytest.raises(OutputError, match="is being written by another process"):
            export_cache(cache, tmp_path / "e.h5")
    assert (tmp_path / "e.h5").read_text() == "first"


def test_an_error_between_the_last_renames_leaves_nothing(cache, tmp_path, monkeypatch):
    real, left = os.rename, [3]

    def rename(source, target):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(5, "Input/output error")
        real(source, target)

    before = tree(tmp_path)
    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OutputError, match="cannot be written"):
        export_cache(cache, tmp_path / "e.h5")
    assert tree(tmp_path) == before


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(cache, tmp_path, monkeypatch):
    before = tree(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=10))
    with pytest.raises(OutputError, match=r"e\.h5 needs 0 MB and the disk has 0 MB left"):
        export_cache(cache, tmp_path / "e.h5")
    assert tree(tmp_path) == before


def test_an_empty_cache_can_be_exported(tmp_path):
    CacheWriter(tmp_path / "c", SPEC, ENGINE).__exit__(None, None, None)
    export_cache(tmp_path / "c", tmp_path / "e.h5")
    found, _ = arrays(tmp_path / "e.h5")
    assert found["features/resnet50/top@1"].shape == (0, 1, 1, 5) and len(found["items/id"]) == 0
