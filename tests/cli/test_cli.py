"""The command line gives what the library gives, and one clear line for everything that cannot be done."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from support.paths import ROOT
from support.terminal import on_screen, terminal

from facedep_jax.backbones.weights import load
from facedep_jax.cache import open_cache
from facedep_jax.cli import main
from facedep_jax.cli.command import CommandResult, _run
from facedep_jax.cli.demo import BROKEN_CLIP, as_expected
from facedep_jax.progress_events import Progress
from facedep_jax.sources.label_vocabulary import EMOTIONS
from facedep_jax.sources.synthetic_faces import draw_clips, draw_faces

FAST = ["--weights", "random:1", "--taps", "mobilenet_v2:mid@3,mobilenet_v2:top@1", "--size", "64"]
TRAINING = ["--preset", "tiny", "--epochs", "8", "--seeds", "2", "--resamples", "50"]


def cli(*arguments, code=0, columns=80, charset="utf-8"):
    """Run a command in this process; returns the result after checking its exit status and that it has no traceback."""
    result = CliRunner(charset=charset).invoke(main, [str(a) for a in arguments], env={"COLUMNS": str(columns)})
    assert result.exit_code == code, result.output + repr(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result


def summary(*arguments, code=0):
    return json.loads(cli(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Drawn faces and clips, a cache of the faces, and a run trained on it."""
    folder = tmp_path_factory.mktemp("work")
    draw_faces(folder / "faces", persons=12)
    draw_clips(folder / "clips")
    cli("extract-features", folder / "faces", *FAST, "--subject-regex", "(p[0-9]+)_", "--out", folder / "cache")
    cli("train-head", folder / "cache", *TRAINING, "--out", folder / "run")
    return folder


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, runpy; sys.argv = ['cli', '--help']\n"
        "try: runpy.run_path('cli.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'cv2', 'h5py', 'flax', 'tensorflow_datasets', 'numpy', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    root = str(ROOT)
    result = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "not a\n  diagnosis" in result.stdout or "not a diagnosis" in result.stdout


def test_every_command_has_help():
    for command in main.commands:
        assert "Usage" in cli(command, "--help").output


def test_summaries_have_the_promised_fields(work):
    extraction = summary(
        "extract-features", work / "faces", *FAST, "--subject-regex", "(p[0-9]+)_", "--out", work / "cache"
    )
    assert extraction.keys() >= {
        "cache",
        "fingerprint",
        "items_total",
        "items_new",
        "items_reused",
        "items_failed",
        "items_ignored",
        "rows",
        "seconds",
        "images_per_second",
        "engine",
        "precision",
        "features",
    }
    assert (extraction["items_reused"], extraction["items_new"]) == (180, 0)
    evaluation = summary("evaluate", work / "run", work / "cache")
    figures = (
        "accuracy",
        "balanced_accuracy",
        "precision",
        "recall",
        "f1",
        "specificity",
        "mcc",
        "auroc",
        "auprc",
        "brier",
        "ece_debiased",
        "calibration_slope",
        "calibration_intercept",
        "auroc_sad_vs_rest",
        "auroc_sad_vs_neutral",
        "auroc_not_smiling",
    )
    assert evaluation.keys() >= {"split", "n", "subjects", "prevalence", "score_by_emotion", "confusion", *figures}
    for name in figures:
        assert f"{name}_ci" in evaluation
    assert evaluation["ci_by"] == "subject"
    assert sum(map(sum, evaluation["confusion"])) == evaluation["n"]


def test_a_run_has_its_files_and_pictures(work):
    files = {p.name for p in (work / "run").iterdir()}
    assert files >= {
        "head.safetensors",
        "config.toml",
        "metrics.json",
        "history.csv",
        "predictions.csv",
        "plots",
        "MODEL_CARD.md",
    }
    assert len(list((work / "run" / "plots").glob("*.png"))) >= 6
    assert "UNTRAINED" in (work / "run" / "MODEL_CARD.md").read_text()
    with open(work / "run" / "predictions.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert all("UNTRAINED" in row["warning"] for row in rows)
    assert {row["split"] for row in rows} == {"train", "val", "test"}


def test_predict_equals_the_library_on_cached_features(work):
    """A picture scored by itself and the same picture's row in the cache give one probability."""
    from facedep_jax.runs.run_directory import load_head

    picture = sorted((work / "faces" / "test" / "sad").glob("*.png"))[0]
    results = summary("predict", work / "run", picture)["results"]
    cache, head = open_cache(work / "cache"), load_head(work / "run")
    item = next(e["item"] for e in cache.listings.to_dicts() if e["path"] == f"test/sad/{picture.name}")
    row = cache.items.first_row[cache.items.id.tolist().index(item)]
    tokens = {tap: cache.features(tap, cache.rows.feature[[row]]) for tap in head.taps}
    expected = float(head.probability(head.frame_logits(tokens))[0])
    assert results[0]["probability"] == pytest.approx(expected, abs=2e-3)
    assert (results[0]["status"], results[0]["face"]["state"]) == ("scored", "whole")


def test_predict_lists_what_it_cannot_read_and_draws_what_it_can(work, tmp_path):
    picture = sorted((work / "faces" / "test" / "happy").glob("*.png"))[0]
    (tmp_path / "broken.png").write_bytes(picture.read_bytes()[:300])
    found = summary(
        "predict",
        work / "run",
        picture,
        tmp_path / "broken.png",
        tmp_path / "absent.png",
        "--plot",
        tmp_path / "plots",
        code=3,
    )["results"]
    assert [r["status"].split(":")[0] for r in found] == ["scored", "failed", "failed"]
    assert found[2]["status"] == "failed: cannot be read: No such file or directory" and "reason" not in found[2]
    assert len(list((tmp_path / "plots").iterdir())) == 1
    nothing = cli("predict", work / "run", tmp_path / "absent.png", code=1)
    assert errors_in(nothing) == [
        f"error: nothing could be done: all 1 files failed, the first: {tmp_path / 'absent.png'}: "
        "cannot be read: No such file or directory"
    ]


def test_predict_checks_its_engine_as_extraction_does(work):
    picture = sorted((work / "faces" / "test" / "sad").glob("*.png"))[0]
    said = cli("predict", work / "run", picture).stderr
    assert "engine: " in said
    assert "engine: xla" in said or "agrees with xla float32" in said


def test_weights_are_begun_to_be_read_as_they_are_asked_for(work, tmp_path, monkeypatch):
    """By every command that computes features, and taken by the plan that it makes."""
    taken = []
    kept = load.result_of
    monkeypatch.setattr(load, "result_of", lambda future, report: taken.append(future) or kept(future, report))
    picture = sorted((work / "faces" / "test" / "sad").glob("*.png"))[0]
    cli("predict", work / "run", picture)
    cli("extract-features", work / "faces", *FAST, "--limit", "1", "--out", tmp_path / "cache")
    clips = work / "clips" / "smiling.mp4"
    cli("score-videos", clips, "--head", work / "run", "--faces", "none", "--out", tmp_path / "scores", "--tables-only")
    assert len(taken) == 3 and not load._begun


def test_jax_is_loaded_without_a_look_for_garbage_once():
    code = (
        "import gc\n"
        "from facedep_jax.cli.command import load_jax\n"
        "seen = []\n"
        "load_jax(lambda event: None, ahead=lambda: seen.append(gc.isenabled()))\n"
        "first = gc.get_freeze_count()\n"
        "load_jax(lambda event: None, ahead=lambda: seen.append(gc.isenabled()))\n"
        "assert seen == [False, True] and gc.isenabled() and gc.get_freeze_count() == first > 10_000, (seen, first)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_score_videos_lists_every_clip_and_goes_on(work, tmp_path):
    out = tmp_path / "scores"
    command = ("score-videos", work / "clips", "--head", work / "run", "--faces", "none", "--out", out, "--window")
    found = summary(*command, "1", code=3)
    counts = [found[k] for k in ("clips_total", "clips_scored", "clips_failed", "clips_abstained", "frames")]
    assert counts == [5, 4, 1, 0, 128]
    with open(out / "clips.csv", newline="") as stream:
        clips = {row["clip"]: row for row in csv.DictReader(stream)}
    assert clips["broken_download.mp4"]["status"] == "failed"
    assert clips["broken_download.mp4"]["reason"]
    with open(out / "frames.csv", newline="") as stream:
        frames = list(csv.DictReader(stream))
    for name, clip in clips.items():
        if clip["status"] == "scored":
            own = [float(row["probability"]) for row in frames if row["clip"] == name]
            assert float(clip["score"]) == pytest.approx(np.mean(own), abs=1e-3)
            assert float(clip["low"]) <= float(clip["score"]) <= float(clip["high"])
            assert (out / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    again = summary(*command, "1", code=3)
    assert [again[k] for k in ("clips_scored", "clips_failed", "frames")] == [4, 1, 128]
    assert [c["score"] for c in again["clips"]] == [c["score"] for c in found["clips"]]
    assert "score.window: 1.0 → 3.0" in cli(*command, "3", code=1).stderr


def test_score_videos_takes_the_newest_run(work, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "no run in runs/" in cli("score-videos", work / "clips", code=1).stderr
    shutil.copytree(work / "run", tmp_path / "runs" / "only")
    shutil.copytree(work / "run", tmp_path / "runs" / ".later.99.partial")
    os.utime(tmp_path / "runs" / ".later.99.partial" / "head.safetensors", (2**32, 2**32))
    found = summary("score-videos", work / "clips", "--faces", "none", code=3)
    assert found["run"] == "runs/only"
    assert (tmp_path / "scores" / "clips" / "clips.csv").exists()


def test_cache_commands(work, tmp_path):
    assert summary("cache", "inspect", work / "cache")["items"] == 180
    assert summary("cache", "verify", work / "cache")["ok"]
    shutil.copytree(work / "cache", tmp_path / "copy")
    assert summary("cache", "diff", work / "cache", tmp_path / "copy")["equal"]
    shard = next((tmp_path / "copy" / "shards").glob("*.h5"))
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    problems = summary("cache", "verify", tmp_path / "copy", code=3)["problems"]
    assert {p["kind"] for p in problems} >= {"hash"}


def test_output_is_private_unless_shared(work, tmp_path):
    for flags, files, folders in (([], 0o600, 0o700), (["--shared"], 0o644, 0o755)):
        os.umask(0o022)
        out = tmp_path / f"cache{len(flags)}"
        cli("extract-features", work / "faces", *FAST, "--limit", "2", "--out", out, *flags)
        written = [out, *out.rglob("*")]
        assert {path.stat().st_mode & 0o777 for path in written if path.is_file()} == {files}
        assert {path.stat().st_mode & 0o777 for path in written if path.is_dir()} == {folders}


def errors_in(result):
    return [line for line in result.stderr.splitlines() if line.startswith(("error:", "Error:"))]


def bad_inputs(work, tmp):
    """Arguments, exit status, and what the one line has to say."""
    (tmp / "empty").mkdir()
    (tmp / "text").mkdir()
    (tmp / "text" / "a.txt").write_text("x")
    (tmp / "one").mkdir()
    (tmp / "one" / "notes.jpg").write_text("hello")
    (tmp / "config.toml").write_text('[extract]\ntap = "x"\n')
    (tmp / "wrong").mkdir()
    (tmp / "wrong" / "weights.h5").write_bytes(b"not HDF5 at all")
    (tmp / "table.toml").write_text("extract = 3\n")
    few = [(e, f"p0{n}") for e in ("sad", "happy") for n in (0, 1)]
    rows = [f"{work / 'faces' / 'train' / e / p}_0.png,{e},{p}" for e, p in few]
    (tmp / "few.csv").write_text("\n".join(["path,emotion,subject", *rows]))
    cli("extract-features", tmp / "few.csv", *FAST, "--out", tmp / "few")
    (tmp / "thesis").mkdir()
    (tmp / "thesis" / "chapter.txt").write_text("x")
    extract = ["extract-features", work / "faces", *FAST, "--out", tmp / "cache"]
    return [
        (["extract-features", tmp / "empty", *FAST], 1, "empty, no images or clips"),
        (["extract-features", tmp / "text", *FAST], 1, "no images or clips (1 other file ignored)"),
        (["extract-features", tmp / "absent", *FAST], 1, "no such file or folder"),
        ([*extract, "--taps", "mobilenet_v2:mid@9"], 2, "mid@9"),
        ([*extract, "--taps", "vgg16:top@1"], 2, "mobilenet_v2"),
        ([*extract, "--size", "100"], 2, "multiple of 32"),
        ([*extract, "--config", tmp / "config.toml"], 2, "did you mean 'taps'"),
        ([*extract, "--config", tmp / "table.toml"], 2, "extract is 3, expected a table [extract]"),
        ([*extract, "--limit", "0"], 2, "--limit is 0, expected at least 1"),
        (["score-videos", work / "clips", "--head", work / "run", "--window", "-1"], 2, "--window is -1, expected"),
        ([*extract, "--weights", tmp / "empty"], 1, "no file holds mobilenet_v2"),
        ([*extract, "--weights", tmp / "wrong"], 1, "weights.h5"),
        ([*extract, "--engine", "tensorrt"], 1, "tensorrt"),
        (
            ["extract-features", work / "faces", *FAST, "--out", work / "cache", "--color", "grey"],
            1,
            "features.color: rgb → grey",
        ),
        (["extract-features", work / "faces", *FAST, "--out", tmp / "thesis"], 1, "holds something else"),
        (["train-head", tmp / "absent"], 1, "does not exist"),
        (["train-head", work / "cache", "--positive", "bored", "--out", tmp / "run"], 1, "bored"),
        (
            ["train-head", work / "cache", "--positive", "anger,happy,neutral,sad,surprise", "--out", tmp / "run"],
            1,
            "every item is positive, so there is nothing to tell apart",
        ),
        (["train-head", tmp / "few", "--out", tmp / "run"], 1, "2 subjects are too few to make one"),
        (["train-head", work / "cache", "--preset", "tiny", "--epochs", "9", "--out", work / "run"], 1, "epochs"),
        (["train-head", work / "cache", "--out", tmp / "thesis"], 1, "holds something else"),
        (["evaluate", tmp / "absent", work / "cache"], 1, "absent"),
        (["evaluate", work / "run", work / "cache", "--split", "tets"], 1, "tets"),
        (["score-videos", work / "faces", "--head", work / "run"], 1, "no clips"),
        (["score-videos", work / "clips", "--head", work / "run", "--out", tmp / "thesis"], 1, "holds something else"),
        (["cache", "inspect", tmp / "thesis"], 1, "is not a cache"),
    ]


def test_bad_input_is_one_clear_line_and_changes_nothing(work, tmp_path):
    for arguments, code, message in bad_inputs(work, tmp_path):
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        said = f"{arguments}: {result.output}{result.exception!r}"
        assert isinstance(result.exception, SystemExit), said
        errors = errors_in(result)
        assert len(errors) == 1, said
        assert message in errors[0], said
        assert result.exit_code in ((1, 2) if "tets" in arguments else (code,)), said
    assert sorted(p.name for p in (tmp_path / "thesis").iterdir()) == ["chapter.txt"]
    assert not (tmp_path / "run").exists()
    assert summary("cache", "verify", work / "cache")["ok"]


def test_half_a_weights_file_is_one_clear_line(work, shared, tmp_path):
    whole = (shared / "weights" / "mobilenet_v2_keras_notop.h5").read_bytes()
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "half.h5").write_bytes(whole[: len(whole) // 2])
    arguments = ["--weights", tmp_path / "weights", "--taps", "mobilenet_v2:mid@3", "--out", tmp_path / "cache"]
    (error,) = errors_in(cli("extract-features", work / "faces", *arguments, code=1))
    assert "half.h5" in error
    assert not (tmp_path / "cache").exists()


def test_a_file_that_is_no_image_is_listed_and_nothing_done_is_1(tmp_path):
    (tmp_path / "notes.jpg").write_text("hello")
    result = cli("extract-features", tmp_path, *FAST, "--out", tmp_path / "c", code=1)
    assert "notes.jpg" in result.stdout
    (error,) = errors_in(result)
    assert error.startswith("error: nothing could be done: all 1 files failed, the first: ")
    assert "notes.jpg: not an image" in error


def test_clips_that_all_fail_are_1_and_one_line(work, tmp_path):
    (tmp_path / "clips").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "clips" / name).write_text(f"no video {name}")
    arguments = ["--head", work / "run", "--faces", "none", "--out", tmp_path / "s"]
    (error,) = errors_in(cli("score-videos", tmp_path / "clips", *arguments, code=1))
    assert error.startswith("error: nothing could be done: all 2 files failed, the first: a.mp4: ")


def test_progress_as_json_lines(work, tmp_path):
    result = cli(
        "extract-features", work / "faces", *FAST, "--limit", "3", "--out", tmp_path / "c", "--progress", "json"
    )
    events = [json.loads(line) for line in result.stderr.splitlines()]
    assert {"note", "progress", "waiting"} == {event["event"] for event in events}


def test_the_last_words_are_json_lines_too(tmp_path, capsys):
    result = cli("extract-features", tmp_path / "absent", *FAST, "--progress", "json", code=1)
    text = f"{tmp_path / 'absent'}: no such file or folder"
    assert json.loads(result.stderr.splitlines()[-1]) == {"event": "error", "text": text}

    (tmp_path / "notes.jpg").write_text("hello")
    result = cli("extract-features", tmp_path, *FAST, "--out", tmp_path / "c", "--progress", "json", code=1)
    last = [json.loads(line) for line in result.stderr.splitlines()][-1]
    assert last["event"] == "error" and "nothing could be done" in last["text"]

    def interrupted(report):
        report(Progress("extract", 3, 10, "images"))
        raise KeyboardInterrupt

    assert _run(interrupted, False, "json", {}) == 130
    last = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert last["event"] == "interrupted" and "after extract 3 of 10 images" in last["text"]


SIGNALLED = """
import os, signal, sys
from facedep_jax.cli.command import _run
from facedep_jax.progress_events import Tick

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # what nohup starts would ignore it,
signal.signal(signal.SIGINT, signal.default_int_handler)  # and what a shell starts in the background this

def work(report):
    for _ in range(int(sys.argv[2])):
        os.kill(os.getpid(), int(sys.argv[1]))
    if sys.argv[2] == "1":
        report(Tick())

status = _run(work, False, "plain", {})
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:  # the handler of before is back
    sys.exit(status)
"""


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGHUP, 2)])
def test_signals_end_a_command_between_two_steps_or_at_once_when_they_come_twice(number, times):
    command = [sys.executable, "-c", SIGNALLED, str(int(number)), str(times)]
    result = subprocess.run(command, check=False, timeout=120, capture_output=True, text=True)
    assert (result.returncode, result.stderr.count("\n")) == (128 + number, 1), result.stderr
    assert result.stderr.startswith("interrupted: ")


def test_what_was_ignored_stays_ignored_and_handlers_come_back():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    others = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def work(report):
        os.kill(os.getpid(), signal.SIGHUP)
        report(Progress("extract", 3, 10, "images"))
        os.kill(os.getpid(), signal.SIGTERM)
        report(Progress("extract", 4, 10, "images"))

    try:
        assert _run(work, False, "plain", {}) == 143
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == others


def start(*arguments, **options):
    """Run a command in a process of its own, in an environment of its own."""
    root = str(ROOT)
    command = [sys.executable, os.path.join(root, "cli.py"), *map(str, arguments)]
    return subprocess.run(command, check=False, timeout=120, **options)


@pytest.fixture
def closed_pipe():
    """The writing end of a pipe that nobody reads any more, as after `| head -1`."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def test_work_goes_on_when_nobody_reads_the_messages(work, closed_pipe):
    arguments = ["train-head", work / "cache", *TRAINING, "--out", work / "run", "--json"]
    done = start(*arguments, stdout=subprocess.PIPE, stderr=closed_pipe)
    assert done.returncode == 0
    assert json.loads(done.stdout)["run"] == str(work / "run")


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_summary_that_nobody_reads_changes_no_exit_status(work, closed_pipe, flags):
    done = start("cache", "inspect", work / "cache", *flags, stdout=closed_pipe, stderr=subprocess.PIPE)
    assert done.returncode == 0
    assert all(line.startswith(b"inspect: ") for line in done.stderr.splitlines())  # how far it is, and no complaint


def test_a_user_cache_that_cannot_be_made_costs_only_the_compiled_programs(work, tmp_path):
    (tmp_path / "file").write_text("x")
    arguments = [work / "faces", *FAST, "--limit", "1", "--out", tmp_path / "c", "--engine", "xla"]
    environment = os.environ | {"FACEDEP_CACHE": str(tmp_path / "file" / "cache")}
    done = start("extract-features", *arguments, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert b"compiled programs are not kept" in done.stderr


@pytest.mark.parametrize("charset", ["utf-8", "ascii"])
def test_names_that_are_not_text_are_printed_escaped(tmp_path, charset):
    name = os.fsdecode(b"caf\xe9 \xc3\xa9.jpg")
    (tmp_path / name).write_text("hello")
    result = cli("extract-features", tmp_path, *FAST, "--out", tmp_path / "c", code=1, charset=charset)
    shown = r"caf\udce9 " + {"utf-8": "é", "ascii": r"\xe9"}[charset] + ".jpg"
    assert shown in result.stdout.replace("\n", "")
    assert shown in errors_in(result)[0]


def test_names_that_would_move_the_cursor_are_escaped_in_messages(tmp_path):
    name = "no\x1b[2Jface.jpg"
    (tmp_path / name).write_bytes(b"x")
    result = cli("extract-features", tmp_path / name, *FAST, "--out", tmp_path / "cache", code=1)
    assert "no\\x1b[2Jface.jpg" in result.stderr and "\x1b" not in result.stderr


def shown_at(columns, *arguments, code):
    told = CliRunner().invoke(main, [*map(str, arguments), "--progress", "plain"], env=terminal(columns))
    assert told.exit_code == code, told.output
    return on_screen(told.stdout)


def test_figures_stay_whole_on_narrow_terminals(work, tmp_path):
    train = ["train-head", work / "cache", *TRAINING, "--out", work / "run"]
    score = ["score-videos", work / "clips", "--head", work / "run", "--faces", "none", "--out", tmp_path / "scores"]
    commands = ((train, 0), (score, 3), (["evaluate", work / "run", work / "cache"], 0))
    for arguments, code in (*commands, (["cache", "inspect", work / "cache"], 0)):
        wide, narrow = (
            re.sub(r"in \S+ s$|tables and.*\n.*", "", shown_at(n, *arguments, code=code), flags=re.M) for n in (200, 40)
        )
        wide = re.sub(rf"(?:{'|'.join(EMOTIONS)}) \d\.\d+", "", wide)  # what a face looks like, where there is room
        figures = re.compile(r"\d+\.\d+|\d+%")
        assert sorted(figures.findall(narrow)) == sorted(figures.findall(wide)) != []


def test_demo_expects_its_broken_clip_and_nothing_else():
    broken = {"clips": [{"clip": BROKEN_CLIP, "status": "failed"}]}
    assert as_expected(CommandResult(broken, print, problems=True))
    assert not as_expected(CommandResult(broken, print, problems=True, nothing_done="nothing could be done"))
    assert not as_expected(CommandResult({"items_failed": 1}, print, problems=True))


@pytest.mark.exhaustive
def test_a_demo_with_another_broken_clip_ends_with_3_and_goes_on_when_it_is_mended(tmp_path):
    draw_faces(tmp_path / "faces", persons=10)
    draw_clips(tmp_path / "clips")
    spared = tmp_path / "clips" / "smiling.mp4"
    whole = spared.read_bytes()
    spared.write_bytes(whole[:400])
    cli("demo", "--out", tmp_path, code=3)
    spared.write_bytes(whole)
    assert len(summary("demo", "--out", tmp_path)["steps"]) == 5


def test_a_stage_that_comes_again_is_timed_anew(capsys, monkeypatch):
    """Extraction of faces, then of clips: the second must not count the seconds of the first."""
    from facedep_jax.cli.terminal import progress_displays
    from facedep_jax.progress_events import Progress

    clock = iter([0.0, 10.0, 100.0, 104.0])
    monkeypatch.setattr(progress_displays.time, "monotonic", lambda: next(clock))
    display = progress_displays.PlainDisplay()
    for done, total in ((0, 20), (20, 20), (0, 8), (8, 8)):
        display.report(Progress("extract", done, total, "images"))
    assert capsys.readouterr().err.splitlines() == ["extract: 20/20 images, 2.0/s", "extract: 8/8 images, 2.0/s"]


def test_names_that_look_like_markup_are_shown_as_they_are(work, tmp_path):
    out = tmp_path / "a[" / "b]"
    shown = cli("extract-features", work / "faces", *FAST, "--limit", "2", "--out", out).stdout
    assert "a[/b]" in shown.replace("\n", "")
    assert "a[/b]" in cli("cache", "inspect", out).stdout.replace("\n", "")
