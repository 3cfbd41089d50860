"""What is known of each person: descriptors as `describe` gives them, and what may stand in for them."""

import numpy as np
import polars as pl
import pytest
from support.clip_cache import make_clips
from support.made_corpora import daic, dvlog, edaic, lmvd
from support.untrained_run import write_run

from facedep_jax.cache import open_cache
from facedep_jax.descriptors.describe_cache import describe_cache
from facedep_jax.descriptors.persons import over_persons
from facedep_jax.errors import RunError, SpecMismatch
from facedep_jax.feature_import.import_features import import_features
from facedep_jax.feature_import.settings import ImportSettings
from facedep_jax.progress_events import silent
from facedep_jax.runs.run_directory import load_head
from facedep_jax.study.cohort_matching import match_clips
from facedep_jax.study.cohort_table import read_cohort
from facedep_jax.study.cohort_units import units_of
from facedep_jax.study.person_values import CONFOUNDS, LIGHT, SCORE, describe_persons, family_of
from facedep_jax.study.settings import StudySettings


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("values")
    make_clips(folder / "cache")
    make_clips(folder / "whole", faces="none")
    write_run(folder / "run", target="emotion")
    write_run(folder / "mixes", temporal="gru")
    write_run(folder / "foreign", target="emotion", sha256="1" * 64, family="keras")
    return folder


def values(folder, text, *caches, head=None):
    (folder / "t.csv").write_text(text)
    table = read_cohort([folder / "t.csv"], StudySettings())
    units = units_of(table)
    caches = [open_cache(cache) for cache in caches]
    found = match_clips(table, units, caches)
    return describe_persons(caches, found.parts, load_head(head) if head else None, silent), units


def test_light_is_that_of_the_listings_and_unknown_in_caches_of_before(work, tmp_path):
    said = {"ann/a.mp4": "brightness 0.400, contrast 0.100, face 0.500", "bob.mp4": "brightness 0.250, contrast 0.200"}
    make_clips(tmp_path / "lit", light=said)
    found, units = values(work, PERSONS, tmp_path / "lit")
    rows = {row["subject"]: row for row in units.join(found.rows, on="unit").iter_rows(named=True)}
    assert rows["Ann"]["brightness"] == pytest.approx(0.4) and rows["Ann"]["face_brightness"] == pytest.approx(0.5)
    assert rows["Bob"]["contrast"] == pytest.approx(0.2) and rows["Bob"]["face_brightness"] is None
    assert rows["cid"]["brightness"] is None
    assert set(LIGHT) < set(CONFOUNDS) and "brightness" in found.columns(CONFOUNDS, units["unit"]).names
    before, units = values(work, PERSONS, work / "cache")
    assert all(before.rows[name].null_count() == len(before.rows) for name in LIGHT)
    assert not set(LIGHT) & set(before.columns(CONFOUNDS, units["unit"]).names)


PERSONS = "subject,score\nAnn,3\nBob,12\ncid,7\nZoe,1\n"


def test_a_person_of_two_clips_has_what_describe_gives(work):
    found, units = values(work, PERSONS, work / "cache", head=work / "run")
    described = describe_cache(open_cache(work / "cache"), load_head(work / "run"))
    expected = over_persons(described.clips, described.names)
    rows = units.join(found.rows, on="unit").sort("subject")
    assert rows["subject"].to_list() == ["Ann", "Bob", "cid"]
    assert set(found.descriptors) | {"coverage", "none_part", "lost_part", "unusable_part"} == set(described.names)
    by_name = {row["subject"].lower(): row for row in expected.iter_rows(named=True)}
    for row in rows.iter_rows(named=True):
        mine = {name: row[name] for name in (*described.names, "seconds", "samples", "clips")}
        theirs = {name: by_name[row["subject"].lower()][name] for name in mine}
        assert mine == pytest.approx(theirs, nan_ok=True), row["subject"]
    assert rows["clips"].to_list() == [2, 1, 2] and SCORE in found.descriptors


def test_confounds_are_what_a_camera_does(work):
    found, units = values(work, PERSONS, work / "cache")
    rows = units.join(found.rows, on="unit")
    assert rows["seconds"].to_list() == pytest.approx([28, 12, 8.25]) and rows["clips"].to_list() == [2, 1, 2]
    assert rows["samples_per_second"].to_list() == pytest.approx([4, 4, 4])
    assert rows["resolution"].to_list() == pytest.approx([np.sqrt(640 * 480)] * 3)
    assert rows["face_size"].to_list() == pytest.approx([100 / np.sqrt(640 * 480)] * 3)
    columns = found.columns(CONFOUNDS, units["unit"])
    assert columns.names == ("seconds", "clips", "coverage"), "what nobody differs in is left out"
    assert columns.values.shape == (4, 3) and np.isnan(columns.values[3]).all(), "Zoe was not filmed"
    assert columns.values[:3, 0] == pytest.approx([28, 12, 8.25])
    turned = found.columns(CONFOUNDS, pl.Series([2, 0], dtype=pl.UInt32))
    assert turned.values[:, 0] == pytest.approx([8.25, 28])


def test_a_segment_is_described_from_its_own_frames(work):
    text = "subject,path,score,start,end\nAnn,ann/a.mp4,1,0,4\nBob,bob.mp4,2,,\nAnn,ann/a.mp4,1,8,12\n"
    found, units = values(work, text, work / "cache", head=work / "run")
    ann = units.join(found.rows, on="unit").row(0, named=True)
    assert (ann["clips"], ann["samples"], ann["seconds"]) == (2, 32, pytest.approx(8))
    whole, _ = values(work, text.replace("0,4", "0,16"), work / "cache", head=work / "run")
    assert whole.rows.row(0, named=True)["score_mean"] != ann["score_mean"]


def test_clips_that_two_caches_hold_are_described_once(work):
    text = "subject,path,score\nAnn,ann/a.mp4,1\nBob,bob.mp4,2\n"
    one, _ = values(work, text, work / "cache", work / "whole")
    two, _ = values(work, text, work / "cache")
    assert one.rows.equals(two.rows)


def test_where_nobody_looked_for_faces_there_is_neither_coverage_nor_a_size(work):
    found, units = values(work, PERSONS, work / "whole", head=work / "run")
    assert found.rows["coverage"].null_count() == found.rows["face_size"].null_count() == len(found.rows)
    assert found.columns(("coverage", "face_size"), units["unit"]).values.shape == (4, 0)
    assert found.rows["score_mean"].null_count() == 0


def lmvd_with_table(folder):
    """LMVD has no table of persons; one of ours, whose numbers lost their zeros."""
    lmvd(folder, clips=6, arrays=True)
    rows = (f"{n},{int(n % 2 == 0)},{('train', 'train', 'train', 'dev', 'dev', 'test')[n - 1]}" for n in range(1, 7))
    (folder / "labels.csv").write_text("\n".join(["subject,label,fold", *rows]) + "\n")


@pytest.mark.parametrize(
    ("made", "layout", "name"),
    [
        (daic, "daic", "clnf:au"),
        (edaic, "daic", "openface:au"),
        (dvlog, "dvlog", "dvlog:landmarks"),
        (lmvd_with_table, "lmvd", "tcn:au"),
    ],
)
def test_imported_features_work_without_pictures(tmp_path, made, layout, name):
    made(tmp_path / "source")
    rate = 5.0 if layout == "lmvd" else None
    import_features(tmp_path / "source", tmp_path / "cache", ImportSettings(layout, name, rate=rate))
    cache = open_cache(tmp_path / "cache")
    tables = sorted((tmp_path / "source").rglob("*split*.csv")) or [tmp_path / "source" / "labels.csv"]
    table = read_cohort(tables, StudySettings())
    units = units_of(table)
    matched = match_clips(table, units, [cache])
    assert len(matched.parts) == len(cache.items) == len(units) and not len(matched.without) + len(matched.unused)
    assert set(units["partition"]) == {"train", "val", "test"}
    found = describe_persons([cache], matched.parts, None, silent)
    assert found.rows["seconds"].null_count() == 0 and found.rows["samples"].min() > 0
    for absent in ("face_size", "resolution"):
        assert found.rows[absent].null_count() == len(units), absent


@pytest.mark.parametrize(
    ("head", "error", "says"),
    [("mixes", RunError, "mixes frames in time"), ("foreign", SpecMismatch, "features are not those of run .*foreign")],
)
def test_a_head_has_to_judge_frames_of_these_features(work, head, error, says):
    with pytest.raises(error, match=says):
        values(work, PERSONS, work / "cache", head=work / head)


def test_columns_of_one_signal_are_a_family():
    names = ("move_mean", "size_change", "smile_rate", "entropy", "sad_q10", "sad_bout_s", "score_mean", "clips")
    assert [family_of(name) for name in names] == [
        "movement", "movement", "expression", "expression", "sad", "sad", "score", "clips",
    ]  # fmt: skip
