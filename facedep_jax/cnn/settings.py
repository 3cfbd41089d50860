"""Settings of the tutorial's network. They know nothing of the pictures that they will meet."""

from dataclasses import dataclass

from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.evaluate import Wanted
from facedep_jax.sources.class_labels import DEFAULT_POSITIVE
from facedep_jax.sources.label_vocabulary import meant_by
from facedep_jax.toml_settings import wrong_seed


@dataclass(frozen=True)
class CnnSettings:
    """What decides a run of `train-cnn`; the defaults are the tutorial's, but for the split."""

    positive: tuple[str, ...] = DEFAULT_POSITIVE
    aliases: tuple[str, ...] | None = None  # further words of emotions, as word=emotion
    split: str = "given"  # or "tutorial": a random 80/20 of everything, whoever and whatever it shows
    seed: int = 0
    epochs: int = 10
    batch_size: int = 32
    learning_rate: float = 1e-3
    limit: int | None = None  # listings, spread over splits and emotions
    allow_duplicates: bool = False
    resamples: int = 2000

    def __post_init__(self) -> None:
        wrong = [
            f"{name} = {getattr(self, name)}, expected at least {low}"
            for name, low in (("epochs", 1), ("batch_size", 1), ("limit", 1), ("resamples", 1))
            if getattr(self, name) is not None and getattr(self, name) < low
        ]
        if self.split not in ("given", "tutorial"):
            wrong.append(f"split = {self.split!r}, expected given or tutorial")
        if not 0 < self.learning_rate < float("inf"):
            wrong.append(f"learning_rate = {self.learning_rate}, expected a number above 0")
        wrong += wrong_seed(self.seed)
        object.__setattr__(self, "positive", meant_by(self.positive, self.aliases or ()))
        if wrong:
            raise SettingsError("settings of the network on pixels: " + "; ".join(wrong))

    @property
    def wanted(self) -> Wanted:
        """As heads are evaluated, so that figures are made alike."""
        return Wanted(self.positive, resamples=self.resamples, seed=self.seed, aliases=self.aliases or ())
