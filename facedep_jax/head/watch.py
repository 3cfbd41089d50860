"""What is said of training while it runs. It changes nothing."""

from dataclasses import dataclass

from facedep_jax.events import Progress, Report
from facedep_jax.training.fit import History


@dataclass
class Watch:
    """Reports the epochs of one call of `fit`: a part, beginning after `before`, of the `total` of its stage."""

    report: Report
    stage: str
    epochs: int
    before: int = 0
    total: int = 0  # 0: of this call alone
    done: int = 0

    def __call__(self, done: int, history: History) -> None:
        self.done = done
        detail = f"validation AUC {history['val_auroc'][-1].mean():.3f}" if done else ""
        self._say(self.before + done, self.total or self.epochs, detail)

    def close(self) -> None:
        """Where no member has improved for long, training ends before its last epoch; the bar ends all the same."""
        if self.done < self.epochs:
            self._say(*((self.before + self.epochs, self.total) if self.total else (self.done, self.done)), "")

    def _say(self, done: int, total: int, detail: str) -> None:
        self.report(Progress(self.stage, done, total, "epochs", detail=detail))
