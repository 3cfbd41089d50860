"""Runs that learned from an ONNX file: scored, predicted and watched by the file, and refused where they cannot be."""

import json

import pytest
from click.testing import CliRunner
from support.onnx_networks import saved
from support.untrained_run import write_run

from facedep_jax.cli import main
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.runs.run_directory import load_head
from facedep_jax.sources.synthetic_faces import draw_clips, draw_faces


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A network, a run on it and a built-in network, clips and faces."""
    folder = tmp_path_factory.mktemp("own")
    file = saved(folder / "m.onnx", form="class_tokens")
    settings = ExtractSettings(
        weights="random:1",
        taps="mobilenet_v2:mid@2,a:y@2",
        size="32",
        backbone=(f"a={file}",),
        backbone_input=("a=mean:0.5,order:bgr,tokens:1",),
    )
    write_run(folder / "run", settings=settings)
    draw_clips(folder / "drawn")
    (folder / "clips").mkdir()
    (folder / "drawn" / "smiling.mp4").rename(folder / "clips" / "smiling.mp4")
    draw_faces(folder / "faces", persons=1)
    return folder


def call(*arguments):
    done = CliRunner().invoke(main, [*map(str, arguments), "--json"])
    return done, json.loads(done.stdout) if done.exit_code == 0 else {}


def test_a_run_scores_clips_and_pictures_by_its_own_network(made, tmp_path):
    done, scored = call(
        "score-videos", made / "clips", "--head", made / "run", "--out", tmp_path / "s", "--faces", "none"
    )
    assert done.exit_code == 0, done.output
    assert scored["clips_scored"] == 1 and scored["frames"] == 32
    header = json.loads((tmp_path / "s" / "cache" / "cache.json").read_text())
    entry = header["spec"]["features"]["weights"]["a"]
    assert (entry["order"], entry["leading"], entry["mean"]) == ("bgr", 1, [0.5] * 3)
    assert load_head(made / "run").features["weights"]["a"] == entry
    picture = next((made / "faces").rglob("*.png"))
    done, predicted = call("predict", made / "run", picture)
    assert done.exit_code == 0 and predicted["results"][0]["status"] == "scored", done.output
    clip = next((made / "clips").rglob("*.mp4"))
    done, watched = call("monitor", made / "run", "--source", clip, "--seconds", 1, "--faces", "none")
    assert done.exit_code == 0 and watched["frames_scored"] > 0, done.output


def test_without_its_network_a_run_says_which_file_it_needs(made, tmp_path):
    picture, moved = next((made / "faces").rglob("*.png")), tmp_path / "moved.onnx"
    (made / "m.onnx").rename(moved)
    try:
        done, _ = call("predict", made / "run", picture)
        assert done.exit_code == 1
        assert "the run needs the ONNX file of its network a (SHA-256 " in done.output and "is gone" in done.output
        done, _ = call("predict", made / "run", picture, "--backbone", f"a={moved}")
        assert done.exit_code == 0, done.output
    finally:
        moved.rename(made / "m.onnx")


def test_such_a_run_is_not_exported(made, tmp_path):
    done, _ = call("export", made / "run", "--out", tmp_path / "x.onnx")
    assert done.exit_code == 1 and not (tmp_path / "x.onnx").exists()
    assert "reads a, which is an ONNX file of its own; export writes the built-in networks" in done.output
