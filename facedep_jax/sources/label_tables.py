"""A user's table of labels laid over listings. It knows which rows are meant, and nothing of what they say."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from facedep_jax.errors import LabelError
from facedep_jax.sources.persons import with_columns_of_listings

IN_CACHE = "\0cache"  # the column of listings that says which cache they come from; no source can have it
LABELS = ("emotion", "label", "subject", "split")  # headings of labels
_SAID = ("emotion", "subject", "split")
_KEYS = ("item", "path")
_LINE = "\0line"


def overlaid(listings: pl.DataFrame, table: Path, *, further: bool = False) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Listings with emotion, subject and split as the CSV `table` says, and what it says something of.

    Its columns are `path` or `item`, any of emotion (or label), subject and split, and with `further` any others, which
    come along. An empty cell leaves what is there. Equal subjects of the table are one person in all sources. Where
    sources list different items by one path, a column `source` has to say which is meant. Raises LabelError for other
    headings, and for rows that match no listing, that match several, or that are there twice.
    """
    rows = _read(table, further)
    listings = with_columns_of_listings(listings)
    keys = [next(name for name in _KEYS if name in rows.columns)]
    if "source" in rows.columns and keys == ["path"] and rows["source"].is_in(listings["source"].implode()).any():
        keys.append("source")
    _require_unique(table, keys, rows)
    if "source" not in keys and "source" in rows.columns:
        rows = rows.rename({"source": "source_column"})  # the user's own, as the cache would call it
    _require_matched(table, keys, rows, listings)
    said = [name for name in rows.columns if name not in (*_KEYS, "source", _LINE)]
    matched = listings.join(
        rows.rename({name: f"\0{name}" for name in said}), on=keys, how="left", maintain_order="left", suffix="\0"
    )
    if "source" not in keys:
        _require_one_item(table, keys[0], matched)
    new = {name: pl.col(f"\0{name}") for name in said}
    found = matched.with_columns(
        **{name: pl.coalesce(cell, name) if name in listings.columns else cell for name, cell in new.items()}
    )
    if "subject" in said:
        by = pl.when(new["subject"].is_not_null()).then(pl.lit(str(table.resolve()))).otherwise("subject_source")
        found = found.with_columns(subject_source=by)
    columns = [*listings.columns, *(name for name in said if name not in listings.columns)]
    return found.select(columns), (_counted(table, matched),)


def _read(table: Path, further: bool) -> pl.DataFrame:
    """Its cells as text without blanks around them, null where nothing is said, and the line of each row."""
    try:
        rows = pl.read_csv(table, infer_schema=False, row_index_name=_LINE, row_index_offset=2)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise LabelError(f"{table} cannot be read as a CSV of labels: {error}") from error
    roles = {name: name.strip().lower() for name in rows.columns if name.strip().lower() in (*LABELS, *_KEYS, "source")}
    rows = rows.rename({name: roles.get(name, name.strip()) for name in rows.columns if name != _LINE})
    headings = [name for name in rows.columns if name != _LINE]
    if not set(_KEYS) & set(headings) or not (further or set(LABELS) & set(headings)):
        raise LabelError(
            f"{table} has the columns {', '.join(headings) or '(none)'}; expected path or item, and any of "
            "emotion, subject, split"
        )
    if "label" in headings and "emotion" not in headings:
        rows = rows.rename({"label": "emotion"})
    text = pl.col(pl.String)
    kept = [name for name in rows.columns if further or name in (*_KEYS, "source", *_SAID, _LINE)]
    return rows.select(kept).with_columns(text.str.strip_chars()).with_columns(pl.when(text != "").then(text))


def _require_unique(table: Path, keys: Sequence[str], rows: pl.DataFrame) -> None:
    """Raise LabelError for names that are empty or stand there twice: which row is meant nobody knows."""
    for key in keys:
        empty = rows.filter(pl.col(key).is_null())
        if len(empty):
            raise LabelError(f"{table}: {len(empty)} rows have no {key}, the first in line {empty[_LINE][0]}")
    repeated = rows.group_by(keys, maintain_order=True).agg(_LINE).filter(pl.col(_LINE).list.len() > 1)
    if len(repeated):
        name, (one, other, *_) = repeated[keys[0]][0], repeated[_LINE][0]
        raise LabelError(
            f"{table}: {len(repeated)} values of {' and '.join(keys)} stand in more than one row, for example {name} "
            f"in lines {one} and {other}; keep one row for each"
        )


def _require_matched(table: Path, keys: Sequence[str], rows: pl.DataFrame, listings: pl.DataFrame) -> None:
    lost = rows.join(listings, on=list(keys), how="anti", maintain_order="left")
    if len(lost):
        there = next(iter(listings[keys[0]].drop_nulls().sort()), "nothing")
        raise LabelError(
            f"{table}: {len(lost)} rows match no listing by {' and '.join(keys)}, for example "
            f"{' of '.join(lost.select(keys).row(0))}; the cache lists {there} and others"
        )


def _require_one_item(table: Path, key: str, matched: pl.DataFrame) -> None:
    """Raise LabelError where a path of the table is that of different items in several sources."""
    groups = matched.drop_nulls(_LINE).group_by(key, maintain_order=True)
    several = groups.agg(
        "source", pl.col("item").n_unique().alias("items"), pl.col("source").n_unique().alias("sources")
    )
    several = several.filter((pl.col("items") > 1) & (pl.col("sources") > 1))
    if len(several):
        one, other, *_ = several["source"][0].unique(maintain_order=True)
        raise LabelError(
            f"{table}: {len(several)} of its paths are listed by several sources, for example {several[key][0]} by "
            f"{one} and by {other}; add a column source that says which is meant, or name listings by item"
        )


def _counted(table: Path, matched: pl.DataFrame) -> str:
    """Of how many listings, of which cache, the table says something."""
    if IN_CACHE not in matched.columns:
        return f"{table} says something of {matched[_LINE].count():,} of {len(matched):,} listings"
    counts = matched.group_by(IN_CACHE, maintain_order=True).agg(pl.col(_LINE).count(), pl.len().alias("all"))
    said = ", ".join(
        f"{n or 'none':{',' if n else ''}} of {count:,} of {cache}" for cache, n, count in counts.iter_rows()
    )
    return f"{table} says something of these listings: {said}"
