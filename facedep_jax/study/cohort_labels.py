"""Words of a table, or scores and bounds, → two classes, true for who is looked for, and ordered bands.

Knows no columns but these.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from facedep_jax.errors import SettingsError, TableError
from facedep_jax.segments import some
from facedep_jax.study.cohort_columns import plain_heading
from facedep_jax.study.settings import StudySettings
from facedep_jax.text_escaping import printable

POSITIVE = ("1", "depressed", "depression", "mdd", "patient", "case", "yes", "true", "positive")
NEGATIVE = ("0", "control", "healthy", "hc", "normal", "no", "false", "negative", "nondepressed", "notdepressed")


def two_classes(rows: pl.DataFrame, settings: StudySettings, where: str) -> tuple[pl.Series, tuple[str, ...]]:
    """Of each row (`label` as text, `score`) whether it is positive, null where that is not known, and what to say.

    By `settings.cutoff` where there is one. Raises SettingsError for options that part nobody from nobody, TableError
    for words of unknown meaning and for one class.
    """
    if settings.cutoff is not None:
        spoken = rows.with_columns(label=pl.lit(None, pl.String)) if settings.order else rows
        return _by_cutoff(spoken, settings.cutoff, settings.positive, where)
    words = [] if settings.order else rows["label"].drop_nulls().unique(maintain_order=True).to_list()
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


def class_names(rows: pl.DataFrame, settings: StudySettings) -> tuple[str, str]:
    """What people read of the two classes, the one that is looked for last: the words of the table, or its cut-off."""
    if settings.cutoff is not None:
        return f"score below {settings.cutoff:g}", f"score from {settings.cutoff:g} on"
    words = rows["label"].drop_nulls().unique(maintain_order=True).to_list()
    sides = _sides(words, settings.positive)
    named = [[f"label {w}" if w.isdecimal() else w for w in words if sides[w] is side] for side in (False, True)]
    negative, positive = (printable(some(own)) for own in named)
    return negative, positive


def ordered_bands(rows: pl.DataFrame, settings: StudySettings, where: str) -> tuple[pl.Series, tuple[str, ...]]:
    """Of each row its number in `settings.order`, by its label, or else the band of its score; null where that is not
    known or not asked for, and what to say. Raises TableError for labels that the order does not name.
    """
    if not settings.order:
        known = bands_of(rows["score"].fill_null(np.nan).to_numpy(), settings.bands)
        asked = rows["score"].is_not_null() & bool(settings.bands)
        return rows.select(pl.when(asked).then(pl.Series(known)).alias("band")).to_series(), ()
    number = {plain_heading(name): place for place, name in enumerate(settings.order)}
    words = rows["label"].drop_nulls().unique(maintain_order=True).to_list()
    if unknown := [word for word in words if plain_heading(word).removesuffix(".0") not in number]:
        raise TableError(
            f"{where}: {some(list(map(repr, unknown)))} of its labels are not in --order "
            f"{','.join(settings.order)}; name every label from the least to the most"
        )
    if len(words) < 2:
        raise TableError(f"{where}: --order is of labels, and it says {some(list(map(repr, words))) or 'none'}")
    places = {word: number[plain_heading(word).removesuffix(".0")] for word in words}
    band = rows["label"].replace_strict(places, default=None, return_dtype=pl.Int64)
    unused = [name for place, name in enumerate(settings.order) if place not in places.values()]
    said = (f"nobody is {', '.join(unused)}, which --order names",) if unused else ()
    return band, ("labels are ordered classes, and two classes are made by --cutoff alone", *said)


def band_names(settings: StudySettings) -> tuple[str, ...]:
    """What bands are called: as the order does, or by the score that each begins with."""
    if settings.order:
        return settings.order
    ends = [f"{bound:g}" for bound in settings.bands]
    return (f"below {ends[0]}", *ends) if ends else ()


def bands_of(scores: Float[np.ndarray, " n"], bounds: Sequence[float]) -> Int[np.ndarray, " n"]:
    """The band of each score, 0 below the first of `bounds`."""
    return np.searchsorted(np.asarray(bounds), scores, side="right")


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
