"""A study from the command line: a table and a cache to figures, a page and a draft."""

import csv
import json

import pytest
from support.caches import identity
from support.clip_cache import ENGINE, add_clip
from support.untrained_run import SMALL, write_run

import facedep_jax
from facedep_jax.cache import CacheWriter
from facedep_jax.cli import main
from facedep_jax.extraction.plan import plan_extraction

PERSONS = 24


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Persons of one clip each, whose boxes drift the faster the higher the number."""
    folder = tmp_path_factory.mktemp("study")
    spec = plan_extraction(("clip",), SMALL).spec
    with CacheWriter(folder / "cache", spec, ENGINE) as writer:
        for person in range(PERSONS):
            add_clip(writer, person + 10, 24)
            listing = {"item": identity(person + 10), "source": "/s", "path": f"p{person:02d}.mp4", "emotion": None}
            writer.add_listing(listing)
    write_run(folder / "run", target="emotion")
    write_run(folder / "gru", temporal="gru")
    return folder


def table(folder, rows, name="t.csv"):
    with open(folder / name, "w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return folder / name


def persons(folder, name="t.csv", label=lambda n: n >= PERSONS // 2, extra=()):
    rows = [("subject", "path", "label", "PHQ8_Score", "Gender")]
    rows += [(f"s{n}", f"p{n:02d}.mp4", int(label(n)), n % 24, "MF"[n % 2]) for n in range(PERSONS)]
    return table(folder, [*rows, *extra], name)


def study(capsys, *arguments, repeats=2):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, ("study", *arguments)), "--json", "--permutations", "19", "--repeats", str(repeats)])
    out, said = capsys.readouterr()
    return ended.value.code, json.loads(out) if out.strip() else {}, said


def test_a_study_is_judged_written_and_repeated_by_its_own_settings(work, capsys):
    where = persons(work, extra=[("away", "not there.mp4", 1, 9, "F")])
    options = "--group", "Gender", "--bands", "5,10,15,20"
    code, found, said = study(capsys, where, work / "cache", "--head", work / "run", "--out", work / "one", *options)
    assert code == 0
    assert found["flow"]["persons in the table"] == PERSONS + 1 and found["flow"]["with a face"] == PERSONS
    # Boxes drift by 10 pixels a second times the number of the clip, so movement tells high numbers from low ones.
    assert found["classes"]["models"]["descriptors"]["auc"] > 0.9
    assert found["classes"]["chance"]["descriptors"]["p"] == 0.05
    assert found["classes"]["models"]["dummy"]["auc"] == 0.5
    assert (
        set(found["classes"]["models"])
        == set(found["scores"]["models"])
        == set(found["order"]["models"])
        == {"dummy", "confounds", "descriptors", "attention", "score"}
    )
    assert found["scores"]["models"]["descriptors"]["mae"] < found["scores"]["models"]["dummy"]["mae"]
    assert {row["group"] for row in found["groups"]["Gender"]["classes"]} == {"M", "F"}
    assert 0 <= found["scores"]["band_agreement"]["accuracy"] <= 1
    ordered = found["order"]["models"]["descriptors"]  # of the bands, learned as such
    assert ordered["kappa_quadratic"] > 0.5 and ordered["auc"] > 0.8 and ordered["mae"] < 1
    assert [one["from"] for one in ordered["cuts"]] == found["order"]["bands"][1:] == ["5", "10", "15", "20"]
    assert found["order"]["chance"]["descriptors"]["p"] == 0.05 and found["persons"]["order"] == PERSONS
    assert "away" in said and "unmatched.csv" in said and found["untrained"]
    files = {path.name for path in (work / "one").iterdir()}
    assert files >= {"metrics.json", "predictions.csv", "persons.csv", "unmatched.csv", "report.html", "TRIPOD.md"}
    page = (work / "one" / "report.html").read_text()
    assert "What carries the model of ordered classes" in page and "told from who lies below" in page
    assert found["class_names"] == ["label 0", "label 1"] and "of them label 1" in page
    assert "positive" not in page.replace("--positive", "").lower()
    assert "What cannot be concluded" in page and "UNTRAINED" in page and "not a diagnosis" in page
    with open(work / "one" / "attention.csv") as stream:
        weights = list(csv.DictReader(stream))
    for target in ("classes", "scores", "order"):
        own = [float(row["weight"]) for row in weights if row["target"] == target]
        assert own == pytest.approx([1] * PERSONS, abs=1e-4)
    assert "attention: a head that weighs windows" in page and "the mean of its frames" in page
    assert "TO WRITE" in (work / "one" / "TRIPOD.md").read_text()
    with open(work / "one" / "unmatched.csv") as stream:
        assert [row["subject"] for row in csv.DictReader(stream) if row["what"] == "person without a clip"] == ["away"]
    again = "--config", work / "one" / "config.toml", "--out", work / "two", "--head", work / "run"
    with pytest.raises(SystemExit):
        main([*map(str, ("study", where, work / "cache", *again))])
    shown = capsys.readouterr().out
    assert "model\tAUC\tsensitivity\tspecificity\tp" in shown and "\tquadratic κ\t" in shown
    for target in ("the classes apart", "to the scores than their mean", "in the order of their bands"):
        assert sum(target in text for text in found["verdicts"]) == 3, target  # of three models each
    assert (work / "one" / "predictions.csv").read_bytes() == (work / "two" / "predictions.csv").read_bytes()


def test_labels_in_an_order_are_learned_in_it(work, capsys):
    rows = [("subject", "path", "label")]
    rows += [(f"s{n}", f"p{n:02d}.mp4", ("none", "mild", "severe")[n * 3 // PERSONS]) for n in range(PERSONS)]
    where = table(work, rows, "words.csv")
    order = "--order", "none,mild,severe"
    code, found, said = study(capsys, where, work / "cache", "--out", work / "words", *order, "--permutations", "0")
    assert code == 0 and found["classes"] is None and found["scores"] is None
    assert found["order"]["bands"] == ["none", "mild", "severe"]
    assert found["order"]["models"]["descriptors"]["kappa_linear"] > 0.5
    assert "puts persons in the order of their bands" in " ".join(found["verdicts"])
    with open(work / "words" / "predictions.csv") as stream:
        rows = [row for row in csv.DictReader(stream) if row["model"] == "descriptors"]
    assert {row["band"] for row in rows} == {"0", "1", "2"} and {row["target"] for row in rows} == {"order"}
    code, _, said = study(capsys, where, work / "cache", "--out", work / "words 2")
    assert code == 1 and "say with --positive-label WORD" in " ".join(said.split())


def test_predictions_are_of_persons_who_were_not_learned_from(work, capsys):
    half = persons(work, "half.csv")
    _, before, _ = study(capsys, half, work / "cache", "--out", work / "half", "--protocol", "loso")
    turned = persons(work, "turned.csv", label=lambda n: (n >= PERSONS // 2) != (n == 3))
    study(capsys, turned, work / "cache", "--out", work / "turned", "--protocol", "loso")
    assert f"leave one person out, {PERSONS} persons" in before["protocol"]

    def of(name):
        with open(work / name / "predictions.csv") as stream:
            rows = [
                row for row in csv.DictReader(stream) if row["target"] == "classes" and row["model"] == "descriptors"
            ]
        return {row["subject"]: float(row["predicted"]) for row in rows}

    one, other = of("half"), of("turned")
    assert one["s3"] == pytest.approx(other["s3"], abs=1e-9)
    assert max(abs(one[name] - other[name]) for name in one) > 1e-3


def test_without_a_head_there_is_movement_and_no_score(work, capsys):
    _, found, _ = study(capsys, persons(work, "plain.csv"), work / "cache", "--out", work / "plain")
    assert "score" not in found["classes"]["models"]
    assert {row["name"] for row in found["carriers"]["classes"]} == {"move_mean", "move_q90"}


@pytest.mark.parametrize("how", [pytest.param("features", marks=pytest.mark.exhaustive), "warm"])
def test_an_attention_head_learns_from_features_on_request(work, capsys, how):
    given = () if how == "features" else ("--head", work / "run")
    options = "--attention", how, "--window", 2, "--protocol", "repeated", "--folds", 2
    where = table(work, [("subject", "path", "label"), *((f"s{n}", f"p{n:02d}.mp4", n % 2) for n in range(PERSONS))])
    code, found, _ = study(capsys, where, work / "cache", "--out", work / how, *given, *options, repeats=1)
    assert code == 0 and found["classes"]["models"]["attention"]["n"] == PERSONS
    assert "attention" not in found["classes"]["chance"]
    said = next(text for text in found["notes"] if text.startswith("classes, attention"))
    assert "windows of 2 s" in said and ("begun with the head's weights" in said) == (how == "warm")


def test_an_attention_head_without_what_it_builds_on_is_refused(work, capsys):
    given = persons(work, "b.csv"), work / "cache", "--out", work / "no", "--attention", "vectors"
    code, _, said = study(capsys, *given)
    assert code == 2 and "needs the head that it builds on; give --head" in said


def test_partitions_of_the_table_are_the_protocol(work, capsys):
    rows = [("subject", "path", "label", "split")]
    rows += [(f"s{n}", f"p{n:02d}.mp4", n % 2, ["train", "dev", "test"][n % 3]) for n in range(PERSONS)]
    _, found, _ = study(capsys, table(work, rows, "split.csv"), work / "cache", "--out", work / "split")
    said = f"classes: learned from {PERSONS // 3} persons of train, {PERSONS * 2 // 3} of dev or test judged"
    assert found["protocol"] == said
    assert found["classes"]["models"]["descriptors"]["n"] == PERSONS * 2 // 3
    assert found["scores"] is None


def test_two_corpora_are_learned_from_and_judged_and_nothing_else(work, capsys):
    for name, numbers in (("a", range(14)), ("b", range(14, PERSONS))):
        with CacheWriter(work / name, plan_extraction(("clip",), SMALL).spec, ENGINE) as writer:
            for person in numbers:
                add_clip(writer, person + 10, 24)
                listing = {"item": identity(person + 10), "source": "/s", "path": f"p{person:02d}.mp4", "emotion": None}
                writer.add_listing(listing)
    where = persons(work, "two.csv", label=lambda n: n % 3 == 0)
    corpora = "--train", work / "a", "--test", work / "b"
    code, found, said = study(capsys, where, *corpora, "--out", work / "two corpora")
    assert code == 0
    assert found["protocol"].startswith("classes: learned from 14 persons of train, 10 of dev or test judged")
    assert found["persons"] == {"classes": 10, "scores": 10}
    assert "14 of 24 persons are not judged" in said
    code, _, said = study(capsys, where, work / "cache", *corpora, "--out", work / "three")
    assert code == 2 and "is neither learned from nor judged" in " ".join(said.split())


def test_visits_are_told_apart_by_name_and_judged_where_something_is_stated(work, capsys):
    half = PERSONS // 2
    rows = [("subject", "path", "visit", "label")]
    for n in range(half):  # the later visit first for some; of two persons something is stated of that alone
        first = (f"s{n}", f"p{n:02d}.mp4", "1", "" if n < 2 else n % 2)
        second = (f"s{n}", f"p{n + half:02d}.mp4", "2", n % 2)
        rows += [second, first] if n % 3 == 0 else [first, second]
    code, found, said = study(capsys, table(work, rows, "visits.csv"), work / "cache", "--out", work / "visits")
    assert code == 0 and found["persons"] == {"classes": half}
    assert found["flow"]["visits"] == PERSONS
    assert "1 persons are judged by a later visit" in said  # s1; the rows of s0 begin with the later one
    assert found["retest"]["move_mean"]["n"] == half
    assert (
        found["retest"]["move_mean"]["icc_consistency"] > 0.99
    )  # boxes of the second drift faster by the same for all
    assert "minimal detectable change" in (work / "visits" / "report.html").read_text()


def test_what_is_stated_of_few_or_of_one_side_alone_is_refused(work, capsys):
    rows = [("subject", "path", "label", "score", "split")]
    split = ["train" if n < 16 else "test" for n in range(PERSONS)]
    rows += [(f"s{n}", f"p{n:02d}.mp4", int(n >= 16), n if n < 5 else "", split[n]) for n in range(PERSONS)]
    where = table(work, rows, "sides.csv")
    code, _, said = study(capsys, where, work / "cache", "--out", work / "sides")
    assert code == 1 and "all 16 persons to learn from are of one class" in " ".join(said.split())
    free = "--column", "partition="
    code, _, said = study(capsys, where, work / "cache", "--out", work / "sides", *free)
    assert code == 1 and "scores: 5 persons with a face state one" in " ".join(said.split())
    code, found, _ = study(capsys, where, work / "cache", "--out", work / "sides", *free, "--column", "score=")
    assert code == 0 and found["scores"] is None and found["persons"] == {"classes": PERSONS}


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (("--head", "gru"), 1, "descriptors need a head that judges every frame by itself"),
        (("--cutoff", "99"), 2, "cutoff"),
        (("--protocol", "official"), 1, "persons to learn from and to judge are needed"),
        (("--folds", "13"), 1, "13 folds need as many persons of each class"),
        (("--train", "cache"), 2, "give both or neither"),
        (("--bands", "5,three"), 2, "no list of numbers"),
        (("--bands", "10,5"), 2, "expected rising lower ends"),
        (("--group", "shoe"), 2, "shoe"),
        (("--permutations", "5"), 2, "expected 19 to 100000"),
    ],
)
def test_what_cannot_be_meant_is_a_sentence(work, capsys, change, code, said):
    option, value = change
    value = work / value if (work / value).exists() else value
    where = persons(work, "bad.csv")
    with pytest.raises(SystemExit) as ended:
        main([*map(str, ("study", where, work / "cache", "--out", work / "bad", option, value))])
    assert ended.value.code == code
    assert said in " ".join(capsys.readouterr().err.split())
    assert not (work / "bad").exists()


def test_a_study_is_written_once_and_needs_persons(work, capsys):
    (work / "full").mkdir(exist_ok=True)
    (work / "full" / "mine.txt").write_text("mine")
    where = persons(work, "again.csv")
    assert study(capsys, where, work / "cache", "--out", work / "full")[0] == 1
    few = table(work, [("subject", "path", "label"), *((f"s{n}", f"p{n:02d}.mp4", n % 2) for n in range(6))], "few.csv")
    code, _, said = study(capsys, few, work / "cache", "--out", work / "few")
    assert code == 1 and "at least 8 persons" in said


def test_from_python_a_study_is_written_and_handed_back(work):
    where = persons(work, "python.csv")
    found = facedep_jax.study_persons(str(where), work / "cache", out=str(work / "f"), permutations=0, repeats=1)
    assert found.page == work / "f" / "report.html" and found.page.is_file()
    assert json.loads((work / "f" / "metrics.json").read_text())["verdicts"] == found.verdicts
    assert len(found.tables["persons"]) == PERSONS
    assert found.verdicts[0] in repr(found) and "<div>" in found._repr_html_()
