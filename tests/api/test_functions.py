"""The commands as functions: from drawn faces to scores, and that they say and do what the command line does."""

import inspect
import json
import logging
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image

import facedep_jax
from facedep_jax.api.listeners import SHOWN_FAILURES
from facedep_jax.api.scores import Scores
from facedep_jax.cache.maintenance.verify import diff_caches
from facedep_jax.cli import main
from facedep_jax.errors import RunError, SettingsError, SourceError
from facedep_jax.progress_events import Note, Progress
from facedep_jax.sources.synthetic_faces import draw_clips, draw_faces

FAST = {"weights": "random:1", "taps": "mobilenet_v2:mid@3,mobilenet_v2:top@1", "size": "64"}
TINY = {"preset": "tiny", "seeds": 2, "epochs": 2, "resamples": 20, "baselines": "none"}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Drawn faces and clips, a cache and a run that the functions made."""
    folder = tmp_path_factory.mktemp("work")
    draw_faces(folder / "faces", persons=10)
    draw_clips(folder / "clips")
    extraction = facedep_jax.extract(folder / "faces", folder / "cache", subject_regex="(p[0-9]+)_", **FAST)
    facedep_jax.train(extraction, folder / "run", **TINY)
    return folder


@pytest.fixture(scope="module")
def run(work):
    return facedep_jax.load_run(str(work / "run"))


@pytest.fixture(scope="module")
def pictures(work):
    return sorted(work.glob("faces/**/*.png"))[:3]


def command(*arguments):
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    assert result.exit_code in (0, 3), result.output
    return json.loads(result.stdout)


def test_extract_makes_the_cache_that_the_command_makes(work, tmp_path):
    """From a string as from a path."""
    options = [word for name, value in FAST.items() for word in (f"--{name}", value)]
    command("extract-features", work / "faces", *options, "--subject-regex", "(p[0-9]+)_", "--out", tmp_path / "c")
    assert diff_caches(work / "cache", tmp_path / "c")["equal"]
    again = facedep_jax.extract(str(work / "faces"), str(work / "cache"), subject_regex="(p[0-9]+)_", **FAST)
    assert (again.summary["items_new"], again.cache.path) == (0, work / "cache")


def test_what_failed_is_a_table(work, tmp_path):
    (tmp_path / "faces").mkdir()
    (tmp_path / "faces" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (tmp_path / "faces" / "good.png").write_bytes(next(work.glob("faces/**/*.png")).read_bytes())
    found = facedep_jax.extract(tmp_path / "faces", tmp_path / "cache", **FAST)
    [failed] = found.failures["path"]
    assert Path(failed).name == "bad.png"
    assert "bad.png" in found._repr_html_() and "cut short" in repr(found)


def test_a_run_has_its_figures_as_tables(run):
    figures = run.metrics.filter(model="head", split="test", figure="auroc")
    assert figures["value"].item() == run.summary["metrics"]["test"]["auroc"]
    assert run.predictions["label"].dtype == pl.Int64
    assert run.predictions["probability"].is_between(0, 1).all()
    assert len(run.predictions) == sum(run.summary[f"n_{split}"] for split in ("train", "val", "test"))


def test_trained_again_is_the_run_that_is_there(work):
    again = facedep_jax.train(str(work / "cache"), str(work / "run"), **TINY)
    assert again.path == work / "run"
    with pytest.raises(RunError, match="holds a run of other settings"):
        facedep_jax.train(work / "cache", work / "run", **{**TINY, "epochs": 3})


def test_predict_says_what_the_command_says(work, run, pictures):
    said = command("predict", work / "run", *pictures, "--weights", "random:1")["results"]
    found = run.predict(pictures, weights="random:1")
    assert found.frame["probability"].to_list() == [one["probability"] for one in said]
    assert found.frame["decision"].to_list() == [one["decision"] for one in said]
    assert [one.path for one in found] == [str(path) for path in pictures]


def test_pixels_score_as_their_file_does(run, pictures):
    expected = run.predict(pictures, weights="random:1").frame["probability"].to_list()
    opened = [Image.open(path).convert("RGB") for path in pictures]
    arrays = [np.asarray(picture) for picture in opened]
    for given in (arrays, np.stack(arrays), opened):
        found = run.predict(given, weights="random:1").frame
        assert found["probability"].to_list() == expected
        assert found["path"].to_list() == ["pictures[0]", "pictures[1]", "pictures[2]"]
    assert run.predict(arrays[1], weights="random:1").frame["probability"].to_list() == expected[1:2]
    assert run.predict(str(pictures[2]), weights="random:1").frame["probability"].to_list() == expected[2:]


def test_grey_pixels_are_those_of_three_equal_channels(run, pictures):
    grey = np.asarray(Image.open(pictures[0]).convert("L"))
    one, three = run.predict([grey, np.stack([grey] * 3, -1)], weights="random:1").frame["probability"]
    assert one == three


@pytest.mark.parametrize(
    ("pictures", "said"),
    [
        (np.zeros((8, 8, 3)), "pictures[0] is an array of float64 and (8, 8, 3), expected uint8"),
        ([np.zeros((8, 8, 4), np.uint8)], "pictures[0] is an array of uint8 and (8, 8, 4), expected uint8"),
        (["a.png", 3], "pictures[1] is a int, expected a path or an array"),
    ],
)
def test_what_is_no_picture_is_refused(run, pictures, said):
    with pytest.raises(SettingsError) as refused:
        run.predict(pictures, weights="random:1")
    assert said in str(refused.value)


def test_a_picture_that_cannot_be_read_has_a_row(run, pictures, caplog):
    found = run.predict([pictures[0], "absent.png"], weights="random:1")
    assert found.frame["status"].to_list() == ["scored", "failed"]
    assert found.frame["reason"].to_list() == [None, "cannot be read: No such file or directory"]
    assert "failed: absent.png: cannot be read" in caplog.text and "failed" in repr(found)


def test_networks_stay_loaded_for_the_next_call(run, pictures):
    heard = []
    run.predict(pictures[0], weights="random:1")
    run.predict(pictures[1], weights="random:1", report=heard.append)
    assert [event for event in heard if isinstance(event, Note)] == []
    run.predict(pictures[1], weights="random:1", engine="xla", report=heard.append)
    assert any("engine: xla" in event.text for event in heard if isinstance(event, Note))


def test_scores_of_clips_are_those_of_the_command(work, run, tmp_path):
    options = {"faces": "none", "fps": 2.0, "tables_only": True}
    scores = run.score(work / "clips", tmp_path / "scores", **options)
    said = command(
        *("score-videos", work / "clips", "--head", work / "run", "--out", tmp_path / "other"),
        *("--faces", "none", "--fps", 2, "--tables-only"),
    )
    known = {clip["clip"]: clip["score"] for clip in said["clips"]}
    assert dict(scores.clips.select("clip", "score").iter_rows()) == known
    assert len(scores.frames) == said["frames"] and len(scores.windows) == said["windows"]
    assert f"{said['clips_failed']}" in repr(scores) and "broken_download.mp4" in scores._repr_html_()


def test_several_clips_by_name_are_a_batch_that_has_to_be_named(work, run, tmp_path):
    clips = sorted(work.glob("clips/*.mp4"))[:2]
    scores = run.score(clips, tmp_path / "scores", faces="none", fps=2, tables_only=True)
    assert sorted(scores.clips["clip"]) == sorted(clip.name for clip in clips)
    with pytest.raises(RunError, match="say where their scores go: out"):
        run.score(clips, faces="none")
    with pytest.raises(SourceError, match=r"absent\.mp4: no such file"):
        run.score([clips[0], "absent.mp4"], tmp_path / "else")


def test_evaluate_has_the_figures_of_the_command(work, run):
    said = command("evaluate", work / "run", work / "cache", "--split", "val")
    for given in (run, work / "run", str(work / "run")):
        found = facedep_jax.evaluate(given, work / "cache", "val")
        assert found.figures.filter(figure="auroc")["value"].item() == said["auroc"]
    assert set(found.emotions["emotion"]) == set(said["score_by_emotion"])
    against = facedep_jax.evaluate(run, facedep_jax.open_cache(work / "cache"), "val", against=run)
    assert against.summary["against"]["difference"]["auroc"] == 0


def test_describe_has_the_rows_of_the_command(work, run, tmp_path):
    run.score(work / "clips", tmp_path / "scores", faces="none", fps=2.0, tables_only=True)
    said = command("describe", tmp_path / "scores" / "cache", "--head", work / "run")
    found = facedep_jax.describe(tmp_path / "scores" / "cache", run)
    assert found.clips["clip"].to_list() == [clip["clip"] for clip in said["clips"]]
    assert set(said["descriptors"]) <= set(found.clips.columns)


def test_objects_are_shown_as_lines_and_as_html(work, run):
    cache = facedep_jax.open_cache(work / "cache")
    for shown in (cache, run, facedep_jax.evaluate(run, cache, "val")):
        assert "UNTRAINED WEIGHTS" in repr(shown)
        assert "UNTRAINED WEIGHTS" in shown._repr_html_() and shown._repr_html_().startswith("<div><b>")
    assert "auroc" in run._repr_html_() and "auroc" in repr(run)


def test_signatures_name_every_setting_and_no_other(run):
    """Of features the run decides: to ask `predict` for taps would change nothing."""
    assert {"weights", "taps", "size", "flip", "limit"} <= set(inspect.signature(facedep_jax.extract).parameters)
    assert {"epochs", "positive", "resamples"} <= set(inspect.signature(facedep_jax.train).parameters)
    assert not {"taps", "size", "limit", "workers"} & set(inspect.signature(run.predict).parameters)
    with pytest.raises(TypeError, match=r"predict\(\) has no argument 'taps'"):
        run.predict("a.png", taps="mobilenet_v2:top@1")
    with pytest.raises(TypeError, match="did you mean 'weights'"):
        run.predict("a.png", wieghts="random:1")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"fps": 0.0}, "fps is 0, expected"),
        ({"batch_size": 0}, "batch_size is 0, expected at least 1"),
        ({"fps": "four"}, "fps is 'four', expected a number"),
    ],
)
def test_errors_speak_of_arguments(work, tmp_path, wrong, said):
    with pytest.raises(SettingsError) as refused:
        facedep_jax.extract(work / "faces", tmp_path / "cache", **{**FAST, **wrong})
    assert said in str(refused.value) and "--" not in str(refused.value)


def test_what_is_told_meanwhile_goes_to_the_log_or_to_who_asks(work, tmp_path, caplog):
    caplog.set_level(logging.INFO, "facedep_jax")
    facedep_jax.extract(work / "faces", tmp_path / "a", limit=2, **FAST)
    assert "UNTRAINED WEIGHTS" in caplog.text
    assert "limit: 2 of" in caplog.text and "--limit" not in caplog.text
    levels = {record.levelname for record in caplog.records if "UNTRAINED" in record.message}
    assert levels == {"WARNING"}
    caplog.clear()
    heard = []
    facedep_jax.extract(work / "faces", tmp_path / "b", limit=2, report=heard.append, **FAST)
    assert [record for record in caplog.records if record.name == "facedep_jax"] == []
    assert any(isinstance(event, Progress) for event in heard)
    assert any("limit: 2 of" in event.text for event in heard if isinstance(event, Note))


def test_many_failures_are_named_up_to_a_number(run, caplog):
    found = run.predict([f"absent{n}.png" for n in range(SHOWN_FAILURES + 3)], weights="random:1")
    assert caplog.text.count("failed: absent") == SHOWN_FAILURES
    assert "more files have failed" in caplog.text and len(found.frame) == SHOWN_FAILURES + 3


def test_in_a_thread_it_is_the_same(run, pictures):
    expected = run.predict(pictures, weights="random:1").frame["probability"].to_list()
    found: list[float] = []

    def work_there():
        there = facedep_jax.load_run(run.path).predict(pictures, weights="random:1")
        found.extend(there.frame["probability"])

    thread = threading.Thread(target=work_there)
    thread.start()
    thread.join()
    assert found == expected


def test_scores_are_read_from_where_they_lie(work, run, tmp_path):
    scores = run.score(work / "clips", tmp_path / "scores", faces="none", fps=2.0)
    assert scores.page == tmp_path / "scores" / "report.html" and scores.page.is_file()
    assert Scores(scores.summary).clips.equals(scores.clips)
    assert isinstance(scores.path, Path)
