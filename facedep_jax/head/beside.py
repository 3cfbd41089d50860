"""What a finished head is compared with: baselines, and both over folds. What fails here does not cost the head."""

from typing import Any

from facedep_jax.dataset.examples import Examples
from facedep_jax.errors import RunError
from facedep_jax.events import Note, Report
from facedep_jax.runs.resume import Unfinished
from facedep_jax.training.baseline_suite import Problems
from facedep_jax.training.cross_validation import crossvalidate
from facedep_jax.training.task import Task

BIASED = "the settings were chosen by these folds, so their AUC is somewhat too high"


def cross_validation_of(
    task: Task, examples: Examples, place: Unfinished, problems: Problems, report: Report
) -> dict[str, Any]:
    """The head and the probe over folds; one that fails is a problem, and the finished fit is kept."""
    settings, positive = task.settings, task.prepared.positive
    found = {}
    for what in ("head",) if examples.streamed else ("head", "probe"):
        stage = place.stage("folds") if what == "head" else None
        try:
            found[what] = crossvalidate(examples, positive, settings, settings.folds, what, report=report, stage=stage)
        except RunError as error:
            problems.append({"what": f"cross-validation of the {what}", "detail": str(error)})
            report(Note(f"cross-validation of the {what}: {error}", "warning"))
    if task.found and settings.folds and "head" in found:
        found["head"]["note"] = BIASED
    return found
