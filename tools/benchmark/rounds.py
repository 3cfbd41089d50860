"""Contenders in turn, round by round, and the ratios between them. Knows nothing of networks: names, rates, targets."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

REST = 0.05  # seconds between two turns: worker threads of the one before may spin for a while after their work
Numbers = dict[str, float | None]  # what one round measured, by name; None: there was too little work to tell
Turn = Callable[[], Numbers]


def say(text: str) -> None:
    """A line for whoever waits; standard output is for the result."""
    print(text, file=sys.stderr, flush=True)


def timed(work: Callable[[], object]) -> float:
    """Seconds until `work` is done; what it returns is let go only after that."""
    begun = time.perf_counter()
    result = work()
    taken = time.perf_counter() - begun
    del result
    return taken


def batches_timed(name: str, run: Callable[[], object], batches: int, batch_size: int, at_once: int = 1) -> Numbers:
    """Images a second of `run`, which computes one batch, called by `at_once` threads."""
    if at_once == 1:
        return {name: batches * batch_size / timed(lambda: [run() for _ in range(batches)])}
    with ThreadPoolExecutor(at_once) as threads:
        list(threads.map(lambda _: None, range(at_once)))  # starts them
        return {name: batches * batch_size / timed(lambda: list(threads.map(lambda _: run(), range(batches))))}


@dataclass(frozen=True)
class Row:
    """One ratio that is looked at: the rate `over` divided by the rate `under`, and what it should reach."""

    name: str
    over: str
    under: str
    target: float
    device: str = "any"  # "cpu" or "accelerator" where it is about one of them only


def rows(ours: Mapping[str, str]) -> list[Row]:
    """The ratios of the project's goals; `ours` is the engine that `auto` takes for each precision."""
    top = {precision: f"ours/{engine}/{precision}" for precision, engine in ours.items()}
    fast, exact = top["bfloat16"], top["float32"]
    found = [
        Row("bfloat16 / OpenVINO bfloat16 on torch's graph", fast, "graph/openvino/bfloat16", 0.95, "cpu"),
        Row("float32 / ONNX Runtime float32 on torch's graph", exact, "graph/onnxruntime/float32", 0.95, "cpu"),
        Row("bfloat16 / torch.compile bfloat16", fast, "torch/compile/bfloat16", 1.0, "accelerator"),
    ]
    found += [
        Row(f"ours int8 / bfloat16, {what}", f"ours/{name}/int8", f"ours/{name}/bfloat16", 1.5, "cpu")
        for what, name in (("to the mid taps", "mid"), ("to the top", "openvino"))
    ]
    found += [Row(f"mid taps / top taps, {p}", f"ours/mid/{p}", under, 1.2) for p, under in top.items()]
    for way in ("marginal", "whole"):
        name = f"from files ({way}) / device-only"
        found += [Row(f"{name}, {p}", f"ours/files/{p}/{way}", under, 0.9) for p, under in top.items()]
        found.append(Row(f"{name}, int8", f"ours/files/int8/{way}", "ours/openvino/int8", 0.85, "cpu"))
        for how, under in (("as installed", "torch/untuned/float32"), ("memory kept", "torch/eager/float32")):
            name = f"from files ({way}) bfloat16 / torch eager float32 device-only, {how}"
            found.append(Row(name, f"ours/files/bfloat16/{way}", under, 3.5))
    return found


def alternate(turns: Mapping[str, Turn], rounds: int, until: float) -> list[Numbers]:
    """What all contenders measured, one dictionary a round; a machine that slows down slows all of them.

    At least one round; after it none is begun that, taking as long as the one before, would end after `until`
    (as time.monotonic tells it).
    """
    measured: list[Numbers] = []
    took = 0.0
    while turns and len(measured) < rounds and (not measured or time.monotonic() + took <= until):
        begun = time.monotonic()
        found: Numbers = {}
        for name in in_order(list(turns), len(measured)):
            found |= turns[name]()
            time.sleep(REST)
        measured.append(found)
        took = time.monotonic() - begun
        told = ", ".join(f"{name} {'–' if value is None else f'{value:.4g}'}" for name, value in found.items())
        say(f"round {len(measured)} of {rounds}, {len(turns)} contenders: {took:.1f} s; {told}")
    return measured


def in_order(names: Sequence[str], number: int) -> list[str]:
    """The order of round `number`: begun one further each time, and backwards every other time."""
    start = number % len(names)
    order = [*names[start:], *names[:start]]
    return order[::-1] if number % 2 else order


def ratio(row: Row, groups: Sequence[Sequence[Numbers]], accelerator: bool) -> dict[str, Any]:
    """The median over rounds of `over` / `under`, from the group of rounds in which both took part."""
    found: dict[str, Any] = {"name": row.name, "over": row.over, "under": row.under, "target": row.target}
    nothing = {"ratio": None, "low": None, "high": None, "rounds": 0, "reached": None}
    if row.device not in ("any", "accelerator" if accelerator else "cpu"):
        return found | nothing | {"why": f"for {'an accelerator' if row.device == 'accelerator' else 'CPUs'} only"}
    both = [rounds for rounds in groups if rounds and {row.over, row.under} <= rounds[0].keys()]
    if not both:
        anywhere = {name for rounds in groups for numbers in rounds for name in numbers}
        missing = [name for name in (row.over, row.under) if name not in anywhere]
        why = f"not measured: {', '.join(missing)}" if missing else "both measured, but never in the same rounds"
        return found | nothing | {"why": why}
    pairs = [(numbers[row.over], numbers[row.under]) for numbers in both[0]]
    if any(a is None or b is None for a, b in pairs):
        return found | nothing | {"why": "too few images to tell work from start-up; give more --images"}
    middle, low, high = spread([a / b for a, b in pairs])
    reached = middle >= row.target
    return found | {"ratio": middle, "low": low, "high": high, "rounds": len(pairs), "reached": reached, "why": None}


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return float(middle), float(low), float(high)


def summary(rounds: Sequence[Numbers], name: str) -> dict[str, float | None]:
    """Median and quartiles of what `name` measured; None where a round could not tell."""
    values = [numbers[name] for numbers in rounds]
    if any(value is None for value in values):
        return {"median": None, "low": None, "high": None}
    return dict(zip(("median", "low", "high"), spread(values), strict=True))
