"""How fast heads are trained: python tools/bench_head.py [CACHE] [--rounds N] [--only PATTERN] [--json].

Seconds per epoch of the preset base, batches of 128, on the training split of CACHE (or on a cache of random features,
2,874 images to learn from and 545 to stop by): features in memory, streamed out of the cache, 16 members at once, and
the same head in PyTorch with its features as tensors in memory, eager and compiled. An epoch is one pass and one look
at validation; compiling is not counted. Contenders take turns of five epochs, and ratios are formed within a round.
The last line is a whole training: a cache of 29,000 images opened, loaded, compiled for and learned from with the
preset tiny for 20 epochs, no test split held back. PyTorch is in the extra bench. Knows nothing of how good heads are.
"""

import argparse
import fnmatch
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
from bench_cache import write
from benchmark.memory import keep_memory
from benchmark.report import markdown_table
from benchmark.rounds import Numbers, Turn, alternate, say, spread, timed

from facedep_jax import open_cache
from facedep_jax.backbones.taps import plain_taps
from facedep_jax.cache import Cache
from facedep_jax.dataset.labelled_examples import Examples, gather
from facedep_jax.dataset.prepare import prepare
from facedep_jax.head.batched_forward import predict_classes
from facedep_jax.head.model import init_states
from facedep_jax.head.trained_head import flat_names
from facedep_jax.machine_resources import cores
from facedep_jax.provenance import versions
from facedep_jax.training.batches import TrainingData
from facedep_jax.training.data_loader import EpochRunner
from facedep_jax.training.ensemble import member_keys, plan_for, rates_for
from facedep_jax.training.epoch import start
from facedep_jax.training.fit import CHUNK, fit
from facedep_jax.training.settings import TrainSettings

MEMBERS = 16
FOREVER = 100_000  # epochs: the schedule is that of a run that does not end while it is timed
EPOCHS = CHUNK  # of a turn, as training does them in one go
OURS = ("ours", "ours/streamed", f"ours/{MEMBERS} members")
TORCH = tuple(f"torch/{way}/{kind}" for way in ("eager", "compile") for kind in ("float32", "float16"))
RATIOS = (  # name, over, under, what it should be
    ("fastest PyTorch / ours", TORCH, "ours", "at least 1.2"),
    ("streamed / in memory", ("ours/streamed",), "ours", "at most 1.25"),
    (f"{MEMBERS} members / one", (f"ours/{MEMBERS} members",), "ours", "below 4 on an H100"),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cache", nargs="?", type=Path, help="a labelled cache (default: random features)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--minutes", type=float, default=20.0, help="begin no round that would end later")
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN", help="of contenders; may be repeated")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options)
    print(json.dumps(result) if options.json else table(result))


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was chosen; the object that --json prints."""
    keep_memory()
    begun = time.monotonic()

    def chosen(name: str) -> bool:
        return not options.only or any(fnmatch.fnmatch(name, pattern) for pattern in options.only)

    with tempfile.TemporaryDirectory() as folder:
        cache = labelled(options.cache, Path(folder) / "small", 3419)
        absent: dict[str, str] = {}
        turns = dict(contenders(cache, chosen, absent))
        rounds = alternate(turns, options.rounds, begun + 60 * options.minutes)
        whole = whole_training(Path(folder) / "large") if chosen("whole") else None
    return {
        "device": str(jax.devices()[0].device_kind),
        "cores": cores(),
        "versions": versions(),
        "rounds": len(rounds),
        "seconds": {name: dict(zip(("median", "low", "high"), of(rounds, name), strict=True)) for name in turns},
        "ratios": [found for row in RATIOS if (found := ratio(rounds, turns, *row))],
        "whole_training_s": whole,
        "absent": absent,
    }  # fmt: skip


def labelled(given: Path | None, folder: Path, rows: int) -> Cache:
    """The cache that was given, else one of random features."""
    if given is None:
        write(folder, rows)
    return open_cache(given or folder)


def examples_of(cache: Cache, stream: bool = False, learned: float = 2874 / 3419) -> Examples:
    """Train and val of a labelled cache; of one without listings, `learned` of the rows and the others."""
    if len(cache.listings):
        prepared = prepare([cache])
        found = gather(
            [cache], prepared.items, prepared.classes, prepared.taps, stream=stream, positive=prepared.positive
        )
        return found[found.split != "test"]
    ids = cache.items.id.tolist()
    splits = ["train" if number < learned * len(ids) else "val" for number in range(len(ids))]
    labels = pl.DataFrame({"item": ids, "path": ids, "split": splits}).with_columns(
        emotion=pl.lit("none"), subject=pl.lit(None, pl.String)
    )
    return gather([cache], labels, np.arange(len(ids)) % 2, plain_taps(cache.taps), stream=stream)


def parts(examples: Examples, members: int) -> tuple[np.ndarray, ...]:
    """Rows of train and their weights by member, and the same of val."""
    train, val = (np.flatnonzero(examples.split == split) for split in ("train", "val"))
    return train, np.ones((members, len(train)), np.float32), val, np.ones((members, len(val)), np.float32)


def contenders(cache: Cache, chosen: Callable[[str], bool], absent: dict[str, str]) -> Iterator[tuple[str, Turn]]:
    """Each ready to train: the first turn, which compiles, is behind it."""
    resident = examples_of(cache)
    for name in filter(chosen, OURS):
        members = MEMBERS if "members" in name else 1
        examples = examples_of(cache, stream=True) if "streamed" in name else resident
        yield name, ready(name, ours(examples, members))
    for name in filter(chosen, TORCH):
        with told_if_absent(name, absent):
            _, way, kind = name.split("/")
            yield name, ready(name, in_torch(resident, way == "compile", kind))


def ready(name: str, train: Callable[[], Any]) -> Turn:
    """A turn: seconds an epoch."""
    say(f"{name}: the first {EPOCHS} epochs took {timed(train):.1f} s")

    def turn() -> Numbers:
        return {name: timed(train) / EPOCHS}

    return turn


def ours(examples: Examples, members: int) -> Callable[[], None]:
    """Trains EPOCHS further each time."""
    settings = TrainSettings(epochs=FOREVER, patience=FOREVER)
    plan, rates = plan_for(examples, settings), rates_for([settings], members)
    runner = EpochRunner(TrainingData(examples, *parts(examples, members)), examples.streamed)
    carry = start(plan, member_keys(0, members))

    def train() -> None:
        nonlocal carry
        carry, _ = jax.block_until_ready(runner.advance(plan, EPOCHS, carry, rates))

    return train


def in_torch(examples: Examples, compiled: bool, kind: str) -> Callable[[], list[float]]:
    """The same head, which it shows before it is timed: equal parameters give equal logits."""
    import torch
    from benchmark.torch_head import Recipe, TorchHead, TorchTraining

    torch.set_num_threads(cores())
    settings = TrainSettings()
    plan = plan_for(examples, settings)
    inputs, shape = plan.architecture.inputs, plan.architecture.shape
    backbones = [tap.split(":")[0] for tap in inputs.taps]
    number = {name: place for place, name in enumerate(dict.fromkeys(backbones))}
    sizes = shape.width, shape.heads, shape.depth, shape.expansion, 2
    rates = settings.dropout, settings.learning_rate, settings.weight_decay, settings.clip_norm, settings.warmup
    taps = inputs.cells, inputs.channels, tuple(number[name] for name in backbones)
    recipe = Recipe(*taps, *sizes, *rates, plan.batch_size, FOREVER)
    states = init_states(plan.architecture, member_keys(0, 1))
    head = TorchHead(recipe).take({name: value[0] for name, value in flat_names(states).items()})
    grids = [examples.tokens[tap] for tap in inputs.taps]
    tokens = [grid.reshape(len(examples), -1, grid.shape[-1]) for grid in grids]
    with torch.inference_mode():
        theirs = head.eval()([torch.tensor(x[:64]) for x in tokens]).numpy()
    some = examples[np.arange(64)]
    with jax.default_matmul_precision("highest"):  # GPUs round factors to TF32 where nothing is said
        expected = predict_classes(plan.architecture, states, some.tokens, some.times, some.mask)[0]
    np.testing.assert_allclose(theirs, expected, rtol=1e-4, atol=1e-4)
    train, weight, val, _ = parts(examples, 1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = True  # as jax trains on a GPU; as installed PyTorch does not
    training = TorchTraining(head, tokens, examples.target, train, weight[0], val, kind, compiled, device)
    return lambda: [training.epoch() for _ in range(EPOCHS)]


def whole_training(folder: Path, rows: int = 29_000, epochs: int = 20) -> float:
    """Seconds from a closed cache of random features to a trained head of the preset tiny."""
    write(folder, rows)
    settings = TrainSettings(preset="tiny", epochs=epochs, patience=epochs)
    begun = time.perf_counter()
    examples = examples_of(open_cache(folder), learned=0.85)
    plan = plan_for(examples, settings)
    runner = EpochRunner(TrainingData(examples, *parts(examples, 1)))
    fit(member_keys(0, 1), plan, rates_for([settings], 1), runner)
    return time.perf_counter() - begun


@contextmanager
def told_if_absent(name: str, absent: dict[str, str]) -> Iterator[None]:
    """A peer that is not installed, or cannot compile here, becomes a line in `absent`."""
    try:
        yield
    except ModuleNotFoundError as error:
        absent[name] = f"{error.name} is not installed; pip install 'facedep-jax[bench]'"
    except RuntimeError as error:
        absent[name] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def of(rounds: list[Numbers], name: str) -> tuple[float, float, float]:
    """Median and quartiles of what a contender measured."""
    return spread([numbers[name] for numbers in rounds])


def ratio(rounds: list[Numbers], turns: dict[str, Turn], name: str, over, under: str, goal: str) -> dict[str, Any]:
    """Median and quartiles over rounds of the fastest of `over`, by its median, to `under`."""
    there = [contender for contender in over if contender in turns]
    if under not in turns or not there:
        return {}
    best = min(there, key=lambda contender: of(rounds, contender)[0])
    middle, low, high = spread([numbers[best] / numbers[under] for numbers in rounds])
    return {"name": name, "over": best, "ratio": middle, "low": low, "high": high, "goal": goal}


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    epochs = [(n, f"{s['median']:.3f}", f"{s['low']:.3f} to {s['high']:.3f}") for n, s in result["seconds"].items()]
    ratios = [
        (f"{r['name']} ({r['over']})", f"{r['ratio']:.2f}", f"{r['low']:.2f} to {r['high']:.2f}", r["goal"])
        for r in result["ratios"]
    ]
    lines = [f"{result['device']}, {result['cores']} cores, {result['rounds']} rounds, medians and quartiles", ""]
    lines += [markdown_table(("one epoch", "seconds", "quartiles"), epochs), ""]
    lines += [markdown_table(("ratio", "median", "quartiles", "aim"), ratios)]
    if result["whole_training_s"]:
        lines += ["", f"29,000 rows, tiny, 20 epochs, load and compiling included: {result['whole_training_s']:.1f} s"]
    return "\n".join(lines + [f"{name} is absent: {why}" for name, why in result["absent"].items()])


if __name__ == "__main__":
    main()
