"""`study_persons`: persons with labels or questionnaires, judged by models that do not know them."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import polars as pl

from facedep_jax.api.extraction import Place
from facedep_jax.api.listeners import automatic
from facedep_jax.api.public_function import public
from facedep_jax.api.runs import Run
from facedep_jax.cache import open_cache
from facedep_jax.progress_events import Report
from facedep_jax.shown_facts import ShownFacts
from facedep_jax.study.run_study import StudySummary, run_study
from facedep_jax.study.settings import StudySettings
from facedep_jax.study.study_writer import write_study
from facedep_jax.toml_settings import resolve


class Study(ShownFacts):
    """What `study_persons` found: `verdicts` in words, `tables` (predictions, persons, unmatched), and the `page`."""

    def __init__(self, summary: StudySummary, tables: Mapping[str, pl.DataFrame]):
        self.summary, self.tables = summary, dict(tables)
        self.path = Path(summary["study"])
        self.page = self.path / "report.html"
        self.verdicts = list(summary["verdicts"])

    def _title(self) -> str:
        return f"study {self.path}"

    def _facts(self) -> Mapping[str, Any]:
        said = self.summary
        return {
            "persons judged": ", ".join(f"{name} {count:,}" for name, count in said["persons"].items()),
            "protocol": said["protocol"],
            "found": " ".join(self.verdicts),
            "page": self.page,
            "meaning": said["meaning"],
            "warnings": "; ".join(said["warnings"]),
            "warning": said["warning"],
        }

    def _table(self) -> pl.DataFrame:
        return self.tables["persons"]


@public((StudySettings, None))
def study_persons(
    table: Place | Sequence[Place],
    caches: Place | Sequence[Place] = (),
    *,
    run: Place | Run | None = None,
    out: Place | None = None,
    config: Place | None = None,
    positive_emotions: Sequence[str] | None = None,
    report: Report = automatic,
    **settings: Any,
) -> Study:
    """Judge what faces in clips say of persons: of a label, or of a questionnaire's score; as the command `study`.

    `table` may be several of the same columns. `positive` is the label that is looked for, `positive_emotions` are
    those of the run. Raises TableError, LabelError and OutputError as docs/study.md says. Not a diagnosis of anyone.
    """
    wanted = resolve(StudySettings, "study", Path(config) if config else None, settings)
    tables = [Path(one) for one in _several(table)]
    opened = [open_cache(cache) for cache in wanted.caches([Path(one) for one in _several(caches)])]
    head = None if run is None else (run if isinstance(run, Run) else Run(run)).head_of(positive_emotions)
    place = Path(out or Path("studies") / tables[0].stem)
    summary, written = run_study(tables, opened, wanted, place, head, report)
    write_study(place, summary, written, wanted)
    return Study(summary, written)


def _several(places: Place | Sequence[Place]) -> list[Place]:
    return [places] if isinstance(places, str | PathLike) else list(places)
