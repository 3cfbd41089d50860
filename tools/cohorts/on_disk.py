"""A plan → a cache of clips, a table of persons, and a file that says what was planted."""

import csv
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from resequence import features_of, spec_of

from cohorts.persons import FPS, HEIGHT, NONE, WIDTH, Person, Plan, clip_of, persons_of, shift
from cohorts.pictures import Pictures
from facedep_jax.backbones.taps import plain_taps
from facedep_jax.cache import Cache, CacheWriter
from facedep_jax.file_system import atomic_folder
from facedep_jax.scoring.frame_scores import Frames

CUTOFF, WORST = 10, 24  # of a score in a questionnaire's points: the positive class begins there, and it ends there


def write_cohort(plan: Plan, source: Cache, pictures: Pictures, out: Path) -> Path:
    """Make the folder `out`: cache/, persons.csv, planted.json. Raises OutputError where something else is there."""
    people = persons_of(plan)
    with atomic_folder(out) as folder:
        _write_clips(plan, people, source, pictures, folder / "cache")
        with (folder / "persons.csv").open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, ("subject", "label", "score", "gender"))
            table.writeheader()
            table.writerows(_row(plan, person) for person in people)
        told = {"plan": asdict(plan), "apart": {name: shift(auc) for name, auc in plan.differ.items()}}
        told["persons"] = {person.name: _planted(person) for person in people}
        (folder / "planted.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return out


def _row(plan: Plan, person: Person) -> dict[str, Any]:
    """The score hangs on the class alone, the gender on nothing."""
    rng = np.random.default_rng([plan.seed, person.number, 2])
    score = int(rng.integers(CUTOFF, WORST + 1) if person.positive else rng.integers(CUTOFF))
    label = "depressed" if person.positive else "control"
    return {"subject": person.name, "label": label, "score": score, "gender": ("female", "male")[rng.integers(2)]}


def _planted(person: Person) -> dict[str, Any]:
    smiles, sad = person.parts
    known = {"smiles": smiles, "sadness": sad, "speed": person.speed, "size": person.size, "frames": person.frames}
    return asdict(person) | known | {"faceless": person.faceless}


def _write_clips(plan: Plan, people: list[Person], source: Cache, pictures: Pictures, folder: Path) -> None:
    taps, engine = plain_taps(source.taps), SimpleNamespace(name="xla", version="0", device="none")
    with CacheWriter(folder, spec_of(source, taps, FPS, WIDTH), engine) as writer:
        for person in people:
            if not person.missing:
                item = hashlib.sha256(json.dumps([asdict(plan), person.number]).encode()).hexdigest()
                writer.begin_item(item, "clip")
                _add_frames(writer, clip_of(plan, person, pictures), source, taps)
                listing = {"item": item, "source": "simulated", "path": f"{person.name}.mp4", "emotion": None}
                writer.add_listing(listing | {"subject": person.name, "split": None})


def _add_frames(writer: CacheWriter, frames: Frames, source: Cache, taps: tuple[str, ...]) -> None:
    features = features_of(source, taps, frames.feature[frames.feature >= 0])
    for time, face, box in zip(frames.time, frames.face, frames.box, strict=True):
        seen = face != NONE
        x, y, width, height = map(float, box)
        writer.add_row(
            time, int(face), (x, y, width, height), 0.9 if seen else np.nan, next(features) if seen else None
        )
    writer.end_item(WIDTH, HEIGHT, len(frames.time) / FPS)
