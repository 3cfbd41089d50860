"""Beside free networks: figures by hand, pictures as they are read, and, where the peers are installed, the peers."""

import csv
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.paths import ROOT
from support.untrained_run import SMALL, write_run

from facedep_jax import open_cache
from facedep_jax.errors import LabelError, SettingsError
from facedep_jax.extraction.extract import extract
from facedep_jax.media.media_writer import write_image
from facedep_jax.runs.run_directory import load_head
from facedep_jax.sources import read_source
from facedep_jax.sources.class_labels import LABELLED
from facedep_jax.sources.synthetic_faces import draw_faces

TOOLS = ROOT / "tools"
FACE_API = ROOT / "build" / "face-api"


@pytest.fixture
def tool(monkeypatch):
    """What a part of the benchmark defines, imported as the program itself imports it."""
    monkeypatch.syspath_prepend(TOOLS)
    return lambda name: vars(importlib.import_module(name))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Drawn faces, a cache of them, and a run over emotions that nobody trained and that says it learned from one."""
    folder = tmp_path_factory.mktemp("peers")
    draw_faces(folder / "faces", persons=10, each=1)
    extract([read_source(str(folder / "faces"), subject_regex=r"(p\d+)_")], folder / "cache", SMALL)
    write_run(folder / "run", target="emotion")
    write_run(folder / "two")
    listed = open_cache(folder / "cache").listings.filter(path="test/sad/p09_0.png").to_dicts()[0]
    learned = {name: listed.get(name) or "" for name in LABELLED} | {
        "split": "train",
        "label": "1",
        "probability": "0.5",
    }
    with open(folder / "run" / "predictions.csv", "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*learned])
        writer.writeheader()
        writer.writerow(learned)
    return folder


def bench(*arguments, code=0):
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(TOOLS), os.environ.get("PYTHONPATH", "")])
    }
    done = subprocess.run([sys.executable, str(TOOLS / "bench_peers.py"), *map(str, arguments)], env=environment,
                          text=True, capture_output=True, check=False)  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


# By hand


def test_seven_emotions_are_found_by_whatever_name_and_sum_to_one(tool):
    figures = tool("benchmark.expression_figures")
    assert figures["SEVEN"] == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    given = np.array([[0.5, 0.2, 0.1, 0.2]])
    found = figures["of_seven"](given, ("contempt", "sadness", "fearful", "Surprised"))
    np.testing.assert_allclose(found, [[0, 0, 0.2, 0, 0, 0.4, 0.4]])


def test_figures_by_hand(tool):
    figures = tool("benchmark.expression_figures")
    emotion = np.array(["sad", "neutral", "happy", "contempt", "sad"], object)
    #               happy neutral  sad
    rows = np.array([[0.1, 0.3, 0.6], [0.2, 0.7, 0.1], [0.8, 0.1, 0.1], [0.3, 0.05, 0.65], [0.8, 0.05, 0.15]])
    p = figures["of_seven"](rows, ("happy", "neutral", "sad"))
    value = figures["Judged"](emotion, np.array([None] * 5, object), 50).figures(p).value
    # p(sad) + p(neutral): 0.9, 0.8 and 0.2 of the positive ones, 0.2 and 0.7 of the others.
    assert value["proxy"] == pytest.approx((2 + 2 + 0.5) / 6)
    # p(sad): 0.6 and 0.15 of the sad ones, 0.1, 0.1 and 0.65 of the others.
    assert value["sad_vs_rest"] == pytest.approx((2 + 2) / 6)
    # The second sad face is taken for a happy one, and is still more sad than neutral.
    assert value["sad_vs_neutral"] == 1.0
    assert value["sad_vs_neutral_by_sad"] == 1.0
    assert value["accuracy"] == pytest.approx(3 / 4)  # contempt is none of the seven
    assert value["balanced_accuracy"] == pytest.approx((1 / 2 + 1 + 1) / 3)


def test_sad_against_neutral_is_told_where_a_network_is_sure_of_something_else(tool):
    figures = tool("benchmark.expression_figures")
    emotion = np.array(["sad", "neutral"] * 3, object)
    p = figures["of_seven"](np.tile([[1.0, 0.0, 0.0]], (6, 1)), ("happy", "neutral", "sad"))
    assert (
        figures["Judged"](emotion, np.arange(6).astype(str).astype(object), 50).figures(p).value["sad_vs_neutral"]
        == 0.5
    )


def test_differences_are_drawn_in_pairs_and_few_persons_have_no_interval(tool):
    figures = tool("benchmark.expression_figures")
    rng = np.random.default_rng(0)
    emotion = np.array(["sad", "neutral", "happy"] * 20, object)
    p = rng.dirichlet(np.ones(7), 60)
    judged = figures["Judged"](emotion, np.array([f"p{n // 3}" for n in range(60)], object), 200)
    ours, theirs = judged.figures(p), judged.figures(p**2 / (p**2).sum(1, keepdims=True))
    # Squaring changes no order among p(sad), and the order of the sum a little: paired, hardly anything is uncertain.
    difference = figures["minus"](ours, theirs)
    low, high = difference.interval("proxy", None)
    alone = np.diff(ours.interval("proxy"))[0]
    assert high - low < alone / 2
    assert figures["minus"](ours, ours).interval("sad_vs_neutral", None) == [0.0, 0.0]
    few = figures["Judged"](emotion, np.array([f"p{n % 4}" for n in range(60)], object), 200).figures(p)
    assert few.interval("proxy") == [None, None]
    assert few.plain("proxy") == ours.plain("proxy")


def test_the_table_says_who_what_and_what_is_undefined(tool):
    figures = tool("benchmark.expression_figures")
    names = figures["TITLES"]
    row = {n: 0.5 for n in names} | {f"{n}_ci": [0.4, 0.6] for n in names} | {"sad_vs_rest": None}
    who = {"name": "one", "trained_on": "its own", "rate": None}
    result = {
        "pictures": "faces", "split": "test", "emotions": {"sad": 2}, "n": 2, "subjects": 1, "ci_by": "subject",
        "contenders": [who | row], "differences": [{"ours": "a", "peer": "b"} | row | {"proxy": -0.25}],
        "absent": {"fer/whole": "fer is not installed"}, "warnings": ["doubtful"], "notes": [],
    }  # fmt: skip
    text = figures["markdown"](result)
    assert "faces, test: 2 pictures (2 sad)" in text
    assert "| one | its own | 0.500 (0.40–0.60) | – |" in text
    assert "| a − b | −0.250 (+0.40, +0.60) | – |" in text
    assert "| fer/whole | fer is not installed |" in text
    assert "- doubtful" in text


def test_fer_cuts_a_square_with_ten_pixels_more_and_the_mean_of_the_last_rows_beyond(tool):
    cut = tool("benchmark.expression_peers")["fer_face"]
    grey = np.arange(100 * 120, dtype=np.uint32).reshape(100, 120).astype(np.uint8)
    grey[-2:] = 77
    np.testing.assert_array_equal(cut(grey, (30, 20, 40, 40)), grey[10:70, 20:80])
    np.testing.assert_array_equal(cut(grey, (30, 25, 40, 30)), grey[10:70, 20:80])  # made as high as it is wide
    beyond = cut(grey, (0, 0, 50, 50))
    assert beyond.shape == (70, 70)
    assert (beyond[:10] == 77).all() and (beyond[:, :10] == 77).all()
    np.testing.assert_array_equal(beyond[10:, 10:], grey[:60, :60])


# Pictures


def test_pictures_of_the_splits_asked_for_each_once(tool, folder):
    pictures = tool("benchmark.labelled_pictures")
    source = read_source(str(folder / "faces"), subject_regex=r"(p\d+)_")
    labelled = pictures["read_labelled"](source, ["val", "test"])
    assert sorted(labelled.items["split"].unique()) == ["test", "val"]
    assert len(labelled.items) == 4 * 5
    assert set(labelled.column("subject")) == {"p06", "p07", "p08", "p09"}
    some = labelled.column("emotion") == "sad"
    assert set(labelled[some].column("emotion")) == {"sad"} and len(labelled[some].items) == 4


def test_a_split_that_is_not_there_is_refused(tool, tmp_path):
    for emotion in ("sad", "happy"):
        write_image(tmp_path / "train" / emotion / "a.png", np.full((8, 8, 3), len(emotion), np.uint8))
    with pytest.raises(LabelError, match="no labelled image in the split val or test"):
        tool("benchmark.labelled_pictures")["read_labelled"](read_source(str(tmp_path)), ["val", "test"])


def test_what_cannot_be_read_or_is_labelled_twice_is_told(tool, tmp_path):
    pictures = tool("benchmark.labelled_pictures")
    for number, emotion in enumerate(("sad", "happy")):
        write_image(tmp_path / emotion / "own.png", np.full((8, 8, 3), 40 * number, np.uint8))
        write_image(tmp_path / emotion / "both.png", np.full((8, 8, 3), 200, np.uint8))
    (tmp_path / "sad" / "broken.png").write_bytes((tmp_path / "sad" / "own.png").read_bytes()[:60])
    labelled = pictures["read_labelled"](read_source(str(tmp_path)), ["test"])
    assert sorted(labelled.items["path"]) == ["happy/own.png", "sad/own.png"]
    assert "no splits are named: every picture is judged" in labelled.notes
    assert any("conflicting labels" in text for text in labelled.warnings)
    assert any("left out: sad/broken.png: " in text for text in labelled.warnings)


def test_pixels_are_those_of_the_file(tool, tmp_path):
    reader = tool("benchmark.labelled_pictures")["Reader"]()
    drawn = [np.random.default_rng(n).integers(0, 255, (20 + n, 30, 3), np.uint8) for n in range(40)]
    files = [tmp_path / f"{n}.png" for n in range(40)]
    for file, pixels in zip(files, drawn, strict=True):
        write_image(file, pixels)
    batches = list(reader.batches([str(file) for file in files]))
    assert [len(batch) for batch in batches] == [32, 8]
    for pixels, read in zip(drawn, (read for batch in batches for read in batch), strict=True):
        np.testing.assert_array_equal(pixels, read)
    assert reader.found == [False] * 40


# Runs


def test_a_run_gives_the_same_by_a_cache_and_from_pixels(tool, folder):
    runs, pictures = tool("benchmark.expression_runs"), tool("benchmark.labelled_pictures")
    labelled = pictures["read_labelled"](read_source(str(folder / "faces")), ["test"])
    said = []
    head, learned = runs["load_run"](folder / "run")
    assert learned == "cache (mobilenet_v2)"
    by_cache = runs["by_cache"](head, folder / "cache", labelled.items, said.append)
    judge = runs["FromPixels"](head, "random:1", said.append)
    batches = pictures["Reader"]().batches(labelled.items["file"].to_list())
    logits = np.concatenate([judge(batch)[0] for batch in batches])
    from_pixels = tool("benchmark.expression_figures")["of_seven"](logits, head.classes)
    np.testing.assert_allclose(by_cache, from_pixels, atol=1e-3)
    assert by_cache.std(0).max() > 1e-2
    assert any("1 of these items were learned from" in event.text for event in said)


def test_a_head_of_two_classes_is_refused_by_name(tool, folder):
    with pytest.raises(SettingsError, match="two knows two classes and no single emotion"):
        tool("benchmark.expression_runs")["load_run"](folder / "two")
    assert load_head(folder / "two").target == "proxy"


# The program


def test_a_run_alone_is_judged_whole_and_the_absent_are_named(folder):
    result = json.loads(bench(folder / "faces", "--run", folder / "run", folder / "cache", "--only", "face-api/*",
                              "--face-api", folder / "nowhere", "--weights", "random:1", "--json"))  # fmt: skip
    assert set(result) == {
        "pictures", "split", "n", "subjects", "ci_by", "emotions", "contenders", "differences", "absent", "notes",
        "warnings", "versions",
    }  # fmt: skip
    assert result["n"] == 10 and result["emotions"]["sad"] == 2
    (row,) = result["contenders"]
    assert row["name"] == "run on cache" and row["rate"] > 0 and not row["peer"]
    assert 0 <= row["proxy"] <= 1 and len(row["proxy_ci"]) == 2
    assert set(result["absent"]) == {"face-api/whole", "face-api/found", "face-api/yunet"}
    assert "--detector-model" in result["absent"]["face-api/yunet"]
    assert any("learned from" in text for text in result["warnings"])
    assert "| run on cache |" in bench(folder / "faces", "--run", folder / "run", folder / "cache", "--only",
                                       "face-api/whole", "--face-api", folder / "nowhere")  # fmt: skip


def test_what_cannot_be_asked_is_refused(folder):
    told = bench(folder / "faces", "--only", "their/*", code=SettingsError.exit_code)
    assert "no peer is called 'their/*'" in told
    told = bench(folder / "faces", "--only", "face-api/whole", "--face-api", folder, code=SettingsError.exit_code)
    assert "nobody is left to be judged" in told


# The peers, where they are installed


@pytest.mark.skipif(importlib.util.find_spec("fer") is None, reason="not installed: pip install --no-deps fer")
def test_fer_tells_a_smile(tool, faces_dev):
    smiles_are_told(tool("benchmark.expression_peers")["load_fer"](False), tool, faces_dev)


@pytest.mark.skipif(
    not (FACE_API / "node_modules").is_dir() or shutil.which("node") is None,
    reason="no node, or face-api is not in build/face-api (docs/results.md has the command)",
)
@pytest.mark.parametrize("found", [False, True])
def test_face_api_tells_a_smile(tool, faces_dev, found):
    peer = tool("benchmark.expression_peers")["load_face_api"](found, FACE_API)
    smiles_are_told(peer, tool, faces_dev)


def smiles_are_told(peer, tool, faces: Path):
    files = [str(f) for emotion in ("happy", "neutral") for f in sorted((faces / "val" / emotion).iterdir())[:10]]
    try:
        answers = [peer.predict(batch)[0] for batch in tool("benchmark.labelled_pictures")["Reader"]().batches(files)]
    finally:
        peer.close()
    probability = np.concatenate(answers)
    np.testing.assert_allclose(probability.sum(1), 1, atol=1e-4)
    happy = tool("benchmark.expression_figures")["of_seven"](probability, peer.classes)[:, 3]
    assert happy[:10].mean() > happy[10:].mean() + 0.3
