"""Seconds per image and epoch of the tutorial's network, here, in Keras on JAX and in PyTorch.

    python tools/bench_cnn.py [--images 320] [--rounds 3]

Each contender is a process of its own that trains one epoch when told to, in turn with the others, on pixels that it
holds in memory; what it compiles and its first epoch are not counted. PyTorch keeps channels last. Needs the extra
`bench`. Prints a Markdown table of the fastest epoch of each, by the clock and by the processor.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

BATCH = 32


def make_data(images: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (images, 128, 128), dtype=np.uint8), rng.random(images) > 0.5


def prepare_facedep(pixels: np.ndarray, label: np.ndarray) -> Callable[[], object]:
    import jax

    from facedep_jax.baselines.keras_like_fit import Recipe, train_classifier
    from facedep_jax.cnn.model import TutorialCnn

    inputs, rows = jax.device_put(pixels), np.arange(len(pixels))
    return lambda: train_classifier(TutorialCnn, inputs, label, rows, rows[:BATCH], Recipe(1, BATCH))


def prepare_keras(pixels: np.ndarray, label: np.ndarray) -> Callable[[], object]:
    os.environ["KERAS_BACKEND"] = "jax"
    import keras
    from keras import layers

    parts: list = [keras.Input((128, 128, 1))]
    for filters in (32, 64, 128):
        parts += [layers.Conv2D(filters, 3, activation="relu"), layers.MaxPooling2D()]
    parts += [layers.Flatten(), layers.Dropout(0.5), layers.Dense(128, activation="relu"), layers.Dropout(0.3)]
    model = keras.Sequential([*parts, layers.Dense(1, activation="sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    x, y = pixels[..., None].astype(np.float32) / 255, label.astype(np.float32)
    return lambda: model.fit(x, y, batch_size=BATCH, epochs=1, verbose=0)


def prepare_torch(pixels: np.ndarray, label: np.ndarray) -> Callable[[], object]:
    import torch
    from torch import nn

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    parts: list = []
    for before, filters in ((1, 32), (32, 64), (64, 128)):
        parts += [nn.Conv2d(before, filters, 3), nn.ReLU(), nn.MaxPool2d(2)]
    parts += [nn.Flatten(), nn.Dropout(0.5), nn.Linear(25088, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, 1)]
    model = nn.Sequential(*parts).to(memory_format=torch.channels_last)
    adam, loss_of = torch.optim.Adam(model.parameters(), eps=1e-7), nn.BCEWithLogitsLoss()
    x = torch.from_numpy(pixels[:, None].astype(np.float32) / 255).contiguous(memory_format=torch.channels_last)
    y = torch.from_numpy(label[:, None].astype(np.float32))

    def epoch() -> None:
        for rows in torch.randperm(len(x)).split(BATCH):
            adam.zero_grad()
            loss_of(model(x[rows]), y[rows]).backward()
            adam.step()

    return epoch


CONTENDERS = {"facedep-jax": prepare_facedep, "Keras on JAX": prepare_keras, "PyTorch": prepare_torch}


def serve(name: str, images: int) -> None:
    """One line on standard output for every line on standard input: seconds by the clock and by the processor."""
    epoch = CONTENDERS[name](*make_data(images))
    epoch()
    print("ready", flush=True)
    for _ in sys.stdin:
        clock, processor = time.perf_counter(), time.process_time()
        epoch()
        print(time.perf_counter() - clock, time.process_time() - processor, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.images)
        return
    processes = {}
    for name in CONTENDERS:
        command = [sys.executable, __file__, "--serve", name, "--images", str(options.images)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if process.stdout.readline().strip() != "ready":  # before the next one begins to compile
            sys.exit(f"{name} cannot be measured here; what it said is above")
        processes[name] = process
    seconds: dict[str, list] = {name: [] for name in CONTENDERS}
    for _ in range(options.rounds):
        for name, process in processes.items():
            process.stdin.write("go\n")
            process.stdin.flush()
            seconds[name].append([float(value) for value in process.stdout.readline().split()])
    for process in processes.values():
        process.stdin.close()
        process.wait()
    best = {name: np.min(values, 0) / options.images * 1000 for name, values in seconds.items()}
    print("| | ms per image and epoch | of the processor | times ours |\n| --- | --- | --- | --- |")
    for name, (clock, processor) in best.items():
        ratio = processor / best["facedep-jax"][1]
        times = clock / best["facedep-jax"][0]
        print(f"| {name} | {clock:.1f} | {processor:.1f} | {times:.2f} by the clock, {ratio:.2f} by the processor |")


if __name__ == "__main__":
    main()
