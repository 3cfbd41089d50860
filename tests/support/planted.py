"""Small labelled sets with a pattern in them, as arrays and as real caches."""

from types import SimpleNamespace

import numpy as np
import polars as pl

from facedep_jax.cache import CacheWriter
from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.training.settings import TrainSettings

TAPS = {"mobilenet_v2:mid@2": (2, 2, 12), "resnet50:top@1": (1, 1, 8)}
NO_BOX = (np.nan,) * 4
UNLIKE = 0x9E3779B97F4A7C15  # multiples are no near duplicates, whose features would be compared
# On all planted examples this is one program, compiled once: of its numbers, rates alone can be others without another.
QUICK = TrainSettings(
    target="proxy", preset="tiny", epochs=20, patience=20, batch_size=32, learning_rate=1e-3, seeds=2, resamples=60
)


def spec(family="keras", **features):
    weights = {name: {"sha256": f"{i}" * 64, "family": family} for i, name in enumerate(("mobilenet_v2", "resnet50"))}
    return {
        "features": {
            "weights": weights,
            "taps": list(TAPS),
            "channels": {t: s[-1] for t, s in TAPS.items()},
            "size": {"mobilenet_v2": 64, "resnet50": 64},
            "color": "rgb",
            "precision": "float32",
            "interpolation": "area",
        }
        | features,
        "input": {"image": {"faces": "none"}},
    }


def pattern(rng, positive):
    """Tokens of one frame. Positive frames have a higher first channel in one cell of the first tap."""
    tokens = {tap: rng.normal(size=shape) for tap, shape in TAPS.items()}
    tokens["mobilenet_v2:mid@2"][0, 1, :3] += 2.0 if positive else -2.0
    return {tap: x.astype(np.float16) for tap, x in tokens.items()}


def planted_examples(n=240, seed=0, shuffled=False, frames=1):
    """Half train, a quarter val, a quarter test; two pictures a person; every second item positive."""
    rng = np.random.default_rng(seed)
    target = (np.arange(n) % 2).astype(np.int32)
    seen = rng.permutation(target) if shuffled else target
    clips = [[pattern(rng, y) for _ in range(frames)] for y in seen]
    tokens = {tap: np.stack([np.stack([frame[tap] for frame in clip]) for clip in clips]) for tap in TAPS}
    column = lambda values: np.array(list(values), object)  # noqa: E731
    split = np.array(["train", "train", "val", "test"], object)[np.arange(n) // 2 % 4]
    return Examples(
        tokens,
        np.tile(np.arange(frames, dtype=np.float32) / 4, (n, 1)),
        np.ones((n, frames), bool),
        target,
        column(f"{i:064x}" for i in range(n)),
        column(f"{i}.jpg" for i in range(n)),
        column(f"p{i // 2}" for i in range(n)),
        split,
        column("happy" if i % 2 == 0 else ("sad", "neutral")[i // 8 % 2] for i in range(n)),
    )


def labelled(items, split="train", paths=None, **columns):
    """Rows of labelled items, all sad unless told otherwise, nobody named."""
    paths = [f"{item}.jpg" for item in items] if paths is None else paths
    rows = pl.DataFrame({"item": pl.Series(items, dtype=pl.String), "path": pl.Series(paths, dtype=pl.String)})
    said = {"emotion": "sad", "subject": None, "split": split} | columns
    whole = {name: [v] * len(rows) if isinstance(v, str | None) else v for name, v in said.items()}
    return rows.with_columns(pl.Series(name, values, pl.String) for name, values in whole.items())


def write_cache(folder, examples, family="keras", splits=True, engine="xla", source="/s", **features):
    """A cache on disk that holds the examples, each of one frame."""
    engine = SimpleNamespace(name=engine, version="1", device="cpu")
    with CacheWriter(folder, spec(family, **features), engine) as writer:
        for i in range(len(examples)):
            writer.begin_item(examples.item[i], "image")
            writer.add_row(0.0, 0, NO_BOX, np.nan, {tap: examples.tokens[tap][i, 0] for tap in TAPS})
            writer.end_item(64, 64, 0.0, (i + 1) * UNLIKE % 2**64)
            writer.add_listing(
                {
                    "item": examples.item[i],
                    "source": source,
                    "path": examples.path[i],
                    "emotion": examples.emotion[i],
                    "subject": examples.subject[i],
                    "split": examples.split[i] if splits else None,
                }
            )
    return folder
