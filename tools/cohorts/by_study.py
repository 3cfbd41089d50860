"""Cohorts written, and judged by `study` with its attention head: minutes each, where `recovery` takes seconds."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cohorts.on_disk import CUTOFF, write_cohort
from cohorts.persons import Plan
from cohorts.pictures import Pictures
from cohorts.recovery import mean_of
from facedep_jax import study_persons
from facedep_jax.cache import Cache
from facedep_jax.progress_events import silent
from facedep_jax.study.models import ATTENTION, DESCRIPTOR, SCORE

BANDS = (5, CUTOFF, 15, 20)  # of which scores tell classes apart at the second alone
MODELS = (DESCRIPTOR, ATTENTION, SCORE)


def judged_by_study(
    plan: Plan, cohorts: int, source: Cache, run: Path, pictures: Pictures
) -> Iterator[tuple[object, ...]]:
    """By model, over cohorts of the plan's seed and those after it: AUC of the bands' order, quadratic κ, AUC of the
    cut that is planted, and AUC of the two classes."""
    found = [_studied(replace(plan, seed=plan.seed + number), source, run, pictures) for number in range(cohorts)]
    for model in MODELS:
        order = [one["order"]["models"][model] for one in found]
        classes = [one["classes"]["models"][model]["auc"] for one in found]
        told = [[one["auc"], one["kappa_quadratic"], one["cuts"][BANDS.index(CUTOFF)]["auc"]] for one in order]
        auc, kappa, cut = np.array(told).T
        yield model, cohorts, mean_of(auc), f"{kappa.mean():.2f}", f"{cut.mean():.2f}", mean_of(np.array(classes))


def _studied(plan: Plan, source: Cache, run: Path, pictures: Pictures) -> dict[str, dict[str, dict]]:
    with TemporaryDirectory(prefix="cohort-") as folder:
        out = write_cohort(plan, source, pictures, Path(folder) / "cohort")
        how = {"bands": BANDS, "repeats": 2, "permutations": 0, "report": silent}
        return study_persons(out / "persons.csv", out / "cache", run=run, out=out / "study", **how).summary
