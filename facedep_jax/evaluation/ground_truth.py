"""What the items of a cache are to a run that is measured on it. It knows nothing of features or scores.

Splits are those of the run: an item that it learned from stays one that it learned from. Emotions and subjects are what
is known today, so that a corrected label counts without training again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from facedep_jax.cache import Cache
from facedep_jax.errors import RunError
from facedep_jax.runs.csv_and_json import LEARNED_BESIDE, ORIGIN, read_written
from facedep_jax.runs.run_record import read_config
from facedep_jax.segments import TIMES, UNIT, with_times, with_units
from facedep_jax.sources.class_labels import LABELLED, collect_labels, normal
from facedep_jax.sources.label_tables import apply_label_table
from facedep_jax.sources.label_vocabulary import parse_aliases
from facedep_jax.sources.listing_types import SPLITS
from facedep_jax.sources.persons import number_persons, subject_keys_of, with_columns_of_listings, with_persons

NEEDED = ("item", "path", "split", "emotion", "label", "probability")  # cells that no row of predictions lacks


@dataclass(frozen=True)
class Truth:
    """Labelled items that a cache lists today, the listings that they come from, and sentences about what was found.

    `labels` has the columns `LABELLED` and `known`: the run was made with the item, and `split` is the run's.
    """

    labels: pl.DataFrame
    listings: pl.DataFrame
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def remembered(run: Path) -> pl.DataFrame:
    """The run's items: `LABELLED`, `positive`, `probability`. Raises RunError when its predictions are gone or damaged.

    Of a run that does not say where its subjects come from, `source` and `subject_source` are null.
    """
    try:
        rows = read_written(run / "predictions.csv")
        if absent := [name for name in NEEDED if name not in rows.columns]:
            raise ValueError(f"it has no column {', '.join(absent)}")
        rows = rows.with_columns(pl.lit(None, pl.String).alias(name) for name in ORIGIN if name not in rows.columns)
        values = {"positive": pl.col("label") == "1", "probability": pl.col("probability").cast(pl.Float64)}
        rows = with_times(rows).with_columns(pl.col(TIMES).cast(pl.Float64), **values)
        if wrong := _wrong(rows):
            raise ValueError(wrong)
        return rows.with_columns(pl.coalesce("subject_id", "subject").alias("subject_id")).select(*LABELLED, *values)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise RunError(
            f"{run}/predictions.csv cannot be read ({error}); it says which items were learned from"
        ) from error


def learned_from(run: Path, memory: pl.DataFrame) -> pl.DataFrame:
    """What `remembered` gives, and with it the items that the run only learned from. Raises RunError likewise."""
    file = run / LEARNED_BESIDE
    if not read_config(run).tables["cache"].get("beside_paths"):
        return memory
    try:
        further = with_times(read_written(file)).with_columns(pl.col(TIMES).cast(pl.Float64)).select(LABELLED)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise RunError(f"{file} cannot be read ({error}); it says which items were learned from") from error
    return pl.concat([memory, further], how="diagonal")


def _wrong(rows: pl.DataFrame) -> str:
    """What the rows of predictions say that cannot be meant."""
    if rows.is_empty():
        return "it has no rows"
    start, end = (pl.col(name) for name in TIMES)
    rules = {
        "a row is cut short": pl.all_horizontal(pl.col(NEEDED).is_not_null()),
        "a split is none": pl.col("split").is_in(SPLITS),
        "a label is neither 0 nor 1": pl.col("label").is_in(["0", "1"]),
        "a probability is not from 0 to 1": pl.col("probability").is_between(0, 1),
        "a segment does not end after it begins": (start.is_null() & end.is_null())
        | (start.is_between(0, end) & end.is_finite()),
    }
    held = rows.select(rule.fill_null(False).all().alias(said) for said, rule in rules.items())
    return "; ".join(said for said, kept in held.row(0, named=True).items() if not kept)


def present_truth(
    cache: Cache,
    known: pl.DataFrame,
    own_table: str | None,
    table: Path | None,
    whole: bool = False,
    aliases: Sequence[str] = (),
) -> Truth:
    """The items of `cache` that the run knows, with today's emotions and subjects, then the others as listed.

    Today's are those of the listings, where a CSV `table` says so those of the table. A run that was itself made with a
    table of labels (`own_table`) knew better than the listings: for its items only `table` counts. What is not listed
    any more is left out; `whole`: all that the run knows was in this cache. `aliases` are further words of emotions.
    """
    held = pl.Series("item", cache.items.id, dtype=pl.String).to_frame()
    listings = with_columns_of_listings(cache.listing_rows).join(held, on="item", how="semi", maintain_order="left")
    known = with_units(known)
    was_here = known if whole else known.join(held, on="item", how="semi")
    first = known.unique(UNIT, keep="first", maintain_order=True)
    told: tuple[str, ...] = ()
    if own_table:
        listings = _as_known(with_units(_cut_as_known(listings, first)), first, pl.lit(True), pl.lit(True))
    if table:
        listings, told = apply_label_table(listings, table, further=True)
    listings = with_units(listings)
    gone = was_here.join(listings, on=UNIT, how="anti")[UNIT].n_unique()
    words = parse_aliases(aliases)
    silent = [pl.col(name).is_null().all().over(UNIT) for name in ("emotion", "subject")]
    unsaid = _unsaid(listings.filter(silent[0]), first, "emotion") + _unsaid(
        listings.filter(silent[1]), first, "subject"
    )
    listings, persons = with_persons(_as_known(listings, first, *silent))
    mine = collect_labels(
        listings.join(first, on=UNIT, how="semi", maintain_order="left"), allow_duplicates=True, aliases=words
    )
    strange = collect_labels(
        listings.join(first, on=UNIT, how="anti", maintain_order="left"), allow_duplicates=True, aliases=words
    )
    today = with_units(mine.items).unique(UNIT, keep="first", maintain_order=True)
    kept = known.select(UNIT, "split").join(today.drop("split"), on=UNIT, maintain_order="left").select(LABELLED)
    notes = [*told, *persons, *unsaid, *strange.notes, *_changes(today, first, own_table)]
    if gone:
        notes.append(f"{gone} items of the run are not listed any more and are not judged")
    warnings = [*strange.warnings, *mine.disputed]
    if conflicting := mine.counts["conflicting"]:
        warnings.append(f"{conflicting} items of the run carry conflicting labels by now and are left out")
    labels = pl.concat([kept.with_columns(known=True), strange.items.with_columns(known=False)])
    return Truth(labels, listings, tuple(notes), tuple(warnings))


def _unsaid(listings: pl.DataFrame, first: pl.DataFrame, what: str) -> list[str]:
    """A note on items of the run of which these listings do not say what it knew."""
    items = first.drop_nulls(what).join(listings, on=UNIT, how="semi")
    return [f"{len(items)} items are listed without {what}: the run's counts for them"] if len(items) else []


def _as_known(listings: pl.DataFrame, first: pl.DataFrame, emotion: pl.Expr, subject: pl.Expr) -> pl.DataFrame:
    """Listings with the emotion and the subject that the run took for their items, where these are to be replaced."""
    new = {"emotion": "emotion", "subject": "subject_id", "subject_source": "subject_source"}
    taken = first.select(UNIT, **{f"\0{name}": pl.col(column) for name, column in new.items()})
    found = listings.join(taken, on=UNIT, how="left", maintain_order="left")
    known = pl.col("\0emotion").is_not_null()
    wanted = {"emotion": emotion, "subject": subject, "subject_source": subject}
    changed = {n: pl.when(known & where).then(f"\0{n}").otherwise(n) for n, where in wanted.items()}
    return found.with_columns(**changed).select(listings.columns)


def _cut_as_known(listings: pl.DataFrame, first: pl.DataFrame) -> pl.DataFrame:
    """Listings of whole files that the run knows cut, cut so: its table of labels did that."""
    cut = first.drop_nulls("start").select("item", *TIMES)
    whole = pl.col("start").is_null()
    known = listings.filter(whole).drop(TIMES).join(cut, on="item", maintain_order="left")
    others = listings.filter(whole).join(cut, on="item", how="anti", maintain_order="left")
    return pl.concat([listings.filter(~whole), others, known.select(listings.columns)])


def leaks(used: pl.DataFrame, judged: pl.DataFrame, then: str = ": figures are too good") -> list[str]:
    """Sentences about judged items, and persons of the others, that a run learned from or chose by (`learned_from`, but
    those of its test split), each ending `then`.

    Persons are compared by name and source; where the name alone is the same, it is said.
    """
    used = used.filter(pl.col("split") != "test")
    mine = judged["item"].is_in(used["item"].implode())
    rows = pl.concat(part.select("item", "source", "subject_source", subject="subject_id") for part in (used, judged))
    rows = rows.with_columns(person=number_persons(rows), key=subject_keys_of(rows["subject"]))
    learned, others = rows.head(len(used)), rows.tail(len(judged)).filter(~mine).drop_nulls("key").unique("person")
    persons = others.filter(pl.col("person").is_in(learned["person"].drop_nulls().implode()))
    namesakes = others.join(persons, on="person", how="anti").join(learned, on="key", how="semi")
    of = f"of these {len(others)} subjects were learned from or chosen by"
    said = [f"{mine.sum()} of these items were learned from or chosen by{then}"] if mine.any() else []
    said += [f"{len(persons)} {of}{then}"] if len(persons) else []
    why = "in other sources" if used["source"].count() else "in sources that the run does not name"
    return said + ([f"{len(namesakes)} {of} {why}, going by their names{then}"] if len(namesakes) else [])


def _changes(today: pl.DataFrame, first: pl.DataFrame, own_table: str | None) -> list[str]:
    """What differs from what the run was made with."""
    where = f"{own_table}, which the run was made with" if own_table else "the run"
    both = today.join(first, on=UNIT, maintain_order="left", suffix="_then")
    emotion = pl.Series([normal(name) for name in both["emotion_then"]], dtype=pl.String)
    then = {"emotion": emotion, "subject": subject_keys_of(both["subject_id_then"])}
    now = {"emotion": both["emotion"], "subject": subject_keys_of(both["subject_id"])}
    notes = []
    for what in now:
        changed = both.filter(now[what].ne_missing(then[what]))
        if len(changed):
            path, before, after = changed.select("path", f"{what}_then", what).row(0)
            notes.append(
                f"{len(changed)} items have another {what} than in {where}, for example {path}: {before or 'none'} → "
                f"{after or 'none'}. Today's counts; splits stay those of the run"
            )
    return notes
