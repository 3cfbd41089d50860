"""Each layout, made small after its published description: imported, equal to the source, cared for, purged."""

import csv

import numpy as np
import pytest
from support.caches import flip, shards
from support.made_corpora import (
    AU_C,
    AU_R,
    CLNF_C,
    CLNF_R,
    CORPORA,
    OPENFACE,
    POSE,
    daic,
    lmvd,
    make,
    measured,
    named,
    openface,
    write_table,
)

from facedep_jax.cache import open_cache
from facedep_jax.cache.maintenance.purge import purge_cache
from facedep_jax.cache.maintenance.verify import diff_caches, verify_cache
from facedep_jax.feature_import.frame_tables import FrameTable
from facedep_jax.feature_import.frames import NONE, frames_of, joined
from facedep_jax.feature_import.import_features import import_features
from facedep_jax.feature_import.settings import ImportSettings


def take(source, out, layout, name, **settings):
    return import_features(source, out, ImportSettings(layout, name, **settings))


def imported(name, tmp_path):
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    _, options = make(name, source)
    summary = take(source, tmp_path / "c", options[1], options[3])
    return source, summary, open_cache(tmp_path / "c")


def columns_of(file, names):
    """Of a table as it lies there, read by the csv module: the numbers of frames with a face, in float32."""
    with open(file, newline="") as stream:
        rows = list(csv.DictReader(stream, skipinitialspace=True))
    seen = [row for row in rows if row["success"] == "1"]
    return np.array([[float(row[name]) for name in names] for row in seen]).astype(np.float32)


def values_of(cache, path, tap):
    """The features of the clip that is listed by `path`."""
    item = cache.listings.filter(cache.listings["path"] == path)["item"][0]
    number = cache.items.id.tolist().index(item)
    first = int(cache.items.first_row[number])
    feature = cache.rows.feature[first : first + int(cache.items.rows[number])]
    return cache.features(tap, feature[feature >= 0])[:, 0, 0]


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_is_imported_verified_damaged_and_imported_again_to_the_same(name, tmp_path):
    source, summary, cache = imported(name, tmp_path)
    assert (summary["items_failed"], summary["items_new"]) == (0, len(cache.items))
    assert summary["labelled"] == len(cache.items)
    assert set(cache.listings["emotion"]) == {"depressed", "control"}
    assert verify_cache(tmp_path / "c")["ok"]
    again = take(source, tmp_path / "c", summary["format"], ",".join(tap[:-2] for tap in cache.taps))
    assert (again["items_new"], again["items_reused"]) == (0, len(cache.items))
    take(source, tmp_path / "d", summary["format"], ",".join(tap[:-2] for tap in cache.taps), shard_rows=100)
    assert diff_caches(tmp_path / "c", tmp_path / "d") == {"equal": True, "differences": []}
    flip(shards(tmp_path / "c")[0], -5)
    assert not verify_cache(tmp_path / "c")["ok"]


def test_openface_to_the_last_bit(tmp_path):
    source, summary, cache = imported("openface", tmp_path)
    assert len(OPENFACE) == 714
    au, pose = [*named("AU{}_r", AU_R), *named("AU{}_c", AU_C)], POSE
    for number in range(8):
        file = f"clip{number}.csv"
        np.testing.assert_array_equal(values_of(cache, file, "openface:au@1"), columns_of(source / file, au))
        np.testing.assert_array_equal(values_of(cache, file, "openface:pose@1"), columns_of(source / file, pose))
    assert cache.spec["features"]["columns"]["openface:au@1"] == au
    assert summary["frames_without_face"] == {"success is 0": 16}
    assert summary["fps"] == 30
    assert cache.rows.time[:3].tolist() == [0.0, 0.033, 0.067]
    states = cache.rows.face[: int(cache.items.rows[0])].tolist()
    assert states == [1, 1, 1, 3, 3, *[1] * 55]


def test_boxes_are_drawn_around_landmarks(tmp_path):
    source, _, cache = imported("openface", tmp_path)
    x = columns_of(source / "clip0.csv", named("x_{}", range(68)))
    y = columns_of(source / "clip0.csv", named("y_{}", range(68)))
    box = cache.rows.box[: int(cache.items.rows[0])]
    np.testing.assert_array_equal(box[0], [x[0].min(), y[0].min(), np.ptp(x[0]), np.ptp(y[0])])
    assert np.isnan(box[3]).all()  # lost


def test_daic_has_the_partitions_labels_persons_and_further_columns(tmp_path):
    source, _, cache = imported("daic", tmp_path)
    rows = {row["subject"]: row for row in cache.listings.iter_rows(named=True)}
    assert rows["300"]["path"] == "300_P/300_CLNF_AUs.txt"
    assert rows["300"]["files"] == "300_P/300_CLNF_pose.txt"
    assert [rows[n]["split"] for n in ("300", "306", "309")] == ["train", "val", "test"]
    assert [rows[n]["emotion"] for n in ("300", "301", "311")] == ["depressed", "control", "control"]
    assert (rows["300"]["PHQ8_Score"], rows["311"]["PHQ_Score"], rows["311"]["Gender"]) == ("12", "4", "1")
    file = source / "304_P" / "304_CLNF_AUs.txt"
    own = values_of(cache, "304_P/304_CLNF_AUs.txt", "clnf:au@1")
    np.testing.assert_array_equal(own, columns_of(file, [*named("AU{}_r", CLNF_R), *named("AU{}_c", CLNF_C)]))
    own = values_of(cache, "304_P/304_CLNF_AUs.txt", "clnf:pose@1")
    file = source / "304_P" / "304_CLNF_pose.txt"
    np.testing.assert_array_equal(own, columns_of(file, ["Tx", "Ty", "Tz", "Rx", "Ry", "Rz"]))


@pytest.mark.parametrize(("group", "width"), [("gaze", 12), ("landmarks", 136), ("landmarks_3d", 204), ("au_c", 6)])
def test_every_group_of_daic_has_its_columns(group, width, tmp_path):
    summary = take(daic(tmp_path / "s", range(300, 303)), tmp_path / "c", "daic", f"clnf:{group}")
    assert summary["features"] == {f"clnf:{group}@1": [1, 1, width]}


GROUPS = {"au_r": 17, "au_c": 18, "gaze": 8, "landmarks": 136, "landmarks_3d": 204, "eye_landmarks": 112,
          "eye_landmarks_3d": 168, "shape": 40}  # fmt: skip


def test_every_group_of_openface_has_its_columns(tmp_path):
    name = ",".join(f"of:{group}" for group in GROUPS)
    summary = take(openface(tmp_path / "s", 1, 5), tmp_path / "c", "openface", name)
    assert {tap[3:-2]: shape[2] for tap, shape in summary["features"].items()} == GROUPS


def test_sound_words_and_pictures_are_passed_over_by_name(tmp_path):
    _, summary, _ = imported("edaic", tmp_path)
    assert summary["items_ignored"] == 36
    reasons = {row["path"].split("_", 2)[-1]: row["reason"] for row in summary["ignored"]}
    assert reasons["OpenSMILE2.3.0_egemaps.csv"] == "sound"
    assert reasons["Transcript.csv"] == "words"


def test_dvlog_one_frame_a_second_of_which_zeros_show_no_face(tmp_path):
    source, summary, cache = imported("dvlog", tmp_path)
    assert summary["frames_without_face"] == {"all values are 0": 14}
    assert cache.rows.time[:4].tolist() == [0, 1, 2, 3]
    known = np.load(source / "3" / "3_visual.npy").astype(np.float32)
    np.testing.assert_array_equal(values_of(cache, "3/3_visual.npy", "dvlog:landmarks@1"), np.delete(known, 2, 0))
    splits = dict(cache.listings.select("path", "split").iter_rows())
    assert [splits[f"{n}/{n}_visual.npy"] for n in (0, 8, 11)] == ["train", "val", "test"]
    assert set(cache.listings["gender"]) == {"m", "f"}


@pytest.mark.parametrize(("group", "first", "end"), [("au", 0, 17), ("landmarks", 17, 153), ("pose", 165, 171)])
def test_lmvd_as_arrays_of_171(group, first, end, tmp_path):
    source = lmvd(tmp_path / "s", 4, arrays=True)
    take(source, tmp_path / "c", "lmvd", f"lmvd:{group}", rate=5)
    cache = open_cache(tmp_path / "c")
    known = np.load(source / "Video_feature" / "002.npy")[:, first:end].astype(np.float32)
    np.testing.assert_array_equal(values_of(cache, "Video_feature/002.npy", f"lmvd:{group}@1"), known)
    assert np.isfinite(cache.rows.box).all()


def test_a_person_is_purged_and_stays_away(tmp_path):
    source, _, _ = imported("daic", tmp_path)
    purge_cache(tmp_path / "c", subjects=["303"])
    assert verify_cache(tmp_path / "c")["ok"]
    held = b"".join(path.read_bytes() for path in (tmp_path / "c").rglob("*") if path.is_file())
    assert b"303_P" not in held
    summary = take(source, tmp_path / "c", "daic", "clnf:au,clnf:pose")
    assert (summary["items_purged"], summary["items_new"], summary["items_reused"]) == (1, 0, 11)
    assert "303" not in set(open_cache(tmp_path / "c").listings["subject"])


def test_fewer_frames_a_second_on_request(tmp_path):
    source = openface(tmp_path / "s", 2, 90)
    summary = take(source, tmp_path / "c", "openface", "of:au", fps=5.0)
    cache = open_cache(tmp_path / "c")
    assert cache.items.rows.tolist() == [15, 15]
    np.testing.assert_allclose(np.diff(cache.rows.time[:15]), 0.2, atol=0.034)
    assert (summary["fps"], cache.spec["input"]["clip"]["sampling"]) == (5, "thinned")


def test_frames_below_a_confidence_have_no_face(tmp_path):
    source = openface(tmp_path / "s", 1, 10)
    text = (source / "clip0.csv").read_text().splitlines()
    cells = text[7].split(",")
    cells[3] = " 0.5"
    text[7] = ",".join(cells)
    (source / "clip0.csv").write_text("\n".join(text) + "\n")
    summary = take(source, tmp_path / "c", "openface", "of:au", confidence=0.7)
    assert summary["frames_without_face"] == {"success is 0": 2, "confidence below 0.7": 1}
    assert take(source, tmp_path / "d", "openface", "of:au")["frames_without_face"] == {"success is 0": 2}


def test_frames_that_one_file_of_a_session_lost_are_counted_once_each(tmp_path):
    """Frame 5 is lost in both, 7 and 20 in the second alone, which is unsure of 9; 10 a second are every third."""
    source = daic(tmp_path / "s", range(300, 301), 30)
    columns = ["frame", "timestamp", "confidence", "success", *(f"{a}{b}" for a in "TR" for b in "xyz")]
    values = measured(columns, 30, 300)
    values["confidence"][9] = 0.5
    write_table(source / "300_P" / "300_CLNF_pose.txt", values, lost=(5, 7, 20))
    for number, (fps, expected) in enumerate(((None, (3, 1)), (10.0, (0, 1)))):
        out = tmp_path / f"c{number}"
        summary = take(source, out, "daic", "clnf:au,clnf:pose", confidence=0.7, fps=fps)
        told = {"success is 0": expected[0], "confidence below 0.7": expected[1]}
        assert summary["frames_without_face"] == {why: count for why, count in told.items() if count}
        assert (open_cache(out).rows.face == NONE).sum() == sum(expected)


def test_what_was_left_out_of_any_file_of_a_session_is_said():
    def part(faces):
        about = {"face_id": np.array(faces, float), "time": np.array([0.0, 0.0, 0.1])}
        return frames_of(FrameTable(3, about, {"of:au": np.ones((3, 2))}), None, 0.5, False)

    one, other = part([0, 1, 0]), part([4, 5, 4])
    assert joined([("a", one), ("b", other)]).account == f"{one.account}; {other.account}"
    assert "face_id 4" in other.account and joined([("a", one), ("b", one)]).account == one.account
