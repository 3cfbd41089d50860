"""`extract`: pictures and clips to a cache of features."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import polars as pl

from facedep_jax.api.listeners import automatic
from facedep_jax.api.public_function import public
from facedep_jax.cache import Cache, open_cache
from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.extraction.extract import ExtractSummary
from facedep_jax.extraction.extract import extract as run_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.progress_events import Report
from facedep_jax.shown_facts import ShownFacts
from facedep_jax.sources import read_sources, say_source
from facedep_jax.toml_settings import resolve

Place = str | PathLike[str]


class Extraction(ShownFacts):
    """What `extract` did: `summary`, and the cache with its tables."""

    def __init__(self, summary: ExtractSummary):
        self.summary = summary
        self.path = Path(summary["cache"])

    @cached_property
    def cache(self) -> Cache:
        """The cache, opened."""
        return open_cache(self.path)

    @property
    def failures(self) -> pl.DataFrame:
        """A row for each file that could not be used: path and reason."""
        return pl.DataFrame(self.summary["failures"], {"path": pl.String, "reason": pl.String})

    def _title(self) -> str:
        return f"extraction into {self.path}"

    def _facts(self) -> Mapping[str, Any]:
        said = self.summary
        return {
            "items": said["items_total"],
            "new": said["items_new"],
            "reused": said["items_reused"],
            "failed": said["items_failed"],
            "segments that failed": len(said["segments_failed"]) or "",
            "files ignored": said["items_ignored"],
            "features": ", ".join(f"{tap} {'×'.join(map(str, s))}" for tap, s in said["features"].items()),
            "warning": UNTRAINED if said["untrained"] else "",
        }

    def _table(self) -> pl.DataFrame | None:
        return self.failures if len(self.failures) else None


@public((ExtractSettings, None))
def extract(
    sources: Place | Sequence[Place],
    out: Place | None = None,
    *,
    config: Place | None = None,
    subjects: Place | None = None,
    subject_regex: str | None = None,
    emotion_codes: str | None = None,
    report: Report = automatic,
    **settings: Any,
) -> Extraction:
    """Run frozen backbones once over `sources`, folders, globs or tables, and keep the features in the cache `out`.

    As the command `extract-features`: what is in the cache already is not computed again, and `out` is
    `cache/<name of the source>` where it is left out. `settings` are those of the table [extract] of a `config`.
    Raises FacedepError for what cannot be used; a file that cannot is in `failures`, and the others are done.
    """
    wanted = resolve(ExtractSettings, "extract", Path(config) if config else None, settings)
    named = [sources] if isinstance(sources, str | PathLike) else list(sources)
    found = read_sources(
        [fspath(source) for source in named],
        subjects=Path(subjects) if subjects else None,
        subject_regex=subject_regex,
        emotion_codes=emotion_codes,
        report=report,
    )
    for source in found:
        say_source(source, report)
    return Extraction(run_extraction(found, Path(out or Path("cache") / found[0].name), wanted, report))
