"""Ours by batch size and by number of images, as numbers and as a picture. Knows nothing of peers."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.contenders import DEVICE_ONLY, SecondsFor, precision_of
from benchmark.peers import Setup
from benchmark.rounds import alternate, batches_timed, say, summary
from benchmark.streams import Run
from facedep_jax.file_system import writing
from facedep_jax.report.run_plots import INK, MAIN, OTHER, QUIET, THIRD, figure

BATCH_SIZES = (1, 4, 8, 16, 32, 64)
TIMES = (0.25, 0.5, 1, 2, 4)  # of --images
ROUNDS = 3
COLOURS = (MAIN, OTHER, THIRD, QUIET)


def most_images(images: int) -> int:
    """How many pictures a sweep over `images` needs."""
    return int(images * max(TIMES))


def sweep(
    setup: Setup, runs: Mapping[str, Run], programs: Mapping[str, SecondsFor], images: int, file: Path
) -> dict[str, Any]:
    """Measure those of ours that take part and draw `file`; returns the numbers.

    {"batch_size": {name: {size: rate}}, "images": {name: {count: seconds}}}.
    """
    names = [name for name in runs if name.startswith(("ours/openvino/", "ours/xla/"))]
    whole = {name: program for name, program in programs.items() if name.startswith("ours/")}
    found = {
        "batch_size": by_batch_size(setup, names),
        "images": {name: by_images(name, program, images) for name, program in whole.items()},
    }
    with writing(file):
        draw(found).savefig(file)
    return found


def by_batch_size(setup: Setup, names: list[str]) -> dict[str, dict[int, float]]:
    """Median rate at each batch size; everything takes turns, as many batches of a size as make 64 images."""
    turns = {}
    for size in BATCH_SIZES:
        own = dataclasses.replace(setup, batch_size=size)
        for name in names:
            run = DEVICE_ONLY[name](own, precision_of(name))
            run()
            batches = max(BATCH_SIZES) // size
            turns[f"{name} {size}"] = functools.partial(batches_timed, f"{name} {size}", run, batches, size)
            say(f"{name}, batches of {size}: ready")
    rounds = alternate(turns, ROUNDS, math.inf)
    return {name: {size: summary(rounds, f"{name} {size}")["median"] for size in BATCH_SIZES} for name in names}


def by_images(name: str, program: SecondsFor, images: int) -> dict[int, float]:
    """Seconds of the whole program for each number of images."""
    seconds = {}
    for count in (int(images * times) for times in TIMES):
        seconds[count] = program(count)
        say(f"{name}: {count} images in {seconds[count]:.1f} s")
    return seconds


def draw(found: Mapping[str, Mapping[str, Mapping[int, float]]]) -> Any:
    """Throughput by batch size on the left; on the right seconds by images, with the straight line through them."""
    drawn, (left, right) = figure(11, 4.2, 2)
    for (name, rates), colour in zip(found["batch_size"].items(), COLOURS, strict=False):
        label = name.removeprefix("ours/").replace("/", ", ")
        left.plot(list(rates), list(rates.values()), "o-", color=colour, label=label)
    left.set_xscale("log", base=2)
    left.set_xticks(BATCH_SIZES, map(str, BATCH_SIZES))
    left.set_ylim(bottom=0)
    for (name, seconds), colour in zip(found["images"].items(), COLOURS, strict=False):
        counts, values = np.array(list(seconds)), np.array(list(seconds.values()))
        slope, start = np.polyfit(counts, values, 1)
        label = f"{name.rpartition('/')[2]}: {start:.1f} s + {1000 * slope:.1f} ms an image"
        right.plot(counts, values, "o", color=colour)
        right.plot(counts, start + slope * counts, "-", color=colour, label=label)
    right.set_xlim(left=0)
    right.set_ylim(bottom=0)
    for axis, title, x, y in (
        (left, "Throughput, device-only, both networks to the top", "images a batch", "images a second"),
        (right, "From JPEG files to the cache, whole command", "images", "seconds"),
    ):
        axis.set_title(title, loc="left", fontsize=11, color=INK)
        axis.set_xlabel(x, color=INK)
        axis.set_ylabel(y, color=INK)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, fontsize=8.5, labelcolor=INK)
    return drawn
