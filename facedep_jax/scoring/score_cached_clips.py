"""All clips of a source → their scores, in the order of the listings. Knows nothing of tables or pages."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Report, silent
from facedep_jax.scoring.clip_scores import ClipScore, ScoreSettings, Window, score_clip, windows_of
from facedep_jax.scoring.frame_scores import Frames, score_items
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
    """Score the clips of `clips` from their cached features. Raises SpecMismatch for features of another kind.

    A clip that is not in the cache has failed, with the reason that `failures` give for its file.
    """
    inputs = head.require_features(cache.spec, report)
    listed = {as_name(e["path"]): e for e in cache.listings.iter_rows(named=True) if e["source"] == clips.where}
    position = {item: number for number, item in enumerate(cache.items.id.tolist())}
    reasons = {failure["path"]: failure["reason"] for failure in failures}
    places = [position.get(listed.get(listing.path, {}).get("item")) for listing in clips.listings]
    seen = [at for at in places if at is not None]
    frames = iter(
        score_windows(cache, seen, head, settings.window, report)
        if head.mixes
        else score_items(cache, seen, head, report)
    )
    scored = []
    for listing, at in zip(clips.listings, places, strict=True):
        if at is None:
            reason = reasons.get(str(listing.file), "not in the cache")
            scored.append(Scored(ClipScore(listing.path, "failed", reason, subject=listing.subject), listing))
            continue
        own, duration = next(frames), float(cache.items.duration[at])
        clip = score_clip(listing.path, own, duration, head.threshold, settings)
        decoding = listed[listing.path].get("decoding") or ""
        clip = replace(clip, subject=listing.subject, inputs=inputs, decoding=decoding)
        windows = tuple(windows_of(own, settings.window, duration))
        scored.append(Scored(clip, listing, str(cache.items.id[at]), own, windows))
    return relative_to_subjects(scored)


def relative_to_subjects(scored: Sequence[Scored]) -> list[Scored]:
    """Fill `relative` of the scored clips of every subject who has at least two: score minus their median.

    The median is over the clips of the same batch that have a decision, this one among them; copies of a clip count
    once. A difference from one's own usual face says something else than the score, and nothing of what is usual.
    """
    by_subject: dict[str, dict[str, float]] = defaultdict(dict)
    for one in scored:
        if (score := one.clip.decided_score) is not None and one.clip.subject is not None:
            by_subject[one.clip.subject][one.item] = score
    usual = {subject: float(np.median([*own.values()])) for subject, own in by_subject.items() if len(own) > 1}
    return [
        replace(one, clip=replace(one.clip, relative=score - usual[one.clip.subject]))
        if (score := one.clip.decided_score) is not None and one.clip.subject in usual
        else one
        for one in scored
    ]
