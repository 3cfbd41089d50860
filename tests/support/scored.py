"""Batches of scores made up for pages and tables: of any size, with every state and every kind of name."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from facedep_jax.disclaimer import meaning
from facedep_jax.media.media_writer import encode_jpeg
from facedep_jax.report.html import render_scores
from facedep_jax.report.scores_page import SIDE, content, deletion_blocks, faces_of
from facedep_jax.scoring.clip_scores import ClipScore, ScoreSettings, score_clip, windows_of
from facedep_jax.scoring.frame_scores import Frames
from facedep_jax.scoring.influential_frames import InfluentialFrame, choose_frames
from facedep_jax.scoring.score_cached_clips import Scored, relative_to_subjects
from facedep_jax.sources import Listing

HOSTILE = (
    "<img src=x onerror=alert(1)>.mp4",
    "=cmd()|' /C calc'!A0.mp4",
    "red\x1b[31m\nline\u202egpj.mp4",
    "\udcff.mp4",
)
DELETION = {
    "frames": 30,
    "groups": 10,
    "fewest_groups": 8,
    "places": 9,
    "covered": 2,
    "draws": 20,
    "moved_at_random": 0.3,
    "shading": {"moved": 0.42, "ratio": 1.4, "ratio_ci": [1.1, 1.8], "more_than_random": 0.7},
    "attention": {"moved": 0.3, "ratio": 1.0, "ratio_ci": [0.9, 1.1], "more_than_random": 0.5},
}
CARD = "# Model card of made-up\n\n## What it scores\n\nNothing &lt;b>.\n\n- one\n- two\n\n"
CARD += "| a | b\\|c |\n| --- | --- |\n| 1 | 2 |\n"


STACK = ("neutral", "sad", "angry", "contempt", "disgust", "fear", "happy", "surprise")  # the first two are positive


def batch(count=6, seconds=20.0, fps=4.0, threshold=0.5, stack=()):
    """`count` clips, every seventh failed, with gaps of every state; the first have hostile names. With a `stack` the
    head knows these emotions, of which the first two make the score."""
    rng = np.random.default_rng(0)
    return relative_to_subjects([_scored(i, rng, seconds, fps, threshold, stack) for i in range(count)])


def _scored(number, rng, seconds, fps, threshold, stack):
    name = HOSTILE[number] if number < len(HOSTILE) else f"session {number // 8}/clip_{number:03d}.mp4"
    listing = Listing(name, Path("/clips") / name, "clip", subject=f"p{number // 2}")
    if number % 7 == 6:
        failed = ClipScore(name, "failed", "not a video: <b>moov</b> is missing", subject=listing.subject)
        return Scored(failed, listing)
    time = np.arange(int(seconds * fps)) / fps
    walk = rng.normal(0, 0.4, len(time)).cumsum() + rng.normal(0, 1.5)
    members = 1 / (1 + np.exp(-(0.5 * walk + rng.normal(0, 0.2, (4, 1)))))
    face = np.ones(len(time), np.uint8)
    for state in range(3, 7):
        at = rng.integers(0, len(time))
        face[at : at + (len(time) // 2 if number % 5 == 4 else 3)] = state
    gone = face >= 3
    members[:, gone] = np.nan
    frames = Frames(time, face, np.full((len(time), 4), np.nan), members.mean(0), members)
    frames = replace(frames, emotions=_emotions(frames.probability, stack, number))
    clip = score_clip(name, frames, seconds, threshold, ScoreSettings())
    clip = replace(clip, subject=listing.subject, inputs="clip.margin: 0.0 → 0.3", decoding="2 frames left out")
    return Scored(clip, listing, f"{number:064x}", frames, tuple(windows_of(frames, 2.0, seconds)))


def _emotions(probability, stack, seed):
    """Of every frame; each wanders by itself within its side."""
    if not stack:
        return {}
    free = np.exp(np.random.default_rng(seed).normal(0, 0.3, (len(stack), len(probability))).cumsum(1))
    positive = np.arange(len(stack)) < 2
    for side, whole in ((positive, probability), (~positive, 1 - probability)):
        free[side] *= whole / free[side].sum(0)
    return {name: free[stack.index(name)] for name in sorted(stack)}


def page(scored, faces=False, warning="", threshold=0.5, ignored=(), stack=()):
    """The page of a batch; with `faces`, made-up crops are on it."""
    moments = [_moments(one) if faces else () for one in scored]
    shown = content(
        scored,
        ignored,
        threshold,
        {"score": {"window": 2.0, HOSTILE[0]: HOSTILE[2]}},
        CARD,
        faces_of(scored, moments, lambda *_: _jpeg()) if faces else (),
        deletion_blocks(DELETION, Path("/scores/crops")) if faces else (),
        stack=stack,
    )
    return render_scores(
        f"Scores: {HOSTILE[0]}", meaning(HOSTILE[:1]), {"head": HOSTILE[0], "threshold": threshold}, shown, warning
    )


def _moments(one):
    if one.clip.score is None:
        return ()
    grid = np.arange(9, dtype=float).reshape(3, 3) / 36
    return tuple(
        InfluentialFrame(n, float(one.frames.time[n]), float(one.frames.probability[n]), 0.01, grid)
        for n in choose_frames(one.frames)
    )


def _jpeg():
    """As large as a face is, a smooth shape under noise."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    grey = 120 + 80 * np.exp(-(x**2 + y**2) * 2) + rng.normal(0, 6, (SIDE, SIDE))
    return encode_jpeg(np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, 2), 80)
