"""Words of a table, or scores and a cut-off, → two classes: true for who is looked for. Knows no columns but these."""

import polars as pl

from facedep_jax.errors import SettingsError, TableError
from facedep_jax.segments import some
from facedep_jax.study.cohort_columns import plain_heading
from facedep_jax.study.settings import StudySettings

POSITIVE = ("1", "depressed", "depression", "mdd", "patient", "case", "yes", "true", "positive")
NEGATIVE = ("0", "control", "healthy", "hc", "normal", "no", "false", "negative", "nondepressed", "notdepressed")


def two_classes(rows: pl.DataFrame, settings: StudySettings, where: str) -> tuple[pl.Series, tuple[str, ...]]:
    """Of each row (`label` as text, `score`) whether it is positive, null where that is not known, and what to say.

    By `settings.cutoff` where there is one. Raises SettingsError for options that part nobody from nobody, TableError
    for words of unknown meaning and for one class.
    """
    if settings.cutoff is not None:
        return _by_cutoff(rows, settings.cutoff, settings.positive, where)
    words = rows["label"].drop_nulls().unique(maintain_order=True).to_list()
    if not words:
        return pl.Series([None] * len(rows), dtype=pl.Boolean), ()
    sides = _sides(words, settings.positive)
    known = some(list(map(repr, words)))
    if settings.positive is not None and True not in sides.values():
        raise SettingsError(
            f"--positive-label {settings.positive}: no label of {where} is called so; there are {known}"
        )
    if None in sides.values():
        unknown = some([repr(word) for word, side in sides.items() if side is None])
        raise TableError(
            f"{where}: of the labels {known} it is not known on which side {unknown} is; say with --positive-label "
            "WORD which is looked for, all others are then the rest"
        )
    if len(set(sides.values())) < 2:
        raise TableError(
            f"{where}: all labels are on one side ({known}), and two are needed; with scores --cutoff makes them, or "
            "--column label= leaves them out"
        )
    return rows["label"].replace_strict(sides, default=None, return_dtype=pl.Boolean), ()


def _by_cutoff(
    rows: pl.DataFrame, cutoff: float, positive: str | None, where: str
) -> tuple[pl.Series, tuple[str, ...]]:
    known = rows["score"].drop_nulls().to_list()
    if not known:
        raise SettingsError(
            f"--cutoff needs scores, and {where} has none; name their column with --column score=HEADING"
        )
    if not min(known) < cutoff <= max(known):
        raise SettingsError(
            f"--cutoff {cutoff:g} leaves one class: the scores of {where} are {min(known):g} to {max(known):g}, and "
            "those from the cut-off on are positive"
        )
    label = rows["score"] >= cutoff
    words = rows["label"].drop_nulls().unique(maintain_order=True).to_list()
    sides = _sides(words, positive)
    if unknown := [word for word, side in sides.items() if side is None]:
        return label, (
            f"labels are made by --cutoff; those of the table ({some(list(map(repr, unknown)))}) do not count",
        )
    both = rows.select(
        "line", cut=label, word=rows["label"].replace_strict(sides, default=None, return_dtype=pl.Boolean)
    )
    said = []
    compared = both.drop_nulls()
    if len(differing := compared.filter(pl.col("cut") != pl.col("word"))):
        lines = some([f"line {line}" for line in differing["line"]])
        said.append(
            f"{len(differing):,} of {len(compared):,} labels are not what --cutoff {cutoff:g} makes of the score "
            f"({lines}); the cut-off counts"
        )
    if lost := len(both.filter(pl.col("cut").is_null() & pl.col("word").is_not_null())):
        said.append(f"{lost:,} rows have a label and no score, and so no label by --cutoff {cutoff:g}")
    return label, tuple(said)


def _sides(words: list[str], positive: str | None) -> dict[str, bool | None]:
    return {word: _side(plain_heading(word).removesuffix(".0"), positive) for word in words}


def _side(word: str, positive: str | None) -> bool | None:
    if positive is not None:
        return word == plain_heading(positive).removesuffix(".0")
    return True if word in POSITIVE else False if word in NEGATIVE else None
