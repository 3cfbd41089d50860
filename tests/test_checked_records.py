"""JSON and TOML of any depth and size, fields of any type: a record, or one sentence with the file and the fields."""

from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta, Struct

from facedep_jax.checked_records import as_record, one_of
from facedep_jax.errors import UnusableFile
from facedep_jax.file_opening import DEEPEST, read_json, read_toml


class Inner(Struct):
    share: Annotated[float, Meta(ge=0, le=1)]
    kind: Annotated[str, one_of(("a+b", "c"))] = "c"


class Outer(Struct):
    name: str
    inner: Inner
    several: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.name == "cross" and self.inner.share:
            raise ValueError("name and inner.share do not go together")


def test_a_record_has_every_field_in_its_type():
    found = as_record(Path("f"), Outer, {"name": "x", "inner": {"share": 1, "kind": "a+b"}, "several": [1], "more": 2})
    assert found == Outer("x", Inner(1.0, "a+b"), (1,))


def test_all_that_is_wrong_is_said_at_once_with_file_and_field():
    wrong = {"inner": {"share": float("nan"), "kind": "d"}, "several": [1, "2"]}
    with pytest.raises(UnusableFile) as caught:
        as_record(Path("f.toml"), Outer, wrong)
    said = str(caught.value)
    assert said.startswith("f.toml cannot be meant: name is missing; inner.share is nan: ")
    assert "inner.kind is 'd'" in said and "several[1]" in said and "\n" not in said


@pytest.mark.parametrize("value", [True, "1", [1], None, 2, -1, 10**400, float("inf")])
def test_a_value_of_another_type_or_size_is_none(value):
    with pytest.raises(UnusableFile, match=r"inner\.share is "):
        as_record(Path("f"), Outer, {"name": "x", "inner": {"share": value}})


@pytest.mark.parametrize("value", [3, [], "x"])
def test_a_value_where_a_table_belongs_is_none(value):
    with pytest.raises(UnusableFile, match=r"inner is .*, expected a table"):
        as_record(Path("f"), Outer, {"name": "x", "inner": value})


def test_fields_are_checked_against_each_other():
    with pytest.raises(UnusableFile, match=r"f cannot be meant: name and inner\.share do not go together"):
        as_record(Path("f"), Outer, {"name": "cross", "inner": {"share": 1}})


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": NaN}', "a is nan, expected a finite number"),
        ('{"a": [1, -Infinity]}', "a is -inf"),
        ('{"a": 1e999}', "a is inf"),
        ('{"a": ' + "9" * 5000 + "}", "is not JSON"),
        ('{"a": {"b": ' + "9" * 40 + "}}", r"a\.b has 40 digits"),
        ("[" * 100000, "nested too deeply"),
        ("[" * (DEEPEST + 1) + "1" + "]" * (DEEPEST + 1), f"is nested too deeply, more than {DEEPEST} deep"),
        ('{"a":' * 900 + "1" + "}" * 900, f"is nested too deeply, more than {DEEPEST} deep"),
        ("{", "is not JSON"),
        ("", "is not JSON"),
    ],
)
def test_json_beyond_bounds_is_refused(tmp_path, text, said):
    (tmp_path / "f.json").write_text(text)
    with pytest.raises(UnusableFile, match=said):
        read_json(tmp_path / "f.json")


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = nan", "a is nan, expected a finite number"),
        ("a = [[1.0, inf]]", "a is inf"),
        ("a = " + "9" * 5000, "is not TOML"),
        ("a = " + "9" * 4000, "a has 4000 digits"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        (".".join("a" * 3000) + " = 1", f"is nested too deeply, more than {DEEPEST} deep"),
        ("[" + ".".join("a" * 50000) + "]", f"is nested too deeply, more than {DEEPEST} deep"),
        ("a =", "is not TOML"),
        ("a = 1\na = 2", "is not TOML"),
    ],
)
def test_toml_beyond_bounds_is_refused(tmp_path, text, said):
    (tmp_path / "f.toml").write_text(text)
    with pytest.raises(UnusableFile, match=said):
        read_toml(tmp_path / "f.toml")


def test_what_is_within_bounds_is_read(tmp_path):
    (tmp_path / "f.json").write_text("[" * DEEPEST + "1e308" + "]" * DEEPEST)
    assert str(read_json(tmp_path / "f.json")).strip("[]") == "1e+308"
    (tmp_path / "f.toml").write_text("a.b = [9223372036854775807]")
    assert read_toml(tmp_path / "f.toml") == {"a": {"b": [2**63 - 1]}}
