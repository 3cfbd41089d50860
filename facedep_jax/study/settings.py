"""Settings of a study. They know no table."""

from dataclasses import dataclass, field

from facedep_jax.study.protocols import AUTO, LEAVE_ONE_OUT, OFFICIAL, REPEATED
from facedep_jax.toml_settings import check_rules, wrong_seed

NONE, VECTORS, FEATURES, WARM = "none", "vectors", "features", "warm"
ATTENTION = (AUTO, NONE, VECTORS, FEATURES, WARM)


@dataclass(frozen=True)
class StudySettings:
    """What is asked of persons, and how. `columns` names headings by role; `bands` are lower ends of severity bands."""

    columns: tuple[str, ...] = ()  # ROLE=HEADING
    positive: str | None = None  # the label that is looked for, where it cannot be known from the word
    cutoff: float | None = None  # scores from here on are positive
    bands: tuple[float, ...] = ()
    groups: tuple[str, ...] = ()  # further columns that figures are compared by
    protocol: str = AUTO
    folds: int = 5
    repeats: int = 10
    permutations: int = 499
    attention: str = AUTO  # what the attention head is shown, of `ATTENTION`
    window: float = 5.0  # seconds of what it weighs as one
    seed: int = 0
    train: tuple[str, ...] = field(default_factory=tuple)  # caches whose persons are learned from
    test: tuple[str, ...] = field(default_factory=tuple)  # caches whose persons are judged

    def __post_init__(self) -> None:
        known = (AUTO, LEAVE_ONE_OUT, REPEATED, OFFICIAL)
        check_rules(
            (self.protocol in known, f"--protocol is {self.protocol!r}, expected {', '.join(known)}"),
            (self.attention in ATTENTION, f"--attention is {self.attention!r}, expected {', '.join(ATTENTION)}"),
            (self.window > 0, f"--window is {self.window}, expected more than 0 seconds"),
            (self.folds >= 2, f"--folds is {self.folds}, expected at least 2"),
            (1 <= self.repeats <= 1000, f"--repeats is {self.repeats}, expected 1 to 1000"),
            (
                self.permutations == 0 or 19 <= self.permutations <= 100_000,
                f"--permutations is {self.permutations}, expected 19 to 100000, or 0 for no test",
            ),
            (
                all(a < b for a, b in zip(self.bands, self.bands[1:], strict=False)),
                f"--bands are {', '.join(map(str, self.bands))}, expected rising lower ends such as 5,10,15,20",
            ),
            (
                bool(self.train) == bool(self.test),
                "--train and --test name caches of two corpora; give both or neither",
            ),
            *((False, said) for said in wrong_seed(self.seed)),
        )
