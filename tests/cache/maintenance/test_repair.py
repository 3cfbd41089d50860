"""`verify` finds every damage, and `repair` takes out what is bad and nothing else."""

import hashlib
import json
import os
import shutil
import time
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from support.caches import (
    ENGINE,
    NO_BOX,
    add_clip,
    add_image,
    add_listings,
    flip,
    identity,
    listing,
    shards,
    tree,
    values,
)
from support.hostile_h5 import SPEC

from facedep_jax.cache import CacheWriter, open_cache
from facedep_jax.cache.checksummed_jsonl import append_lines, encode_line, read_lines
from facedep_jax.cache.feature_spec import write_header
from facedep_jax.cache.file_hash_cache import KnownFiles
from facedep_jax.cache.maintenance.repair import repair_cache
from facedep_jax.cache.maintenance.verify import diff_caches, verify_cache
from facedep_jax.cache.tombstones import Purged
from facedep_jax.errors import CacheError, CacheLocked, DamagedCache, SettingsError
from facedep_jax.provenance import config_check, write_config


def fill(folder):
    """Twelve images, then a clip in parts, in shards of five rows; what is there already is not added again."""
    with CacheWriter(folder, SPEC, ENGINE, shard_rows=5) as writer:
        for number in range(12):
            if identity(number) not in writer.complete:
                add_image(writer, number)
        if identity(100) not in writer.complete:
            add_clip(writer, 100, [1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 1])
        add_listings(writer)
    return folder


@pytest.fixture
def cache(tmp_path):
    return fill(tmp_path / "c")


def with_true_name(folder, path):
    """Name an altered shard by its hash, in the manifest too: damage that no hash can show."""
    new = path.with_name(hashlib.sha256(path.read_bytes()).hexdigest() + ".h5")
    path.rename(new)
    entries = [
        e | {"file": new.name if e["file"] == path.name else e["file"]}
        for e in read_lines(folder / "manifest.jsonl")[0]
    ]
    (folder / "manifest.jsonl").write_bytes(b"".join(map(encode_line, entries)))
    return new


def kinds(folder):
    return {(p["file"], p["kind"]) for p in verify_cache(folder)["problems"]}


def with_config(folder):
    """`config.toml` as extract-features writes it, closed by its checksum."""
    write_config(
        folder / "config.toml",
        "extract",
        {"taps": "x"},
        {"cache": {"fingerprint": open_cache(folder).fingerprint, **SPEC}},
    )
    text = (folder / "config.toml").read_bytes()
    if not text.splitlines()[-1].startswith(b"# check"):
        (folder / "config.toml").write_bytes(text + config_check(text))


def test_every_flipped_bit_of_the_small_files_is_found(tmp_path):
    cache = tmp_path / "c"
    with CacheWriter(cache, SPEC, ENGINE) as writer:
        add_image(writer, 1)
    with_config(cache)
    assert verify_cache(cache)["ok"]
    for name in ("cache.json", "config.toml", "purged.jsonl"):
        path = cache / name
        if name == "purged.jsonl":
            append_lines(path, [{"salt": "00", "hash": "11"}])
        original = path.read_bytes()
        for bit in range(0, 8 * len(original), 29):
            data = bytearray(original)
            data[bit // 8] ^= 1 << bit % 8
            path.write_bytes(data)
            try:
                found = not verify_cache(cache)["ok"]
            except CacheError:
                found = True
            assert found, f"bit {bit} of {name}"
        path.write_bytes(original)


def checked(text):
    """A line with a right checksum, whatever its text."""
    return f'{text[:-1]},"check":"{hashlib.sha256(text.encode()).hexdigest()[:16]}"}}\n'.encode()


MISFITS = {
    "manifest.jsonl": encode_line({"file": "x.h5", "rows": -1, "items": []}),
    "listings.jsonl": checked('{"deep":' + "[" * 100_000 + "]" * 100_000 + "}"),
    "failures.jsonl": encode_line({"path": "/s/x", "id": None, "stage": "read", "reason": ["x"]}),
    "files.jsonl": encode_line({"path": "/s/x", "signature": [1, 2], "item": identity(1)}),
    "purged.jsonl": encode_line({"salt": "\ud800", "hash": "x"}),
}


@pytest.mark.parametrize("ledger", MISFITS)
def test_a_line_that_nobody_writes_is_a_problem_and_can_be_repaired(cache, ledger):
    """Its checksum is right, so somebody made it up: it is used nowhere."""
    with open(cache / ledger, "ab") as stream:
        stream.write(MISFITS[ledger])
    assert kinds(cache) == {(ledger, "line")}
    if ledger in ("manifest.jsonl", "listings.jsonl"):
        with pytest.raises(DamagedCache, match=f"{ledger}: line .*`cache repair`"):
            _ = open_cache(cache).listings
    else:
        assert open_cache(cache).failures.is_empty() and KnownFiles(cache)._known.height == len(Purged(cache)) == 0
    repair_cache(cache)
    assert verify_cache(cache)["ok"] and len(open_cache(cache).listings) == 13


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("notes.txt", "stray"),
        ("shards/notes.txt", "stray"),
        (".listings.jsonl.7.tmp", "stray"),
        ("shards/7.tmp", "stray"),
    ],
)
def test_strays_are_found_anywhere(cache, place, kind):
    (cache / place).write_text("x")
    assert kinds(cache) == {(place, kind)}


def alter(table, column, number, value):
    def change(file):
        file[f"{table}/{column}"][number] = value

    return change


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (alter("features", "resnet50/top@1", 2, np.nan), "resnet50:top@1 holds values that are not finite"),
        (alter("rows", "face", 0, 3), "a row has a feature unless it has no crop"),
        (alter("rows", "face", 0, 9), "not all face states are known"),
        (alter("rows", "box", 0, [1, np.nan, 2, 3]), "a box is four numbers or none"),
        (alter("rows", "time", 0, np.nan), "the times of an item go on"),
        (alter("items", "id", 0, b"x" * 64), "not all ids are 64 hexadecimal digits"),
        (alter("items", "id", 0, b"\xe3" * 64), "not all ids are 64 hexadecimal digits"),
        (alter("items", "kind", 0, b"movie"), "not all kinds are image or clip"),
        (alter("items", "part", 0, 1), "an image is one part of one row"),
        (alter("items", "width", 0, 0), "the last part of an item states its size, others state none"),
        (alter("items", "last", 0, 2), "`last` is 0 or 1"),
    ],
)
def test_what_a_shard_says_is_checked_whatever_its_hash(cache, change, detail):
    path = shards(cache)[0]
    with h5py.File(path, "r+") as file:
        change(file)
    new = with_true_name(cache, path)
    found = [p["detail"] for p in verify_cache(cache)["problems"] if p["file"] == new.name]
    assert any(said.endswith(detail) for said in found)
    if "not all" in detail:  # what a reader would stumble over is refused when it is opened
        with pytest.raises(DamagedCache, match=detail):
            open_cache(cache)
    repair_cache(cache)
    assert verify_cache(cache)["ok"]


@pytest.mark.parametrize("rows", [0, 2])
def test_a_picture_has_one_row(tmp_path, rows):
    with CacheWriter(tmp_path / "c", SPEC, ENGINE) as writer:
        writer.begin_item(identity(1), "image")
        for _ in range(rows):
            writer.add_row(0.0, 0, NO_BOX, np.nan, values(1))
        writer.end_item(10, 20)
    assert [p["detail"] for p in verify_cache(tmp_path / "c")["problems"]] == ["an image is one part of one row"]


def test_a_sample_hashes_some_and_checks_the_structure_of_all(cache):
    paths = shards(cache)
    summary = verify_cache(cache, sample=0.05)
    assert (summary["shards"], summary["hashed"], summary["ok"]) == (5, 1, True)
    assert isinstance(summary["seed"], int)
    assert verify_cache(cache)["seed"] is None and verify_cache(cache)["hashed"] == 5
    for path in paths:
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
    drawn = {
        tuple(p["file"] for p in verify_cache(cache, sample=0.4, seed=seed)["problems"] if p["kind"] == "hash")
        for seed in range(9)
    }
    assert {len(files) for files in drawn} == {2} and len(drawn) > 2
    assert verify_cache(cache, sample=0.4, seed=5) == verify_cache(cache, sample=0.4, seed=5)
    for path in paths:
        path.write_bytes(path.read_bytes()[:300])
    found = verify_cache(cache, sample=0.2, seed=1)["problems"]
    assert {p["file"] for p in found if p["kind"] in ("structure", "hash")} == {path.name for path in paths}
    with pytest.raises(SettingsError, match="above 0 and at most 1"):
        verify_cache(cache, sample=0.0)


def test_nothing_to_repair_changes_nothing(cache):
    fill(cache)
    before, times = tree(cache), {p: p.stat().st_mtime_ns for p in cache.rglob("*.h5")}
    summary = repair_cache(cache)
    assert (summary["changed"], summary["dropped"], summary["extract_again"]) == (False, [], [])
    assert tree(cache) == before
    assert {p: p.stat().st_mtime_ns for p in cache.rglob("*.h5")} == times


def lose_first_line(path):
    path.write_bytes(b'{"broken"' + path.read_bytes()[9:])


DAMAGES = {
    "a shard": lambda c: flip(shards(c)[1]),
    "the middle of the clip": lambda c: flip(shards(c)[3]),
    "a lost shard": lambda c: shards(c)[0].unlink(),
    "a lost manifest": lambda c: (c / "manifest.jsonl").unlink(),
    "a manifest line": lambda c: lose_first_line(c / "manifest.jsonl"),
    "a listing": lambda c: lose_first_line(c / "listings.jsonl"),
    "the last listing, torn": lambda c: os.truncate(c / "listings.jsonl", os.stat(c / "listings.jsonl").st_size - 9),
    "a stray": lambda c: (c / "shards" / "x.h5").write_text("no"),
    "a stray folder": lambda c: shutil.copytree(c / "shards", c / "old"),
    "a listings folder": lambda c: ((c / "listings.jsonl").unlink(), (c / "listings.jsonl").mkdir()),
    "cache.json's spaces": lambda c: (c / "cache.json").write_text(
        json.dumps(json.loads((c / "cache.json").read_text()))
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_repaired_verifies_and_extraction_fills_the_gaps(cache, tmp_path, damage):
    shutil.copytree(cache, tmp_path / "whole")
    DAMAGES[damage](cache)
    assert not verify_cache(cache)["ok"]
    bad = {p["file"] for p in verify_cache(cache)["problems"]}
    sound = {p.name for p in shards(tmp_path / "whole")} - bad
    good = {p.name: p.stat().st_mtime_ns for p in cache.glob("shards/*.h5") if p.name in sound}
    summary = repair_cache(cache)
    assert verify_cache(cache)["problems"] == []
    straightened = {d["file"] for d in summary["dropped"] if d["kind"] == "parts"}
    now = {p.name: p.stat().st_mtime_ns for p in cache.glob("shards/*.h5")}
    assert {name: now.get(name) for name in good if name not in straightened} == {
        name: time for name, time in good.items() if name not in straightened
    }
    again = tree(cache)
    assert repair_cache(cache)["changed"] is False
    assert tree(cache) == again
    fill(cache)
    assert diff_caches(tmp_path / "whole", cache) == {"equal": True, "differences": []}
    assert verify_cache(cache)["ok"]


def test_what_was_dropped_is_kept_and_named(cache):
    bad = shards(cache)[1]
    flip(bad)
    damaged = bad.read_bytes()
    summary = repair_cache(cache)
    assert summary["changed"]
    dropped = {d["file"]: d for d in summary["dropped"]}
    assert dropped[bad.name]["kind"] == "hash"
    assert (cache / dropped[bad.name]["kept_as"]).read_bytes() == damaged
    assert sorted(e["path"] for e in summary["extract_again"]) == [f"{n}.jsonl"[:-5] + "jpg" for n in range(5, 10)]
    assert summary["items_lost"] == 5
    assert open_cache(cache).items.id.tolist() == [identity(n) for n in (0, 1, 2, 3, 4, 10, 11, 100)]
    assert not {e["path"] for e in open_cache(cache).listings.to_dicts()} & {
        e["path"] for e in summary["extract_again"]
    }


def test_a_lost_middle_of_a_clip_takes_its_end_along(cache):
    """The end would be joined to whatever a new extraction puts before it."""
    before = open_cache(cache)
    flip(
        shards(cache)[3]
    )  # 5 rows of the clip; its first rows are with the last images, its end is in a shard of its own
    summary = repair_cache(cache)
    assert [d["kind"] for d in summary["dropped"]] == ["hash", "parts", "item"]
    assert identity(100) not in open_cache(cache).items.id
    with CacheWriter(cache, SPEC, ENGINE) as writer:
        assert writer.partial[identity(100)] == (1, 3)
    assert len(before.items) == 13


def test_copies_with_other_values_are_straightened(cache, tmp_path):
    with CacheWriter(tmp_path / "other", SPEC, ENGINE) as writer:
        for number in (3, 20):
            writer.begin_item(identity(number), "image")
            writer.add_row(0.0, 0, NO_BOX, np.nan, values(number + (number == 3)))
            writer.end_item(10, 20, 0.0, number)
    theirs = shards(tmp_path / "other")[0]
    shutil.copy(theirs, cache / "shards")
    assert kinds(cache) == {(theirs.name, "unlisted"), (theirs.name, "copy")}
    before, tap = open_cache(cache), "resnet50:top@1"
    kept = before.features(tap)[np.flatnonzero(before.items.id == identity(3))[0]]
    repair_cache(cache)
    after = open_cache(cache)
    assert verify_cache(cache)["ok"]
    assert sorted(after.items.id) == sorted([*before.items.id[before.items.id != identity(20)], identity(20)])
    np.testing.assert_array_equal(after.features(tap)[np.flatnonzero(after.items.id == identity(3))[0]], kept)


def test_equal_copies_are_no_problem(cache, tmp_path):
    with CacheWriter(tmp_path / "other", SPEC, SimpleNamespace(name="other", version="1", device="cpu")) as writer:
        add_image(writer, 3)
    shutil.copy(shards(tmp_path / "other")[0], cache / "shards")
    fill(cache)
    assert verify_cache(cache)["ok"]
    assert len(open_cache(cache).items) == 13


def test_a_shard_of_another_cache_is_set_aside(cache, tmp_path):
    other = json.loads(json.dumps(SPEC))
    other["features"]["color"] = "grey"
    with CacheWriter(tmp_path / "grey", other, ENGINE) as writer:
        add_image(writer, 50)
    shutil.copy(shards(tmp_path / "grey")[0], cache / "shards")
    assert [p["kind"] for p in verify_cache(cache)["problems"]] == ["foreign"]
    summary = repair_cache(cache)
    assert [d["kind"] for d in summary["dropped"]] == ["foreign"]
    assert verify_cache(cache)["ok"] and len(open_cache(cache).items) == 13


def test_a_damaged_header_is_written_anew_from_the_record_in_config(cache):
    with_config(cache)
    good = (cache / "cache.json").read_bytes()
    (cache / "cache.json").write_bytes(good.replace(b"rgb", b"rgc"))
    assert repair_cache(cache)["changed"]
    assert json.loads((cache / "cache.json").read_bytes()) == json.loads(good) and verify_cache(cache)["ok"]
    (cache / "config.toml").unlink()
    (cache / "cache.json").write_bytes(good.replace(b"rgb", b"rgc"))
    before = tree(cache)
    with pytest.raises(CacheError, match=r"cache\.json is damaged"):
        repair_cache(cache)
    assert tree(cache) == before


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["cache.json", "config.toml"])
def test_a_small_file_that_is_a_hole_of_many_bytes_is_not_read(cache, name):
    with_config(cache)
    text = (cache / name).read_bytes()
    os.truncate(cache / name, 20 * 10**9)
    begun = time.process_time()
    summary = repair_cache(cache)
    assert [found["file"] for found in summary["dropped"]] == [name]
    kept = cache / summary["dropped"][0]["kept_as"]
    assert kept.stat().st_size == 20 * 10**9
    assert time.process_time() - begun < 10  # bytes by bytes it is a minute
    assert verify_cache(cache)["ok"]
    gone = name == "config.toml"  # the next extraction writes it anew
    assert not (cache / name).exists() if gone else json.loads((cache / name).read_bytes()) == json.loads(text)


def test_a_header_of_another_cache_takes_no_shard_along(cache, tmp_path):
    """It is `cache.json` that does not belong here, and not everything else."""
    with_config(cache)
    good = (cache / "cache.json").read_bytes()
    with CacheWriter(tmp_path / "grey", SPEC | {"input": {"image": {"faces": "haar"}}}, ENGINE):
        shutil.copy(tmp_path / "grey" / "cache.json", cache)
    assert kinds(cache) == {("cache.json", "foreign")}
    with pytest.raises(CacheError, match=r"is another cache's: its fingerprint is .* of all 5 shards"):
        open_cache(cache)
    kept = [path.read_bytes() for path in shards(cache)]
    repair_cache(cache)
    assert json.loads((cache / "cache.json").read_bytes()) == json.loads(good) and verify_cache(cache)["ok"]
    assert [path.read_bytes() for path in shards(cache)] == kept
    (cache / "config.toml").unlink()
    shutil.copy(tmp_path / "grey" / "cache.json", cache)
    before = tree(cache)
    with pytest.raises(CacheError, match=r"is another cache's.*`cache repair` writes it anew if config\.toml is whole"):
        repair_cache(cache)
    assert tree(cache) == before


def test_places_that_cannot_be_repaired_are_not_touched(cache, tmp_path):
    with_config(cache)
    header = json.loads((cache / "cache.json").read_text())
    (cache / "cache.json").write_text(json.dumps(header | {"format": 3}))
    (tmp_path / "file").write_text("x")
    before = tree(tmp_path)
    for place, message in (("c", "format version 3"), ("file", "is a file"), ("absent", "does not exist")):
        with pytest.raises(CacheError, match=message):
            repair_cache(tmp_path / place)
    assert tree(tmp_path) == before


def test_repair_waits_for_no_writer(cache):
    with CacheWriter(cache, SPEC, ENGINE), pytest.raises(CacheLocked, match=f"is being used by process {os.getpid()}"):
        repair_cache(cache)


def test_a_corrected_label_does_not_come_back_wrong(cache):
    """When the item of the line in force is lost, the line before it must not come into force."""
    append_lines(cache / "listings.jsonl", [listing(0, item=identity(999), emotion="happy")])
    assert [p["kind"] for p in verify_cache(cache)["problems"]] == ["item"]
    summary = repair_cache(cache)
    assert [e["item"] for e in summary["extract_again"]] == [identity(999)]
    assert "0.jpg" not in {e["path"] for e in open_cache(cache).listings.to_dicts()}


def test_write_header_is_what_verify_expects(cache):
    before = (cache / "cache.json").read_bytes()
    write_header(cache, open_cache(cache).spec)
    assert (cache / "cache.json").read_bytes() == before


@pytest.mark.parametrize("value", ["2024-05-01", "nan", "12:30:00"])
def test_a_recorded_spec_that_no_spec_can_be_does_not_stand_in_for_a_damaged_header(cache, value):
    with_config(cache)
    config = (cache / "config.toml").read_text()
    (cache / "config.toml").write_text(config.replace("[cache]\n", f"[cache]\nodd = {value}\n"))
    (cache / "cache.json").write_text("{")
    with pytest.raises(CacheError, match=r"cache\.json"):
        repair_cache(cache)
