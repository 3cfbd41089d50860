"""Descriptors of clips → of persons, and from a person's own baseline. Knows nothing of how clips were described.

What a person did is the mean over the clips, each weighted by the seconds that it speaks of, lengths of bouts by how
many there were. Copies of a clip count once.
"""

from collections.abc import Sequence

import polars as pl

from facedep_jax.descriptors.describe_frames import SEEN
from facedep_jax.descriptors.movement import COVERAGE
from facedep_jax.errors import LabelError, SettingsError
from facedep_jax.segments import TIMES, with_times
from facedep_jax.text_escaping import as_name, as_text

MEDIAN = "median"
LEAST_CLIPS = 2  # of a median: of one clip all differences are 0
SHOWN = 10  # values of a column
_BASE = "\0base"  # no column is called so


def seconds_of(name: str) -> str:
    """The column that says how many seconds a descriptor speaks of."""
    return "seconds" if name in COVERAGE else "seconds_seen"


def over_persons(clips: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """A row for each `subject`: how many `clips`, the sums of `SEEN` and the means of the descriptors `names`."""
    sums = [pl.col(name).sum() for name in SEEN]
    found = _once(clips).group_by("subject", maintain_order=True)
    return found.agg(pl.len().alias("clips"), *sums, *map(_mean, names)).with_columns(pl.col(pl.Float64).fill_nan(None))


def _once(clips: pl.DataFrame) -> pl.DataFrame:
    """Clips of somebody, copies left out."""
    known = with_times(clips).drop_nulls("subject")
    return known.unique(["subject", "item", *TIMES], keep="first", maintain_order=True)


def _mean(name: str) -> pl.Expr:
    weight = pl.col(seconds_of(name))
    if name.endswith("_bout_s"):
        weight = weight * pl.col(f"{name.removesuffix('_s')}s")  # seconds times bouts a minute
    weight = weight.filter(pl.col(name).is_not_null())
    return ((pl.col(name).drop_nulls() * weight).sum() / weight.sum()).alias(name)


def from_baseline(
    clips: pl.DataFrame, names: Sequence[str], baseline: str
) -> tuple[pl.DataFrame, pl.DataFrame, tuple[str, ...]]:
    """Clips and persons as differences from the person's own baseline, which the column `baseline` names; and what to
    say of those without one, whose descriptors are null.

    `baseline` is "median", that over the person's clips, or COLUMN=VALUE, that over the clips of which their listings
    say so; a person's row is then of the other clips. Raises LabelError where nobody is known, SettingsError for a
    column or value that no clip has.
    """
    if clips["subject"].null_count() == len(clips):
        raise LabelError(
            "--baseline compares clips of one person, and no clip of this cache names a subject; name them with "
            "--subjects when extracting"
        )
    chosen, least = (pl.lit(True), LEAST_CLIPS) if baseline == MEDIAN else (_chosen(clips, baseline), 1)
    others = clips if baseline == MEDIAN else clips.filter(~chosen)
    medians = (pl.when(pl.col(name).count() >= least).then(pl.col(name).median()).alias(name) for name in names)
    noun = pl.when(pl.len() == 1).then(pl.lit("clip")).otherwise(pl.lit("clips"))
    counted = pl.format("{} ({} {})", pl.lit(baseline), pl.len(), noun).alias("baseline")
    base = _once(clips).filter(chosen).group_by("subject").agg(*medians, counted, pl.len())
    base = base.filter(pl.col("len") >= least).drop("len")
    return _minus(clips, base, names), _minus(over_persons(others, names), base, names), _without(clips, base, baseline)


def _without(clips: pl.DataFrame, base: pl.DataFrame, baseline: str) -> tuple[str, ...]:
    """A sentence on clips that have no baseline."""
    without = clips.join(base, on="subject", how="anti")
    if without.is_empty():
        return ()
    nobody = without["subject"].null_count()
    lacking = "one clip only" if baseline == MEDIAN else f"no clip with {baseline}"
    said = f"{nobody:,} name nobody, and persons of {len(without) - nobody:,} have {lacking}"
    return (f"{len(without):,} clips have no baseline and no values: {said}",)


def _chosen(clips: pl.DataFrame, baseline: str) -> pl.Expr:
    column, equals, value = baseline.partition("=")
    if not equals:
        raise SettingsError(
            f"--baseline {baseline}: expected {MEDIAN}, or COLUMN=VALUE of the listings, such as visit=1 or path=a.mp4"
        )
    there = [name for name in clips.columns if clips.schema[name] == pl.String]
    if column not in there:
        raise SettingsError(f"--baseline {baseline}: no clip's listing has a column {column}; there are {_some(there)}")
    chosen = (pl.col(column) == as_text(value)).fill_null(False)
    if not clips.select(chosen.any()).item():
        values = clips[column].drop_nulls().unique(maintain_order=True).to_list()
        raise SettingsError(f"--baseline {baseline}: no clip has {value!r} as its {column}; there are {_some(values)}")
    return chosen


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{', '.join(map(as_name, names[:SHOWN])) or 'none'}{more}"


def _minus(rows: pl.DataFrame, base: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    joined = rows.join(base, on="subject", how="left", suffix=_BASE, maintain_order="left")
    differences = joined.with_columns(pl.col(name) - pl.col(f"{name}{_BASE}") for name in names)
    return differences.drop(f"{name}{_BASE}" for name in names)
