"""Tables at the command line: a row is a request, and what is not understood is said before anything is written."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from facedep_jax.cache import open_cache
from facedep_jax.cli import main
from facedep_jax.sources.synthetic_faces import draw_faces

QUICK = ("--weights", "random:1", "--taps", "mobilenet_v2:top@1", "--size", "32", "--faces", "none", "--engine", "xla")


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn") / "faces"
    draw_faces(folder, persons=1)
    return folder


def extract(*arguments, code):
    told = CliRunner().invoke(main, ["extract-features", *map(str, arguments), *QUICK, "--json"])
    assert told.exit_code == code, told.stderr
    return (json.loads(told.stdout) if told.stdout else {}), " ".join(told.stderr.split())


@pytest.fixture
def some(faces, tmp_path):
    """Two pictures, and a note, in a folder of their own."""
    pictures = sorted(faces.rglob("*.png"))
    for name, picture in (("sad/a.png", pictures[0]), ("happy/b.png", pictures[-1])):
        (tmp_path / "some" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, tmp_path / "some" / name)
    (tmp_path / "some" / "notes.txt").write_text("x")
    return tmp_path / "some"


def test_a_row_of_a_manifest_that_cannot_be_taken_is_a_failure(some):
    rows = ["path ;Emotion;age", "sad/a.png;Sadness;23,5", "happy/b.png ;joy;NA", "gone.png;sad;3", "notes.txt;sad;4"]
    (some / "m.csv").write_text("\n".join(rows))
    summary, told = extract(some / "m.csv", "--out", some / "c", code=3)
    assert {Path(failure["path"]).name for failure in summary["failures"]} == {"gone.png", "notes.txt"}
    assert "1 of 4 rows name no image or clip, and fail" in told and "decimal commas in age" in told
    listings = open_cache(some / "c").listings.filter(path="happy/b.png")
    assert listings.select("emotion", "age").rows() == [("joy", None)]


def test_what_is_ignored_is_named_with_its_reason_and_what_is_not_read_is_a_failure(some, tmp_path):
    for number in range(11):
        (some / f"{number:02}.txt").write_text("x")
    (some / "0\x1b[31m[red].md").write_text("x")
    (some / "sad" / "c.jxl").write_bytes(b"not opened")
    command = ["extract-features", str(some), *QUICK, "--out", str(tmp_path / "c")]
    told = CliRunner().invoke(main, command)
    shown = told.stdout.splitlines()
    named = [line for line in shown if line.startswith("ignored ")]
    assert told.exit_code == 3 and len(named) == 10
    assert named[0] == r"ignored 0\x1b[31m[red].md: .md files are not read"
    assert f"… and 3 more, all in {tmp_path / 'c' / 'ignored.jsonl'}" in shown
    assert any(line.startswith("failed ") and "c.jxl: a JPEG XL picture" in line for line in shown)
    assert "1 of 3 files cannot be used, such as sad/c.jxl: a JPEG XL" in " ".join(told.stderr.split())


@pytest.mark.parametrize("table", ["--subjects", "labels.csv"])
def test_a_row_for_a_file_that_is_not_there_is_a_failure_in_every_table(some, tmp_path, table):
    rows = "path,subject\nsad/a.png,P1\nhappy\\b.png,P2\n"
    where = some / "labels.csv" if table == "labels.csv" else tmp_path / "who.csv"
    where.write_text(rows)
    asked = () if table == "labels.csv" else ("--subjects", where)
    summary, told = extract(some, "--out", tmp_path / "c", *asked, code=3)
    assert [Path(failure["path"]).name for failure in summary["failures"]] == ["happy\\b.png"]
    assert "1 of its rows name no file, for example happy\\b.png, and fail: they are written as on Windows" in told
    assert open_cache(tmp_path / "c").listings.filter(path="sad/a.png")["subject"].to_list() == ["P1"]


@pytest.mark.parametrize("name", ["known", "differs", "subject_id", "order"])
def test_a_further_column_may_be_called_anything(some, name):
    (some / "m.csv").write_text(f"path,emotion,{name}\nsad/a.png,sad,x\nhappy/b.png,happy,y\n")
    for _ in range(2):
        extract(some / "m.csv", "--out", some / "c", code=0)
    kept = f"{name}_column" if name == "subject_id" else name
    assert open_cache(some / "c").listings[kept].to_list() == ["x", "y"]


def test_numbers_of_every_rater_are_those_of_the_data_set(some):
    (some / "m.csv").write_text("path,emotion,emotion2\nsad/a.png,2.0,1\nhappy/b.png,1.0,\n")
    extract(some / "m.csv", "--out", some / "c", "--emotion-codes", "affectnet", code=0)
    rows = open_cache(some / "c").listings.select("emotion", "emotion2").rows()
    assert rows == [("sad", "happy"), ("happy", None)]


def test_a_path_of_two_sources_is_nobodys_in_a_table_of_subjects(some, tmp_path):
    """Else one row would make one person of two files that have nothing but their name in common."""
    shutil.copytree(some, tmp_path / "other")
    (tmp_path / "who.csv").write_text("path,subject\nsad/a.png,P1\n")
    _, told = extract(some, tmp_path / "other", "--out", tmp_path / "c", "--subjects", tmp_path / "who.csv", code=1)
    assert f"1 of its paths are files of several sources, such as sad/a.png of {some} and of" in told
    shutil.move(tmp_path / "other/sad/a.png", tmp_path / "other/sad/c.png")
    extract(some, tmp_path / "other", "--out", tmp_path / "c", "--subjects", tmp_path / "who.csv", code=0)


def test_subjects_that_a_second_pass_does_not_name_are_said_to_be_lost(some, tmp_path):
    (tmp_path / "who.csv").write_text("path,subject\nsad/a.png,P1\n")
    _, told = extract(some, "--out", tmp_path / "c", "--subjects", tmp_path / "who.csv", code=0)
    assert "any more" not in told
    _, told = extract(some, "--out", tmp_path / "c", code=0)
    assert "1 files have no subject any more, for example sad/a.png: P1 before; give --subjects" in told
    _, told = extract(some, "--out", tmp_path / "c", code=0)
    assert "any more" not in told


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('path,emotion\nsad/a.png,"sad\nhappy/b.png,happy\n', "unexpected end of data, in the row of line 2"),
        ("path,rater,emotion\nsad/a.png,1,sad\nsad/a.png,2,fear\nsad/a.png,3,sad\n", "raters in columns emotion2"),
        ("picture,emotion\nsad/a.png,sad\n", "has no column 'path'"),
    ],
)  # fmt: skip
def test_a_table_nobody_can_understand_is_one_sentence_and_writes_nothing(some, text, says):
    (some / "m.csv").write_text(text)
    before = sorted(some.rglob("*"))
    _, told = extract(some / "m.csv", "--out", some / "c", code=1)
    assert says in told and "Traceback" not in told
    assert sorted(some.rglob("*")) == before


def test_a_source_one_level_too_high_is_refused_and_nothing_is_written(some):
    _, told = extract(some.parent, "--out", some.parent / "c", code=1)
    assert f"name {some} instead" in told and not (some.parent / "c").exists()


def test_a_source_within_another_is_said_and_one_of_them_can_be_retired(some, tmp_path):
    extract(some, "--out", tmp_path / "c", code=0)
    _, told = extract(some / "sad", "--out", tmp_path / "c", code=0)
    assert f"also lists {some}, which lies around {some / 'sad'}: what both hold is listed twice" in told
    assert CliRunner().invoke(main, ["cache", "forget", str(tmp_path / "c"), str(some)]).exit_code == 0
    _, told = extract(some / "sad", "--out", tmp_path / "c", code=0)
    assert "also lists" not in told
    assert open_cache(tmp_path / "c").listings["path"].to_list() == ["a.png"]


def test_labels_shows_what_words_mean(tmp_path):
    (tmp_path / "c.toml").write_text('[train]\naliases = ["melancholy=sad"]\n')
    told = CliRunner().invoke(main, ["labels", "Melancholy", "sadly", "--config", str(tmp_path / "c.toml"), "--json"])
    assert told.exit_code == 3
    assert json.loads(told.stdout)["names"] == {
        "Melancholy": {"emotion": "sad", "meant": None},
        "sadly": {"emotion": None, "meant": "sad"},
    }
    assert CliRunner().invoke(main, ["labels"]).stdout.count("sadness") == 1
