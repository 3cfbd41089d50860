"""Tables of users: every format gives the same cells, headings and ids match as people mean them, all else is said."""

import json
import unicodedata

import openpyxl
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from facedep_jax.errors import TableError
from facedep_jax.sources.table_files import read_rows
from facedep_jax.sources.user_tables import path_hint, read_table

USES = ("path", "emotion", "subject", "split")
ROWS = [["a.jpg", "sad", "Zoë", "23.5"], ["b, c.jpg", 'says "no"', "P;2", "7"], ["d.jpg", "two\nlines", "P3", "41.25"]]
HEADINGS = ["path", "emotion", "subject", "age"]


def quoted(cell, separator):
    return f'"{cell.replace(chr(34), chr(34) * 2)}"' if set(cell) & {separator, '"', "\n", ";"} else cell


def csv_text(rows, separator=",", end="\n"):
    return end.join(separator.join(quoted(cell, separator) for cell in row) for row in rows) + end


def write_excel(path, rows, numbers=True):
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append([float(c) if numbers and c.replace(".", "").isdigit() else c for c in row])
    book.save(path)


def write_parquet(path, rows):
    pl.DataFrame(rows[1:], rows[0], orient="row").with_columns(pl.col("age").cast(pl.Float64)).write_parquet(path)


def write_json(path, rows):
    path.write_text("\n".join(json.dumps(dict(zip(rows[0], row, strict=True)), ensure_ascii=False) for row in rows[1:]))


WRITERS = {
    "plain.csv": lambda path, rows: path.write_text(csv_text(rows)),
    "mark.csv": lambda path, rows: path.write_text(csv_text(rows), encoding="utf-8-sig"),
    "windows.csv": lambda path, rows: path.write_bytes(csv_text(rows, end="\r\n").encode()),
    "old_mac.csv": lambda path, rows: path.write_bytes(csv_text(rows, end="\r").encode()),
    "excel_unicode.txt.csv": lambda path, rows: path.write_bytes(csv_text(rows, "\t", "\r\n").encode("utf-16")),
    "utf_16_be.csv": lambda path, rows: path.write_bytes(b"\xfe\xff" + csv_text(rows).encode("utf-16-be")),
    "utf_16_without_mark.csv": lambda path, rows: path.write_bytes(csv_text(rows).encode("utf-16-le")),
    "semicolons.csv": lambda path, rows: path.write_text(csv_text(rows, ";")),
    "told.csv": lambda path, rows: path.write_text("sep=;\n" + csv_text(rows, ";")),
    "tabs.tsv": lambda path, rows: path.write_text(csv_text(rows, "\t")),
    "lines.jsonl": write_json,
    "sheet.xlsx": write_excel,
    "misnamed.csv": write_excel,  # known by its content
    "columns.parquet": write_parquet,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_cells(tmp_path, name):
    WRITERS[name](tmp_path / name, [HEADINGS, *ROWS])
    table = read_table(tmp_path / name, USES)
    assert table.roles == ["path", "emotion", "subject"]
    assert [list(row) for row in table.frame.iter_rows()] == ROWS


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=5),
    separator=st.sampled_from(",;\t"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)  # fmt: skip
def test_what_is_written_is_what_is_read(tmp_path, rows, separator, encoding):
    """In quotes, any text: only blanks around a cell go, and the words for nothing."""
    written = ["path", "note", "mark"], *(["x", *row[1:]] for row in rows)
    text = "\n".join(separator.join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) for row in written)
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    raw = read_rows(tmp_path / "t.csv")
    points = {name for said in raw.said if said.startswith("decimal") for name in [said.rsplit(" ", 1)[1]]}
    for column, name in ((1, "note"), (2, "mark")):
        if name not in points:
            assert [row[column] for row in raw.rows] == [row[column] for row in written[1:]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"path,emotion\na.jpg,sad\nb.jpg,\"happy\nc.jpg,sad\n", "unexpected end of data, in the row of line 3"),
        (b'path,emotion\na.jpg,"sad"ly\n', "in the row of line 2"),
        (b"path,emotion\na.jpg,sad,P1\n", "line 2: 3 cells under 2 headings"),
        (b"path,emotion,\na.jpg,sad,P1\n", "line 2: 3 cells under 2 headings"),
        (b"path,subject\na.jpg,P1\nb.jpg,#N/A\n", "line 3: #N/A is what a formula says that failed"),
        (b"path,Path \na,b\n", "has a column twice.*: 'path', 'Path '"),
        (b"path,subject\na.jpg,Zo\xeb\n", r"line 2: not UTF-8 \('Zo"),
        (b"path,emotion\n,sad\n", r"line 2: no path \(1 such rows\)"),
        (b"emotion,subject\nsad,P1\n", "has no column 'path'; it has 'emotion', 'subject'"),
        (b"path,emotion\na.jpg,sad\na.jpg,happy\n", r"a\.jpg \(emotion: sad in line 2 and happy in line 3\); keep one"),
        (b"path,emotion\n./a.jpg,sad\na.jpg,happy\n", r"a\.jpg \(emotion: sad in line 2 and happy in line 3\)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "a workbook of Excel before 2007"),
        (b"PK\x03\x04nothing", "a zip archive and no workbook"),
        (b"PAR1nothing", "a Parquet file that cannot be read"),
        (b"\xff\xfea", "begins as UTF-16-LE and is not"),
        (b"a\0b\0\0c", "holds zero bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_refused_with_its_place(tmp_path, content, says):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(TableError, match=says) as caught:
        table = read_table(tmp_path / "t.csv", USES)
        table.require("path")
        table.once("path")
    assert "\n" not in str(caught.value)


def test_a_workbook_of_two_sheets_is_refused_and_an_empty_one_is_passed_over(tmp_path):
    book = openpyxl.Workbook()
    book.create_sheet("empty")
    book.active.append(["path", "emotion"])
    book.active.append(["a.jpg", "sad"])
    book.save(tmp_path / "t.xlsx")
    assert read_table(tmp_path / "t.xlsx", USES).said == ("sheet 'Sheet'",)
    book["empty"].append(["path"])
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(TableError, match="2 sheets with something in them"):
        read_table(tmp_path / "t.xlsx", USES)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda sheet: sheet.merge_cells("B2:B3"), "cells B2:B3 are merged"),
        (lambda sheet: sheet.__setitem__("B3", "=B2"), "the formula of B3 has no stored result"),
        (lambda sheet: sheet.__setitem__("C3", "P1"), "line 3: 3 cells under 2 headings"),
    ],
)
def test_cells_of_a_workbook_that_would_be_left_out_are_refused(tmp_path, change, says):
    book = openpyxl.Workbook()
    for row in (["path", "emotion"], ["a.jpg", "sad"], ["b.jpg", None]):
        book.active.append(row)
    change(book.active)
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(TableError, match=says):
        read_table(tmp_path / "t.xlsx", USES)


def test_rows_of_few_cells_are_said(tmp_path):
    (tmp_path / "t.csv").write_text("path,emotion,subject\na.jpg,sad,P1\nb.jpg,sad\n")
    assert read_table(tmp_path / "t.csv", USES).said == ("1 rows have fewer cells than there are headings",)


@pytest.mark.parametrize("heading", ["Subject", " subject", "SUBJECT ", "sub ject"])
def test_headings_count_without_regard_to_case_and_blanks(tmp_path, heading):
    (tmp_path / "t.csv").write_text(f"Path,{heading},Usage\na.jpg,P1,PublicTest\n")
    table = read_table(tmp_path / "t.csv", USES)
    assert table.frame.rows(named=True) == [{"path": "a.jpg", "subject": "P1", "split": "PublicTest"}]
    assert "Usage is taken for split" in table.said


@pytest.mark.parametrize("cell", ["NA", "N/A", "nan", "None", "null", "-", "", "  ", "NaN", "NULL"])
def test_words_for_nothing_are_nothing(tmp_path, cell):
    (tmp_path / "t.csv").write_text(f"path,emotion,subject,age\na.jpg,{cell},{cell},{cell}\n")
    assert read_table(tmp_path / "t.csv", USES).frame.rows() == [("a.jpg", None, None, None)]


def test_ids_are_one_unicode_form_and_have_no_blanks_around_them(tmp_path):
    names = ["Zoë", unicodedata.normalize("NFD", "Zoë"), " Zoë "]
    (tmp_path / "t.csv").write_text("path,subject\n" + "".join(f"{n}.jpg ,{name}\n" for n, name in enumerate(names)))
    frame = read_table(tmp_path / "t.csv", USES).frame
    assert frame["subject"].unique().to_list() == ["Zoë"]
    assert frame["path"].to_list() == ["0.jpg", "1.jpg", "2.jpg"]


def test_columns_that_look_like_others_and_are_not_used_are_said(tmp_path):
    headings = "path,subject_id,dataSet,Class,onset,stop_s,Gender,offset,emotion2,camera"
    (tmp_path / "t.csv").write_text(f"{headings}\na.jpg{',1' * 9}\n")
    said = read_table(tmp_path / "t.csv", USES).said
    assert said == (
        "kept as further columns and not used: subject_id (as subject), dataSet (as split), Class (as emotion), "
        "onset (as start), stop_s (as end), Gender (as sex), offset (as end)",
    )


def test_decimal_commas_are_points_where_semicolons_part_cells(tmp_path):
    (tmp_path / "t.csv").write_text("path;age;note\na.jpg;23,5;1,2 or so\nb.jpg;7;x\n")
    table = read_table(tmp_path / "t.csv", USES)
    assert table.frame["age"].to_list() == ["23.5", "7"] and table.frame["note"][0] == "1,2 or so"
    assert table.said == ("separated by ;", "decimal commas in age")


@pytest.mark.parametrize(
    ("path", "says"),
    [("faces\\a.jpg", "as on Windows"), ("C:/faces/a.jpg", "absolute"), ("/faces/a.jpg", "absolute"),
     ("../a.jpg", "lead out"), ("a.jpg", "")],
)  # fmt: skip
def test_paths_that_name_nothing_get_a_hint(path, says):
    assert says in path_hint(pl.Series([path])) if says else path_hint(pl.Series([path])) == ""
