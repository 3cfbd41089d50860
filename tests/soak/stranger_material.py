"""What strangers alter: a run, its cache, scores, an unfinished run and weights, all made by the real commands."""

from collections.abc import Collection, Sequence
from pathlib import Path

import h5py
import numpy as np

from facedep_jax.cli import main
from facedep_jax.media.media_writer import write_clip, write_image
from facedep_jax.sources.synthetic_faces import EMOTIONS, EXPRESSIONS, draw_face, draw_person

INPUT = ("--weights", "random:1", "--engine", "xla", "--faces", "none")
TRAINING = ("--preset", "tiny", "--seeds", "2", "--epochs", "3", "--baselines", "none", "--resamples", "20")
PERSONS = 8
QUIET = ("--progress", "plain")


def run_cli(arguments: Sequence[str]) -> None:
    """A command in this process. Raises RuntimeError where it does not end well."""
    try:
        main([*arguments, *QUIET])
    except SystemExit as ended:
        if ended.code:
            raise RuntimeError(f"{' '.join(arguments)} ended with {ended.code}") from ended


def make_material(folder: Path, wanted: Collection[str]) -> None:
    """Folders below `folder`, scores and an unfinished run only where they are `wanted`.

    The process that makes it has a JAX backend afterwards, and cannot be forked.
    """
    _draw(folder / "faces", folder / "clips")
    taps = ("--taps", "mobilenet_v2:mid@1", "--size", "32")
    run_cli(["extract-features", str(folder / "faces"), "--out", str(folder / "cache"), *INPUT, *taps])
    train = ["train-head", str(folder / "cache"), *TRAINING]
    run_cli([*train, "--out", str(folder / "run")])
    run_cli([*train, "--seed", "1", "--out", str(folder / "other")])
    _weights(folder / "weights")
    if "scores" in wanted:
        clips = [str(folder / "clips"), "--head", str(folder / "run"), "--out", str(folder / "scores")]
        run_cli(["score-videos", *clips, *INPUT, "--fps", "4"])
    if "unfinished" in wanted:
        _half(folder, train)


def _half(folder: Path, train: Sequence[str]) -> None:
    """A training that was stopped after its last checkpoint."""
    from facedep_jax.runs import checkpoint
    from facedep_jax.training import train_head

    checkpoint.LEAST_SECONDS = checkpoint.SHARE = 0.0
    train_head.write_run = _stop
    checkpoint.Stage.due = property(lambda stage: True)  # type: ignore[assignment, method-assign]
    try:
        run_cli([*train, "--seed", "2", "--out", str(folder / "half")])
    except Stopped:
        (folder / ".half.unfinished").rename(folder / "unfinished")


class Stopped(Exception):
    """The training has come to where the run would be written."""


def _stop(*given: object, **named: object) -> None:
    raise Stopped


def _draw(faces: Path, clips: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(PERSONS):
        split = ("train", "train", "train", "val", "val", "test", "test", "train")[number]
        for emotion in EMOTIONS:
            face = draw_face(draw_person(number), np.asarray(EXPRESSIONS[emotion]), rng)
            write_image(faces / split / emotion / f"p{number:02d}_{emotion}.png", face[::2, ::2])
    face = draw_face(draw_person(99), np.asarray(EXPRESSIONS["sad"]), rng)
    write_clip(clips / "one.mp4", (np.roll(face, step, 1) for step in range(16)), 8.0)


def _weights(folder: Path) -> None:
    """A file in the layout of Keras Applications that holds no network of ours."""
    folder.mkdir()
    with h5py.File(folder / "small.h5", "w") as file:
        names = [f"layer{number}" for number in range(4)]
        file.attrs["layer_names"] = [name.encode() for name in names]
        for name in names:
            group = file.create_group(name)
            group.attrs["weight_names"] = [b"kernel"]
            group["kernel"] = np.ones((3, 3, 4, 4), np.float32)
