"""What the soak programs extract: drawn images and clips, one small untrained backbone. Knows nothing of accidents."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.media.media_writer import write_clip, write_image
from facedep_jax.sources.synthetic_faces import EMOTIONS, EXPRESSIONS, draw_face, draw_person

TAPS, SIZE, BATCH = "mobilenet_v2:mid@1", "32", 4
FPS = 12.0


def draw(folder: Path, images: int, clips: Sequence[int]) -> Path:
    """`images` drawn faces in folders by emotion, one of them twice, one broken, and clips of `clips` frames."""
    rng = np.random.default_rng(0)
    for number in range(images):
        emotion = EMOTIONS[number % len(EMOTIONS)]
        face = draw_face(draw_person(number), np.asarray(EXPRESSIONS[emotion]), rng)
        write_image(folder / emotion / f"p{number:02d}.png", face[::2, ::2])
    first = (folder / EMOTIONS[0] / "p00.png").read_bytes()
    (folder / EMOTIONS[0] / "again.png").write_bytes(first)
    (folder / EMOTIONS[0] / "broken.png").write_bytes(first[:300])
    for number, frames in enumerate(clips):
        face = draw_face(draw_person(100 + number), np.asarray(EXPRESSIONS["sad"]), rng)
        write_clip(folder / "sad" / f"clip{number}.mp4", (np.roll(face, step, 1) for step in range(frames)), FPS)
    return folder


def settings(shard_rows: int) -> ExtractSettings:
    """Cheap ones: every sampled frame of a clip is a row, whole, of 576 numbers."""
    return ExtractSettings(
        weights="random:1",
        taps=TAPS,
        size=SIZE,
        engine="xla",
        faces="none",
        fps=FPS,
        shard_rows=shard_rows,
        batch_size=BATCH,
    )


def arguments(source: Path, out: Path, shard_rows: int) -> list[str]:
    """The same as arguments of the command line."""
    return [
        *("extract-features", str(source), "--out", str(out), "--weights", "random:1", "--taps", TAPS),
        *("--size", SIZE, "--engine", "xla", "--faces", "none", "--fps", str(FPS)),
        *("--shard-rows", str(shard_rows), "--batch-size", str(BATCH), "--json", "--progress", "plain"),
    ]
