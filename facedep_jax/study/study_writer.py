"""The directory of a study: tables, figures, page, a draft for the paper, and the settings that repeat it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from facedep_jax.file_system import atomic_folder
from facedep_jax.provenance import write_config
from facedep_jax.report import study_plots
from facedep_jax.report.html import render_sections
from facedep_jax.report.run_plots import save
from facedep_jax.report.study_page import study_sections
from facedep_jax.report.tripod import tripod
from facedep_jax.runs.csv_and_json import write_json
from facedep_jax.study.models import DESCRIPTOR, HALF
from facedep_jax.study.settings import StudySettings
from facedep_jax.text_columns import write_csv
from facedep_jax.toml_settings import to_table

PERSONS = "a dot a person: what models that did not know them give, by the class that the table states"
DRAWN = (  # target, figure, heading, and what chance gives
    ("classes", "auc", "AUC", 0.5),
    ("scores", "mae", "MAE", None),
    ("order", "auc", "AUC, mean over cuts", 0.5),
)
AGREEMENT = "predicted minus stated scores over their mean; dashed: limits of agreement"


def write_study(
    out: Path, summary: Mapping[str, Any], tables: Mapping[str, pl.DataFrame], settings: StudySettings
) -> None:
    """Write the whole directory, or nothing. Raises OutputError."""
    with atomic_folder(out) as folder:
        write_json(folder / "metrics.json", summary)
        for name, table in tables.items():
            write_csv(folder / f"{name}.csv", table)
        inputs = {name: summary[name] for name in ("tables", "caches", "run", "run_positive") if summary[name]}
        write_config(folder / "config.toml", "study", to_table(settings), {"inputs": inputs})
        plots = _draw(folder, summary, tables["predictions"])
        facts = {
            "tables": ", ".join(summary["tables"]),
            "caches": ", ".join(summary["caches"]),
            "head": summary["run"],
            "persons judged": ", ".join(f"{name} {count:,}" for name, count in summary["persons"].items()),
            **({f"of them {summary['class_names'][1]}": summary["positive"]} if summary["classes"] else {}),
            "protocol": summary["protocol"],
            "seconds": f"{summary['seconds']:.1f}",
        }
        sections = study_sections(summary, plots)
        title = f"Study: {out.name}"
        page = render_sections(title, summary["meaning"], facts, sections, folder, summary["warning"])
        (folder / "report.html").write_text(page, encoding="utf-8")
        (folder / "TRIPOD.md").write_text(tripod(summary), encoding="utf-8")


def _draw(folder: Path, summary: Mapping[str, Any], predictions: pl.DataFrame) -> dict[str, str]:
    """The pictures, and their captions by file."""
    found = {}
    for target, figure, heading, chance in DRAWN:
        if not summary[target]:
            continue
        drawn = study_plots.draw_study_models(
            summary[target]["models"], figure, heading, None if "leave one" in summary["protocol"] else chance
        )
        save(drawn, folder / f"{target}_models.png")
        found[f"{target}_models.png"] = f"{heading} of each model with 95 % intervals over persons"
        own = predictions.filter((pl.col("target") == target) & (pl.col("model") == DESCRIPTOR)).drop_nulls("predicted")
        value = own["predicted"].to_numpy()
        if target == "classes":
            save(
                study_plots.draw_persons(value, own["label"].to_numpy(), HALF, summary["class_names"]),
                folder / "classes_persons.png",
            )
            found["classes_persons.png"] = PERSONS
        elif target == "scores":
            stated = own["score"].to_numpy().astype(np.float64)
            agreement = summary[target]["bland_altman"]
            save(study_plots.draw_bland_altman(value, stated, agreement), folder / "scores_agreement.png")
            found["scores_agreement.png"] = AGREEMENT
    return found
