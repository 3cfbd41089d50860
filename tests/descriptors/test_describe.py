"""`describe` from a cache to tables: what is in them, whom they are about, and what is refused in a sentence."""

import csv
import json
import math
import re
import stat
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from support.caches import make
from support.clip_cache import CLIPS, HOSTILE, make_clips, make_nobodys
from support.paths import ROOT
from support.terminal import on_screen, terminal
from support.untrained_run import write_run

from facedep_jax.cache import open_cache
from facedep_jax.cli import main
from facedep_jax.descriptors.describe_frames import SEEN, describe, descriptor_names
from facedep_jax.descriptors.persons import over_persons
from facedep_jax.disclaimer import UNTRAINED, behaviour
from facedep_jax.runs.run_directory import load_head
from facedep_jax.scoring.frame_scores import score_items
from facedep_jax.text_escaping import in_tables, printable

EMOTIONS = ("happy", "neutral", "sad")
OF_ALL = ("warning", "meaning")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A cache of clips, one without boxes, and runs over emotions, over two classes, and one that mixes frames."""
    folder = tmp_path_factory.mktemp("described")
    make_clips(folder / "cache")
    make_clips(folder / "whole", faces="none")
    make_clips(folder / "rare", fps=2)
    make_nobodys(folder / "nobody")
    make_nobodys(folder / "boasting", states=1e9)
    make_nobodys(folder / "endless", second=1e9)
    make_nobodys(folder / "forgotten", listed=False)
    make(folder / "images", [1, 2])
    write_run(folder / "run", target="emotion")
    write_run(folder / "proxy")
    write_run(folder / "mixes", temporal="gru")
    write_run(folder / "foreign", target="emotion", sha256="1" * 64, family="keras")
    return folder


def cli(*arguments, code=0, columns=200):
    result = CliRunner().invoke(main, [str(a) for a in ("describe", *arguments)], env={"COLUMNS": str(columns)})
    assert result.exit_code == code, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return result


def told(*arguments, code=0):
    """The summary, and what was said beside it, on one line."""
    result = cli(*arguments, "--json", code=code)
    return (json.loads(result.stdout) if result.stdout else {}), " ".join(result.stderr.split())


def rows(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def tables(work):
    summary, _ = told(work / "cache", "--head", work / "run", "--out", work / "out" / "t.csv", "--long")
    return summary, work / "out" / "t.csv"


def test_a_row_a_clip_with_every_descriptor_and_what_it_means(tables, work):
    summary, path = tables
    found = rows(path)
    assert [row["clip"] for row in found] == [in_tables(name) for name in CLIPS]
    names = descriptor_names(True, EMOTIONS)
    assert tuple(found[0]) == ("clip", "source", "subject", "start", "end", *SEEN, *names, *OF_ALL)
    assert summary["descriptors"] == [*names] and summary["positive"] == ["neutral", "sad"]
    assert {row["meaning"] for row in found} == {behaviour(("neutral", "sad"))} == {summary["meaning"]}
    assert "not a diagnosis" in summary["meaning"] and "sad or neutral" in summary["meaning"]
    assert {row["warning"] for row in found} == {UNTRAINED} == {summary["warning"]}
    assert found[0]["subject"] == found[1]["subject"] == "Ann" and found[4]["subject"] == ""


def test_values_are_those_of_the_library(tables, work):
    summary, _ = tables
    cache, head = open_cache(work / "cache"), load_head(work / "run")
    frames = score_items(cache, [0], head)[0]
    expected = describe(frames, 0.0, 16.0, head.threshold)
    found = {name: math.nan if summary["clips"][0][name] is None else summary["clips"][0][name] for name in expected}
    assert found == pytest.approx(expected, nan_ok=True)
    assert min(expected["score_sd"], expected["change"]) > 0 and expected["move_mean"] == pytest.approx(0.1, rel=0.1)


def test_what_is_not_known_is_empty_and_never_a_number(tables):
    summary, path = tables
    for file in (path, path.with_name("t.persons.csv"), path.with_name("t.long.csv")):
        assert not re.search(r"\b(nan|inf|none)\b", re.sub(r'"[^"]*"', "", file.read_text(encoding="utf-8")).lower())
    by_name = {row["clip"]: row for row in rows(path)}
    nobody, one = by_name["nobody there.mp4"], by_name["one frame.mp4"]
    assert nobody["coverage"] == "0.000000" and nobody["score_mean"] == "" and nobody["seconds"] == "8.000000"
    assert one["score_mean"] != "" and one["score_sd"] == "" == one["move_mean"]
    assert summary["clips"][5]["score_mean"] is None


def test_a_row_a_value_says_of_how_many_seconds_it_speaks(tables):
    _, path = tables
    long, wide = rows(path.with_name("t.long.csv")), rows(path)
    names = descriptor_names(True, EMOTIONS)
    assert len(long) == (len(CLIPS) + 3) * len(names) and {row["unit"] for row in long} == {"clip", "person"}
    bob = {row["descriptor"]: row for row in long if row["clip"] == "bob.mp4"}
    assert {name: row["value"] for name, row in bob.items()} == {name: wide[3][name] for name in names}
    assert float(bob["coverage"]["seconds"]) == pytest.approx(12) and bob["coverage"]["warning"] == UNTRAINED
    assert float(bob["sad_mean"]["seconds"]) == pytest.approx(10, abs=0.1)


def test_tables_are_for_their_owner_and_parquet_holds_the_same(tables, work):
    summary, path = tables
    assert summary["tables"] == [str(path), str(path.with_name("t.persons.csv")), str(path.with_name("t.long.csv"))]
    assert {stat.S_IMODE(Path(file).stat().st_mode) for file in summary["tables"]} == {0o600}
    cli(work / "cache", "--head", work / "run", "--out", work / "t.parquet", "--shared")
    parquet = pl.read_parquet(work / "t.parquet")
    assert parquet["samples"].dtype == pl.Int64 and parquet["sad_mean"].dtype == pl.Float64
    assert parquet["clip"][4] == printable(HOSTILE) and not parquet["score_mean"].is_nan().any()
    kept = [float(row["sad_mean"]) if row["sad_mean"] else None for row in rows(path)]
    assert parquet["sad_mean"].to_list() == pytest.approx(kept, abs=1e-6)
    assert stat.S_IMODE((work / "t.persons.parquet").stat().st_mode) & 0o044


def test_a_person_is_the_mean_over_the_clips_by_the_seconds_seen(tables):
    """Copies count once."""
    summary, path = tables
    clips, persons = summary["clips"], {row["subject"]: row for row in summary["persons"]}
    assert [row["subject"] for row in rows(path.with_name("t.persons.csv"))] == ["Ann", "bob", "cid"]
    ann, (first, second) = persons["Ann"], clips[:2]
    assert (ann["clips"], ann["seconds_seen"], ann["samples"]) == (2, pytest.approx(28), 112)
    for name in ("score_mean", "sad_sd", "change", "move_mean", "happy_q90"):
        assert ann[name] == pytest.approx((16 * first[name] + 12 * second[name]) / 28), name
    cid = persons["cid"]
    assert cid["score_mean"] == pytest.approx(clips[6]["score_mean"]), "a clip without a face has no say"
    assert cid["coverage"] == pytest.approx(0.25 / 8.25) and cid["sad_sd"] is None


def test_a_person_s_bouts_are_as_long_as_all_of_them_are_on_average():
    """Two of 3 s in a minute, one of 12 s in two minutes, none in three."""
    seen = pl.DataFrame(
        {"samples": [1, 1, 1], "seconds": [60.0, 120, 180], "seconds_seen": [60.0, 120, 180], "gaps": [0, 0, 1]}
    )
    clips = seen.with_columns(
        subject=pl.lit("ann"),
        item=pl.Series([*"abc"]),
        sad_bouts=pl.Series([2.0, 0.5, 0]),
        sad_bout_s=pl.Series([3.0, 12, None]),
    )
    (ann,) = over_persons(clips, ("sad_bouts", "sad_bout_s")).to_dicts()
    assert ann["sad_bouts"] == pytest.approx(3 / 6) and ann["sad_bout_s"] == pytest.approx((3 + 3 + 12) / 3)
    assert (ann["clips"], ann["samples"], ann["seconds_seen"], ann["gaps"]) == (3, 3, 360, 1)


def test_from_the_median_of_a_person_s_clips(tables, work):
    plain = tables[0]["clips"]
    summary, _ = told(work / "cache", "--head", work / "run", "--baseline", "median")
    clips = summary["clips"]
    usual = np.median([plain[0]["sad_mean"], plain[1]["sad_mean"]])
    assert [clip["sad_mean"] for clip in clips[:3]] == pytest.approx([clip["sad_mean"] - usual for clip in plain[:3]])
    assert clips[0]["baseline"] == "median (2 clips)" and clips[0]["seconds"] == plain[0]["seconds"]
    assert {clip["sad_mean"] for clip in clips[3:]} == {None}, "bob has one clip, cid one with a face"
    assert any(
        "2 clips have no baseline and no values: 1 name nobody, and persons of 1" in w for w in summary["warnings"]
    )
    assert clips[5]["coverage"] == pytest.approx(-0.5) and clips[3]["coverage"] is None


def test_from_the_visit_that_is_named(tables, work):
    plain = tables[0]["clips"]
    summary, _ = told(work / "cache", "--head", work / "run", "--baseline", "visit=1")
    change = plain[1]["sad_mean"] - plain[0]["sad_mean"]
    assert [clip["sad_mean"] for clip in summary["clips"][:4]] == pytest.approx([0, change, change, 0])
    persons = {row["subject"]: row for row in summary["persons"]}
    assert persons["Ann"]["sad_mean"] == pytest.approx(change) and persons["Ann"]["baseline"] == "visit=1 (1 clip)"
    assert persons["Ann"]["clips"] == 1 and "bob" not in persons, "a person's row is of the clips after it"


def test_without_a_head_or_without_emotions_it_is_said_what_is_missing(work):
    summary, _ = told(work / "cache")
    assert summary["descriptors"] == [*descriptor_names(False, ())] and summary["meaning"] == behaviour()
    assert any("without --head there is how heads moved" in warning for warning in summary["warnings"])
    assert summary["clips"][0]["move_mean"] > 0 and "score_mean" not in summary["clips"][0]
    summary, _ = told(work / "cache", "--head", work / "proxy")
    assert summary["descriptors"] == [*descriptor_names(True, ())] and summary["emotions"] == []
    assert any("no single emotion: there is its score" in warning for warning in summary["warnings"])


def test_what_is_left_out_is_counted(tables, work):
    warnings = " ".join(tables[0]["warnings"])
    assert "1 clips are listed by no source any more" in warnings
    assert "1 files could not be extracted and have no row" in warnings
    assert "2 of 6 clips show a face for less than 1 s" in warnings
    assert "nobody looked for faces" in " ".join(told(work / "whole", "--head", work / "run")[0]["warnings"])
    warnings = " ".join(told(work / "whole")[0]["warnings"])
    assert "nobody looked for faces" in warnings and "show a face for less" not in warnings
    assert "6 of 6 clips show a face for less than 1 s, or at less" in " ".join(told(work / "rare")[0]["warnings"])


def test_a_clip_of_nobody_known_and_one_that_states_to_last_for_years(work):
    summary, _ = told(work / "nobody", "--out", work / "nobody.csv")
    assert summary["persons"] == [] and summary["tables"] == [str(work / "nobody.csv")]
    assert summary["clips"][0]["seconds_seen"] == pytest.approx(2) and summary["clips"][0]["move_mean"] > 0
    (clip,) = told(work / "boasting")[0]["clips"]
    assert clip["seconds_seen"] == pytest.approx(2.25), "no frame stands for more than half a second after it"
    summary, _ = told(work / "endless")
    assert any("1 clips last no time by their frames, or more than 24 h" in warning for warning in summary["warnings"])
    assert summary["clips"][0]["samples"] == 8 and summary["clips"][0]["move_mean"] is None


def test_names_are_exactly_as_they_are_in_the_summary_and_name_a_baseline(tables, work):
    assert [clip["clip"] for clip in tables[0]["clips"]] == [*CLIPS]
    summary, _ = told(work / "cache", "--baseline", f"path={HOSTILE}")
    assert "7 clips have no baseline" in summary["warnings"][-1], "it is found, and is nobody's"


def test_eighty_columns_hold_the_most_important_and_what_they_mean(work):
    asked = ["describe", str(work / "cache"), "--head", str(work / "run"), "--baseline", "median"]
    told = CliRunner().invoke(main, [*asked, "--progress", "plain"], env=terminal(80))
    shown = on_screen(told.stdout)
    table = [line.rstrip() for line in shown.split("smiles and changes")[0].splitlines()]
    assert max(map(len, table)) <= 80 and "persons, from median" in table
    assert "clip" in table[1].split() and {"score", "smiles", "moves"} <= {*table[1].split()}
    said = " ".join(shown.split())
    assert behaviour(("neutral", "sad")) in said and UNTRAINED in said and "are written with --out" in said
    assert "warning: 1 files could not be extracted" in said


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("@images",), 1, "images holds 2 images and no clip; descriptors are of faces over time"),
        (("@nothing",), 1, "nothing does not exist"),
        (("@cache", "--head", "@nothing"), 1, "nothing"),
        (("@cache", "--head", "@foreign"), 1, "features are not those of run foreign"),
        (("@cache", "--head", "@mixes"), 1, "mixes frames in time"),
        (("@nothing", "--out", "@run/config.csv.gz"), 2, "written as .csv or .parquet"),  # before anything is loaded
        (("@cache", "--out", "@there.csv"), 1, "there.csv is there already; choose another --out"),
        (("@cache", "--out", "@also.csv"), 1, "also.persons.csv is there already"),
        (("@cache", "--long"), 2, "name one with --out"),
        (("@cache", "--positive", "sad"), 2, "name one with --head"),
        (("@forgotten",), 1, "none of its 1 clips is listed any more"),
        (("@nobody", "--baseline", "median"), 1, "no clip of this cache names a subject; name them with --subjects"),
        (("@cache", "--baseline", "visits=1"), 2, "no clip's listing has a column visits; there are"),
        (("@cache", "--baseline", "visit=9"), 2, "no clip has '9' as its visit; there are 1, 2"),
        (("@cache", "--baseline", "subject=zoe"), 2, "no clip has 'zoe' as its subject; there are Ann, bob, cid"),
        (("@cache", "--baseline", "first"), 2, "expected median, or COLUMN=VALUE"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence_and_writes_nothing(work, arguments, code, says):
    (work / "there.csv").write_text("mine")
    (work / "also.persons.csv").write_text("mine")
    before = sorted(work.rglob("*"))
    placed = [work / word[1:] if word.startswith("@") else word for word in arguments]
    _, said = told(*placed, code=code)
    assert says in said.replace(f"{work}/", "")
    assert sorted(work.rglob("*")) == before and (work / "there.csv").read_text() == "mine"


def test_every_column_is_defined_in_the_documentation_and_no_other(tables):
    """Those of the score and of an emotion are defined once, as SIGNAL_…"""
    page = (ROOT / "docs" / "descriptors.md").read_text(encoding="utf-8")
    defined = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page, re.MULTILINE)
    names = [name for cell in defined for name in re.findall(r"`(\w+)`", cell)]
    signal = re.compile(rf"^({'|'.join(('score', *EMOTIONS))})_(?=mean|sd|q\d|slope|above|bout)")
    _, path = tables
    files = (path, path.with_name("t.persons.csv"), path.with_name("t.long.csv"))
    written = {signal.sub("SIGNAL_", name) for file in files for name in rows(file)[0]} | {"baseline"}
    assert len(names) == len(set(names)) and set(names) == written
