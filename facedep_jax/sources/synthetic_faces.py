"""Schematic faces drawn by arithmetic, for trying the machinery offline. They prove nothing about real faces.

Everything is a smooth shape over a pixel grid that runs from −1 to 1 in both directions.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from facedep_jax.media.media_writer import write_clip, write_image

SIDE = 128
EMOTIONS = ("neutral", "happy", "sad", "surprise", "anger")
# mouth corners up (+) or down, mouth open, inner brows up (+) or down, brows raised, eyes open
EXPRESSIONS = {
    "neutral": (0.0, 0.0, 0.0, 0.0, 1.0),
    "happy": (1.0, 0.2, 0.0, 0.1, 0.85),
    "sad": (-0.9, 0.0, 0.9, 0.0, 0.7),
    "surprise": (0.1, 1.0, 0.1, 1.0, 1.4),
    "anger": (-0.4, 0.1, -1.0, -0.4, 0.8),
}


@dataclass(frozen=True)
class Person:
    """What stays the same over all pictures of one drawn person. Lengths in half widths of the picture."""

    skin: Float[np.ndarray, "3"]  # red, green, blue from 0 to 1, as the two below
    hair: Float[np.ndarray, "3"]
    backdrop: Float[np.ndarray, "3"]
    width: float
    height: float
    eye_gap: float
    eye_size: float
    hairline: float


def draw_person(seed: int) -> Person:
    """The person with the number `seed`."""
    rng = np.random.default_rng([7, seed])
    tone = rng.uniform(0.55, 1.0)
    return Person(
        skin=tone * np.array([0.98, 0.80, 0.68]),
        hair=rng.uniform(0.03, 0.5) * np.array([1.0, 0.8, 0.6]),
        backdrop=rng.uniform(0.3, 0.7, 3),
        width=rng.uniform(0.5, 0.62),
        height=rng.uniform(0.68, 0.8),
        eye_gap=rng.uniform(0.2, 0.27),
        eye_size=rng.uniform(0.09, 0.12),
        hairline=rng.uniform(-0.52, -0.38),
    )


def draw_face(
    person: Person, expression: Float[np.ndarray, "5"], rng: np.random.Generator, side: int = SIDE
) -> UInt8[np.ndarray, "side side 3"]:
    """One picture of `person`, RGB: the expression as in EXPRESSIONS; pose, light and noise from `rng`."""
    curve, opened, slant, raised, eyes = expression + rng.normal(0, 0.05, 5)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    dx, dy, turn = rng.normal(0, 0.02, 3)
    x, y = (x - dx) * np.cos(turn) + (y - dy) * np.sin(turn), (y - dy) * np.cos(turn) - (x - dx) * np.sin(turn)
    picture = person.backdrop * (1 + 0.25 * np.tensordot(y, np.ones(3), 0))
    picture = _paint(picture, _ellipse(x, y, 0, -0.08, person.width * 1.1, person.height * 1.08), person.hair)
    face = _ellipse(x, y, 0, 0, person.width, person.height) * _soft(y - person.hairline)
    picture = _paint(picture, face, person.skin)
    for sign in (-1, 1):
        cx = sign * person.eye_gap
        picture = _paint(picture, _ellipse(x, y, cx, -0.12, person.eye_size * 1.3, person.eye_size * eyes), 0.95)
        picture = _paint(picture, _ellipse(x, y, cx, -0.12, person.eye_size * 0.55, person.eye_size * 0.6 * eyes), 0.08)
        brow = -0.29 - 0.08 * raised + 0.5 * slant * (sign * x - person.eye_gap)
        picture = _paint(picture, _band(y - brow, 0.032) * _soft(0.15 - np.abs(x - cx)), person.hair * 0.5)
    picture = _paint(picture, _band(x - 0.02, 0.012) * _soft(0.1 - np.abs(y - 0.08)), person.skin * 0.75)
    lip = 0.38 - curve * 1.6 * (x**2 - 0.035)
    lips = _band(y - lip, 0.03 + 0.13 * max(opened, 0) * np.clip(1 - (x / 0.2) ** 2, 0, 1)) * _soft(0.3 - np.abs(x))
    picture = _paint(picture, lips * face, np.array([0.5, 0.08, 0.12]))
    light = 1 + rng.normal(0, 0.04) + rng.normal(0, 0.05) * x
    noisy = picture * light[..., None] + rng.normal(0, 0.02, picture.shape)
    return (np.clip(noisy, 0, 1) * 255).astype(np.uint8)


def _soft(distance: np.ndarray) -> np.ndarray:
    """1 inside, 0 outside, with an edge about two pixels wide in a picture of SIDE."""
    return np.clip(0.5 + distance * SIDE / 4, 0, 1)


def _ellipse(x: np.ndarray, y: np.ndarray, cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
    return _soft((1 - np.hypot((x - cx) / rx, (y - cy) / ry)) * min(rx, ry))


def _band(distance: np.ndarray, half: float | np.ndarray) -> np.ndarray:
    return _soft(half - np.abs(distance))


def _paint(picture: np.ndarray, mask: np.ndarray, colour: np.ndarray | float) -> np.ndarray:
    return picture + mask[..., None] * (colour - picture)


@lru_cache(maxsize=4)
def drawn_faces(count: int, side: int, first: int = 0) -> UInt8[np.ndarray, "n side side 3"]:
    """`count` persons from the number `first` on, each with one of the expressions; RGB, always the same."""
    rng, drawn = np.random.default_rng([first, 3]), []
    for number in range(first, first + count):
        expression = np.array(EXPRESSIONS[EMOTIONS[number % len(EMOTIONS)]])
        drawn.append(draw_face(draw_person(number), expression, rng, side))
    pictures = np.stack(drawn)
    pictures.setflags(write=False)
    return pictures


def in_grey(pictures: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n h w 3"]:
    """Luma (ITU-R BT.601) in three equal channels: in integers, as OpenCV has it."""
    luma = pictures.astype(np.uint32) @ np.array([9798, 19235, 3735], np.uint32) + (1 << 14) >> 15
    return np.repeat(luma[..., None].astype(np.uint8), 3, axis=-1)


def draw_faces(folder: Path, seed: int = 0, persons: int = 30, each: int = 3) -> int:
    """Draw `split/emotion/pNN_k.png`, no person in two splits; returns the number of pictures."""
    rng = np.random.default_rng([seed, 1])
    for number in range(persons):
        split = "train" if number < persons * 0.6 else "val" if number < persons * 0.8 else "test"
        person = draw_person(number + 1000 * seed)
        for emotion in EMOTIONS:
            for k in range(each):
                strength = rng.uniform(0.6, 1.0)
                expression = _blend("neutral", emotion, strength)
                path = folder / split / emotion / f"p{number:02d}_{k}.png"
                write_image(path, draw_face(person, expression, rng))
    return persons * len(EMOTIONS) * each


def draw_clips(folder: Path, seed: int = 0, fps: float = 12.0) -> list[Path]:
    """Draw four short clips of changing expressions and one that breaks off, so that failures are seen too."""
    rng = np.random.default_rng([seed, 2])
    plots = {
        "neutral_throughout.mp4": ("neutral", "neutral", "neutral"),
        "smiling.mp4": ("happy", "happy", "happy"),
        "sad_then_smiling.mp4": ("sad", "sad", "happy", "happy"),
        "startled.mp4": ("neutral", "surprise", "surprise", "neutral"),
    }
    paths = []
    for number, (name, scenes) in enumerate(plots.items()):
        person = draw_person(9000 + number + 1000 * seed)
        at = np.linspace(0, len(scenes) - 1, int(8 * fps))
        frames = [
            draw_face(person, _blend(scenes[int(t)], scenes[min(int(t) + 1, len(scenes) - 1)], t % 1), rng) for t in at
        ]
        paths.append(folder / name)
        write_clip(paths[-1], frames, fps)
    broken = folder / "broken_download.mp4"
    broken.write_bytes(paths[0].read_bytes()[:400])
    return [*paths, broken]


def _blend(first: str, second: str, share: float) -> Float[np.ndarray, "5"]:
    a, b = np.array(EXPRESSIONS[first]), np.array(EXPRESSIONS[second])
    return a + share * (b - a)
