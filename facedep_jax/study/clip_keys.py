"""Two ways from rows of a table to listed clips: by what paths are called, and by persons. Knows no features."""

import polars as pl

from facedep_jax.errors import TableError
from facedep_jax.segments import TIMES, segment_name, some
from facedep_jax.sources.persons import subject_keys_of
from facedep_jax.sources.user_tables import path_keys
from facedep_jax.subject_ids import session_key, subject_key
from facedep_jax.text_escaping import as_name, printable

NEAREST = ("path", "file name", "file name without its ending")
LISTED = "the person whom their listings name"
CALLED = "the first folder, or else the file without its ending, that is called as a person is"
PART = ("unit", "subject", "cache", "item", "place", *TIMES, "path", "table", "line")
FROM_ROOT = pl.concat_str(pl.col("source").str.strip_suffix("/"), "path", separator="/")
Found = tuple[pl.DataFrame, str, tuple[str, ...]]  # parts, the rule that found them, and what to say


def by_path(rows: pl.DataFrame, listed: pl.DataFrame) -> Found:
    """By the path as listed, or from the root; where none is, by the file's name, then by that without its ending: one
    rule for all rows. Raises TableError for a name that several clips have.
    """
    rows = rows.with_columns(key=path_keys(pl.col("path")))
    listed = listed.with_columns(key=path_keys(pl.col("path")))
    whole = pl.concat([listed, listed.with_columns(key=path_keys(FROM_ROOT))])
    name = pl.col("key").str.split("/").list.last()
    ways = (pl.col("key"), name, name.str.replace(r"(.)\.[^.]*$", "$1"))
    for rule, way, there in zip(NEAREST, ways, (whole, listed, listed), strict=True):
        own, keyed = rows.with_columns(key=way), there.with_columns(key=way)
        if own["key"].is_in(keyed["key"].implode()).any():
            _require_one_clip(own, keyed)
            found = _parts(own, keyed)
            return found, rule, _listed_otherwise(found)
    return _parts(rows.clear(), listed.clear()), f"{', '.join(NEAREST[:2])} or {NEAREST[2]}", ()


def _require_one_clip(own: pl.DataFrame, keyed: pl.DataFrame) -> None:
    files = keyed.group_by("key").agg(pl.col("item").n_unique(), FROM_ROOT.unique(maintain_order=True).alias("clips"))
    double = own.join(files.filter(pl.col("item") > 1), on="key", how="inner", maintain_order="left")
    if len(double):
        row = double.row(0, named=True)
        clips = some(list(map(as_name, row["clips"])))
        raise TableError(
            f"{row['table']}, line {row['line']}: {as_name(row['path'])} may be {clips}; give the whole path "
            f"({len(double):,} such rows)"
        )


def _listed_otherwise(found: pl.DataFrame) -> tuple[str, ...]:
    other = found.filter(subject_keys_of(found["listed_subject"]) != subject_keys_of(found["subject"]))
    if other.is_empty():
        return ()
    row = other.row(0, named=True)
    example = f"{as_name(row['path'])} is {row['listed_subject']} there and {row['subject']} in the table"
    return (f"{other['item'].n_unique():,} clips are listed as of others; the table counts: {printable(example)}",)


def by_person(rows: pl.DataFrame, listed: pl.DataFrame) -> Found:
    """By the person whom a clip's listing names or, where it names none, by what its folders and itself are called.

    Raises TableError where visits cannot be told apart, or times of a row may be of several clips.
    """
    names = rows["subject"].unique(maintain_order=True)
    sessions = pl.Series([_session(name) for name in names], dtype=pl.String)
    known = set(sessions)
    called = pl.Series([_called(path, known) for path in listed["path"]], dtype=pl.String)
    subjects = subject_keys_of(listed["subject"])
    is_named = subjects.is_not_null()
    visits = _told_by_visit(rows, listed)
    of_person = rows.with_columns(key=subject_keys_of(rows["subject"]))
    of_session = rows.with_columns(key=rows["subject"].replace_strict(names, sessions))
    found = {
        LISTED: _parts(of_person, listed.with_columns(key=subjects).filter(is_named), visits),
        CALLED: _parts(of_session, listed.with_columns(key=called).filter(~is_named).drop_nulls("key"), visits),
    }
    parts = pl.concat(found.values())
    _require_one_file(parts)
    used = [f"{rule} ({one['item'].n_unique():,} clips)" for rule, one in found.items() if len(one)]
    asked = [rule for rule, there in zip(found, (is_named.any(), not is_named.all()), strict=True) if there]
    return parts, "; ".join(used or asked) + "; and by visit" * visits, ()


def _session(name: str) -> str:
    return subject_key(session_key(name))


def _called(path: str, known: set[str]) -> str | None:
    *folders, file = path.split("/")
    keys = map(_session, (*folders, file, file.rpartition(".")[0]))
    return next((key for key in keys if key in known), None)


def _told_by_visit(rows: pl.DataFrame, listed: pl.DataFrame) -> bool:
    """Whether clips are told apart by the visit that their listings name."""
    if listed["visit"].count():
        return rows["visit"].count() > 0
    several = rows.group_by("subject", maintain_order=True).agg(pl.col("visit").n_unique(), pl.col("table").first())
    several = several.filter(pl.col("visit") > 1)
    if len(several):
        row = several.row(0, named=True)
        raise TableError(
            f"{row['table']} has several visits of {printable(row['subject'])} ({len(several):,} such persons), and "
            "nothing says which clip is of which; add a column path, or extract from a table with a column visit"
        )
    return False


def _require_one_file(parts: pl.DataFrame) -> None:
    """Raise TableError where times of a row would cut several clips of a person."""
    several = parts.filter(pl.col("cut") & (pl.col("item").n_unique().over("table", "line") > 1))
    if len(several):
        row = several.row(0, named=True)
        own = several.filter((pl.col("table") == row["table"]) & (pl.col("line") == row["line"]))
        clips = own["path"].unique(maintain_order=True).to_list()
        raise TableError(
            f"{row['table']}, line {row['line']}: {segment_name(row['subject'], row['start'], row['end'])} may be of "
            f"{some(list(map(as_name, clips)))}; say of which with a column path"
        )


def _parts(own: pl.DataFrame, keyed: pl.DataFrame, visits: bool = False) -> pl.DataFrame:
    """What of each clip is a row's: its own times where it states them, else what the listing says."""
    on = ["key", "visit"] if visits else ["key"]
    times = (pl.col(name).alias(f"{name}_said") for name in TIMES)
    mine = own.select("unit", "subject", "table", "line", *times, *on)
    theirs = keyed.select("cache", "item", "place", "path", pl.col("subject").alias("listed_subject"), *TIMES, *on)
    both = mine.join(theirs, on=on, how="inner", nulls_equal=True, maintain_order="left_right")
    cut = pl.col("start_said").is_not_null()
    both = both.with_columns(
        *(pl.when(cut).then(f"{name}_said").otherwise(name).alias(name) for name in TIMES), cut=cut
    )
    return both.select(*PART, "cut", "listed_subject")
