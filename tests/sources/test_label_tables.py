"""A table of labels laid over listings: it wins where it says something, and rows that cannot be meant are named."""

import polars as pl
import pytest

from facedep_jax.dataset.listing_columns import listing_columns
from facedep_jax.errors import TableError
from facedep_jax.sources.class_labels import collect_labels
from facedep_jax.sources.label_tables import IN_CACHE, apply_label_table
from facedep_jax.sources.persons import with_persons


def listings(*rows, **columns):
    """Rows of item, path, source and emotion."""
    found = pl.DataFrame(rows, schema=["item", "path", "source", "emotion"], orient="row")
    return found.with_columns(pl.lit(None, pl.String).alias("subject"), **columns)


TWO = listings(("a", "x.jpg", "/s", "happy"), ("b", "y.jpg", "/s", "happy"), split=pl.lit("train"))


@pytest.fixture
def table(tmp_path):
    def write(text):
        (tmp_path / "labels.csv").write_text(text)
        return tmp_path / "labels.csv"

    return write


def test_a_table_of_labels_replaces_what_listings_say(table):
    found, said = apply_label_table(TWO, table("path,Label,split \nx.jpg, Sad,\ny.jpg,,val\n"))
    assert found.select("emotion", "split").rows() == [("Sad", "train"), ("happy", "val")]
    assert TWO["emotion"][0] == "happy" and "2 of 2 listings" in said[0]


@pytest.mark.parametrize(
    ("headings", "lacks"),
    [
        ("path,age", "no column 'emotion' or 'subject' or 'split'; it has 'path', 'age'"),
        ("emotion,subject", "no column 'path'; it has"),
        ("folder,emotoin", "no column 'path' and no column 'emotion' or"),
    ],
)
def test_a_table_of_labels_names_its_listings_and_says_something_of_them(table, headings, lacks):
    with pytest.raises(TableError, match=lacks):
        apply_label_table(TWO, table(f"{headings}\nx.jpg,y\n"))


@pytest.mark.parametrize(
    "rows, message",
    [
        ("sub\\x.jpg,sad", "1 rows match no listing .*; they are written as on Windows"),
        ("z.jpg,sad\ny.jpg,sad", r"1 rows match no listing by path, for example z\.jpg; the cache lists x\.jpg"),
        (
            "x.jpg,sad\ny.jpg,sad\nx.jpg,happy",
            r"1 values of path stand in rows that differ, .*x\.jpg \(emotion: sad in line 2 and happy in line 4\)",
        ),
        (",sad", r"line 2: no path \(1 such rows\)"),
    ],
    ids=["Windows", "unknown", "repeated", "empty"],
)
def test_rows_of_a_table_that_cannot_be_meant_are_named(table, rows, message):
    with pytest.raises(TableError, match=message):
        apply_label_table(TWO, table(f"path,label\n{rows}\n"))


def test_further_columns_come_along_where_they_are_wanted(table):
    text = "path,emotion,hat,source\nx.jpg,sad,yes,web\n"
    found, said = apply_label_table(TWO, table(text), further=True)
    assert said[1].endswith("labels.csv: its source names none of the cache's and does not count")
    assert found.select("hat", "source", "source_column").rows() == [("yes", "/s", "web"), (None, "/s", None)]
    assert "hat" not in apply_label_table(TWO, table(text))[0].columns


BOTH = listings(("a", "1.jpg", "/x", "happy"), ("b", "1.jpg", "/y", "happy"), ("c", "2.jpg", "/y", "happy"))


@pytest.mark.parametrize("name", ["subject_id", "subject_source", "person", "order", "known", "side"])
def test_a_further_column_may_be_called_anything(table, name):
    """It comes along under its own name, and is mixed up with nothing that is worked with."""
    rows = table(f"path,subject,emotion,{name}\nx.jpg,P1,sad,x\ny.jpg,P2,happy,y\n")
    listings, _ = with_persons(apply_label_table(TWO, rows, further=True)[0])
    items = collect_labels(listings).items
    columns = listing_columns(listings, items["item"], items["path"])
    found = dict(zip(items["path"], columns[name], strict=True))
    assert (found["x.jpg"], found["y.jpg"]) == ("x", "y")
    assert items.filter(path="x.jpg").select("subject", "subject_id", "subject_source").row(0) == (
        "P1", "P1", str(rows.resolve()),
    )  # fmt: skip


def test_a_path_of_two_sources_is_refused_unless_the_table_says_which(table):
    with pytest.raises(TableError, match=r"1 of its paths .*1\.jpg by /x and by /y; add a column source"):
        apply_label_table(BOTH, table("path,emotion\n1.jpg,sad\n"))
    assert apply_label_table(BOTH, table("path,emotion\n2.jpg,sad\n"))[0]["emotion"].to_list() == [
        "happy",
        "happy",
        "sad",
    ]
    found, _ = apply_label_table(BOTH, table("path,source,emotion\n1.jpg,/y,sad\n1.jpg,/x,fear\n"))
    assert found["emotion"].to_list() == ["fear", "sad", "happy"]
    same = BOTH.with_columns(item=pl.lit("a"))  # equal bytes in two places: one item, whichever is meant
    assert apply_label_table(same, table("path,emotion\n1.jpg,sad\n"))[0]["emotion"].to_list() == [
        "sad",
        "sad",
        "happy",
    ]


def test_it_is_said_how_many_listings_of_which_cache_a_table_speaks_of(table):
    caches = BOTH.with_columns(pl.Series(IN_CACHE, ["one", "two", "two"]))
    _, said = apply_label_table(caches, table("path,emotion\n2.jpg,sad\n"))
    assert said[0].endswith("none of 1 of one, 1 of 2 of two")


def test_a_subject_of_the_table_belongs_to_it(table):
    path = table("path,subject\n2.jpg,001\n")
    found, _ = apply_label_table(BOTH, path)
    assert found["subject_source"].to_list() == [None, None, str(path.resolve())]
