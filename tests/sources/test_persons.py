"""Whom listings name: one person however spelt, two where sources merely call them alike."""

import pytest

from facedep_jax.sources.persons import NAMED, with_columns_of_listings, with_persons
from facedep_jax.subject_ids import drawn, of_subjects, subject_key
from facedep_jax.text_columns import text_frame

ZOE, ZOE_APART = "Zo\u00eb", "Zoe\u0308"


def persons(*rows):
    """The names of rows of subject, source, table that named it, and item, and what is said of them."""
    columns = ("subject", "source", "subject_source", "item")
    said = ({"item": f"{n}"} | dict(zip(columns, row, strict=False)) for n, row in enumerate(rows))
    found, notes = with_persons(with_columns_of_listings(text_frame(said, NAMED)))
    return found["subject"].to_list(), notes


def test_one_person_is_spelt_in_many_ways_and_called_by_the_first():
    found, notes = persons(
        *((name, "/s") for name in (" P01 ", "p01", "P01 ", "P 01", ZOE, ZOE_APART, "zo\u00eb", "q"))
    )
    assert found == ["P01"] * 4 + [ZOE] * 3 + ["q"]
    assert notes == (
        "2 subjects are spelt in several ways and are one person each, for example ' P01 ', 'p01', 'P01 ', 'P 01'",
    )
    assert persons((ZOE, "/s"), (ZOE_APART, "/s"))[1][0].endswith(
        r"'Zo\xeb', 'Zoe\u0308'"
    )  # a reader sees no difference
    assert persons(("q", "/s"), ("q", "/s"), (None, "/s")) == (["q", "q", None], ())


def test_a_name_of_blanks_names_nobody():
    assert persons((" \u00a0", "/s"), ("", "/s")) == ([None, None], ())


def test_subjects_of_two_sources_are_two_persons_whose_names_say_so():
    found, notes = persons(("001", "/x/a/faces"), ("001", "/x/b/faces"), ("002", "/x/a/faces"), ("001", "/x/a/faces"))
    assert found == ["a/faces:001", "b/faces:001", "002", "a/faces:001"]
    assert notes == (
        "1 subjects named alike in 2 sources are taken for different persons, for example a/faces:001 and "
        "b/faces:001; name them by one --subjects or --labels table if they are the same",
    )


@pytest.mark.parametrize(
    "rows",
    [
        (("001", "/a", "/t.csv"), ("001", "/b", "/t.csv")),
        (("001", "/a"), ("001", "/a", "/t.csv"), ("001", "/b", "/t.csv")),  # a table corrects one picture of a source
        (("001", "/a", None, "x"), ("001", "/b", None, "x")),  # the same picture: a data set that was moved
    ],
    ids=["one table", "a table and a source", "one picture"],
)
def test_a_table_or_a_picture_makes_namesakes_one_person(rows):
    assert persons(*rows) == (["001"] * len(rows), ())


def test_two_tables_name_two_persons():
    assert len(set(persons(("001", "/a", "/t.csv"), ("001", "/b", "/u.csv"))[0])) == 2


def test_keys_of_ids():
    assert {subject_key(name) for name in ("P01", "p01", " P0 1\t")} == {"p01"}
    assert subject_key("\u00df") == subject_key("SS") and subject_key(ZOE) == subject_key(ZOE_APART) != subject_key(
        "Zoe"
    )


def test_who_was_drawn_is_said_in_words():
    assert drawn("image") == "pictures" and of_subjects(12, "image") == "of nobody known"
    assert of_subjects(1200, "subject") == "of 1,200 subjects"
