"""The project against what users would pick instead, side by side on this machine.

    python tools/bench.py [--json] [--only PATTERN] [--skip PATTERN] [--sweep FILE.png]

Random weights and made-up pictures, so it runs anywhere. Everybody computes the same: MobileNetV2 and ResNet50 to the
top, averaged, from uint8 pixels in host memory to features in host memory; on a GPU where there is one, and there each
is called by one thread or by two, whichever is faster for it. Contenders take turns, one batch a round (20 on a GPU),
and ratios are formed within a round. ours/mid ends at the mid taps; …/files are whole programs, from JPEG files to
stored features. What is absent is named with the reason; the peers are in the extra bench.
"""

import argparse
import contextlib
import functools
import json
import os
import platform
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # a GPU is shared with torch and the programs begun

import jax
from benchmark.contenders import (
    DEVICE_ONLY,
    FROM_FILES,
    SecondsFor,
    auto_engines,
    check_outputs,
    choose,
    precision_of,
    told_if_absent,
)
from benchmark.files import draw_pictures, fewer, two_counts
from benchmark.memory import keep_memory
from benchmark.peers import Setup, torch_sees_gpu
from benchmark.report import markdown
from benchmark.rounds import Numbers, Turn, alternate, batches_timed, ratio, rows, say, summary
from benchmark.streams import Run
from benchmark.sweep import most_images, sweep

from facedep_jax.errors import FacedepError, SettingsError
from facedep_jax.extraction.plan import IN_FLIGHT
from facedep_jax.extraction.settings import MAX_BATCH
from facedep_jax.machine_resources import cores
from facedep_jax.provenance import versions

PEER_PACKAGES = ("jaxlib", "openvino", "torch", "transformers", "onnx", "onnxruntime", "keras", "pillow")


@dataclass(frozen=True)
class Loaded:
    """Who is here and ready, and what is common to all."""

    setup: Setup
    images: int
    runs: dict[str, Run]
    at_once: dict[str, int]  # how many threads call each
    programs: dict[str, SecondsFor]
    engines: dict[str, str]  # precision → what `auto` takes
    absent: dict[str, str]  # name → reason


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Everything that was chosen, measured; the object that --json prints."""
    begun = time.monotonic()
    memory_kept = keep_memory()
    chosen, absent = choose(options.only, options.skip, bool(options.sweep))
    on_gpu = any(name.startswith("torch/") for name in chosen) and torch_sees_gpu()
    loaded = load(options, chosen, absent, on_gpu or jax.default_backend() != "cpu", folder)
    setup, groups = loaded.setup, measure_rounds(loaded, options.rounds, begun + 60 * options.minutes)
    return {
        "device": device_name(setup.accelerator),
        "cores": setup.cores,
        "versions": versions() | peer_versions(),
        "size": setup.size,
        "batch_size": setup.batch_size,
        "auto": loaded.engines,
        "at_once": loaded.at_once,
        "memory_kept": memory_kept,
        "rounds": {group: len(rounds) for group, rounds in groups.items()},
        "rates": {name: summary(groups["device"], name) for name in loaded.runs},
        "files": files_table(loaded, groups),
        "absent": absent,
        "ratios": [ratio(row, tuple(groups.values()), setup.accelerator) for row in rows(loaded.engines)],
        "sweep": options.sweep and sweep(setup, loaded.runs, loaded.programs, loaded.images, options.sweep),
        "seconds": round(time.monotonic() - begun, 1),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def load(
    options: argparse.Namespace, chosen: list[str], absent: dict[str, str], accelerator: bool, folder: Path
) -> Loaded:
    """Load and warm up those chosen; who is not there is added to `absent`, with the reason."""
    batch_size = options.batch_size or (256 if accelerator else 32)
    images = options.images or (8192 if accelerator else 256)
    setup = Setup(options.size, batch_size, cores(), accelerator, folder)
    runs: dict[str, Run] = {}
    outputs, programs = {}, {}
    for name in (name for name in DEVICE_ONLY if name in chosen):
        begun = time.perf_counter()
        with told_if_absent(name, absent):
            run = DEVICE_ONLY[name](setup, precision_of(name))
            outputs[name] = run()  # compiles
            runs[name] = run
        say(f"{name}: loaded, or found absent, in {time.perf_counter() - begun:.1f} s")
    check_outputs(outputs, batch_size)
    from_files = [name for name in FROM_FILES if name in chosen]
    if from_files:
        draw_pictures(setup, most_images(images) if options.sweep else images)
    for name in from_files:
        with told_if_absent(name, absent):
            programs[name] = FROM_FILES[name](setup, precision_of(name))
    if not runs and not programs:
        told = "; ".join(f"{name}: {absent[name]}" for name in chosen)
        raise SettingsError(f"no contender is left to be measured: {told}")
    at_once = {name: best_at_once(run) if accelerator else 1 for name, run in runs.items()}
    return Loaded(setup, images, runs, at_once, programs, auto_engines(setup), absent)


def best_at_once(run: Run, batches: int = 10, trials: int = 3) -> int:
    """By how many threads `run` is called best: whoever hides the way to an accelerator behind its work is not to lose
    by how he is asked."""
    rates = {n: max(batches_timed("", run, batches, 1, n)[""] or 0 for _ in range(trials)) for n in (1, IN_FLIGHT)}
    return max(rates, key=lambda n: rates[n])


def measure_rounds(loaded: Loaded, rounds: int, until: float) -> dict[str, list[Numbers]]:
    """Three groups: device-only; peers from files; ours from files beside the device-only ones it is compared with."""
    batches = 20 if loaded.setup.accelerator else 1  # so that a turn takes long enough to be timed
    compared = [
        *(f"ours/{engine}/{precision}" for precision, engine in loaded.engines.items()),
        "ours/openvino/int8",
        "torch/eager/float32",
        "torch/untuned/float32",
    ]

    def device_turns(times: int, names: list[str]) -> dict[str, Turn]:
        runs, size = loaded.runs, loaded.setup.batch_size
        turn = functools.partial(batches_timed, batches=times, batch_size=size)
        return {n: functools.partial(turn, n, runs[n], at_once=loaded.at_once[n]) for n in names if n in runs}

    programs = {n: functools.partial(two_counts, n, program, loaded.images) for n, program in loaded.programs.items()}
    ours = {name: turn for name, turn in programs.items() if name.startswith("ours/")}
    beside = device_turns(2 * batches, compared) if ours else {}
    peers = {n: functools.partial(peer_turn, n, turn, loaded.absent) for n, turn in programs.items() if n not in ours}
    third = time.monotonic() + (until - time.monotonic()) / 3 if programs else until
    return {
        "device": alternate(device_turns(batches, list(loaded.runs)), rounds, third),
        "files_of_peers": alternate(peers, 1, until),  # no ratio is formed with them: once is enough
        "files": alternate(ours | beside, -(-rounds // 2), until),
    }


def peer_turn(name: str, turn: Turn, absent: dict[str, str]) -> Numbers:
    """A peer's program that fails when it is run is absent too."""
    found: Numbers = {}
    with told_if_absent(name, absent):
        found = turn()
    return found


def files_table(loaded: Loaded, groups: dict[str, list[Numbers]]) -> dict[str, Any]:
    """Of each program: its rate with start-up (whole) and without (marginal), and the seconds of start-up."""
    found = {}
    for name in (name for name in loaded.programs if name not in loaded.absent):
        rounds = groups["files" if name.startswith("ours/") else "files_of_peers"]
        found[name] = {"images": loaded.images, "fewer_images": fewer(loaded.images)}
        found[name] |= {key: summary(rounds, f"{name}/{key}") for key in ("whole", "marginal", "start_up")}
    return found


def device_name(accelerator: bool) -> str:
    """The accelerator's name where there is one, else the CPU's model as the operating system tells it."""
    if jax.default_backend() != "cpu":
        return jax.devices()[0].device_kind
    if accelerator:
        import torch

        return torch.cuda.get_device_name()
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def peer_versions() -> dict[str, str | None]:
    """Versions of what peers are made of; None for what is not installed."""
    found: dict[str, str | None] = dict.fromkeys(PEER_PACKAGES)
    for name in PEER_PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def read_options() -> argparse.Namespace:
    """What the command line says; what cannot be meant ends the program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--json", action="store_true", help="print one JSON object instead of tables")
    add("--only", action="append", default=[], metavar="PATTERN", help="such as 'ours/*'; repeatable")
    add("--skip", action="append", default=[], metavar="PATTERN", help="such as '*/files/*'; repeatable")
    add("--rounds", type=int, default=5, help="device-only; half as many from files  [default: 5]")
    add("--minutes", type=float, default=4.5, help="no round is begun that would end later  [default: 4.5]")
    add("--batch-size", type=int, help="[default: 32, on accelerators 256]")
    add("--images", type=int, help="files; a fourth of them is measured too  [default: 256, or 8192]")
    add("--size", type=int, default=224, help="pixels, a multiple of 32  [default: 224]")
    add("--sweep", type=Path, metavar="FILE.png", help="also draw ours by batch size and by images")
    options = parser.parse_args()
    for name, kept, expected in (
        ("rounds", options.rounds >= 1, "at least 1"),
        ("batch_size", 1 <= (options.batch_size or 1) <= MAX_BATCH, f"1 to {MAX_BATCH}"),
        ("images", options.images is None or options.images >= 4, "at least 4"),
        ("size", options.size >= 32 and options.size % 32 == 0, "a multiple of 32"),
        ("sweep", not options.sweep or options.sweep.suffix == ".png", "a name that ends in .png"),
    ):
        if not kept:
            parser.error(f"--{name.replace('_', '-')} is {getattr(options, name)}, expected {expected}")
    return options


def main() -> None:
    """Measure and print."""
    options = read_options()
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, contextlib.redirect_stdout(sys.stderr):
            result = measure(options, Path(folder))
    except FacedepError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)
    print(json.dumps(result, indent=2) if options.json else markdown(result))


if __name__ == "__main__":
    main()
