"""What a mismatch of crops costs: probes trained on crops with one margin, judged on crops with another.

    python tools/ablate_margin.py SOURCE --weights DIR --out FOLDER [--subjects CSV] [--margins=-0.1,0,0.1,0.2,0.4]
        [--every K] [--folds 5]

The detector is run over a data set of faces, and features are extracted from the pictures as they are (whole), from
crops with each margin, and from aligned crops without one; a cache each in FOLDER, found again by the next run. Then a
logistic probe (sad, sadness, neutral against the rest) is fitted to each and judged on each, by cross-validation over
persons in train and val, on the faces that all of them have. Prints a Markdown table of AUCs; rows: trained on what.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from facedep_jax import open_cache
from facedep_jax.errors import FacedepError
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.progress_events import Note, Progress
from facedep_jax.sources import Source, read_source
from facedep_jax.sources.subject_splits import subject_folds

TAPS = "mobilenet_v2:mid@3,resnet50:mid@3"
POSITIVE = ("sad", "sadness", "neutral")
STRENGTH = 1e-3  # inverse of the penalty, near the best of those that train-head's probes try


def say(event: Note | Progress) -> None:
    if isinstance(event, Note) and event.level == "warning":
        print(event.text, file=sys.stderr)


def variants(margins: list[float]) -> dict[str, dict]:
    """Settings of each way to cut a face out, by its name in the table."""
    cropped = {f"{margin:g}": {"faces": "yunet", "margin": margin, "min_face": 0.0} for margin in margins}
    aligned = {"faces": "yunet", "margin": 0.0, "min_face": 0.0, "align": True}
    return {"whole": {"faces": "none"}, **cropped, "0, aligned": aligned}


def features_by_item(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, dict]]:
    """Features of each item that has any, and its listing."""
    cache = open_cache(folder)
    taps = [cache.features(tap) for tap in cache.taps]
    tokens = np.concatenate([rows.reshape(len(rows), -1) for rows in taps], 1)
    at = cache.rows.feature[cache.items.first_row]
    found = {str(item): tokens[row] for item, row in zip(cache.items.id, at, strict=True) if row >= 0}
    return found, {entry["item"]: entry for entry in cache.listings.to_dicts() if entry["item"]}


def held_out_aucs(
    train: np.ndarray, judged: dict[str, np.ndarray], label: np.ndarray, fold: np.ndarray
) -> dict[str, tuple[float, float]]:
    """Mean and deviation over folds of a probe fitted to `train` and applied to what is `judged` of the other persons.

    There are more features than faces, so the probe is solved in the space that the faces span.
    """
    areas = {name: [] for name in judged}
    for number in range(fold.max() + 1):
        learn, hold = fold != number, fold == number
        scaler = StandardScaler().fit(train[learn])
        rows = scaler.transform(train[learn])
        values, vectors = np.linalg.eigh(rows @ rows.T)
        back = vectors / np.sqrt(np.maximum(values, 1e-3 * values.max()))
        probe = LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=300)
        probe.fit(rows @ (rows.T @ back), label[learn])
        weight = rows.T @ (back @ probe.coef_[0])
        for name, other in judged.items():
            areas[name].append(roc_auc_score(label[hold], scaler.transform(other[hold]) @ weight))
    return {name: (float(np.mean(found)), float(np.std(found))) for name, found in areas.items()}


def extracted(source: Source, options: argparse.Namespace) -> dict[str, tuple[dict, dict]]:
    """Features and listings by variant."""
    found = {}
    for name, settings in variants([float(text) for text in options.margins.split(",")]).items():
        folder = Path(options.out) / name.replace(", ", "-")
        chosen = ExtractSettings(weights=options.weights, taps=TAPS, size=options.size, **settings)
        summary = extract([source], folder, chosen, say)
        found[name] = features_by_item(folder)
        print(f"{name}: {len(found[name][0])} of {summary['items_total']} pictures have a face", file=sys.stderr)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--subjects", type=Path)
    parser.add_argument("--margins", default="-0.1,0,0.1,0.2,0.4")
    parser.add_argument("--size", default="mobilenet_v2=224,resnet50=96")
    parser.add_argument("--every", type=int, default=1, help="take every K-th picture")
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    source = read_source(options.source, subjects=options.subjects)
    source = replace(source, listings=source.listings[:: options.every], whole=False)
    found = extracted(source, options)
    listings = found["whole"][1]
    common = set.intersection(*(set(tokens) for tokens, _ in found.values()))
    items = sorted(item for item in common if listings[item]["split"] != "test" and listings[item]["emotion"])
    label = np.array([listings[item]["emotion"].lower() in POSITIVE for item in items])
    fold = subject_folds(items, [listings[item]["subject"] for item in items], label.astype(int), options.folds)
    arrays = {name: np.stack([tokens[i] for i in items]).astype(np.float32) for name, (tokens, _) in found.items()}
    print(f"{len(items)} faces, {options.folds} folds by person\n\n| trained on | " + " | ".join(arrays) + " |")
    print("| --- " * (len(arrays) + 1) + "|")
    for name, train in arrays.items():
        cells = held_out_aucs(train, arrays, label, fold).values()
        print(f"| {name} | " + " | ".join(f"{mean:.3f} ± {sd:.3f}" for mean, sd in cells) + " |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except FacedepError as error:
        sys.exit(str(error))
