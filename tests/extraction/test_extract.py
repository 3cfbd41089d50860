"""Stage one end to end, with real decoding and a real (small, untrained) backbone."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from facedep_jax.cache import open_cache
from facedep_jax.cache.feature_spec import fingerprint, read_header, write_header
from facedep_jax.cache.maintenance.verify import diff_caches, verify_cache
from facedep_jax.errors import SettingsError, SpecMismatch
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.plan import load_checked_engine
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.machine_resources import decoders
from facedep_jax.media import DECODERS, read_images
from facedep_jax.progress_events import Note, Progress
from facedep_jax.sources import read_source
from facedep_jax.sources.synthetic_faces import draw_clips, draw_faces

QUICK = ExtractSettings(weights="random:1", taps="mobilenet_v2:mid@2", size="32", batch_size=4, faces="none")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Forty-five drawn faces, one of them twice, one cut short, and a note."""
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    draw_faces(folder, persons=3)
    first = folder / "train" / "happy" / "p00_0.png"
    (folder / "train" / "happy" / "copy.png").write_bytes(first.read_bytes())
    (folder / "train" / "sad" / "cut.png").write_bytes(first.read_bytes()[:900])
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "clips"
    draw_clips(folder)
    return folder


def run(source, out, settings=QUICK, report=lambda event: None):
    return extract([read_source(str(source))], out, settings, report)


def test_every_file_is_accounted_for(faces, tmp_path):
    events = []
    summary = run(faces, tmp_path / "c", report=events.append)
    counts = {
        k: summary[k] for k in ("items_total", "items_new", "items_reused", "items_failed", "items_ignored", "rows")
    }
    assert counts == {
        "items_total": 46,
        "items_new": 45,
        "items_reused": 0,
        "items_failed": 1,
        "items_ignored": 1,
        "rows": 45,
    }
    assert summary["features"] == {"mobilenet_v2:mid@2": [2, 2, 576]}
    assert summary["failures"][0]["path"].endswith("cut.png")
    cache = open_cache(tmp_path / "c")
    assert len(cache.items) == 45
    assert len(cache.listings) == 47
    copies = [e for e in cache.listings.to_dicts() if e["path"] in ("train/happy/copy.png", "train/happy/p00_0.png")]
    assert copies[0]["item"] == copies[1]["item"]
    assert verify_cache(tmp_path / "c")["ok"]
    assert any(isinstance(e, Note) and e.level == "warning" and "UNTRAINED" in e.text for e in events)
    progress = [e for e in events if isinstance(e, Progress) and e.stage == "extract"]
    assert (progress[-1].done, progress[-1].total, progress[-1].failed) == (47, 47, 1)


def test_a_rerun_computes_nothing_and_remembers_failures(faces, tmp_path):
    run(faces, tmp_path / "c")
    again = run(faces, tmp_path / "c")
    assert (again["items_new"], again["items_reused"], again["items_failed"], again["rows"]) == (0, 45, 1, 0)
    assert "recorded before" in again["failures"][0]["reason"]
    retried = run(faces, tmp_path / "c", ExtractSettings(**{**vars(QUICK), "retry_failed": True}))
    assert "recorded before" not in retried["failures"][0]["reason"]


def test_values_do_not_depend_on_neighbours_or_interruptions(faces, tmp_path):
    run(faces, tmp_path / "whole")
    run(faces, tmp_path / "pieces", ExtractSettings(**{**vars(QUICK), "limit": 13, "shard_rows": 3}))
    run(faces, tmp_path / "pieces", ExtractSettings(**{**vars(QUICK), "shard_rows": 5}))
    assert diff_caches(tmp_path / "whole", tmp_path / "pieces") == {"equal": True, "differences": []}


def test_flipped_views_are_the_features_of_mirrored_files(faces, tmp_path):
    flip = replace(QUICK, flip=True, limit=9)
    summary = run(faces, tmp_path / "both", flip)
    assert summary["features"] == {"mobilenet_v2:mid@2": [2, 2, 576], "mobilenet_v2:mid@2~flipped": [2, 2, 576]}
    both = open_cache(tmp_path / "both")
    mirrored = tmp_path / "mirrored" / "neutral"
    mirrored.mkdir(parents=True)
    paths = {e["item"]: e["path"] for e in both.listings.to_dicts()}
    for number, item in enumerate(both.items.id):
        picture = cv2.imread(str(faces / paths[str(item)]))
        assert cv2.imwrite(str(mirrored / f"{number:02}.png"), picture[:, ::-1])
    run(mirrored.parent, tmp_path / "plain")
    plain = open_cache(tmp_path / "plain")
    order = {e["item"]: e["path"] for e in plain.listings.to_dicts()}
    rows = np.argsort([order[str(item)] for item in plain.items.id])
    expected = plain.features("mobilenet_v2:mid@2", plain.rows.feature[plain.items.first_row[rows]])
    got = both.features("mobilenet_v2:mid@2~flipped", both.rows.feature[both.items.first_row])
    np.testing.assert_array_equal(got, expected)
    assert (got != both.features("mobilenet_v2:mid@2", both.rows.feature[both.items.first_row])).any()
    assert verify_cache(tmp_path / "both")["ok"]
    with pytest.raises(SpecMismatch, match="taps"):
        run(faces, tmp_path / "both")


def test_moving_a_file_corrects_its_label_and_touches_no_feature(tmp_path):
    draw_faces(tmp_path / "faces", persons=5)
    run(tmp_path / "faces", tmp_path / "c")
    shards = sorted(os.listdir(tmp_path / "c" / "shards"))
    wrong = tmp_path / "faces" / "train" / "sad" / "p00_0.png"
    wrong.rename(tmp_path / "faces" / "val" / "anger" / "moved.png")
    (tmp_path / "faces" / "train" / "happy" / "p00_0.png").unlink()
    events = []
    again = run(tmp_path / "faces", tmp_path / "c", report=events.append)
    assert (again["items_new"], again["items_reused"]) == (0, 74)
    assert sorted(os.listdir(tmp_path / "c" / "shards")) == shards
    listed = {e["path"]: (e["emotion"], e["split"]) for e in open_cache(tmp_path / "c").listings.to_dicts()}
    assert listed["val/anger/moved.png"] == ("anger", "val")
    assert not {"train/sad/p00_0.png", "train/happy/p00_0.png"} & listed.keys()
    assert any("2 files listed before are gone" in event.text for event in events if isinstance(event, Note))
    assert verify_cache(tmp_path / "c")["ok"]


def test_a_part_of_a_source_retires_nothing(faces, tmp_path):
    run(faces, tmp_path / "c")
    run(faces, tmp_path / "c", ExtractSettings(**{**vars(QUICK), "limit": 3}))
    run(faces / "train" / "sad" / "p00_0.png", tmp_path / "c")
    run(f"{faces}/train/*/*", tmp_path / "c")
    assert {e["path"] for e in open_cache(tmp_path / "c").listings.to_dicts()} >= {
        "train/sad/p00_0.png",
        "train/happy/copy.png",
    }


def test_a_file_that_is_mended_is_no_failure_any_more(tmp_path):
    draw_faces(tmp_path / "faces", persons=1)
    broken = tmp_path / "faces" / "train" / "sad" / "p00_0.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:500])
    assert run(tmp_path / "faces", tmp_path / "c")["items_failed"] == 1
    assert len(open_cache(tmp_path / "c").failures) == 1
    broken.write_bytes(whole)
    assert run(tmp_path / "faces", tmp_path / "c")["items_failed"] == 0
    assert open_cache(tmp_path / "c").failures.is_empty()


def test_an_image_of_a_gigabyte_is_refused_unread(tmp_path):
    draw_faces(tmp_path / "faces", persons=1, each=1)
    with open(tmp_path / "faces" / "huge.png", "wb") as stream:
        stream.truncate((1 << 30) + 1)  # sparse: takes no room
    failures = run(tmp_path / "faces", tmp_path / "c")["failures"]
    assert [failure["reason"] for failure in failures] == ["more than 1,073,741,824 bytes, which no picture needs"]


def test_a_cache_of_images_and_clips_takes_more_of_either(tmp_path):
    draw_faces(tmp_path / "mixed", persons=1, each=1)
    draw_clips(tmp_path / "mixed" / "clips")
    first = run(tmp_path / "mixed", tmp_path / "c")
    shutil.rmtree(tmp_path / "mixed" / "clips")
    again = run(tmp_path / "mixed", tmp_path / "c")
    assert (again["items_reused"], again["fingerprint"]) == (5, first["fingerprint"])
    with pytest.raises(SpecMismatch, match=r"input\.image\.faces: none → haar"):
        run(tmp_path / "mixed", tmp_path / "c", ExtractSettings(**{**vars(QUICK), "faces": "haar"}))


def test_rows_of_an_earlier_decoder_are_not_added_to(tmp_path):
    draw_faces(tmp_path / "faces", persons=1, each=1)
    run(tmp_path / "faces", tmp_path / "c")
    held = read_header(tmp_path / "c")
    assert held["input"]["image"].pop("decoder") == DECODERS["image"]
    write_header(tmp_path / "c", held)
    for shard in (tmp_path / "c" / "shards").iterdir():
        with h5py.File(shard, "r+") as file:
            file.attrs["fingerprint"] = fingerprint(held)
    with pytest.raises(SpecMismatch, match=r"input\.image\.decoder: 1 → 2\. Another version .* into another --out"):
        run(tmp_path / "faces", tmp_path / "c")


def test_equal_broken_files_are_one_item_and_two_reasons(tmp_path):
    draw_clips(tmp_path / "clips")
    (tmp_path / "clips" / "again.mp4").write_bytes((tmp_path / "clips" / "broken_download.mp4").read_bytes())
    summary = run(tmp_path / "clips", tmp_path / "c")
    assert (summary["items_failed"], len(summary["failures"])) == (1, 2)
    assert len({failure["reason"] for failure in summary["failures"]}) == 1


class Moody:
    """`engine`, which takes its time, and gives nothing of white pictures that could be stored."""

    def __init__(self, engine, rng):
        self._engine, self._rng = engine, rng

    def __getattr__(self, attribute):
        return getattr(self._engine, attribute)

    def __call__(self, crops):
        time.sleep(self._rng.uniform(0, 0.03))
        white = crops["mobilenet_v2"].min(axis=(1, 2, 3)) == 255
        return {tap: np.where(white[:, None, None, None], np.inf, rows) for tap, rows in self._engine(crops).items()}


def test_a_cache_has_the_same_bytes_whatever_the_timing(faces, tmp_path, monkeypatch):
    """Also of several copies of a picture whose features cannot be stored, and of one that cannot be decoded."""
    shutil.copytree(faces, tmp_path / "faces")
    folder = tmp_path / "faces" / "train" / "happy"
    for name in ("a_white.png", "m_white.png", "n_white.png", "z_white.png"):
        cv2.imwrite(str(folder / name), np.full((40, 40, 3), 255, np.uint8))
    (folder / "a_cut.png").write_bytes((folder.parent / "sad" / "cut.png").read_bytes())
    made = []
    for seed in range(3):
        rng = random.Random(seed)

        def read(*arguments, rng=rng, **others):
            time.sleep(rng.uniform(0, 0.03))
            return read_images(*arguments, **others)

        def load(*arguments, rng=rng):
            return Moody(load_checked_engine(*arguments), rng)

        monkeypatch.setattr("facedep_jax.extraction.local_extraction.read_images", read)
        monkeypatch.setattr("facedep_jax.extraction.extract.load_checked_engine", load)
        summary = run(tmp_path / "faces", tmp_path / str(seed), replace(QUICK, batch_size=3, shard_rows=5))
        assert (summary["items_new"], summary["items_failed"]) == (45, 2)
        files = sorted(path for path in (tmp_path / str(seed)).rglob("*") if path.suffix in (".h5", ".jsonl"))
        made.append({path.name: path.read_bytes() for path in files if path.name != "files.jsonl"})
    assert made[0] == made[1] == made[2]
    paths = [Path(path).name for path in open_cache(tmp_path / "0").failures["path"]]
    assert sorted(paths) == ["a_cut.png", "a_white.png", "cut.png"]


def test_several_files_are_asked_for_at_a_time_once_it_is_seen_that_they_come_soon(tmp_path, monkeypatch):
    """And no more of them lie decoded than the batch asks for, or fit a bound of bytes."""
    draw_faces(tmp_path / "faces", persons=25)
    asked = []

    def read(files, settings, decode, over):
        asked.append(len(files))
        return read_images(files, settings, decode, over=over)

    monkeypatch.setattr("facedep_jax.extraction.local_extraction.read_images", read)
    monkeypatch.setattr("facedep_jax.extraction.local_extraction.REQUEST_S", 1e9)  # whatever the machine has to do
    count = run(tmp_path / "faces", tmp_path / "c")["items_new"]
    assert sum(asked) == count > 120 and asked[0] == 1 and max(asked) > 1
    assert asked.count(1) <= 2 * decoders() + 2  # and not as many as may lie decoded, before the first has come
    asked.clear()
    monkeypatch.setattr("facedep_jax.extraction.local_extraction.AHEAD_BYTES", 1)
    run(tmp_path / "faces", tmp_path / "few")
    assert sum(asked) == count and max(asked) <= max(1, 3 * QUICK.batch_size // (2 * decoders()))
    one, other = (sorted(path.name for path in (tmp_path / name / "shards").iterdir()) for name in ("c", "few"))
    assert one == other


def test_who_stops_waits_for_one_file_and_not_for_those_that_were_asked_for_with_it(tmp_path, monkeypatch):
    draw_faces(tmp_path / "faces", persons=25)
    asked_for, stopped, read_since = set(), threading.Event(), []  # of requests of many files that are under way

    def read(files, settings, decode, over):
        asked_for.update(files[1:] if len(files) > 8 else [])
        for file in read_images(files, settings, decode, over=over):
            time.sleep(0.05)
            read_since.extend([file] if stopped.is_set() else [])
            yield file
        asked_for.difference_update(files)

    def stop_in_the_middle(event):
        if isinstance(event, Progress) and asked_for:
            stopped.set()
            raise KeyboardInterrupt

    monkeypatch.setattr("facedep_jax.extraction.local_extraction.read_images", read)
    monkeypatch.setattr("facedep_jax.extraction.local_extraction.REQUEST_S", 1e9)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "faces", tmp_path / "c", report=stop_in_the_middle)
    assert stopped.is_set() and len(read_since) <= decoders()


def test_other_settings_are_refused_and_nothing_changes(faces, tmp_path):
    run(faces, tmp_path / "c", ExtractSettings(**{**vars(QUICK), "limit": 5}))
    with pytest.raises(SpecMismatch, match=r"features\.color: rgb → grey"):
        run(faces, tmp_path / "c", ExtractSettings(**{**vars(QUICK), "color": "grey"}))
    assert verify_cache(tmp_path / "c")["ok"]


def test_clips_become_rows_with_times_and_a_broken_one_is_listed(clips, tmp_path):
    summary = run(clips, tmp_path / "c", ExtractSettings(**{**vars(QUICK), "shard_rows": 20}))
    assert (summary["items_new"], summary["items_failed"]) == (4, 1)
    cache = open_cache(tmp_path / "c")
    assert set(cache.items.kind) == {"clip"}
    assert cache.items.rows.tolist() == [32] * 4  # 8 s at 4 frames a second
    first = cache.rows.time[:32]
    np.testing.assert_allclose(first, np.arange(32) / 4, atol=1 / 12)
    assert (np.diff(first) > 0).all()
    assert len(cache.shards) > 4  # clips span shards, in parts
    assert verify_cache(tmp_path / "c")["ok"]
    again = run(clips, tmp_path / "c", ExtractSettings(**{**vars(QUICK), "shard_rows": 20}))
    assert (again["items_reused"], again["rows"]) == (4, 0)


def test_what_was_done_to_a_clip_is_kept_with_every_listing_of_it(awkward_dev, tmp_path):
    folder, videos = tmp_path / "clips", awkward_dev / "videos"
    folder.mkdir()
    for name in ("rotate270.mp4", "bitrot_h265.mp4", "ok_h264.mp4"):
        shutil.copy(videos / name, folder)
    run(folder, tmp_path / "c")
    shutil.copy(folder / "rotate270.mp4", folder / "again.mp4")
    assert run(folder, tmp_path / "c")["items_new"] == 0  # what is known of an item stays, though nothing is decoded
    said = {listing["path"]: listing.get("decoding") for listing in open_cache(tmp_path / "c").listings.to_dicts()}
    assert said["rotate270.mp4"] == said["again.mp4"] == "turned by 90°" and not said["ok_h264.mp4"]
    assert "made from damaged ones: " in said["bitrot_h265.mp4"]
    light = {listing["path"]: listing["clip_light"] for listing in open_cache(tmp_path / "c").listings.to_dicts()}
    assert light["rotate270.mp4"] == light["ok_h264.mp4"] == light["again.mp4"] != light["bitrot_h265.mp4"]
    for text in light.values():
        assert re.fullmatch(r"brightness 0\.\d{3}, contrast 0\.\d{3}(, face 0\.\d{3})?", text), text


def test_what_was_chosen_of_a_picture_is_kept_with_its_listing(awkward_dev, tmp_path):
    folder, images = tmp_path / "pictures", awkward_dev / "images"
    folder.mkdir()
    said = {"exif_orient_6.png": "turned by 90°", "multipage.tif": "page 1 of ", "animated.gif": "the first of "}
    said |= {"float01.tif": "floats from 0 to 1", "gray16_12bitrange.png": "of 16 bits the 12 that are used"}
    for name in said:
        shutil.copy(images / name, folder)
    run(folder, tmp_path / "c")
    kept = {listing["path"]: listing["decoding"] for listing in open_cache(tmp_path / "c").listings.to_dicts()}
    assert {name: kept[name][: len(text)] for name, text in said.items()} == said
    shutil.rmtree(folder)
    folder.mkdir()
    for name in ("ok_rgb.jpg", "exif_orient_1.jpg", "rgb16.png", "palette_trns.png", "lossy.webp"):
        shutil.copy(images / name, folder)
    run(folder, tmp_path / "ordinary")
    assert "decoding" not in open_cache(tmp_path / "ordinary").listings.columns


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("taps", "mobilenet_v2:mid@9", "mid@9"),
        ("taps", "vgg16:top@1", "mobilenet_v2"),
        ("size", "100", "multiple of 32"),
        ("fps", 0.0, "fps"),
        ("color", "sepia", "rgb or grey"),
        ("shard_rows", 0, "shard-rows"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_before_anything_is_written(faces, tmp_path, field, value, message):
    with pytest.raises(SettingsError, match=message):
        run(faces, tmp_path / "c", ExtractSettings(**{**vars(QUICK), field: value}))
    assert not (tmp_path / "c").exists()


def command(source, out):
    return [
        sys.executable,
        "-m",
        "facedep_jax",
        "extract-features",
        str(source),
        "--weights",
        "random:1",
        "--taps",
        "mobilenet_v2:mid@2",
        "--size",
        "32",
        "--batch-size",
        "4",
        "--shard-rows",
        "4",
        "--out",
        str(out),
        "--progress",
        "plain",
    ]


def wait_for_shards(process, out, count):
    deadline = time.monotonic() + 60
    while len(list((out / "shards").glob("*.h5"))) < count and process.poll() is None:
        assert time.monotonic() < deadline, "no shard within a minute"
        time.sleep(0.005)


def test_killed_and_resumed_equals_never_killed(faces, tmp_path, exhaustive):
    run(faces, tmp_path / "whole")
    rng = random.Random(0)
    for attempt in range(3 if exhaustive else 2):
        process = subprocess.Popen(command(faces, tmp_path / "killed"), stderr=subprocess.DEVNULL)
        wait_for_shards(process, tmp_path / "killed", 2 * attempt + 1)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.wait()
        committed = {p.name for p in (tmp_path / "killed" / "shards").glob("*.h5")}
        assert committed
        open_cache(tmp_path / "killed")
    subprocess.run(command(faces, tmp_path / "killed"), stderr=subprocess.DEVNULL, check=False)
    assert committed <= {p.name for p in (tmp_path / "killed" / "shards").glob("*.h5")}
    assert verify_cache(tmp_path / "killed")["ok"]
    assert diff_caches(tmp_path / "whole", tmp_path / "killed") == {"equal": True, "differences": []}


def test_ctrl_c_finishes_the_write_in_hand_and_exits_130(tmp_path):
    draw_faces(tmp_path / "many", persons=10)
    process = subprocess.Popen(command(tmp_path / "many", tmp_path / "c"), stderr=subprocess.PIPE, text=True)
    wait_for_shards(process, tmp_path / "c", 2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert "run the same command to go on" in said
    assert verify_cache(tmp_path / "c")["ok"]
    assert 0 < len(open_cache(tmp_path / "c").items) < 150


def test_a_limit_is_spread_over_splits_and_emotions_and_said(faces, tmp_path):
    """In a folder of one class after the other the first files are all of one; and what is left out is not gone."""
    source = read_source(str(faces))
    count = len(source.listings)
    said = []
    extract([source], tmp_path / "c", replace(QUICK, limit=count // 3), said.append)
    listed = open_cache(tmp_path / "c").listings
    assert len(listed) == count // 3
    assert set(listed["emotion"]) == {listing.emotion for listing in source.listings}
    assert f"--limit: {count // 3} of {count} files, spread over splits and emotions" in [
        getattr(event, "text", "") for event in said
    ]
    extract([source], tmp_path / "c", QUICK)
    extract([source], tmp_path / "c", replace(QUICK, limit=2))
    assert len(open_cache(tmp_path / "c").listings) == count


@pytest.fixture
def hashed(monkeypatch):
    """Files are remembered however young they are."""
    monkeypatch.setattr("facedep_jax.cache.file_hash_cache.FRESH", 0.0)


def test_a_rerun_of_known_files_says_what_a_run_of_each_would(faces, tmp_path, hashed):
    """Labels that changed, files that are gone, and what one file's failure was: settled together or one by one."""
    work = tmp_path / "faces"
    shutil.copytree(faces, work)
    bad = work / "train" / "sad" / "bad.png"
    bad.write_bytes(b"no picture")
    extract([read_source(str(work))], tmp_path / "c", QUICK)
    shutil.copytree(tmp_path / "c", tmp_path / "each")
    files = sorted(path for path in work.rglob("*.png") if path.name not in ("bad.png", "cut.png"))
    files[0].unlink()
    shutil.copyfile(files[1], bad)  # does not fail any more
    table = [{"path": str(path), "emotion": "sad", "note": f"né{n}"} for n, path in enumerate(files[1:])]
    events, summaries = [], []
    for cache, rehash in ((tmp_path / "c", False), (tmp_path / "each", True)):
        labelled = manifest_source(tmp_path / "table.jsonl", table)
        again = replace(QUICK, rehash=rehash)
        summaries.append(extract([read_source(str(work)), labelled], cache, again, events.append))
    for key in ("items_total", "items_new", "items_reused", "items_failed"):
        assert summaries[0][key] == summaries[1][key], key
    one, other = (open_cache(folder) for folder in (tmp_path / "c", tmp_path / "each"))
    order = ["source", "path"]
    assert (
        one.listings.select(sorted(one.listings.columns))
        .sort(order)
        .equals(other.listings.select(sorted(other.listings.columns)).sort(order))
    )
    for opened in (one, other):
        assert [Path(path).name for path in opened.failures["path"]] == ["cut.png"]
    assert "note" in one.listings.columns
    lines = (tmp_path / "c" / "listings.jsonl").read_bytes()
    assert extract([read_source(str(work)), labelled], tmp_path / "c", QUICK)["items_new"] == 0
    assert (tmp_path / "c" / "listings.jsonl").read_bytes() == lines  # what has not changed is not written again


def manifest_source(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_source(str(path))
