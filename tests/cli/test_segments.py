"""Segments from the command line: two labels of one file, one decoding, and every command that reads them."""

import csv
import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from support.untrained_run import write_run

from facedep_jax.cache import open_cache
from facedep_jax.cli import main
from facedep_jax.media.media_writer import write_clip
from facedep_jax.sources.synthetic_faces import EXPRESSIONS, draw_face, draw_person

SMALL = ("--weights", "random:1", "--taps", "mobilenet_v2:mid@3,mobilenet_v2:top@1", "--size", "64")
READ = (*SMALL, "--faces", "none", "--engine", "xla")
SPLITS = {"train": range(5), "val": range(5, 8), "test": range(8, 10)}
HEAD = "path,emotion,subject,split,start,end,part\n"


def cli(*arguments, status=0):
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert result.exit_code == status, result.output + repr(result.exception)
    return json.loads(result.stdout), result.stderr


def table(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Ten clips of 4 s, the first half happy and the other sad, with a table of these halves; extracted both ways."""
    folder = tmp_path_factory.mktemp("segments")
    rows, whole = [], []
    for split, persons in SPLITS.items():
        for person in persons:
            rng = np.random.default_rng(person)
            moods = [EXPRESSIONS["happy"]] * 8 + [EXPRESSIONS["sad"]] * 8
            drawn = (draw_face(draw_person(person), mood, rng) for mood in moods)
            write_clip(folder / "clips" / f"p{person}.mp4", drawn, 4.0)
            rows += [f"clips/p{person}.mp4,happy,P{person},{split},0,0:02,first"]
            rows += [f"clips/p{person}.mp4,sad,P{person},{split},2.0,4,second"]
            whole += [f"clips/p{person}.mp4,P{person}"]
    (folder / "cut.csv").write_text(HEAD + "\n".join(rows) + "\n")
    (folder / "whole.csv").write_text("path,subject\n" + "\n".join(whole) + "\n")
    extracted, said = cli("extract-features", folder / "cut.csv", *READ, "--out", folder / "cut")
    assert (extracted["items_new"], extracted["segments"], extracted["segments_failed"]) == (10, 20, [])
    assert "10 files, csv manifest; 20 segments of 10 files" in said
    cli("extract-features", folder / "whole.csv", *READ, "--out", folder / "whole")
    return folder


def test_every_file_is_decoded_and_stored_once(work):
    """What a cache of segments holds is, but for its listings, what one of the whole files holds."""
    assert cli("cache", "diff", work / "cut", work / "whole", "--no-listings")[0] == {"equal": True, "differences": []}
    assert not cli("cache", "diff", work / "cut", work / "whole", status=3)[0]["equal"]
    assert cli("cache", "verify", work / "cut")[0]["ok"]
    seen = cli("cache", "inspect", work / "cut")[0]
    assert (seen["items"], seen["listings"], seen["segments"], seen["segments_overlapping"]) == (10, 10, 20, 0)
    assert seen["emotions"]["train"] == {"happy": 5, "sad": 5} and seen["subjects_in_several_splits"] == 0
    again, _ = cli("extract-features", work / "cut.csv", *READ, "--out", work / "cut")
    assert (again["items_new"], again["items_reused"]) == (0, 10)
    assert len((work / "cut" / "listings.jsonl").read_text().splitlines()) == 10


@pytest.fixture(scope="module")
def run(work):
    short = ("--preset", "tiny", "--seeds", "2", "--epochs", "3", "--folds", "2", "--resamples", "20")
    short += ("--baselines", "quick")
    trained, _ = cli("train-head", work / "cut", *short, "--out", work / "run")
    assert (trained["n_train"], trained["n_val"], trained["n_test"]) == (10, 6, 4)
    assert "20 segments of 10 items" in trained["notes"]
    return work / "run"


def test_each_segment_is_learned_from_and_judged_with_its_own_label(work, run):
    rows = table(run / "predictions.csv")
    assert len(rows) == 20 and len({row["item"] for row in rows}) == 10
    labels = {(row["path"], float(row["start"]), float(row["end"])): row["emotion"] for row in rows}
    assert labels["clips/p0.mp4", 0, 2] == "happy" and labels["clips/p0.mp4", 2, 4] == "sad"
    found, _ = cli("evaluate", run, work / "cut", "--by", "part")
    assert (found["n"], found["subjects"], found["ci_by"]) == (4, 2, "subject")
    assert set(found["subgroups"]) == {"part"}
    scored = ("--cache", work / "cut", "--weights", "random:1", "--faces", "none", "--engine", "xla", "--tables-only")
    cli("score-videos", work / "cut.csv", "--head", run, *scored, "--out", work / "scores")
    own = {(r["clip"], float(r["segment_start_s"])): float(r["score"]) for r in table(work / "scores" / "clips.csv")}
    assert len(own) == 20
    for row in rows:
        assert own[row["path"], float(row["start"])] == pytest.approx(float(row["probability"]), abs=1e-4)


def test_a_table_of_labels_cuts_a_cache_of_whole_clips_to_the_same_run(work, run):
    short = ("--preset", "tiny", "--seeds", "2", "--epochs", "3", "--baselines", "none", "--resamples", "20")
    trained, _ = cli("train-head", work / "whole", "--labels", work / "cut.csv", *short, "--out", work / "labelled")
    mine, theirs = (
        {(r["path"], r["start"]): (r["emotion"], r["split"]) for r in table(which / "predictions.csv")}
        for which in (run, work / "labelled")
    )
    assert trained["n_train"] == 10 and mine == theirs
    found, _ = cli("evaluate", work / "labelled", work / "whole")
    assert found["n"] == 4 and found["label_counts"] == {"positive": {"sad": 2}, "rest": {"happy": 2}}


def test_describing_takes_segments_from_the_listings_or_a_table(work):
    mine, _ = cli("describe", work / "cut")
    theirs, _ = cli("describe", work / "whole", "--segments", work / "cut.csv")
    values = ("clip", "start", "end", "samples", "seconds", "move_mean")
    assert len(mine["clips"]) == 20 and len(mine["persons"]) == 10
    assert [[row[v] for v in values] for row in mine["clips"]] == [[row[v] for v in values] for row in theirs["clips"]]
    assert mine["clips"][0]["samples"] == 8 and mine["persons"][0]["clips"] == 2


def test_scoring_a_folder_by_a_table_reports_each_segment_and_names_what_it_cannot(work, run, tmp_path):
    rows = ("p0.mp4,0,2", "p0.mp4,1,0:03", "p0.mp4,3.1,3.2", "p0.mp4,3,9", "p1.mp4,0,1", "gone.mp4,0,1")
    (tmp_path / "s.csv").write_text("\n".join(("path,start,end", *rows)) + "\n")
    read = ("--weights", "random:1", "--faces", "none", "--engine", "xla")
    (tmp_path / "clips").mkdir()
    for name in ("p0.mp4", "p1.mp4", "p2.mp4"):
        shutil.copy(work / "clips" / name, tmp_path / "clips")
    asked = ("score-videos", tmp_path / "clips", "--head", run, *read, "--segments", tmp_path / "s.csv")
    found, said = cli(*asked, "--out", tmp_path / "out", status=3)
    assert (found["segments"], found["clips_total"], found["items_new"]) == (6, 7, 3)
    reasons = {(c["clip"], c["segment_start_s"]): c["reason"] for c in found["clips"] if c["status"] == "failed"}
    assert reasons["p0.mp4", 3] == "ends at 9 s, and its clip at 4.00 s"
    assert reasons["p0.mp4", 3.1].startswith("no frame was sampled in it") and "gone.mp4" in {n for n, _ in reasons}
    assert "4 of which overlap another" in said and "1 files that it does not name" in said
    assert {p.name for p in (tmp_path / "out" / "plots").iterdir()} >= {"p0.mp4 %5B0-2 s%5D.png", "p2.mp4.png"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "p0.mp4 [1-3 s]" in page
    frames = [f for f in table(tmp_path / "out" / "frames.csv") if f["clip"] == "p0.mp4"]
    assert {f["segment_start_s"] for f in frames} == {"0.0000", "1.0000"}
    assert all(float(f["segment_start_s"]) <= float(f["time_s"]) < float(f["segment_end_s"]) for f in frames)
    other = CliRunner().invoke(main, [*map(str, asked[:-2]), "--out", str(tmp_path / "out")])
    assert other.exit_code == 1 and "segments" in other.output  # whole clips do not replace segments unasked


def test_a_person_in_one_segment_takes_the_whole_file_along(work, tmp_path):
    """Features are of the file, so that it goes for any of its persons."""
    (tmp_path / "m.csv").write_text(
        f"path,subject,start,end\n{work}/clips/p0.mp4,Ann,0,2\n{work}/clips/p0.mp4,Bob,2,4\n{work}/clips/p1.mp4,Cid,0,1\n"
    )
    cli("extract-features", tmp_path / "m.csv", *READ, "--out", tmp_path / "c")
    gone, _ = cli("cache", "purge", tmp_path / "c", "--subject", "bob")
    assert (gone["items"], gone["listings"]) == (1, 1)
    assert open_cache(tmp_path / "c").listing_rows["subject"].to_list() == ["Cid"]
    assert cli("cache", "verify", tmp_path / "c")[0]["ok"]


def test_two_segments_of_a_real_clip_have_their_own_rows_and_scores(clips_dev, tmp_path):
    clip = next(clips_dev.rglob("fer_test.mp4"))
    (tmp_path / "m.csv").write_text(
        f"path,emotion,start,end\n{clip},sad,0,1.5\n{clip},happy,0:01,00:00:03.25\n{clip},happy,3,99\n"
    )
    read = (*SMALL, "--faces", "haar", "--engine", "xla")
    found, _ = cli("extract-features", tmp_path / "m.csv", *read, "--out", tmp_path / "c", status=3)
    assert (found["items_new"], found["items_failed"], found["segments"]) == (1, 0, 3)
    assert [fault["segment"].split("/")[-1] for fault in found["segments_failed"]] == ["fer_test.mp4 [3-99 s]"]
    write_run(tmp_path / "run", target="emotion")
    read = ("--weights", "random:1", "--faces", "haar", "--cache", tmp_path / "c", "--tables-only")
    scored, _ = cli(
        "score-videos", tmp_path / "m.csv", "--head", tmp_path / "run", *read, "--out", tmp_path / "s", status=3
    )
    one, two, beyond = scored["clips"]
    assert scored["items_new"] == 0 and beyond["status"] == "failed"
    assert one["score"] != two["score"] and (one["frames_sampled"], two["frames_sampled"]) == (6, 9)
