"""What training, evaluate and score-videos say of the same clips: one estimator, whatever the head and its windows."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from facedep_jax.cache import open_cache
from facedep_jax.cli import main
from facedep_jax.evaluation.compare_runs import head_logits
from facedep_jax.evaluation.evaluate import class_scores
from facedep_jax.evaluation.evaluate_run import evaluate_run
from facedep_jax.evaluation.ground_truth import present_truth, remembered
from facedep_jax.media.media_writer import write_clip
from facedep_jax.runs.run_directory import load_head
from facedep_jax.sources.synthetic_faces import EXPRESSIONS, draw_face, draw_person
from facedep_jax.text_escaping import unquoted

FAST = ("--weights", "random:1", "--taps", "mobilenet_v2:mid@3,mobilenet_v2:top@1", "--size", "64")
PERSONS = {"train": range(4), "val": range(4, 7), "test": range(7, 9)}


def cli(*arguments):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result


def table(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Drawn clips of 3 to 5 s in which an expression comes, and their features."""
    folder = tmp_path_factory.mktemp("work")
    for split, persons in PERSONS.items():
        for person in persons:
            for emotion in ("happy", "neutral", "sad"):
                rng = np.random.default_rng(person)
                along = np.linspace(0, 1, 12 + 4 * (person % 3))[:, None]
                moods = EXPRESSIONS["neutral"] + along * (np.array(EXPRESSIONS[emotion]) - EXPRESSIONS["neutral"])
                drawn = (draw_face(draw_person(person), mood, rng) for mood in moods)
                write_clip(folder / "clips" / split / emotion / f"p{person}_.mp4", drawn, 4.0)
    reading = ("--faces", "none", "--subject-regex", "(p[0-9]+)_", "--engine", "xla")
    cli("extract-features", folder / "clips", *FAST, *reading, "--out", folder / "cache")
    return folder


@pytest.mark.parametrize(
    ("window", "target"),
    [
        (0, "emotion"),
        (1.5, "proxy"),
        pytest.param(0, "proxy", marks=pytest.mark.exhaustive),
        pytest.param(1.5, "emotion", marks=pytest.mark.exhaustive),
    ],
)
def test_a_clip_gets_one_probability_wherever_it_is_told(work, tmp_path, target, window):
    run = tmp_path / "run"
    short = ("--preset", "tiny", "--seeds", "2", "--epochs", "4", "--learning-rate", "0.003", "--baselines", "none")
    cli("train-head", work / "cache", "--target", target, "--window", window, *short, "--out", run)
    scored = ("--cache", work / "cache", "--faces", "none", "--engine", "xla", "--tables-only", "--out", tmp_path / "s")
    cli("score-videos", work / "clips", "--head", run, "--weights", "random:1", *scored)
    clips = {unquoted(row["clip"]): row for row in table(tmp_path / "s" / "clips.csv")}
    predicted = table(run / "predictions.csv")
    assert len(predicted) == len(clips) == 27
    names = ("happy", "neutral", "sad") if target == "emotion" else ()
    for row in predicted:
        own = clips[row["path"]]
        assert float(own["score"]) == pytest.approx(float(row["probability"]), abs=1e-4)
        assert [float(own[name]) for name in names] == pytest.approx([float(row[name]) for name in names], abs=1e-4)
    assert list(clips["test/sad/p7_.mp4"])[-3:] == (list(names) or ["decoding", "segment_start_s", "segment_end_s"])
    frames = [float(f["probability"]) for f in table(tmp_path / "s" / "frames.csv") if f["clip"] == "test/sad/p7_.mp4"]
    assert np.ptp(frames) > 0.01  # or a mean of logits would give the same

    cache, head = open_cache(work / "cache"), load_head(run)
    labels = present_truth(cache, remembered(run), None, None, True, ()).labels
    examples, logits = head_logits(head, cache, labels, np.zeros(len(labels), int), lambda _: None)
    judged = replace(class_scores(examples, logits, head.classes, head.positive), calibration=head.calibration)
    found = dict(zip(examples.path, judged.probability, strict=True))
    assert found == {path: pytest.approx(float(row["score"]), abs=1e-4) for path, row in clips.items()}
    summary = evaluate_run(run, cache)
    decided = [clips[path]["decision"] == "positive" for path in clips if path.startswith("test/")]
    assert sum(map(sum, zip(*summary["confusion"], strict=True))) == len(decided) == 6
    assert summary["confusion"][0][1] + summary["confusion"][1][1] == sum(decided)
