"""What cannot be used: one sentence, named by file; the others go on, and the exit status is 3."""

import io
import json
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
from support.made_corpora import AU_R, measured, named, openface, write_table
from support.paths import ROOT

from facedep_jax.cache import open_cache
from facedep_jax.cache.maintenance.verify import verify_cache
from facedep_jax.errors import SettingsError, SourceError, SpecMismatch, TableError
from facedep_jax.feature_import import frame_arrays
from facedep_jax.feature_import.import_features import import_features
from facedep_jax.feature_import.settings import ImportSettings

COLUMNS = ["frame", "face_id", "timestamp", "confidence", "success", *named("AU{}_r", AU_R)]


def take(source, out, layout="openface", name="of:au_r", **settings):
    return import_features(source, out, ImportSettings(layout, name, **settings))


def table(frames=12, rate=30.0, **changed):
    """Columns of a small file of OpenFace's, some of them others."""
    return measured(COLUMNS, frames, 1, rate=rate) | changed


def with_value(name, row, value):
    column = table()[name].astype(object)
    column[row] = value
    return {name: column}


def two_faces():
    values = {name: np.repeat(column, 2) for name, column in table().items()}
    values["face_id"] = np.tile([0, 1], 12)
    return values


TABLES = {  # what stands in the bad file, and the sentence
    "backwards": (with_value("timestamp", 5, 0.01), "line 7: time 0.01 stands there after 0.133; times have to go on"),
    "twice": (with_value("timestamp", 5, 0.133), "line 7: time 0.133 stands there again; times have to go on"),
    "time NaN": (with_value("timestamp", 5, "nan"), "line 7: time is no finite number (1 such rows)"),
    "NaN": (with_value("AU04_r", 5, "nan"), "line 7: AU04_r is no finite number, and a face is said to be there"),
    "infinite": (with_value("AU04_r", 5, "inf"), "line 7: AU04_r is no finite number"),
    "a word": (with_value("AU04_r", 5, "high"), "line 7: AU04_r is no finite number"),
    "too large": (with_value("AU04_r", 5, "1e60"), "line 7: AU04_r is no finite number"),
    "success": (with_value("success", 5, "yes"), "line 7: success is no finite number"),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_bad_table_fails_and_the_others_go_on(what, tmp_path):
    changed, said = TABLES[what]
    write_table(tmp_path / "s" / "a.csv", table())
    write_table(tmp_path / "s" / "b.csv", table(**changed))
    summary = take(tmp_path / "s", tmp_path / "c")
    assert (summary["items_new"], summary["items_failed"]) == (1, 1)
    assert [failure["path"].rpartition("/")[2] for failure in summary["failures"]] == ["b.csv"]
    assert said in summary["failures"][0]["reason"]
    assert verify_cache(tmp_path / "c")["ok"]


def rewritten(change):
    def write(file):
        write_table(file, table())
        file.write_bytes(change(file.read_bytes()))

    return write


FILES = {
    "empty": (rewritten(lambda data: b""), "empty file (0 bytes)"),
    "headings alone": (rewritten(lambda data: data.split(b"\n")[0] + b"\n"), "holds no frame"),
    "cut off": (rewritten(lambda data: data[:-60]), "is no finite number"),
    "more cells": (rewritten(lambda data: data.replace(b"\n7,", b"\n7, 7, 7,")), "found more fields than defined"),
    "no text": (rewritten(lambda data: b"\xff\xfe\x00" + data), "is no table: its first line is no text"),
    "a column twice": (rewritten(lambda data: data.replace(b"AU02_r", b"AU01_r")), "has the column 'AU01_r' twice"),
    "no success": (
        rewritten(lambda data: data.replace(b"success", b"succes")),
        "has no column success, which OpenFace",
    ),
    "no group": (rewritten(lambda data: data.replace(b"AU", b"XU")), "has no columns of the group au_r"),
    "other columns": (
        rewritten(lambda data: data.replace(b"AU45_r", b"AU46_r")),
        "its columns of of:au_r@1 are not those of the others: it has no AU45_r and also AU46_r",
    ),
    "another rate": (
        lambda file: write_table(file, table(rate=25.0)),
        "has 25 frames a second, and the others 30",
    ),
    "a folder": (lambda file: file.with_suffix(".csv").mkdir(), None),
}


@pytest.mark.parametrize("what", [name for name, (_, said) in FILES.items() if said])
def test_a_bad_file_fails_and_the_others_go_on(what, tmp_path):
    write, said = FILES[what]
    write_table(tmp_path / "s" / "a.csv", table())
    write(tmp_path / "s" / "b.csv")
    summary = take(tmp_path / "s", tmp_path / "c")
    assert (summary["items_new"], summary["items_failed"]) == (1, 1)
    assert said in summary["failures"][0]["reason"]
    assert "\n" not in summary["failures"][0]["reason"]


def test_columns_in_another_order_are_put_into_the_first_s(tmp_path):
    values = table()
    write_table(tmp_path / "s" / "a.csv", values)
    turned = dict(reversed(values.items()))
    write_table(tmp_path / "s" / "b.csv", turned | {"timestamp": values["timestamp"] + 1})
    take(tmp_path / "s", tmp_path / "c")
    features = open_cache(tmp_path / "c").features("of:au_r@1")
    np.testing.assert_array_equal(features[:12], features[12:])


def test_of_several_faces_the_most_frequent_is_taken_and_the_others_counted(tmp_path):
    values = two_faces()
    kept = np.arange(24) != 3  # face 1 is there one time less
    write_table(tmp_path / "s" / "a.csv", {name: column[kept] for name, column in values.items()})
    summary = take(tmp_path / "s", tmp_path / "c")
    assert summary["files_odd"] == 1
    cache = open_cache(tmp_path / "c")
    assert cache.listings["decoding"][0] == "of 2 faces face_id 0 is taken, and 11 rows of others left out"
    assert cache.rows.face.tolist() == [2, 1, *[2] * 10]


# Arrays


def npz(**members):
    data = io.BytesIO()
    np.savez(data, **members)
    return data.getvalue()


def npy(array):
    data = io.BytesIO()
    np.save(data, array, allow_pickle=True)
    return data.getvalue()


GOOD = np.arange(20.0).reshape(10, 2)
ARRAYS = {
    "truncated": (npy(GOOD)[:-9], "cannot be read as npy"),
    "objects": (npy(np.array([{}, 1], object)), "cannot be read as npy"),
    "text": (npy(np.array([["a", "b"]])), "the array holds <U1, expected numbers"),
    "complex": (npy(GOOD + 1j), "the array holds complex128, expected numbers"),
    "three axes": (npy(GOOD[None]), "the array has 3 axes, expected two: frames × values"),
    "NaN": (npy(np.where(GOOD == 7, np.nan, GOOD)), "row 3: value 1 is no finite number"),
    "another width": (npy(GOOD[:, :1]), "has 1 values a frame for x:all@1, and the others 2"),
    "no frame": (npy(GOOD[:0]), "holds no frame"),
    "no array": (b"hello", "cannot be read as npy"),
    "of what no file holds": (npy(GOOD).replace(b"(10, 2)", b"(99, 2)"), "cannot be read as npy"),
}


@pytest.mark.parametrize("what", ARRAYS)
def test_a_bad_array_fails_and_the_others_go_on(what, tmp_path):
    data, said = ARRAYS[what]
    np.save(tmp_path / "a.npy", GOOD)
    (tmp_path / "b.npy").write_bytes(data)
    summary = take(tmp_path, tmp_path / "out", "npy", "x:all", rate=5)
    assert (summary["items_new"], summary["items_failed"]) == (1, 1)
    assert said in summary["failures"][0]["reason"]


class Trap:
    """Who unpickles it writes a file."""

    def __reduce__(self):
        return open, ("trap", "w")


def test_nothing_in_an_array_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "b.npy").write_bytes(npy(np.array([Trap()], object)))
    (tmp_path / "s" / "b.npz").write_bytes(npz(all=np.array([Trap()], object)))
    for layout in ("npy", "npz"):
        with pytest.raises(SourceError, match="cannot be read as np"):
            take(tmp_path / "s", tmp_path / "out", layout, "x:all", rate=5)
    assert not (tmp_path / "trap").exists()


MEMBERS = {
    "truncated": (npz(all=GOOD)[:-30], "cannot be read as npz"),
    "none such": (npz(one=GOOD, two=GOOD), "has no array 'all'; it has one, two"),
    "lengths": (npz(all=GOOD, time=np.arange(9.0)), "holds arrays of different lengths"),
    "times backwards": (npz(all=GOOD, time=np.arange(10.0)[::-1]), "row 1: time 8 stands there after 9"),
}


@pytest.mark.parametrize("what", MEMBERS)
def test_a_bad_archive_fails_and_the_others_go_on(what, tmp_path):
    data, said = MEMBERS[what]
    (tmp_path / "a.npz").write_bytes(npz(all=GOOD, time=np.arange(10) / 5))
    (tmp_path / "b.npz").write_bytes(data)
    summary = take(tmp_path, tmp_path / "out", "npz", "x:all")
    assert summary["fps"] == 5
    assert said in summary["failures"][0]["reason"]


def test_an_archive_that_would_unpack_to_more_than_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(frame_arrays, "MAX_BYTES", 200)
    (tmp_path / "b.npz").write_bytes(npz(all=GOOD))
    with pytest.raises(SourceError, match="holds 288 bytes, more than the 200 that are read"):
        take(tmp_path, tmp_path / "out", "npz", "x:all", rate=5)


# Parquet and plain tables


def test_parquet_and_csv_give_the_same(tmp_path):
    frame = pl.DataFrame({"time": np.arange(10) / 5, "a": GOOD[:, 0], "b": GOOD[:, 1]})
    for ending in ("parquet", "csv"):
        (tmp_path / ending).mkdir()
    frame.write_parquet(tmp_path / "parquet" / "a.parquet")
    frame.write_csv(tmp_path / "csv" / "a.csv", separator=";")
    for ending in ("parquet", "csv"):
        take(tmp_path / ending, tmp_path / f"c{ending}", ending, "x:all")
        cache = open_cache(tmp_path / f"c{ending}")
        np.testing.assert_array_equal(cache.features("x:all@1")[:, 0, 0], GOOD.astype(np.float32))
        assert (cache.rows.face == 0).all()  # nobody says where there is a face
    take(tmp_path / "csv", tmp_path / "one", "csv", "x:b", columns="b")
    np.testing.assert_array_equal(open_cache(tmp_path / "one").features("x:b@1")[:, 0, 0], GOOD[:, 1:].astype("f4"))


PARQUETS = {
    "truncated": (lambda data: data[:-20], "cannot be read as parquet"),
    "text": (None, "column b holds String, and measurements are numbers"),
}


@pytest.mark.parametrize("what", PARQUETS)
def test_a_bad_parquet_fails_and_the_others_go_on(what, tmp_path):
    change, said = PARQUETS[what]
    frame = pl.DataFrame({"time": np.arange(10) / 5, "a": GOOD[:, 0]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.with_columns(b=pl.lit("x"), time=pl.col("time") + 1).write_parquet(tmp_path / "b.parquet")
    if change:
        (tmp_path / "b.parquet").write_bytes(change((tmp_path / "b.parquet").read_bytes()))
    summary = take(tmp_path, tmp_path / "out", "parquet", "x:all")
    assert said in summary["failures"][0]["reason"]


# Folders, names and tables


def test_a_folder_of_two_formats(tmp_path):
    """The others are passed over by name, and what is asked for is taken."""
    write_table(tmp_path / "s" / "a.csv", table())
    np.save(tmp_path / "s" / "b.npy", GOOD)
    summary = take(tmp_path / "s", tmp_path / "c")
    assert (summary["items_new"], summary["items_ignored"]) == (1, 1)
    assert summary["ignored"][0]["reason"] == "an array or table of another --format"


def test_links_to_folders_are_not_followed_and_are_named(tmp_path):
    write_table(tmp_path / "s" / "in" / "a.csv", table())
    (tmp_path / "s" / "link").symlink_to("in")
    summary = take(tmp_path / "s", tmp_path / "c")
    assert summary["items_total"] == 1
    assert [(one["path"], one["reason"]) for one in summary["ignored"]] == [
        ("link/", "a link to a folder, which is not followed")
    ]


def test_one_session_in_two_formats_fails(tmp_path):
    write_table(tmp_path / "1.csv", table())
    write_table(tmp_path / "2.csv", table())
    np.save(tmp_path / "2.npy", np.zeros((4, 171)))
    summary = take(tmp_path, tmp_path / "c", "lmvd", "of:au")
    assert summary["items_new"] == 1
    assert summary["failures"][0]["reason"] == "has au in several files: 2.csv, 2.npy; keep one"


def test_no_times_and_no_rate(tmp_path):
    np.save(tmp_path / "a.npy", GOOD)
    with pytest.raises(SourceError, match=r"a\.npy: states no times: say its frames a second with --rate"):
        take(tmp_path, tmp_path / "c", "npy", "x:all")
    assert not (tmp_path / "c").exists()


NAMES = {
    "openface": "expected NAME:GROUP",
    "openface:aus": "has au, au_r, au_c, gaze, pose",
    "resnet50:au": "resnet50 is a network of this program",
    "of:au,of:au": "name each tap once",
    "of:au@3": "expected NAME:GROUP",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_cannot_be_meant(name, tmp_path):
    openface(tmp_path / "s", 1, 5)
    with pytest.raises(SettingsError, match=NAMES[name]):
        take(tmp_path / "s", tmp_path / "c", name=name)


def test_nothing_to_import(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(
        SourceError, match=r"holds no file of --format openface with of:au_r \(1 others: a.wav: sound\)"
    ):
        take(tmp_path / "s", tmp_path / "c")
    with pytest.raises(SourceError, match="is no folder"):
        take(tmp_path / "none", tmp_path / "c")


def test_another_format_or_group_is_refused_by_the_spec(tmp_path):
    openface(tmp_path / "s", 1, 5)
    take(tmp_path / "s", tmp_path / "c", name="of:au")
    with pytest.raises(SpecMismatch, match=r"features\.taps"):
        take(tmp_path / "s", tmp_path / "c", name="of:pose")
    np.save(tmp_path / "a.npy", GOOD)
    with pytest.raises(SpecMismatch, match="imported as openface, and features that were imported as npy cannot"):
        take(tmp_path, tmp_path / "c", "npy", "of:au", rate=30)


def test_tables_that_disagree(tmp_path):
    np.save(tmp_path / "1_visual.npy", np.ones((5, 136)))
    (tmp_path / "labels.csv").write_text("index,label,fold\n1,depression,train\n")
    (tmp_path / "other.csv").write_text("index,label\n1,normal\n")
    with pytest.raises(
        TableError, match=r"label of 1 is depression in labels.csv and normal in other.csv; keep the table"
    ):
        take(tmp_path, tmp_path / "c", "dvlog", "d:landmarks")


@pytest.mark.parametrize(
    ("row", "said"), [("1,maybe,train", "label 'maybe' is none of"), ("1,0,later", "split 'later'")]
)
def test_words_that_are_no_label_and_no_split(row, said, tmp_path):
    np.save(tmp_path / "1_visual.npy", np.ones((5, 136)))
    (tmp_path / "labels.csv").write_text(f"index,label,fold\n{row}\n")
    with pytest.raises(TableError, match=said):
        take(tmp_path, tmp_path / "c", "dvlog", "d:landmarks")


def test_the_command_ends_in_status_3_and_says_it_in_json(tmp_path):
    write_table(tmp_path / "s" / "a.csv", table())
    (tmp_path / "s" / "b.csv").write_text("")
    (tmp_path / "s" / "labels.csv").write_text("path,subject,label\na.csv,p1,sad\ngone.csv,p2,sad\n")
    command = [sys.executable, "-m", "facedep_jax", "import-features", "s", "--format", "openface", "--name", "of:au_r",
               "--out", "c", "--json"]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3, done.stderr
    summary = json.loads(done.stdout)
    reasons = {failure["path"].rpartition("/")[2]: failure["reason"] for failure in summary["failures"]}
    assert reasons == {
        "b.csv": "empty file (0 bytes)",
        "gone.csv": "cannot be read: No such file or directory",
    }
    assert summary["labelled"] == 2


def test_the_command_shows_a_table(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((5, 3)))
    command = [sys.executable, "-m", "facedep_jax", "import-features", ".", "--format", "npy", "--name", "x:all",
               "--rate", "30", "--out", "c"]  # fmt: skip
    done = subprocess.run(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = done.stdout + done.stderr
    assert "frames read" in shown and "x:all@1" in shown


@pytest.mark.parametrize("option", ["labels.csv", "labels", "subjects"])
def test_a_table_of_segments_is_refused(option, tmp_path):
    np.save(tmp_path / "a.npy", GOOD)
    file = tmp_path / ("labels.csv" if option == "labels.csv" else "mine.csv")
    file.write_text("path,subject,label,onset,offset\na.npy,p,sad,0,1\n")
    tables = {"labels": {"labels": [file]}, "subjects": {"subjects": file}}.get(option, {})
    settings = ImportSettings("npy", "x:all", rate=5)
    said = r"line 2: onset and offset name a segment, and imported files are labelled whole; .*--segments"
    with pytest.raises(TableError, match=said):
        import_features(tmp_path, tmp_path / "c", settings, **tables)
    file.write_text("path,subject,label,onset,offset\na.npy,p,sad,,\n")  # no row has times
    import_features(tmp_path, tmp_path / "c", settings, **tables)
    assert open_cache(tmp_path / "c").listings["subject"].to_list() == ["p"]


def test_what_a_forgotten_table_said_is_not_lost_silently(tmp_path):
    np.save(tmp_path / "a.npy", GOOD)
    labels, persons = tmp_path / "mine.csv", tmp_path / "persons.csv"
    labels.write_text("path,label,split\na.npy,sad,train\n")
    persons.write_text("path,subject\na.npy,p\n")
    settings, told = ImportSettings("npy", "x:all", rate=5), []
    import_features(tmp_path, tmp_path / "c", settings, told.append, [labels], persons)
    assert not [event for event in told if getattr(event, "level", "") == "warning"]
    import_features(tmp_path, tmp_path / "c", settings, told.append)
    assert [event.text.partition(": ")[2] for event in told if getattr(event, "level", "") == "warning"] == [
        "1 files have no emotion any more, for example a.npy: sad before; give --labels as then to keep them",
        "1 files have no subject any more, for example a.npy: p before; give --labels or --subjects as then to keep "
        "them",
        "1 files have no split any more, for example a.npy: train before; give --labels as then to keep them",
    ]


def test_another_rate_is_refused_by_the_spec(tmp_path):
    np.save(tmp_path / "a.npy", GOOD)
    take(tmp_path, tmp_path / "c", "npy", "x:all", rate=5)
    assert take(tmp_path, tmp_path / "c", "npy", "x:all", rate=5)["items_reused"] == 1
    with pytest.raises(SpecMismatch, match=r"input\.clip\.rate"):
        take(tmp_path, tmp_path / "c", "npy", "x:all", rate=30)
    write_table(tmp_path / "s" / "a.csv", table())
    take(tmp_path / "s", tmp_path / "stated")
    assert "rate" not in open_cache(tmp_path / "stated").spec["input"]["clip"]


def test_numbers_of_frames_say_where_frames_are_missing(tmp_path):
    for name, frames in (("a", [1, 2, 3, 300]), ("b", [1, 302, 5]), ("c", [1, 2, 2])):
        pl.DataFrame({"frame": frames, "x": frames}).write_csv(tmp_path / f"{name}.csv")
    summary = take(tmp_path, tmp_path / "c", "csv", "x:all", rate=10)
    np.testing.assert_allclose(open_cache(tmp_path / "c").rows.time, [0, 0.1, 0.2, 29.9], rtol=1e-6)
    assert [failure["reason"] for failure in summary["failures"]] == [
        "line 4: frame 5 stands there after 302; frames have to go on",
        "line 4: frame 2 stands there again; frames have to go on",
    ]
