"""What a page on a batch of scores shows, and in which words. It knows scores, not how they were made."""

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from facedep_jax.report.document import GAP, Block, Listing, Section, Table, interval, number, percent, sign
from facedep_jax.report.markdown import from_markdown
from facedep_jax.report.score_sparkline import HEIGHT, WIDTH, curve_of
from facedep_jax.report.scored_faces import SIDE

SMALL, LARGE = 120, 500  # points of a curve, at most about

GAPS = {"none": "no face", "lost": "another's face", "too-small": "too small", "blurred": "blurred"}
MIXES = (  # of a head that mixes frames
    "This head looks at several frames at once: it judges {} each as one. The figure of a frame is that of its window, "
    "and the score of a clip what the mean logit of its windows makes."
)
HOW_TO_READ = (
    "score: the mean over frames with a face of the head's calibrated probability that the face is one of those called "
    "positive. It compares clips with each other and with the threshold; it is no measure of a person's state.",
    "within the clip: a 95 % interval from drawing the clip's windows again and again. It says how far the score hangs "
    "on which moments were seen, nothing of errors of the head, of other days, or of other people. With fewer than "
    "about ten windows it is too narrow, and with fewer than four there is none.",
    "members: the scores by the lowest and the highest of the heads that were trained with different seeds. They share "
    "data and mistakes, so they are nearer to each other than to the truth.",
    "relative: the score minus the median over the same subject's scored clips of this batch, where there are at least "
    "two. It says which of a person's clips differ from the others, and nothing of what is usual for other people.",
    "face: the part of sampled frames with a face that could be used. Below the setting min_coverage nothing is "
    "decided: the clip is abstained.",
    "inputs: differ means that the faces were cropped or sampled in another way than those that the head learned from, "
    "so that scores may be shifted by an unknown amount.",
)

# Name of a column: what it sorts by, and how that is written where it is not written as it is.
COLUMNS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], str] | None]] = {
    "clip": (lambda c: c.clip, None),
    "score": (lambda c: c.score, None),
    "within the clip": (lambda c: c.low, lambda c: interval((c.low, c.high), 2)),
    "members": (lambda c: c.members_low, lambda c: interval((c.members_low, c.members_high), 2)),
    "decision": (lambda c: verdict(c), None),
    "face": (lambda c: c.coverage, lambda c: percent(c.coverage)),
    "seconds": (lambda c: c.duration_s, lambda c: number(c.duration_s, 1)),
    "subject": (lambda c: c.subject, None),
    "relative": (lambda c: c.relative, lambda c: GAP if c.relative is None else sign(c.relative)),
    "inputs": (lambda c: "differ" if c.inputs else None, None),
}
ALWAYS = ("clip", "score", "decision", "face")  # the others only where a clip has something in them


def content(
    scored: Sequence[Any],
    ignored: Sequence[Any],
    threshold: float,
    settings: Mapping[str, Any],
    card: str,
    faces: Sequence[Mapping[str, Any]] = (),
    deletion: Sequence[Block] = (),
    judged: str = "",
) -> dict[str, Any]:
    """Everything on the page below the facts; `card` is the run's MODEL_CARD.md, empty where it has none, and `ignored`
    are the rows of files that are no clips. `judged` says what a head that mixes frames judges as one."""
    seen = [one for one in scored if one.frames is not None]
    larges = [_figure(one, threshold) for one in seen]
    found = {gap.state for clip in larges for gap in clip["large"].gaps}
    failed = tuple((one.clip.clip, one.clip.reason) for one in scored if one.clip.status == "failed")
    odd = tuple((one.clip.clip, one.clip.decoding) for one in scored if one.clip.decoding)
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
        "states": [state for state in GAPS if state in found],
        "faces": faces,
        "deletion": deletion,
        "side": SIDE,
        "width": WIDTH,
        "height": HEIGHT,
        "sections": [
            Section("How to read this page", (Listing((*((MIXES.format(judged),) if judged else ()), *HOW_TO_READ)),)),
            Section("Settings", (Table(("setting", "value"), tuple(_flat(settings)), wrapped=True),)),
        ],
        "card": {"title": title, "sections": sections} if card else None,
    }


def _table(scored: Sequence[Any], ignored: Sequence[Any], threshold: float) -> tuple[list[str], list[dict[str, Any]]]:
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


def verdict(clip: Any) -> str:
    """The decision, or why there is none."""
    return clip.decision or f"{clip.status}: {clip.reason}"


def _figure(one: Any, threshold: float) -> dict[str, Any]:
    clip, times = one.clip, one.frames.time
    score = "" if clip.score is None else f"score {clip.score:.3f}, "
    seen = f"a face in {percent(clip.coverage)} of {clip.frames_sampled} frames" if clip.decision else ""
    label = ", ".join(filter(None, (f"{score}{verdict(clip)}", seen)))
    return {
        "name": clip.clip,
        "verdict": label,
        "label": f"{clip.clip}: {label}",
        "large": curve_of(clip, one.frames, threshold, LARGE),
        "begin": f"{times[0]:.1f} s",
        "end": f"{times[-1]:.1f} s",
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
