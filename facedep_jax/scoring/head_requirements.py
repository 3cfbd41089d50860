"""What a head asks of whoever extracts features for it. Knows nothing of clips or pictures."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from facedep_jax.errors import WeightsError
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Note, Report, silent


def extract_settings(features: dict[str, Any], given: ExtractSettings) -> ExtractSettings:
    """`given`, with everything that decides features taken from the run's own spec.

    Untrained weights are made again from their seed; trained ones have to be found by `--weights` or downloaded.
    """
    seeds = {w["seed"] for w in features["weights"].values() if "seed" in w}
    weights = given.weights or (f"random:{seeds.pop()}" if seeds else None)
    return replace(
        given,
        weights=weights,
        taps=",".join(features["taps"]),
        color=features["color"],
        precision=features["precision"],
        size=",".join(f"{name}={size}" for name, size in features["size"].items()),
    )


def aligned_as_learned(head: Head, given: ExtractSettings, report: Report = silent) -> ExtractSettings:
    """`given`, with faces turned upright if those that the head learned from were, unless that was decided."""
    if given.align is not None or not any(record.get("align") for record in head.input.values()):
        return given
    report(Note("faces are turned upright, as those were that the run learned from; --no-align leaves them"))
    return replace(given, align=True)


@contextmanager
def naming_weights(head: Head, given: ExtractSettings) -> Iterator[None]:
    """Where weights are not found in the block, say which ones the run needs: backbone, family and hash.

    Nothing is downloaded that cannot be what the run needs: only the official Keras files can be.
    """
    needed = head.features["weights"]
    listed = " and ".join(f"{name} ({w['family']}, SHA-256 {w['sha256']})" for name, w in needed.items())
    told = f"{head.path or 'the head'} needs the weights that its features came from: {listed}"
    if given.weights is None and not {w["family"] for w in needed.values()} <= {"keras", "random"}:
        raise WeightsError(f"{told}; give the folder that holds them with --weights DIR")
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{told}. Not found: {error}") from error
