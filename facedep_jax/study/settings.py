"""Settings of a study. They know no table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facedep_jax.errors import SettingsError
from facedep_jax.study.cohort_columns import plain_heading
from facedep_jax.study.protocols import AUTO, LEAVE_ONE_OUT, OFFICIAL, REPEATED
from facedep_jax.toml_settings import check_rules, wrong_seed

NONE, VECTORS, FEATURES, WARM = "none", "vectors", "features", "warm"
ATTENTION = (AUTO, NONE, VECTORS, FEATURES, WARM)


@dataclass(frozen=True)
class StudySettings:
    """What is asked of persons, and how. `columns` names headings by role; `bands` are lower ends of severity bands,
    `order` names labels from the least to the most."""

    columns: tuple[str, ...] = ()  # ROLE=HEADING
    positive: str | None = None  # the label that is looked for, where it cannot be known from the word
    cutoff: float | None = None  # scores from here on are positive
    bands: tuple[float, ...] = ()
    order: tuple[str, ...] = ()
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
                len(self.order) != 1 and len({plain_heading(name) for name in self.order}) == len(self.order),
                f"--order is {','.join(self.order)}, expected two different labels or more, such as none,mild,severe",
            ),
            (
                not self.order or self.positive is None,
                "--order makes ordered classes of labels and --positive-label two of them; give one of both",
            ),
            (
                bool(self.train) == bool(self.test),
                "--train and --test name caches of two corpora; give both or neither",
            ),
            *((False, said) for said in wrong_seed(self.seed)),
        )

    def caches(self, named: Sequence[Path]) -> list[Path]:
        """Those `named`, and those that are learned from or judged, each once.

        Raises SettingsError where there is none, and for one that is named and neither learned from nor judged.
        """
        both = [Path(name) for name in (*self.train, *self.test)]
        judged = {cache.resolve() for cache in both}
        if judged and (extra := [cache for cache in named if cache.resolve() not in judged]):
            raise SettingsError(f"{extra[0]} is neither learned from nor judged; name it with --train or --test")
        if not named and not both:
            raise SettingsError("no cache is named; give CACHE, or --train and --test")
        return [*dict.fromkeys((*named, *both))]
