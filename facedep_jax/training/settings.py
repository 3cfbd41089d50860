"""Settings of training. They know nothing of the data that they will meet."""

from dataclasses import dataclass
from typing import NamedTuple

from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.evaluate import Wanted
from facedep_jax.head import POOLING, SIZES, TEMPORAL
from facedep_jax.sources.class_labels import DEFAULT_POSITIVE
from facedep_jax.sources.label_vocabulary import meant_by
from facedep_jax.toml_settings import wrong_seed


@dataclass(frozen=True)
class TrainSettings:
    """What decides a run. `seeds` heads are trained side by side and their mean logit is the run's head."""

    positive: tuple[str, ...] = DEFAULT_POSITIVE
    target: str = "auto"  # "emotion", one class per emotion, the proxy being a sum, or "proxy"; auto: by the labels
    aliases: tuple[str, ...] | None = None  # further words of emotions, as word=emotion
    labels: str | None = None  # table that overrides emotions, subjects and splits of the listings
    taps: str | None = None  # a subset of the cache's taps; all by default
    preset: str = "base"
    temporal: str = "none"  # what mixes the frames of a clip: nothing, a transformer or a GRU
    window: float = 0.0  # seconds that clips are cut into; 0: into as few windows as hold all their frames
    pooling: str = "mean"  # what the windows of a clip make of it: their mean, or one weighed by attention
    train_fps: float = 0.0  # frames a second of clips that are looked at; 0: all
    seed: int = 0
    seeds: int = 4
    folds: int = 0  # also cross-validate over so many folds of train+val
    allow_duplicates: bool = False
    epochs: int | None = None  # these three, where they are not said, by how much there is to learn from: `steps_for`
    patience: int | None = None  # 0: the last epoch is taken, whatever validation says
    batch_size: int | None = None
    learning_rate: float = 1.2e-3
    warmup: float = 0.1  # part of all steps
    weight_decay: float = 1.0
    dropout: float = 0.5
    feature_dropout: float = 0.15  # of whole cells of a tap
    label_smoothing: float = 0.0
    clip_norm: float = 1.0
    balanced: bool = True  # positives and the others weigh the same in the loss
    beside_weight: float = 0.1  # of what is learned from beside the caches' own items, all together; theirs weigh 1
    class_weight: float = 0.25  # a row of a class of n weighs n to minus this in its side; 1: classes weigh alike
    stream: bool | None = None  # read features block by block; decided by memory where it is not said
    baselines: str = "quick"  # majority and linear probes; "full" adds trained ones
    resamples: int = 2000

    def __post_init__(self) -> None:
        wrong = [
            f"{name} = {getattr(self, name)!r}, expected {' or '.join(allowed)}"
            for name, allowed in _CHOICES.items()
            if getattr(self, name) not in allowed
        ]
        wrong += [
            f"{name} = {getattr(self, name)}, expected at least {low}"
            for name, low in _LEAST.items()
            if getattr(self, name) is not None and not getattr(self, name) >= low
        ]
        wrong += [
            f"{name} = {getattr(self, name)}, expected 0 to below 1"
            for name in _PARTS
            if not 0 <= getattr(self, name) < 1
        ]
        if not 0 < self.beside_weight <= MOST_BESIDE:
            wrong.append(f"beside_weight = {self.beside_weight}, expected above 0 and at most {MOST_BESIDE:,}")
        wrong += wrong_seed(self.seed)
        object.__setattr__(self, "positive", meant_by(self.positive, self.aliases or ()))
        if self.folds == 1:
            wrong.append("folds = 1, expected 0 or at least 2")
        if wrong:
            raise SettingsError("settings of training: " + "; ".join(wrong))

    @property
    def wanted(self) -> Wanted:
        """How a head is evaluated."""
        return Wanted(self.positive, resamples=self.resamples, seed=self.seed, aliases=self.aliases or ())


class Steps(NamedTuple):
    """How long training lasts, and what it learns from in one step."""

    epochs: int
    patience: int
    batch_size: int


EPOCHS, PATIENCE, BATCH_SIZE = 16, 10, 128  # of `MANY` rows and more
LEAST_STEPS = 300  # of training, which smaller sets reach by smaller batches and more epochs
MOST_BESIDE = 1000  # times the weight of the own items
STEPS_AN_EPOCH = 10
LEAST_BATCH = 8
MANY = -(-LEAST_STEPS // EPOCHS) * BATCH_SIZE  # rows from which on nothing hangs on how many there are


def steps_for(settings: TrainSettings, rows: int) -> Steps:
    """What `settings` say or leave open, for so many rows to learn from.

    The steps are what learning takes, so few rows are shown more often. What is not said of patience is `PATIENCE`, or
    a third of the epochs where these were made more.
    """
    small = max(LEAST_BATCH, rows // STEPS_AN_EPOCH // LEAST_BATCH * LEAST_BATCH)
    batch = settings.batch_size or min(BATCH_SIZE, small)
    epochs = settings.epochs or max(EPOCHS, -(-LEAST_STEPS // max(1, -(-rows // batch))))
    patience = PATIENCE if settings.epochs else max(PATIENCE, epochs // 3)
    return Steps(epochs, patience if settings.patience is None else settings.patience, batch)


_CHOICES = {
    "target": ("auto", "proxy", "emotion"),
    "preset": tuple(SIZES),
    "temporal": TEMPORAL,
    "pooling": POOLING,
    "baselines": ("none", "quick", "full"),
}
_PARTS = ("warmup", "dropout", "feature_dropout", "label_smoothing")
_LEAST = {
    "seeds": 1,
    "folds": 0,
    "epochs": 1,
    "patience": 0,
    "batch_size": 1,
    "window": 0.0,
    "train_fps": 0.0,
    "learning_rate": 0.0,
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "class_weight": 0.0,
    "resamples": 1,
}
