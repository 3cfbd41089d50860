"""Unchanged files are not read again; anything that looks different is."""

import os
import time

import pytest

from facedep_jax.cache import open_cache
from facedep_jax.cache.file_hash_cache import FILE, FRESH, KnownFiles
from facedep_jax.cache.maintenance.purge import purge_cache
from facedep_jax.cache.maintenance.verify import verify_cache
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.machine_resources import decoders
from facedep_jax.media import read_images
from facedep_jax.media.file_hashing import state_of
from facedep_jax.sources import read_source
from facedep_jax.sources.synthetic_faces import draw_faces

SETTINGS = ExtractSettings(weights="random:1", taps="mobilenet_v2:mid@1", size="32", batch_size=4)


@pytest.fixture
def old(tmp_path):
    """A file that was just written."""
    path = tmp_path / "old.jpg"
    path.write_bytes(b"12345")
    return path


@pytest.fixture
def wait(monkeypatch):
    """Lets seconds go by: the time of a file's last change cannot be set."""

    def later(seconds: float) -> None:
        now = time.time() + seconds
        monkeypatch.setattr("facedep_jax.cache.file_hash_cache.time.time", lambda: now)

    return later


def test_what_was_noted_is_known_until_the_file_changes(tmp_path, old, wait):
    wait(3600)
    known = KnownFiles(tmp_path)
    assert known.item_of(old) is None
    known.note(old, state_of(old), "a" * 64)
    known.save()
    again = KnownFiles(tmp_path)
    assert again.item_of(old) == "a" * 64
    assert again.item_of(tmp_path / "other.jpg") is None
    before = os.stat(old)
    old.write_bytes(b"54321")  # as long, and with its old time of modification
    os.utime(old, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert again.item_of(old) is None
    old.unlink()
    assert again.item_of(old) is None


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path, old, wait):
    wait(FRESH / 2)
    known = KnownFiles(tmp_path)
    known.note(old, state_of(old), "a" * 64)
    assert known.item_of(old) is None
    known.save()
    assert not (tmp_path / FILE).exists()


def test_a_damaged_line_is_forgotten_and_mended(tmp_path, old, wait):
    wait(3600)
    known = KnownFiles(tmp_path)
    known.note(old, state_of(old), "a" * 64)
    known.save()
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole.replace(b"aaaa", b"aaab", 1))
    damaged = KnownFiles(tmp_path)
    assert damaged.item_of(old) is None
    damaged.save()
    assert (tmp_path / FILE).read_bytes() == b""


@pytest.fixture
def reads(monkeypatch):
    """Every file whose bytes were asked for, and whether to decode them."""
    seen = []

    def read(files, settings, decode, over):
        seen.extend((file.name, decode) for file in files)
        return read_images(files, settings, decode, over=over)

    monkeypatch.setattr("facedep_jax.extraction.local_extraction.read_images", read)
    return seen


def test_a_rerun_reads_what_changed_and_nothing_else(tmp_path, reads, monkeypatch):
    monkeypatch.setattr("facedep_jax.cache.file_hash_cache.FRESH", 0.0)
    draw_faces(tmp_path / "faces", persons=3)
    files = sorted(p for p in (tmp_path / "faces").rglob("*") if p.suffix in (".png", ".jpg"))

    def run(**changed):
        reads.clear()
        settings = ExtractSettings(**{**vars(SETTINGS), **changed})
        return extract([read_source(str(tmp_path / "faces"))], tmp_path / "cache", settings)

    first = run()
    assert sorted(reads) == sorted((file.name, True) for file in files)
    assert first["items_new"] == len(files) and first["engine"] != "none"
    second = run()
    assert reads == [] and second["items_reused"] == len(files) and second["engine"] == "none"
    copy = files[0].read_bytes()
    files[0].unlink()
    files[0].write_bytes(copy)  # the same bytes under the same name, in another inode or at another time
    assert run()["items_reused"] == len(files) and reads == [(files[0].name, False)]
    assert run(rehash=True)["items_reused"] == len(files)
    assert sorted(reads) == sorted((file.name, False) for file in files)  # what is there is not decoded for that


def test_of_a_folder_that_has_grown_few_files_are_read_twice(tmp_path, reads, monkeypatch):
    """While the cache has most files they are only hashed at first; else they are decoded at once."""
    monkeypatch.setattr("facedep_jax.extraction.local_extraction.MOST_A_REQUEST", 1)
    few, many = tmp_path / "few", tmp_path / "many"
    draw_faces(few, persons=2)
    draw_faces(many, persons=12, seed=5)
    for folder in (few, many, few):
        reads.clear()
        extract([read_source(str(folder))], tmp_path / "cache", ExtractSettings(**{**vars(SETTINGS), "rehash": True}))
    assert not any(decode for _, decode in reads)
    reads.clear()
    extract([read_source(str(many))], tmp_path / "other", SETTINGS)
    assert all(decode for _, decode in reads)
    with_few = tmp_path / "third"
    extract([read_source(str(few))], with_few, SETTINGS)
    reads.clear()
    extract([read_source(str(many))], with_few, SETTINGS)
    looked = [name for name, decode in reads if not decode]
    assert 0 < len(looked) <= 4 * decoders() < sum(decode for _, decode in reads)


@pytest.mark.parametrize("changed", [{}, {"rehash": True}, {"workers": 2}])
def test_what_was_purged_does_not_come_back(tmp_path, changed):
    draw_faces(tmp_path / "faces", persons=3)
    source = read_source(str(tmp_path / "faces"))
    first = extract([source], tmp_path / "cache", SETTINGS)
    gone = str(open_cache(tmp_path / "cache").items.id[0])
    purge_cache(tmp_path / "cache", [gone])
    again = extract([source], tmp_path / "cache", ExtractSettings(**{**vars(SETTINGS), **changed}))
    assert (again["items_new"], again["items_purged"]) == (0, 1)
    assert again["items_reused"] == first["items_new"] - 1
    assert gone not in open_cache(tmp_path / "cache").items.id and verify_cache(tmp_path / "cache")["ok"]
    assert all(gone.encode() not in path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())
