"""Descriptors as tables: a row a clip, a row a person, and a row a value. Knows nothing of how they came about."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from facedep_jax.descriptors.describe_cache import Described
from facedep_jax.descriptors.describe_frames import SEEN
from facedep_jax.descriptors.persons import seconds_of
from facedep_jax.errors import OutputError, SettingsError
from facedep_jax.file_system import make_folder
from facedep_jax.text_columns import write_csv, write_parquet
from facedep_jax.text_escaping import as_name, printable

KINDS = (".csv", ".parquet")
OF_CLIPS, OF_PERSONS = ("clip", "source", "subject"), ("subject", "clips")
DIGITS = 6  # after the point, in CSV


def places(out: Path, long: bool) -> dict[str, Path]:
    """Where tables of clips, of persons and of values go. Raises SettingsError for another kind of file than `KINDS`,
    OutputError where one of them is there."""
    if out.suffix.lower() not in KINDS:
        raise SettingsError(f"--out {out}: a table is written as .csv or .parquet; name a file that ends so")
    found = {"clips": out, "persons": out.with_name(f"{out.stem}.persons{out.suffix}")}
    found |= {"long": out.with_name(f"{out.stem}.long{out.suffix}")} if long else {}
    there = [str(path) for path in found.values() if path.exists()]
    if there:
        raise OutputError(f"{' and '.join(there)} would be overwritten; choose another --out, or remove what is there")
    return found


def tables_of(described: Described, persons: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables clips, persons and long, names `printable`; what descriptors mean, and whether they are to be doubted,
    stands in every row."""
    clips = described.clips.rename({"path": "clip"})
    said = {"warning": described.warning, "meaning": described.meaning}
    baseline = [name for name in ("baseline",) if name in persons.columns]
    wide = {
        "clips": _printed(clips, OF_CLIPS).select(*OF_CLIPS, *SEEN, *described.names, *baseline),
        "persons": _printed(persons, ("subject",)).select(*OF_PERSONS, *SEEN, *described.names, *baseline),
    }
    long = pl.concat([_long(wide[name], name[:-1], described.names, baseline) for name in wide], how="diagonal")
    order = ("unit", *OF_CLIPS, "descriptor", "value", "seconds", *baseline)
    lasting = {name: pl.lit(text, pl.String) for name, text in said.items()}
    return {name: table.with_columns(**lasting) for name, table in wide.items()} | {
        "long": long.select(order).with_columns(warning=lasting["warning"])
    }


def _printed(rows: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    """Text from outside on one line, with what is no text escaped."""
    return rows.with_columns(pl.col(names).map_elements(lambda text: printable(as_name(text)), pl.String))


def _long(table: pl.DataFrame, unit: str, names: tuple[str, ...], baseline: list[str]) -> pl.DataFrame:
    index = [name for name in (*OF_CLIPS, "seconds", "seconds_seen", *baseline) if name in table.columns]
    rows = table.unpivot(names, index=index, variable_name="descriptor")
    sampled = pl.col("descriptor").is_in([name for name in names if seconds_of(name) == "seconds"])
    return rows.with_columns(unit=pl.lit(unit), seconds=pl.when(sampled).then("seconds").otherwise("seconds_seen"))


def write_tables(tables: Mapping[str, pl.DataFrame], where: Mapping[str, Path]) -> list[str]:
    """Write each table that has a place and a row; returns where. Raises OutputError."""
    written = []
    for name, path in where.items():
        table = tables[name]
        if table.is_empty():
            continue
        make_folder(path.parent)
        if path.suffix.lower() == ".parquet":
            write_parquet(path, table)
        else:
            write_csv(path, table, dict.fromkeys(table.columns, DIGITS))
        written.append(str(path))
    return written
