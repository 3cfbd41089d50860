"""Descriptors as tables: a row a clip, a row a person, and a row a value. Knows nothing of how they came about."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import polars as pl

from facedep_jax.cache.maintenance.atomic_placement import make_ready, staged
from facedep_jax.descriptors.describe_cache import Described
from facedep_jax.descriptors.describe_frames import SEEN
from facedep_jax.descriptors.persons import seconds_of
from facedep_jax.errors import SettingsError
from facedep_jax.file_system import make_folder, require_output
from facedep_jax.segments import TIMES
from facedep_jax.text_columns import write_csv, write_parquet
from facedep_jax.text_escaping import as_name, printable

KINDS = (".csv", ".parquet")
OF_CLIPS, OF_PERSONS = ("clip", "source", "subject", *TIMES), ("subject", "clips")
DIGITS = 6  # after the point, in CSV


def places(out: Path | None, long: bool) -> dict[str, Path]:
    """Where tables of clips, of persons and, with `long`, of values go: nowhere without `out`. To be asked before
    anything is loaded. Raises SettingsError for another kind of file than `KINDS`, OutputError where one of them is
    there."""
    if out is None:
        if long:
            raise SettingsError("--long writes a table beside those of --out; name one with --out")
        return {}
    require_output(out)
    if out.suffix.lower() not in KINDS:
        raise SettingsError(f"--out {out}: a table is written as .csv or .parquet; name a file that ends so")
    found = {"clips": out, "persons": out.with_name(f"{out.stem}.persons{out.suffix}")}
    found |= {"long": out.with_name(f"{out.stem}.long{out.suffix}")} if long else {}
    make_ready(out, [path for path in found.values() if path != out])
    return found


def wide_tables(described: Described, persons: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The tables clips and persons, names as data frames hold them."""
    baseline = [name for name in ("baseline",) if name in persons.columns]
    columns = (*SEEN, *described.names, *baseline)
    clips = described.clips.rename({"path": "clip"}).select(*OF_CLIPS, *columns)
    return {"clips": clips, "persons": persons.select(*OF_PERSONS, *columns)}


def printed_tables(wide: Mapping[str, pl.DataFrame], described: Described) -> dict[str, pl.DataFrame]:
    """The same with `printable` names, and the table long; what descriptors mean, and whether they are to be doubted,
    stands in every row."""
    wide = {name: _printed(table) for name, table in wide.items()}
    long = pl.concat([_long(table, name[:-1], described.names) for name, table in wide.items()], how="diagonal")
    warning, meaning = (pl.lit(text, pl.String) for text in (described.warning, described.meaning))
    tables = {name: table.with_columns(warning=warning, meaning=meaning) for name, table in wide.items()}
    return tables | {"long": long.with_columns(warning=warning)}


def _printed(table: pl.DataFrame) -> pl.DataFrame:
    """Text from outside on one line, with what is no text escaped."""
    return table.with_columns(pl.col(pl.String).map_elements(lambda text: printable(as_name(text)), pl.String))


def _long(table: pl.DataFrame, unit: str, names: tuple[str, ...]) -> pl.DataFrame:
    """A row for each of the descriptors `names` of each `unit`."""
    index = [name for name in (*OF_CLIPS, "baseline", "seconds", "seconds_seen") if name in table.columns]
    rows = table.unpivot(names, index=index, variable_name="descriptor")
    sampled = pl.col("descriptor").is_in([name for name in names if seconds_of(name) == "seconds"])
    seconds = pl.when(sampled).then("seconds").otherwise("seconds_seen")
    first, rest = ([name for name in names if name in table.columns] for names in (OF_CLIPS, ("baseline",)))
    return rows.select(pl.lit(unit).alias("unit"), *first, "descriptor", "value", seconds.alias("seconds"), *rest)


def write_tables(tables: Mapping[str, pl.DataFrame], where: Mapping[str, Path]) -> list[str]:
    """Write each table that has a place and a row, all of them or none; returns where. Raises OutputError."""
    written = {path: tables[name] for name, path in where.items() if not tables[name].is_empty()}
    if not written:
        return []
    main, *others = written
    make_folder(main.parent)
    with staged(main, others) if others else nullcontext(main.parent) as folder:
        for path, table in written.items():
            _write(folder / path.name, table)
    return [str(path) for path in written]


def _write(path: Path, table: pl.DataFrame) -> None:
    if path.suffix.lower() == ".parquet":
        write_parquet(path, table)
    else:
        write_csv(path, table, dict.fromkeys(table.columns, DIGITS))
