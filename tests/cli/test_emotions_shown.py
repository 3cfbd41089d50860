"""What terminals show of emotions: the likeliest of each picture and clip, where there is room; all of them in JSON."""

import io
import json

import pytest
from click.testing import CliRunner
from rich.console import Console
from support.untrained_run import write_run

from facedep_jax.cli import main
from facedep_jax.cli.predict import show_predictions
from facedep_jax.cli.score_videos import show_scores
from facedep_jax.scoring.score_images import Prediction
from facedep_jax.sources.label_vocabulary import column_names, leading
from facedep_jax.sources.synthetic_faces import draw_faces

EMOTIONS = {"angry": 0.1, "neutral": 0.35, "sad": 0.55}


def shown(show, summary, width=80):
    stream = io.StringIO()
    show(Console(file=stream, width=width, force_terminal=True, color_system=None), summary)
    return stream.getvalue().splitlines()


def test_the_likeliest_emotion_stands_in_each_line_of_predict():
    known = [
        Prediction("a.jpg", "scored", {}, 0.9, "positive", emotions=EMOTIONS),
        Prediction("b.jpg", "no face", {}),
    ]
    results = [one.record() for one in known]
    assert results[0]["emotions"] == EMOTIONS and results[1]["emotions"] == {}
    lines = shown(show_predictions, {"results": results, "positive": ["neutral", "sad"], "untrained": False})
    assert lines == ["0.900  sad-or-neutral  sad 0.55  a.jpg", "       no face                   b.jpg"]
    two = [one | {"emotions": {}} for one in results]
    assert (
        shown(show_predictions, {"results": two, "positive": ["depressed"], "untrained": False})[0]
        == "0.900  depressed  a.jpg"
    )


def test_predict_gives_every_emotion_whose_positive_ones_are_the_probability(tmp_path):
    draw_faces(tmp_path / "faces", persons=1)
    pictures = sorted((tmp_path / "faces").rglob("*.png"))[:2]
    write_run(tmp_path / "run", target="emotion")
    told = CliRunner().invoke(
        main, ["predict", str(tmp_path / "run"), *map(str, pictures), "--engine", "xla", "--json"]
    )
    assert told.exit_code == 0, told.output
    for result in json.loads(told.stdout)["results"]:
        assert list(result["emotions"]) == ["happy", "neutral", "sad"]
        assert sum(result["emotions"].values()) == pytest.approx(1)
        assert result["emotions"]["neutral"] + result["emotions"]["sad"] == pytest.approx(result["probability"])


def scores(**more):
    none = {"score": None, "low": None, "high": None, "relative": None, "coverage": 0.0, "decision": "", "emotions": {}}
    none |= {"segment_start_s": None, "segment_end_s": None}
    clips = [
        none | {"clip": "session 1/clip_001.mp4", "status": "scored", "reason": "", "score": 0.9, "coverage": 1.0}
        | {"low": 0.8, "high": 0.95, "decision": "positive", "emotions": EMOTIONS} | more,
        none | {"clip": "session 1/clip_002.mp4", "status": "abstained", "reason": "no face in any sampled frame"},
    ]  # fmt: skip
    known = {
        "run": "runs/x",
        "clips": clips,
        "frames": 8,
        "seconds": 1.0,
        "not_clips": [],
        "clips_odd": 0,
        "page": None,
        "scores": "s/c",
        "cache": "s/cache",
    }
    known |= {"clips_scored": 1, "clips_abstained": 1, "clips_failed": 0, "inputs": "", "crops": None}
    return known | {"untrained": False, "positive": ["neutral", "sad"]}


@pytest.mark.parametrize(
    ("width", "more", "there"),
    [(80, {}, True), (70, {}, False), (80, {"relative": 0.1}, False), (100, {"relative": 0.1}, True)],
)
def test_the_likeliest_emotion_of_a_clip_is_in_the_table_where_names_keep_their_room(width, more, there):
    lines = shown(show_scores, scores(**more), width)
    assert max(map(len, lines)) <= width
    assert ("emotion" in lines[1].split()) == there == any("sad 0.55" in line for line in lines)
    assert not any("emotion" in line.split() for line in shown(show_scores, scores(emotions={}, **more), 100))


def test_columns_are_in_the_vocabularys_order_and_none_is_called_as_another():
    assert list(column_names(("zeal", "sad", "angry"), ())) == ["angry", "sad", "zeal"]
    assert column_names(("score", "p_score", "sad"), ("clip", "score")) == {
        "sad": "sad", "p_score": "p_score", "score": "p_p_score"
    }  # fmt: skip
    assert leading({}) == ""
