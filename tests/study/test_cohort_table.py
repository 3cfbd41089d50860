"""Tables of persons: what headings and cells mean, what is said of them, and what is refused in a sentence."""

import re

import numpy as np
import polars as pl
import pytest
from support.made_corpora import daic, edaic
from support.paths import ROOT

from facedep_jax.errors import FacedepError
from facedep_jax.study.cohort_columns import HEADINGS, plain_heading
from facedep_jax.study.cohort_labels import bands_of, class_names
from facedep_jax.study.cohort_table import GROUP, read_cohort
from facedep_jax.study.cohort_units import units_of
from facedep_jax.study.settings import StudySettings


def read(tmp_path, *tables, names=(), **settings):
    paths = [tmp_path / (names[n] if names else f"t{n}.csv") for n in range(len(tables))]
    for path, text in zip(paths, tables, strict=True):
        path.write_text(text, encoding="utf-8")
    return read_cohort(paths, StudySettings(**settings))


def units(tmp_path, *tables, **settings):
    return units_of(read(tmp_path, *tables, **settings))


def test_a_row_a_person_with_a_label_a_score_and_further_columns(tmp_path):
    table = read(tmp_path, "Subject, PHQ8_Score ,Diagnosis,Site\nAnn,12,MDD,A\nBob,3,control,\nCid,,control,B\n")
    found = units_of(table)
    assert found["subject"].to_list() == ["Ann", "Bob", "Cid"] and found["unit"].to_list() == [0, 1, 2]
    assert found["score"].to_list() == [12, 3, None] and found["label"].to_list() == [True, False, False]
    assert found["partition"].null_count() == found["visit"].null_count() == 3
    assert table.groups == ("Site",) and found[f"{GROUP}Site"].to_list() == ["A", None, "B"]
    assert set(table.said) == {"PHQ8_Score is the score", "Diagnosis is the label", "further columns: Site"}


def test_rows_of_one_visit_are_one_unit_and_say_of_a_group_what_all_say(tmp_path):
    first = "id,visit,score,age,site,room\nP1,1,12,40,A,1\nP1,1,12,40,A,2\nP1,2,6,41,,1\n"
    text = f"{first}P2,1,,30,B,1\nP2,1,3,,B,\nP3,,4,,,\n"
    table = read(tmp_path, text, groups=("site", "room"))
    found = units_of(table)
    assert found.select("subject", "visit", "score").rows() == [
        ("P1", "1", 12), ("P1", "2", 6), ("P2", "1", 3), ("P3", None, 4),
    ]  # fmt: skip
    assert found[f"{GROUP}age"].to_list() == ["40", "41", "30", None]
    assert found[f"{GROUP}room"].to_list() == [None, "1", "1", None]
    assert any("1 visits have rows that say different things of room" in said for said in table.said)
    assert not any("different things of site" in said for said in table.said)


def test_a_visit_that_is_not_named_where_others_are_is_said(tmp_path):
    table = read(tmp_path, "subject,visit,score\nP1,1,3\nP1,,12\nP2,,4\n")
    assert any("1 rows name no visit where others of the person do" in said for said in table.said)
    assert len(units_of(table)) == 3


def test_persons_are_those_of_all_tables_and_spellings_are_said(tmp_path):
    table = read(tmp_path, "subject,score\nAnn,1\nann ,1\n001,2\n1,3\nB,4\n")
    found = units_of(table)
    assert found["subject"].to_list() == ["Ann", "001", "1", "B"]
    assert any("1 subjects are spelt in several ways" in said and "'ann'" in said for said in table.said)
    assert any("differ by zeros in front or _P are different persons: 001 and 1" in said for said in table.said)


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        ("depressed\n1\n0", [True, False]),
        ("depressed\n1.0\n0.0", [True, False]),
        ("label\nDepression\nnormal", [True, False]),
        ("class\nHC\nPatient", [False, True]),
        ("diagnosis\nnon-depressed\ndepressed", [False, True]),
        ("PHQ8_Binary\nyes\n", [True, None]),
    ],
)
def test_words_of_known_meaning(tmp_path, column, labels):
    heading, *cells = column.split("\n")
    rows = "".join(f"P{n},{cell}\n" for n, cell in enumerate(cells)) + "P8,0\nP9,1\n"
    assert units(tmp_path, f"person,{heading}\n{rows}")["label"].to_list()[:2] == labels


def test_a_column_of_scores_that_says_nothing_is_one_of_numbers(tmp_path):
    table = read(tmp_path, "subject,label,score\nA,1,\nB,0,\n", "subject,label,score\nC,1,3\n")
    assert units_of(table)["score"].to_list() == [None, None, 3]
    alone = read(tmp_path, "subject,label,score,split\nA,1,,\nB,0,,\n")
    assert alone.rows.schema["score"] == pl.Float64 and alone.rows.schema["partition"] == pl.String


def test_another_word_is_looked_for_where_it_is_named(tmp_path):
    text = "subject,label\nA,mild\nB,severe\nC,none at all\n"
    assert units(tmp_path, text, positive="Severe")["label"].to_list() == [False, True, False]


def test_a_cut_off_makes_labels_and_says_where_the_table_s_are_others(tmp_path):
    text = "subject,score,label\nA,10,1\nB,9,1\nC,3,0\nD,,1\nE,20,0\n"
    table = read(tmp_path, text, cutoff=10.0)
    assert units_of(table)["label"].to_list() == [True, False, False, None, True]
    assert any("2 of 4 labels are not what --cutoff 10 makes of the score (line 3; line 6)" in s for s in table.said)
    assert any("1 rows have a label and no score" in said for said in table.said)
    table = read(tmp_path, text.replace(",1\n", ",mild\n"), cutoff=10.0)
    assert any("those of the table ('mild') do not count" in said for said in table.said)
    agreeing = read(tmp_path, "subject,score,label\nA,10,1\nC,3,0\n", cutoff=10.0)
    assert not any("cutoff" in said for said in agreeing.said)


def test_columns_that_mean_one_thing_twice_are_counted(tmp_path):
    table = read(tmp_path, "subject,PHQ_Score,PHQ8_Score\nA,1,1.0\nB,2,3\nC,4,\n")
    assert table.rows["score"].to_list() == [1, 3, None] and table.groups == ("PHQ_Score",)
    (said,) = (said for said in table.said if "as well" in said)
    assert (
        said == "PHQ_Score could be the score as well as PHQ8_Score, which is used, and says otherwise in 1 of 2 rows"
    )


def test_a_column_is_named_by_an_option_or_left_out(tmp_path):
    text = "code,score,wellbeing,fold\nA,1,7,1\nB,2,8,2\n"
    table = read(tmp_path, text, columns=("subject=Code", "score=well-being", "partition="))
    assert table.rows["score"].to_list() == [7, 8] and table.rows["subject"].to_list() == ["A", "B"]
    assert set(table.groups) == {"score", "fold"} and table.rows["partition"].null_count() == 2


def test_an_option_is_of_the_tables_that_have_its_column(tmp_path):
    one, other = "subject,a,b\nA,1,2\n", "subject,score\nB,3\n"
    assert read(tmp_path, one, other, columns=("score=b",)).rows["score"].to_list() == [2, 3]
    with pytest.raises(FacedepError, match=r"--column score=c: .*t0.csv has no such heading; it has subject, a, b"):
        read(tmp_path, one, other, columns=("score=c",))


def test_a_person_s_partition_is_that_of_all_visits_and_who_has_none_is_said(tmp_path):
    table = read(tmp_path, "subject,visit,score,split\nA,1,3,train\nA,2,,\nB,1,4,dev\nC,1,5,\n")
    assert units_of(table)["partition"].to_list() == ["train", "train", "val", None]
    assert {"1 of 4 visits have neither label nor score", "1 of 3 persons are in no partition"} <= set(table.said)


def test_a_number_of_rows_is_no_person_where_files_are_named(tmp_path):
    assert units(tmp_path, "index,label\n1,depression\n2,normal\n")["subject"].to_list() == ["1", "2"]
    with pytest.raises(FacedepError, match="no column that names persons"):
        read(tmp_path, "index,path,label\n0,a.mp4,1\n1,b.mp4,0\n")


def test_times_without_a_pair_stay_a_further_column(tmp_path):
    table = read(tmp_path, "subject,path,score,start,end\nA,a.mp4,1,0:10,20.5\nB,b.mp4,2,,\n")
    assert table.rows.select("start", "end").rows() == [(10, 20.5), (None, None)] and table.groups == ()
    table = read(tmp_path, "subject,path,score,start\nA,a.mp4,1,2026-01-01\nB,b.mp4,2,\n")
    assert table.rows["start"].null_count() == 2 and table.groups == ("start",)
    assert any("not used: start (as start)" in said for said in table.said)


@pytest.mark.parametrize("made", [daic, edaic])
def test_a_corpus_s_tables_are_read_as_they_come(tmp_path, made):
    folder = made(tmp_path)
    paths = sorted(folder.rglob("*split*.csv"))
    table = read_cohort(paths, StudySettings())
    found = units_of(table).sort("subject")
    assert len(found) == 12 and found["partition"].to_list() == ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    assert found["label"].to_list() == [True, False] * 6 and found["score"].to_list() == [12, 4] * 6
    assert found[f"{GROUP}Gender"].null_count() == 0
    assert any("is of the partition train, by its name" in said for said in table.said)
    assert not any("as subject" in said or "as sex" in said for said in table.said), "what is used is not called unused"


@pytest.mark.parametrize(
    ("words", "settings", "names"),
    [
        (("MDD", "HC"), {}, ("HC", "MDD")),
        (("1", "0"), {}, ("label 0", "label 1")),
        (("a", "b", "c", "d"), {"positive": "b"}, ("a; c; d", "b")),
        (("a$b$", "healthy"), {"positive": "a$b$"}, ("healthy", "a$b$")),
        (("1", "0"), {"cutoff": 10.0}, ("score below 10", "score from 10 on")),
    ],
)
def test_people_read_the_words_of_the_table(words, settings, names):
    rows = pl.DataFrame({"label": [*words, None], "score": [12.0, 3.0] + [None] * (len(words) - 1)})
    assert class_names(rows, StudySettings(**settings)) == names


def test_bands_begin_at_their_lower_ends():
    assert bands_of(np.array([0, 4, 5, 9.5, 10, 24]), (5, 10, 15, 20)).tolist() == [0, 0, 1, 1, 2, 4]


TWO = "subject,score\nA,3\nB,12\n"


@pytest.mark.parametrize(
    ("text", "settings", "says"),
    [
        ("", {}, "has no rows"),
        ("subject,score\n", {}, "has no rows; expected one for each person"),
        (
            "name,score\nA,1\n",
            {},
            "no column that names persons, such as subject or Participant_ID; it has name, score",
        ),
        ("subject,age\nA,1\n", {}, "no column with labels or scores, or says nothing in it; it has subject, age"),
        ("subject,score\nA,\nB,NA\n", {}, "no column with labels or scores, or says nothing in it"),
        ("subject,score\nA,1\n,2\n", {}, "line 3: no subject (1 such rows)"),
        ("subject,score\nA,1\n#N/A,2\n", {}, "t0.csv, line 3: #N/A is what a formula says that failed"),
        ("subject,score\nA,low\nB,1\n", {}, "line 2: score 'low' is no number"),
        ("subject,score\nA,inf\nB,1\n", {}, "line 2: score 'inf' is no number"),
        ("subject,PHQ8_Score\nA,99\nB,1\n", {}, "line 2: PHQ8_Score 99 lies outside 0 to 24"),
        ("subject,BDI-II\nA,-1\nB,1\n", {}, "line 2: BDI-II -1 lies outside 0 to 63"),
        (TWO, {"cutoff": 25.0}, "--cutoff 25 leaves one class: the scores of t0.csv are 3 to 12"),
        (TWO, {"cutoff": 3.0}, "--cutoff 3 leaves one class"),
        ("subject,score\nA,5\nB,5\n", {"cutoff": 5.0}, "--cutoff 5 leaves one class: the scores of t0.csv are 5 to 5"),
        ("subject,label\nA,1\nB,0\n", {"cutoff": 5.0}, "--cutoff needs scores, and t0.csv has none"),
        ("subject,label\nA,1\nB,1\n", {}, "all labels are on one side ('1'), and two are needed"),
        ("subject,label\nA,odd\nB,0\n", {}, "it is not known on which side 'odd' is; say with --positive-label WORD"),
        ("subject,label\nA,odd\nB,0\n", {"positive": "ill"}, "--positive-label ill: no label of t0.csv is called so"),
        ("subject,label\nA,ill\nB,ill\n", {"positive": "ill"}, "all labels are on one side"),
        ("subject,score,split\nA,1,train\nB,2,later\n", {}, "line 3: split 'later' is no partition, such as train"),
        (
            "subject,score,split\nA,1,train\nA,1,dev\n",
            {},
            "partition of A is train (t0.csv, line 2) and val (t0.csv, line 3); one person has one partition",
        ),
        (
            "subject,visit,label\nA,1,1\nB,1,0\nA,1,0\n",
            {},
            "label of A at visit 1 is positive (t0.csv, line 2) and negative (t0.csv, line 4); one visit has one label",
        ),
        ("subject,score\nA,1\nA,2.5\n", {}, "score of A is 1 (t0.csv, line 2) and 2.5 (t0.csv, line 3)"),
        (TWO, {"columns": ("score=PHQ",)}, "--column score=PHQ: t0.csv has no such heading; it has subject, score"),
        (TWO, {"columns": ("mood=score",)}, "--column mood=score: expected ROLE=HEADING"),
        (TWO, {"columns": ("score",)}, "--column score: expected ROLE=HEADING"),
        (TWO, {"columns": ("score=score", "label=score")}, "one column has one role, and one role one column"),
        (TWO, {"groups": ("site",)}, "--group site: t0.csv has no such further column; it has none"),
        (
            "subject,score,start,end\nA,1,9,3\nB,2,,\n",
            {},
            "line 2: start 9 and end 3: the segment ends before it begins",
        ),
        ("subject,score,start,end\nA,1,2026-01-02,3\n", {}, "line 2: start '2026-01-02' is a date; expected seconds"),
        ("subject,score,start,end\nA,1,,3\n", {}, "line 2: end is 3 and start is empty; give both or neither"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(tmp_path, text, settings, says):
    with pytest.raises(FacedepError) as caught:
        units(tmp_path, text, **settings)
    said = str(caught.value).replace(f"{tmp_path}/", "")
    assert says in said and "\n" not in said


def test_two_tables_with_two_partitions_for_one_person(tmp_path):
    text = "Participant_ID,PHQ8_Binary\n300,1\n301,0\n"
    with pytest.raises(FacedepError, match=r"partition of 300 is train .*train_split.*line 2.* and test .*test_split"):
        units(tmp_path, text, text, names=("train_split.csv", "test_split.csv"))


def test_the_page_names_the_headings_in_their_order():
    page = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8").split("## Tables of a study")[1]
    said = {
        role: re.findall(r"`([\w-]+)`", cell)
        for role, cell in re.findall(r"^\| (\w+) \| (`.*) \|$", page, re.MULTILINE)
    }
    assert {role: tuple(map(plain_heading, names)) for role, names in said.items()} == HEADINGS
