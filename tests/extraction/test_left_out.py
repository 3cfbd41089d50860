"""What is passed over, refused by its name, or odd in a clip is named, counted, and said again by every run."""

import json
import os
from dataclasses import replace

import polars as pl
import pytest
from PIL import ExifTags, Image
from support.odd_clip import write_damaged_clip

from facedep_jax.cache import open_cache
from facedep_jax.cache.checksummed_jsonl import read_lines
from facedep_jax.cache.ledger_state import odd_decoding
from facedep_jax.cache.maintenance.export import export_cache
from facedep_jax.cache.maintenance.forget import forget_source
from facedep_jax.cache.maintenance.inspect import inspect_cache
from facedep_jax.cache.maintenance.merge import merge_caches
from facedep_jax.cache.maintenance.verify import verify_cache
from facedep_jax.dataset.prepare import odd_warnings
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.files_summary import FIRST_IGNORED
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.media import ClipInfo
from facedep_jax.media.decode.images.orientation import said
from facedep_jax.media.media_writer import write_image
from facedep_jax.progress_events import Note
from facedep_jax.sources import read_source
from facedep_jax.sources.file_kinds import JPEG_XL
from facedep_jax.sources.synthetic_faces import draw_clips

QUICK = ExtractSettings(weights="random:1", taps="mobilenet_v2:mid@1", size="32", faces="none", batch_size=4)


def run(place, out, report=lambda event: None, **changed):
    return extract([read_source(str(place))], out, replace(QUICK, **changed), report)


def ignored(cache):
    return [(e["source"], e["path"], e["reason"]) for e in read_lines(cache / "ignored.jsonl")[0]]


@pytest.fixture
def faces(tmp_path):
    """Two pictures and what lies beside pictures."""
    folder = tmp_path / "faces"
    for number in range(2):
        write_image(folder / f"{number}.png", number * 60 + read_pixels())
    for name in ("notes.txt", "._0.png", "b/readme", os.fsdecode(b"\xff.mp3")):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"text")
    return folder


def read_pixels():
    import numpy as np

    return np.random.default_rng(0).integers(0, 100, (40, 40, 3)).astype(np.uint8)


def test_all_that_is_passed_over_is_written_down_with_its_reason(faces, tmp_path):
    summary = run(faces, tmp_path / "c")
    expected = [
        (str(faces), "._0.png", "hidden files are passed over"),
        (str(faces), "b/readme", "neither a clip nor a picture by its content"),
        (str(faces), "notes.txt", ".txt files are not read"),
        (str(faces), "\udcff.mp3", "sound"),
    ]
    assert ignored(tmp_path / "c") == expected
    assert (summary["items_ignored"], summary["ignored_in"]) == (4, str(tmp_path / "c" / "ignored.jsonl"))
    named = [(file["source"], file["path"], file["reason"]) for file in summary["ignored"]]
    assert named == [*expected[1:], expected[0]]  # what systems leave beside every file comes last
    assert verify_cache(tmp_path / "c")["ok"] and inspect_cache(tmp_path / "c")["files_ignored"] == 4
    json.dumps(summary)


def test_a_rerun_says_what_is_now_and_other_sources_stay(faces, tmp_path):
    other = tmp_path / "other"
    write_image(other / "a.png", read_pixels())
    (other / "x.pdf").write_bytes(b"")
    run(faces, tmp_path / "c")
    run(other, tmp_path / "c")
    (faces / "notes.txt").unlink()
    run(faces, tmp_path / "c")
    assert {path for _, path, _ in ignored(tmp_path / "c")} == {"x.pdf", "._0.png", "b/readme", "\udcff.mp3"}
    before = os.stat(tmp_path / "c" / "ignored.jsonl")
    run(faces, tmp_path / "c")
    assert os.stat(tmp_path / "c" / "ignored.jsonl").st_ino == before.st_ino  # nothing new, nothing written
    for path in [*faces.rglob("*.mp3"), faces / "._0.png", faces / "b" / "readme"]:
        path.unlink()
    forget_source(tmp_path / "c", str(other))
    summary = run(faces, tmp_path / "c")
    assert not (tmp_path / "c" / "ignored.jsonl").exists()
    assert (summary["items_ignored"], summary["ignored"], summary["ignored_in"]) == (0, [], None)


def test_a_glob_speaks_only_of_what_it_names(faces, tmp_path):
    run(faces, tmp_path / "c")
    (faces / "more.txt").write_text("")
    run(faces / "*.[pt][nx][gt]", tmp_path / "c")
    paths = [path for _, path, _ in ignored(tmp_path / "c")]
    assert sorted(paths) == sorted(["._0.png", "b/readme", "notes.txt", "\udcff.mp3", "more.txt"])


def test_a_summary_names_the_first_only(faces, tmp_path):
    for number in range(30):
        (faces / f"{number:02}.txt").write_text("")
    summary = run(faces, tmp_path / "c")
    assert len(summary["ignored"]) == FIRST_IGNORED and len(ignored(tmp_path / "c")) == summary["items_ignored"] == 34


def test_what_is_not_read_fails_unopened_and_every_run_says_so(faces, tmp_path):
    os.mkfifo(faces / "a.jxl")  # whoever opened it would wait for ever
    (faces / "b.braw").write_bytes(b"\0" * 20)
    for _ in range(2):
        summary = run(faces, tmp_path / "c", retry_failed=True)
        reasons = {os.path.basename(f["path"]): (f["stage"], f["reason"], f["id"]) for f in summary["failures"]}
        assert reasons["a.jxl"] == ("read", JPEG_XL.reason, None) and "raw clip" in reasons["b.braw"][1]
        assert summary["items_failed"] == 2
    cache = open_cache(tmp_path / "c")
    assert set(cache.spec["input"]) == {"image"}  # a clip that is never read asks for no settings of clips
    assert cache.listings.filter(pl.col("item").is_null())["path"].to_list() == ["a.jxl", "b.braw"]
    assert len(read_lines(tmp_path / "c" / "failures.jsonl")[0]) == 2 and verify_cache(tmp_path / "c")["ok"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd") / "clips"
    draw_clips(folder)
    write_damaged_clip(folder / "odd.mp4")
    (folder / "again").mkdir()
    (folder / "again" / "same.mp4").write_bytes((folder / "odd.mp4").read_bytes())
    return folder


def decoding(cache):
    return {row["path"]: row["decoding"] for row in open_cache(cache).listings.iter_rows(named=True) if row["decoding"]}


def test_what_was_odd_in_a_clip_is_counted_by_the_first_run_and_every_other(clips, tmp_path):
    notes = []
    first = run(clips, tmp_path / "c", notes.append)
    said = decoding(tmp_path / "c")
    assert first["files_odd"] == 2 and said.keys() == {"odd.mp4", "again/same.mp4"} and "damaged" in said["odd.mp4"]
    assert any(isinstance(n, Note) and n.level == "warning" and "damaged" in n.text for n in notes)
    again = run(clips, tmp_path / "c")
    assert (again["items_new"], again["files_odd"]) == (0, 2)
    forget_source(tmp_path / "c", str(clips))
    assert inspect_cache(tmp_path / "c")["files_odd"] == 0
    back = run(clips, tmp_path / "c")  # listed again from what the cache knows, without a look into the clip
    assert (back["items_new"], back["files_odd"]) == (0, 2) and decoding(tmp_path / "c") == said


def test_what_was_odd_is_told_where_a_run_was_killed_between_rows_and_listings(clips, tmp_path):
    run(clips, tmp_path / "c")
    said = decoding(tmp_path / "c")
    (tmp_path / "c" / "listings.jsonl").write_text("")
    again = run(clips, tmp_path / "c")
    assert (again["items_new"], again["files_odd"]) == (0, 2) and decoding(tmp_path / "c") == said


def test_a_picture_of_which_a_part_is_left_out_is_odd_and_a_turned_one_is_not(tmp_path):
    (tmp_path / "pictures").mkdir()
    frames = [Image.new("RGB", (48, 48), colour) for colour in ("red", "green")]
    frames[0].save(tmp_path / "pictures" / "two.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 7
    frames[1].save(tmp_path / "pictures" / "turned.jpg", exif=exif)
    frames[1].save(tmp_path / "pictures" / "plain.png")
    found = run(tmp_path / "pictures", tmp_path / "c")
    said = {name: text for name, text in decoding(tmp_path / "c").items() if text}
    assert found["files_odd"] == 1 and said.keys() == {"two.gif", "turned.jpg"} and "2 frames" in said["two.gif"]


def test_what_was_odd_stays_when_caches_are_merged_and_exported_and_is_told_to_who_learns(clips, tmp_path):
    run(clips, tmp_path / "a")
    said = decoding(tmp_path / "a")
    merge_caches([tmp_path / "a"], tmp_path / "m")
    assert decoding(tmp_path / "m") == said and inspect_cache(tmp_path / "m")["files_odd"] == 2
    export_cache(tmp_path / "m", tmp_path / "e.h5")
    exported = pl.read_csv(tmp_path / "e.listings.csv")
    assert int(odd_decoding(exported).sum()) == 2
    cache = open_cache(tmp_path / "m")
    items = cache.items.id.tolist()
    (warning,) = odd_warnings([cache], items)
    assert warning.startswith(f"1 of {len(items)} items were decoded with something odd")
    odd = cache.listings.filter(odd_decoding(cache.listings))["item"][0]
    assert odd_warnings([cache], [item for item in items if item != odd]) == ()


def test_a_turn_alone_is_not_odd():
    turned = ClipInfo(10, 20, 90, 1.0, 1, 1, ())
    accounts = [turned.account, replace(turned, notes=("gaps: 1",)).account, "", None, "gaps: 1"]
    assert odd_decoding(pl.DataFrame({"decoding": accounts})).to_list() == [False, True, False, False, True]
    flipped = [replace(turned, rotation=degrees, mirrored=True).account for degrees in (0, 90)]
    assert not odd_decoding(pl.DataFrame({"decoding": [*flipped, *map("; ".join, map(said, range(1, 9)))]})).any()
    assert odd_decoding(pl.DataFrame({"path": ["a"]})).to_list() == [False]
