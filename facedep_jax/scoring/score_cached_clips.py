"""All clips of a source, or their segments → their scores, in the order of the listings. Knows no tables, no pages."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Report, silent
from facedep_jax.scoring.clip_scores import ClipScore, ScoreSettings, Window, score_clip, windows_of
from facedep_jax.scoring.frame_scores import Frames, Span, score_items
from facedep_jax.scoring.window_scores import score_windows
from facedep_jax.sources import Listing, Source
from facedep_jax.text_escaping import as_name


@dataclass(frozen=True)
class Scored:
    """A clip with what its score was made of; `frames` is None for one that failed. `listing` says where it lies."""

    clip: ClipScore
    listing: Listing
    item: str = ""
    frames: Frames | None = None
    windows: tuple[Window, ...] = ()


def score_cache(
    cache: Cache,
    clips: Source,
    failures: Sequence[Mapping[str, Any]],
    head: Head,
    settings: ScoreSettings,
    report: Report = silent,
) -> list[Scored]:
    """Score the clips of `clips`, or their segments, from cached features. Raises SpecMismatch for features of another
    kind.

    A clip that is not in the cache has failed, with the reason that `failures` give for its file; so has a segment that
    ends after its clip or holds no frame.
    """
    inputs = head.require_features(cache.spec, report)
    listed = {as_name(e["path"]): e for e in cache.listings.iter_rows(named=True) if e["source"] == clips.where}
    position = {item: number for number, item in enumerate(cache.items.id.tolist())}
    reasons = {failure["path"]: failure["reason"] for failure in failures}
    items = (position.get(listed.get(listing.path, {}).get("item")) for listing in clips.listings)
    found = [_found(cache, listing, item) for listing, item in zip(clips.listings, items, strict=True)]
    seen = [one for one in found if not isinstance(one, str)]
    places, spans = [at for at, _ in seen], [span for _, span in seen]
    frames = iter(
        score_windows(cache, places, head, settings.window, report, spans)
        if head.mixes
        else score_items(cache, places, head, report, spans)
    )
    scored = []
    for listing, one in zip(clips.listings, found, strict=True):
        if isinstance(one, str):
            reason = one or reasons.get(str(listing.file), "not in the cache")
            scored.append(Scored(_said_by(listing, ClipScore(listing.path, "failed", reason)), listing))
            continue
        (at, _), own = one, next(frames)
        duration = float(cache.items.duration[at])
        if listing.end is not None:
            duration = min(duration + float(cache.rows.time[cache.items.first_row[at]]), listing.end) - own.time[0]
        clip = score_clip(listing.path, own, float(duration), head.threshold, settings)
        decoding = listed[listing.path].get("decoding") or ""
        clip = _said_by(listing, replace(clip, inputs=inputs, decoding=decoding))
        windows = tuple(windows_of(own, settings.window, duration))
        scored.append(Scored(clip, listing, str(cache.items.id[at]), own, windows))
    return relative_to_subjects(scored)


def _said_by(listing: Listing, clip: ClipScore) -> ClipScore:
    """The score with what its listing says: who is in it, and of a segment its times."""
    clip = replace(clip, subject=listing.subject, segment_start_s=listing.start, segment_end_s=listing.end)
    if listing.start is None or listing.end is None or clip.status == "failed":
        return clip
    return replace(clip, duration_s=listing.end - listing.start)


def _found(cache: Cache, listing: Listing, at: int | None) -> tuple[int, Span] | str:
    """The place of a listing's item in the cache, and its frames or those of its segment; else why there are none,
    empty where the item is not there."""
    if at is None:
        return ""
    start, end = (np.array([np.nan if time is None else time]) for time in (listing.start, listing.end))
    first, count = cache.frames_of(np.array([at]), start, end)
    if not count[0] and listing.end is not None:
        return cache.fault_of(at, listing.end) or "no frame was sampled in it: sample more with --fps"
    return at, (int(first[0]), int(count[0]))


def relative_to_subjects(scored: Sequence[Scored]) -> list[Scored]:
    """Fill `relative` of the scored clips of every subject who has at least two: score minus their median.

    The median is over the clips of the same batch that have a decision, this one among them; copies of a clip count
    once. A difference from one's own usual face says something else than the score, and nothing of what is usual.
    """
    by_subject: dict[str, dict[tuple[str, float | None, float | None], float]] = defaultdict(dict)
    for one in scored:
        if (score := one.clip.decided_score) is not None and one.clip.subject is not None:
            by_subject[one.clip.subject][one.item, one.clip.segment_start_s, one.clip.segment_end_s] = score
    usual = {subject: float(np.median([*own.values()])) for subject, own in by_subject.items() if len(own) > 1}
    return [
        replace(one, clip=replace(one.clip, relative=score - usual[one.clip.subject]))
        if (score := one.clip.decided_score) is not None and one.clip.subject in usual
        else one
        for one in scored
    ]
