"""What a page on a batch of scores shows, and in which words. It knows scores, not how they were made."""

import base64
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from facedep_jax.report.document import GAP, Block, BulletList, Section, Table, interval, number, percent, sign
from facedep_jax.report.emotion_bands import BANDS, bands_of, colours
from facedep_jax.report.markdown import from_markdown
from facedep_jax.report.score_over_time_svg import HEIGHT, WIDTH, _ClipScore, _Frames, curve_of, end_of
from facedep_jax.text_escaping import printable

SMALL, LARGE = 120, 500  # points of a curve, at most about
SIDE = 128  # pixels across a face
TINT, STRONGEST = "#ff3b00", 0.6  # of a place of a face, and how opaque that is which counts most; the face is grey
MOST_NUMBERS = 4  # places along a side up to which their shares are written into them

GAPS = {"none": "no face", "lost": "another's face", "too-small": "too small", "blurred": "blurred"}
MIXES = (  # of a head that mixes frames
    "This head looks at several frames at once: it judges {} each as one. The figure of a frame is that of its window, "
    "and the score of a clip what the mean logit of its windows makes."
)
WEIGHS = (
    "weight: what each window counts in the mean that makes the clip's score, as the head chose; the weights of a clip "
    "are 1 together, and the highest step is the largest of them. They say where the head looked, not why. Such a "
    "score has no interval within the clip."
)
HOW_TO_READ = (
    "score: the mean over frames with a face of the head's calibrated probability that the face is one of those called "
    "{side}. It compares clips with each other and with the threshold; it is no measure of a person's state.",
    "within the clip: a 95 % interval made of how the clip's windows differ, neighbours being alike. It says how far "
    "the score hangs on which moments were seen, nothing of errors of the head, of other days, or of other people. "
    "With fewer than eight windows with a face there is none, and where a face changes seldom it is too narrow.",
    "members: the scores by the lowest and the highest of the heads that were trained with different seeds. They share "
    "data and mistakes, so they are nearer to each other than to the truth.",
    "relative: the score minus the median over the same subject's scored clips of this batch, where there are at least "
    "two. It says which of a person's clips differ from the others, and nothing of what is usual for other people.",
    "face: the part of sampled frames with a face that could be used. Below the setting min_coverage nothing is "
    "decided: the clip is abstained.",
    "inputs: differ means that the faces were cropped or sampled in another way than those that the head learned from, "
    "so that scores may be shifted by an unknown amount.",
)
EMOTIONS = (
    "emotions: below each curve the calibrated probabilities of the emotions that the head knows, stacked to the full "
    "height: first, from below, those that make the score, which reach as high as the score. They say what raters "
    "would have called such a face, nothing of what is felt. A pointer on a band tells its name and its mean."
)

# Name of a column: what it sorts by, and how that is written where it is not written as it is.
COLUMNS: dict[str, tuple[Callable[[_ClipScore], Any], Callable[[_ClipScore], str] | None]] = {
    "clip": (lambda c: c.name, None),
    "decision": (lambda c: verdict(c), None),
    "score": (lambda c: c.score, None),
    "within the clip": (lambda c: c.low, lambda c: interval((c.low, c.high), 2)),
    "members": (lambda c: c.members_low, lambda c: interval((c.members_low, c.members_high), 2)),
    "face": (lambda c: c.coverage, lambda c: percent(c.coverage)),
    "seconds": (lambda c: c.duration_s, lambda c: number(c.duration_s, 1)),
    "subject": (lambda c: c.subject, None),
    "relative": (lambda c: c.relative, lambda c: GAP if c.relative is None else sign(c.relative)),
    "inputs": (lambda c: "differ" if c.inputs else None, None),
}
ALWAYS = ("clip", "decision", "score", "face")  # the others only where a clip has something in them


class _Scored(Protocol):
    """A clip with its hash and its frames, None for one that failed."""

    @property
    def clip(self) -> _ClipScore: ...
    @property
    def item(self) -> str: ...
    @property
    def frames(self) -> _Frames | None: ...


class _InfluentialFrame(Protocol):
    """A frame that moved a clip's score: its number in the clip, and where the head looked."""

    @property
    def number(self) -> int: ...
    @property
    def time(self) -> float: ...
    @property
    def probability(self) -> float: ...
    @property
    def moved(self) -> float: ...
    @property
    def shading(self) -> Float[np.ndarray, "side side"]: ...


def content(
    scored: Sequence[_Scored],
    ignored: Sequence[_ClipScore],
    threshold: float,
    settings: Mapping[str, Any],
    card: str,
    faces: Sequence[Mapping[str, Any]] = (),
    deletion: Sequence[Block] = (),
    judged: str = "",
    stack: Sequence[str] = (),
    side: str = "positive",
) -> dict[str, Any]:
    """Everything on the page below the facts; `card` is the run's MODEL_CARD.md, empty where it has none, and `ignored`
    are the rows of files that are no clips. `judged` says what a head that mixes frames judges as one, and `stack` the
    emotions that a head knows as they stand on each other, from below; `side` is what a high score is called."""
    larges = [_figure(one.clip, one.frames, threshold, stack) for one in scored if one.frames is not None]
    found = {gap.state for clip in larges for gap in clip["large"].gaps}
    failed = tuple((one.clip.name, one.clip.reason) for one in scored if one.clip.status == "failed")
    odd = tuple((one.clip.name, one.clip.decoding) for one in scored if one.clip.decoding)
    weighs = any(clip["large"].weights for clip in larges)
    title, sections = from_markdown(card)
    columns, rows = _table(scored, ignored, threshold)
    return {
        "columns": columns,
        "worded": [columns.index("decision")],
        "rows": rows,
        "failures": Table(("clip", "reason"), failed, wrapped=True),
        "odd": Table(("clip", "what was odd"), odd, wrapped=True),
        "clips": larges,
        "gaps": GAPS,
        "weighs": weighs,
        "states": [state for state in GAPS if state in found],
        "faces": faces,
        "deletion": deletion,
        "side": SIDE,
        "width": WIDTH,
        "height": HEIGHT,
        "emotions": colours(stack),
        "bands_height": BANDS,
        "sections": [
            Section("How to read this page", (BulletList(_how_to_read(judged, stack, weighs, side)),)),
            Section("Settings", (Table(("setting", "value"), tuple(_flat(settings)), wrapped=True),)),
        ],
        "card": {"title": title, "sections": sections} if card else None,
    }


def _how_to_read(judged: str, stack: Sequence[str], weighs: bool, side: str) -> tuple[str, ...]:
    mixes, emotions = (MIXES.format(judged),) if judged else (), (EMOTIONS,) if stack else ()
    score, *others = HOW_TO_READ
    return (*mixes, *((WEIGHS,) if weighs else ()), score.format(side=side), *others, *emotions)


def _table(
    scored: Sequence[_Scored], ignored: Sequence[_ClipScore], threshold: float
) -> tuple[list[str], list[dict[str, Any]]]:
    """Headings and rows. A row sorts by `cells`, and `shown` says which of them are written otherwise."""
    curves = [curve_of(one.clip, one.frames, threshold, SMALL) if one.frames is not None else None for one in scored]
    clips = [*(one.clip for one in scored), *ignored]
    kept = {n: v for n, v in COLUMNS.items() if n in ALWAYS or any(v[0](c) not in (None, "") for c in clips)}
    rows = [
        {
            "cells": [value(clip) for value, _ in kept.values()],
            "shown": {i: show(clip) for i, (_, show) in enumerate(kept.values()) if show},
            "small": small,
        }
        for clip, small in zip_longest(clips, curves)
    ]
    return list(kept), rows


def verdict(clip: _ClipScore) -> str:
    """The decision, or why there is none."""
    return clip.decision or f"{clip.status}: {clip.reason}"


def _figure(clip: _ClipScore, frames: _Frames, threshold: float, stack: Sequence[str]) -> dict[str, Any]:
    score = "" if clip.score is None else f"score {clip.score:.3f}, "
    seen = f"a face in {percent(clip.coverage)} of {clip.frames_sampled} frames" if clip.decision else ""
    label = ", ".join(filter(None, (f"{score}{verdict(clip)}", seen)))
    end = end_of(clip, frames)
    bands = bands_of(frames, stack, LARGE, end)
    means = ", ".join(f"{band.emotion} {band.mean:.2f}" for band in reversed(bands))
    return {
        "name": clip.name,
        "verdict": label,
        "label": f"{clip.name}: {label}",
        "large": curve_of(clip, frames, threshold, LARGE),
        "bands": bands,
        "bands_label": f"{clip.name}, emotions over time, on average: {means}",
        "begin": f"{frames.time[0]:.1f} s",
        "end": f"{end:.1f} s",
    }


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for name, value in table.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append(
                (f"{prefix}{name}", ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
            )
    return rows


def faces_of(
    scored: Sequence[_Scored],
    influential: Sequence[Sequence[_InfluentialFrame]],
    picture: Callable[[str, int, int], bytes | None],
) -> list[dict[str, Any]]:
    """The frames of each clip whose crops are kept, with squares as strong as their shading."""
    found = []
    for one, each in zip(scored, influential, strict=True):
        jpegs = [(frame, picture(one.item, frame.number, SIDE)) for frame in each]
        faces = [_face(frame, jpeg) for frame, jpeg in jpegs if jpeg]
        if faces:
            found.append({"name": one.clip.name, "faces": faces})
    return found


def _face(frame: _InfluentialFrame, jpeg: bytes) -> dict[str, Any]:
    cells, strongest = frame.shading.shape[0], float(frame.shading.max()) or 1.0
    whole = float(frame.shading.sum()) if cells <= MOST_NUMBERS else 0.0
    width = SIDE / cells
    places = [
        {
            "x": round(column * width, 2),
            "y": round(row * width, 2),
            "width": round(width, 2),
            "opacity": round(STRONGEST * float(frame.shading[row, column]) / strongest, 2),
            "share": f"{float(frame.shading[row, column]) / whole:.0%}" if whole else "",
        }
        for row in range(cells)
        for column in range(cells)
    ]
    caption = f"{frame.time:.1f} s: {frame.probability:.3f} ({sign(frame.moved)})"
    jpeg64 = base64.b64encode(jpeg).decode()
    return {"jpeg": jpeg64, "places": places, "caption": caption, "label": f"face at {frame.time:.1f} s"}


def deletion_blocks(found: Mapping[str, Any] | None, folder: Path) -> tuple[Block, ...]:
    """What the shading is, whether it can be believed, and where the faces lie."""
    shading = (
        "Below each face: its time, its score, and by how much it moved the clip's score. Faces are grey, as those "
        "that predict --plot draws. The stronger the colour of a square, the more attention the head gave to it, "
        "summed over taps, times how far the logit hangs on it (its gradient); each face has a scale of its own. What "
        "concerns the face as a whole is not drawn."
    )
    personal = (
        f"These faces are personal data. They are in this page and, larger, in {printable(str(folder))}, which only "
        "you may open. Remove both when they are not needed any more: cache purge names them and removes neither."
    )
    return (shading, *((deletion_sentence(found),) if found else ()), personal)


def deletion_sentence(found: Mapping[str, Any]) -> str:
    """The figures of the deletion check and what they allow to be said, whichever way they fall."""
    shading, alone = found["shading"], found["attention"]
    said = (
        f"Checked by deletion in {found['frames']} frames of {found['groups']} clips or subjects: covering the "
        f"{found['covered']} of {found['places']} squares with the strongest colour moves the logit by "
        f"{shading['moved']:.3f} on average, covering {found['covered']} drawn at random by "
        f"{found['moved_at_random']:.3f}"
    )
    ends = shading["ratio_ci"]
    if ends is None:
        return f"{said}. {_why_open(found)}"
    said += f", {shading['ratio']:.2f} times as much (95 %, by those: {interval(ends, 2)}). "
    if ends[0] > 1:
        said += "So the coloured squares matter more to the head than others do."
    elif ends[1] < 1:
        said += "So the coloured squares matter less than others do: do not read them as what decided."
    else:
        said += "So it cannot be said that the coloured squares matter more than others."
    alone_ends = "" if alone["ratio_ci"] is None else f" ({interval(alone['ratio_ci'], 2)})"
    return f"{said} Attention alone, without the gradient, reaches {alone['ratio']:.2f} times{alone_ends}."


def _why_open(found: Mapping[str, Any]) -> str:
    """Why nothing is concluded."""
    fewest = found["fewest_groups"]
    if found["groups"] < fewest:
        return f"Fewer than {fewest} clips are too few to say whether the colours point at what matters."
    return "Covering one or the other moves nothing, so their ratio says nothing of where the colours point."
