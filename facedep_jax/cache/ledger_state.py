"""What the ledgers of a cache say now: of several lines for one thing the last. Knows nothing of shards."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from facedep_jax.cache.checksummed_jsonl import BadLine
from facedep_jax.cache.ledger_columns import latest, read_columns
from facedep_jax.segments import MEMBER, segments_in
from facedep_jax.text_escaping import as_name

LISTING = ("source", "path", "item", "emotion", "subject", "split")  # columns that every listing has
FAILURE = ("path", "id", "stage", "reason")
OF_ITEM = ("decoding", "clip_light")  # members that are of the item, whoever lists it
KEY = ("source", "path")  # of which the last line is in force
_HELD = "\nheld"  # how the columns of what is held are called beside those of what is new
# What `decoding` says of a whole file that is read as it asks to be: `media.ClipInfo.account`, and a picture's.
_ORDINARY = "(mirrored|(mirrored and )?turned by [0-9]+°|colours taken as BT.709 for its size)"
NOT_GONE = ("", "false", "0")  # what `gone` may say of a file that is there


def read_listings(folder: Path, only: Collection[str] | None = None) -> tuple[pl.DataFrame, list[BadLine]]:
    """All lines of the listings that can be used, `LISTING` and `gone` (whether the file is) before others; bad lines.

    With `only` there are no others than these and `gone`.
    """
    lines, bad = read_columns(folder, "listings.jsonl", None if only is None else (*only, "gone"))
    first = [name for name in LISTING if only is None or name in only]
    lines = with_columns(lines, [*first, "gone"])
    gone = pl.col("gone").is_not_null() & ~pl.col("gone").is_in(NOT_GONE)
    return lines.with_columns(gone.fill_null(False)), bad


def listings_in_force(lines: pl.DataFrame) -> pl.DataFrame:
    """The last line for each source and path, without those that say that the file is gone."""
    held = latest(lines, KEY)
    held = (held.filter(~pl.col("gone")) if held["gone"].any() else held).drop("gone")
    said = [name for name in held.columns if name in LISTING or held[name].null_count() < held.height]
    return held.select(said)


def latest_failures(folder: Path) -> pl.DataFrame:
    """The last line of `failures.jsonl` for each path, `FAILURE` its columns: it wins. Bad lines are left out."""
    return latest(with_columns(read_columns(folder, "failures.jsonl", FAILURE)[0], FAILURE), ["path"])


def odd_decoding(listings: pl.DataFrame) -> pl.Series:
    """Whether `decoding` says of each listing that something was odd, mended or left out: a turn is not."""
    if "decoding" not in listings.columns:
        return pl.repeat(False, len(listings), eager=True)
    said = listings["decoding"].fill_null("")
    return (said != "") & ~said.str.contains(f"^{_ORDINARY}(; {_ORDINARY})*$")


def with_columns(lines: pl.DataFrame, names: Collection[str]) -> pl.DataFrame:
    """The same with these text columns first, null where they were not there."""
    added = [pl.lit(None, pl.String).alias(name) for name in names if name not in lines.columns]
    if not lines.width:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    return lines.with_columns(added).select(*names, *(name for name in lines.columns if name not in names))


def compared(new: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """Of each of `new` listings, whether its path is among those `held` (`known`), and whether it is not there as the
    same (`differs`): null and not said are the same. Each path is there once in both.
    """
    told = [name for name in dict.fromkeys((*new.columns, *held.columns)) if name not in KEY]
    was_there = pl.lit(True).alias(_HELD)  # "" + _HELD: no member has a name with a line's end
    old = with_columns(held, told).select(*KEY, *(pl.col(name).alias(name + _HELD) for name in told), was_there)
    beside = with_columns(new, told).join(old, on=KEY, how="left", maintain_order="left")
    differ = [pl.col(name).ne_missing(pl.col(name + _HELD)) for name in told]
    known = pl.col(_HELD).fill_null(False)
    return beside.select(known.alias("known"), differs=pl.any_horizontal(~known, *differ))


def entries_of(lines: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """What lines of listings say, as it is written: `lines` are text, `gone` too where it is said."""
    order = ("item", *(name for name in lines.columns if name != "item"))
    for row in lines.select(order).iter_rows(named=True):
        gone = row.get("gone") is not None and row["gone"] not in NOT_GONE
        if gone:
            yield {"source": as_name(row["source"]), "path": as_name(row["path"]), "item": row["item"], "gone": True}
            continue
        said = {name: text and as_name(text) for name, text in row.items() if name in LISTING or text is not None}
        entry = {as_name(name): text for name, text in said.items()}
        segments = segments_in(entry.get(MEMBER))
        yield entry if segments is None else entry | {MEMBER: segments}
