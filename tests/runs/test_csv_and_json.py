"""Tables of runs: quoted, without formulas, and read back as they were written."""

import csv

import polars as pl

from facedep_jax.runs.csv_and_json import read_written
from facedep_jax.text_columns import write_csv
from facedep_jax.text_escaping import as_text


def test_what_is_written_is_read_whatever_is_in_it(tmp_path):
    texts = ["plain", "=1+1", "-x", "'-x", "\uff0dx", "\tx", "a;b", 'say "no"\nagain', "Zo\u00eb", None]
    write_csv(tmp_path / "t.csv", pl.DataFrame({"text": texts, "number": [0.1 + 0.2] * 9 + [None]}))
    found = read_written(tmp_path / "t.csv")
    assert found["text"].to_list() == texts and found["number"].null_count() == 1
    with open(tmp_path / "t.csv", newline="", encoding="utf-8") as stream:
        cells = [row["text"] for row in csv.DictReader(stream)]
    assert cells[:6] == ["plain", "'=1+1", "'-x", "''-x", "'\uff0dx", "'\tx"] and cells[-1] == ""


def test_text_is_in_quotes_and_lines_end_as_in_any_csv(tmp_path):
    write_csv(tmp_path / "t.csv", pl.DataFrame({"a": ["x", None], "b": [1, 2], "c": [True, False]}))
    assert (tmp_path / "t.csv").read_bytes() == b'"a","b","c"\r\n"x",1,"True"\r\n,2,"False"\r\n'


def test_bytes_of_names_that_are_no_text_are_escaped(tmp_path):
    write_csv(tmp_path / "t.csv", pl.DataFrame({"path": [as_text("caf\udce9.jpg"), "caf\u00e9.jpg"]}))
    assert (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()[1:] == [r'"caf\udce9.jpg"', '"caf\u00e9.jpg"']
