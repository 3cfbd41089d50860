"""A run measured on a cache: today's labels, groups, raters, operating points, another run; by library and command."""

import csv
import json
import shutil
import tomllib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import tomli_w
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file
from sklearn import metrics as reference
from support.planted import NO_BOX, QUICK, planted_examples, spec, write_cache

from facedep_jax import open_cache
from facedep_jax.cache import CacheWriter
from facedep_jax.cli import main
from facedep_jax.errors import LabelError, RunError, SettingsError, TableError
from facedep_jax.evaluation.evaluate_run import evaluate_run
from facedep_jax.head.calibration import operating_points
from facedep_jax.media.frame_types import FACE_STATES
from facedep_jax.text_columns import write_csv
from facedep_jax.training.train_head import train_head


def add_listings(folder, entries):
    """Say of items what is known by now; the last listing of a path counts."""
    with CacheWriter(folder, spec(), SimpleNamespace(name="xla", version="1", device="cpu")) as writer:
        for entry in entries:
            writer.add_listing(entry)


def entry(examples, i, **changed):
    own = {name: getattr(examples, name)[i] for name in ("item", "path", "emotion", "subject", "split")}
    return {"source": "/s", **own, **changed}


@pytest.fixture(scope="module")
def examples():
    return planted_examples()


@pytest.fixture(scope="module")
def work(tmp_path_factory, examples):
    """A cache whose listings carry a camera, an age and a second rater, and a run trained on it."""
    folder = tmp_path_factory.mktemp("work")
    write_cache(folder / "cache", examples)
    second = np.where(np.arange(240) % 5 == 0, "happy", examples.emotion)
    further = [
        entry(examples, i, camera="ab"[i // 2 % 3 == 0], age=str(20 + i // 4), emotion2=second[i], source_column="x")
        for i in range(240)
    ]
    add_listings(folder / "cache", further)
    train_head([open_cache(folder / "cache")], QUICK, folder / "run")
    return folder


@pytest.fixture
def corrected(work, tmp_path):
    """A copy of the cache to be corrected."""
    shutil.copytree(work / "cache", tmp_path / "cache")
    return tmp_path / "cache"


def rows_of(run, split):
    rows = list(csv.DictReader((run / "predictions.csv").read_text().splitlines()))
    return [row for row in rows if row["split"] == split]


def test_a_cache_that_calls_emotions_otherwise_is_judged_alike(work, corrected, examples):
    """CK+ says sadness and anger where FER2013 says sad and angry."""
    own = evaluate_run(work / "run", open_cache(work / "cache"))
    words = {"sad": "Sadness", "neutral": "NEUTRALITY", "happy": "Joy"}
    add_listings(corrected, [entry(examples, i, emotion=words[examples.emotion[i]]) for i in range(240)])
    notes = []
    other = evaluate_run(work / "run", open_cache(corrected), report=notes.append)
    figures = ("n", "auroc", "brier", "auroc_sad_vs_neutral", "score_by_emotion", "label_counts", "confusion")
    assert {name: other[name] for name in figures} == {name: own[name] for name in figures}
    assert not [note.text for note in notes if "another emotion" in note.text]
    add_listings(corrected, [entry(examples, i, emotion="sadly") for i in range(8)])
    told = evaluate_run(work / "run", open_cache(corrected), "all")["warnings"]
    assert "these are no emotions that are known (`labels` lists them): sadly 8 (sad?)" in told


def test_a_run_holds_every_part_of_its_evaluation(work):
    summary = json.loads((work / "run" / "metrics.json").read_text())
    test = summary["metrics"]["test"]
    assert set(test["subgroups"]) == {"camera"}  # ages have a value for every second subject, `source` has one
    assert [row["n"] for row in test["subgroups"]["camera"]["groups"]] == [40, 20]
    assert test["raters"]["emotion2"]["n"] == 60 and test["raters"]["emotion2"]["raters"]["agreement"] < 1
    assert test["spread"]["members"] == 2
    assert [point["wanted_specificity"] for point in test["operating_points"]] == [0.8, 0.9, 0.95]
    for name, baseline in summary["baselines"].items():
        difference = baseline["test"]["vs_head"]
        assert difference["auroc"] == pytest.approx(test["auroc"] - baseline["test"]["auroc"]), name
        assert difference["brier"] == pytest.approx(test["brier"] - baseline["test"]["brier"]), name
        assert baseline["test"]["raters"]["emotion2"]["head_and_second"]["auroc"] is not None, name
    many = "30 different values; --by age compares quarters"
    assert test["not_compared"] == {"age": many} and test["by_person"]["auroc"] is not None
    page = (work / "run" / "report.html").read_text()
    for text in (f"Not compared: age ({many}).", "the second rater&#39;s label", "each person weighing the same"):
        assert text in page


def test_members_differ_by_what_the_predictions_say(work):
    rows = rows_of(work / "run", "test")
    assert max(float(row["logit_sd"]) for row in rows) > 0
    spread = json.loads((work / "run" / "metrics.json").read_text())["metrics"]["test"]["spread"]
    assert np.mean([float(row["probability_sd"]) for row in rows]) == pytest.approx(spread["mean"])


def test_operating_points_are_chosen_on_validation_and_kept_for_any_cache(work):
    val = rows_of(work / "run", "val")
    points = operating_points(
        np.array([float(row["probability"]) for row in val]), np.array([row["label"] == "1" for row in val])
    )
    found = evaluate_run(work / "run", open_cache(work / "cache"), "test")
    assert [entry["threshold"] for entry in found["operating_points"]] == [point.threshold for point in points]
    test = rows_of(work / "run", "test")
    negative = [float(row["probability"]) for row in test if row["label"] == "0"]
    achieved = np.mean([p < points[1].threshold for p in negative])
    assert found["operating_points"][1]["specificity"] == pytest.approx(achieved)
    stored = json.loads((work / "run" / "metrics.json").read_text())["metrics"]["test"]
    for name in ("operating_points", "raw", "subgroups", "raters", "spread"):
        assert json.dumps(found[name])[:40] == json.dumps(stored[name])[:40], name


def test_before_calibration_means_the_mean_logit_as_it_is(work):
    rows = rows_of(work / "run", "test")
    raw = 1 / (1 + np.exp(-np.array([float(row["logit"]) for row in rows])))
    label = np.array([row["label"] == "1" for row in rows])
    found = evaluate_run(work / "run", open_cache(work / "cache"), "test")
    assert found["raw"]["brier"] == pytest.approx(reference.brier_score_loss(label, raw), abs=1e-6)


def test_groups_are_those_asked_for(work):
    found = evaluate_run(work / "run", open_cache(work / "cache"), "all", by=("emotion", "age", "camera"))
    assert list(found["subgroups"]) == ["emotion", "age", "camera"]
    emotions = {row["group"]: row for row in found["subgroups"]["emotion"]["groups"]}
    assert emotions["happy"]["mean_score"] == pytest.approx(found["score_by_emotion"]["happy"]["mean"])
    assert len(found["subgroups"]["age"]["groups"]) == 4
    assert evaluate_run(work / "run", open_cache(work / "cache"), "test", by=("subject",))["subgroups"]["subject"]


def test_what_cannot_be_compared_is_said_and_ends_nothing(work, examples, tmp_path):
    """A column with a value of its own for each of the twelve items that have one, as 12 values may be groups."""
    rows = "".join(f"{examples.path[i]},{examples.emotion[i]},x{i}\n" for i in range(6, 240, 20))
    (tmp_path / "scores.csv").write_text(f"path,emotion,score\n{rows}")
    events = []
    cache, table = open_cache(work / "cache"), tmp_path / "scores.csv"
    found = evaluate_run(work / "run", cache, "all", labels=table, report=events.append)
    assert found["not_compared"]["score"] == "every item has one of its own" and "score" not in found["subgroups"]
    shown = CliRunner().invoke(main, ["evaluate", str(work / "run"), str(cache.path), "--labels", str(table)])
    assert "score (every item has one of its own)" in " ".join(shown.stdout.split())
    settings = replace(QUICK, baselines="none", labels=str(table))
    summary = train_head([cache], settings, tmp_path / "run")
    assert "score" in summary["metrics"]["test"]["not_compared"]


def test_a_corrected_label_counts_and_is_said(work, corrected, examples):
    """One test item that was happy turns out to be sad; one of train too, and stays in train."""
    test, train = np.flatnonzero((examples.split == "test") & (examples.emotion == "happy"))[0], 0
    add_listings(corrected, [entry(examples, i, emotion="sad", split="test") for i in (test, train)])
    before = evaluate_run(work / "run", open_cache(work / "cache"), "test")
    events = []
    after = evaluate_run(work / "run", open_cache(corrected), "test", report=events.append)
    assert after["n"] == before["n"] == 60
    assert after["prevalence"] == pytest.approx(before["prevalence"] + 1 / 60)
    assert after["score_by_emotion"]["sad"]["n"] == before["score_by_emotion"]["sad"]["n"] + 1
    said = next(event.text for event in events if "another emotion" in event.text)
    assert said.startswith("2 items have another emotion than in the run") and "happy → sad" in said
    assert not any("another" in event.text for event in _events(work, work / "cache"))


def _events(work, cache):
    events = []
    evaluate_run(work / "run", open_cache(cache), "test", report=events.append)
    return events


def test_a_corrected_subject_counts(work, corrected, examples):
    rows = np.flatnonzero(examples.split == "test")
    add_listings(corrected, [entry(examples, i, subject=f"q{i // 8}") for i in rows])
    assert evaluate_run(work / "run", open_cache(corrected), "test")["subjects"] == len({i // 8 for i in rows})


def test_what_the_listings_do_not_say_any_more_is_the_runs_and_said(work, corrected, examples):
    rows = np.flatnonzero(examples.split == "test")[:4]
    add_listings(corrected, [entry(examples, i, emotion=None, subject=None) for i in rows[:3]])
    add_listings(corrected, [entry(examples, rows[3], subject=None)])
    events = []
    assert evaluate_run(work / "run", open_cache(corrected), "test", report=events.append)["n"] == 60
    said = [event.text for event in events if "listed without" in getattr(event, "text", "")]
    assert said == [f"{n} items are listed without {what}: the run's counts for them" for n, what in (
        (3, "emotion"), (4, "subject"),
    )]  # fmt: skip
    assert not any("listed without" in getattr(event, "text", "") for event in _events(work, work / "cache"))


def test_labels_that_contradict_each_other_by_now_are_left_out(work, corrected, examples):
    i = np.flatnonzero(examples.split == "test")[0]
    add_listings(corrected, [entry(examples, i, emotion="anger", path="copy.jpg")])
    events = []
    assert evaluate_run(work / "run", open_cache(corrected), "test", report=events.append)["n"] == 59
    assert any("1 items of the run carry conflicting labels" in event.text for event in events)


def test_a_table_given_now_counts_more_than_the_listings(work, examples, tmp_path):
    i = np.flatnonzero((examples.split == "test") & (examples.emotion == "happy"))[0]
    (tmp_path / "labels.csv").write_text(f"path,emotion,hat\n{examples.path[i]},sad,yes\n")
    cache = open_cache(work / "cache")
    found = evaluate_run(work / "run", cache, "test", labels=tmp_path / "labels.csv", by=("hat",))
    assert found["confusion"] != evaluate_run(work / "run", cache, "test")["confusion"]
    assert [row["n"] for row in found["subgroups"]["hat"]["groups"]] == [1, 59]


def copied(run, folder, table=None, change=None, **settings):
    """A copy of a run as if it had been made with a `table` of labels and `settings`, its predictions changed."""
    shutil.copytree(run, folder)
    config = tomllib.loads((folder / "config.toml").read_text())
    config["train"] |= ({"labels": str(table)} if table else {}) | settings
    (folder / "config.toml").write_text(tomli_w.dumps(config))
    rows = list(csv.DictReader((folder / "predictions.csv").read_text().splitlines()))
    write_csv(folder / "predictions.csv", pl.DataFrame([row | (change(row) if change else {}) for row in rows]))
    return folder


def test_aliases_are_words_of_a_second_rater_and_of_what_is_positive_too(work, corrected, examples, tmp_path):
    """Where they were not, raters who agree would not, and positive items would count among the rest."""
    words = [entry(examples, i, emotion2=examples.emotion[i].replace("sad", "Melancholy")) for i in range(240)]
    add_listings(corrected, words)
    run = copied(work / "run", tmp_path / "run", aliases=["melancholy=sad"], positive=["melancholy", "neutral"])
    plain = evaluate_run(work / "run", open_cache(corrected), "test", ["sad", "neutral"])
    for positive in (None, ["Melancholy", "neutral"]):
        found = evaluate_run(run, open_cache(corrected), "test", positive)
        assert found["raters"]["emotion2"]["raters"]["agreement"] == 1.0
        assert (found["positive"], found["prevalence"]) == (["neutral", "sad"], plain["prevalence"])


def test_a_run_made_with_a_table_goes_by_it_until_another_is_given(work, examples, tmp_path):
    turned = {"happy": "sad", "sad": "happy", "neutral": "happy"}
    run = copied(work / "run", tmp_path / "run", "turned.csv", lambda row: {"emotion": turned[row["emotion"]]})
    cache = open_cache(work / "cache")
    found = evaluate_run(run, cache, "test")
    assert found["auroc"] == pytest.approx(1 - evaluate_run(work / "run", cache, "test")["auroc"])
    i = np.flatnonzero((examples.split == "test") & (examples.emotion == "sad"))[0]
    (tmp_path / "one.csv").write_text(f"path,emotion\n{examples.path[i]},sad\n")
    events = []
    after = evaluate_run(run, cache, "test", labels=tmp_path / "one.csv", report=events.append)
    assert after["prevalence"] == pytest.approx(found["prevalence"] + 1 / 60)
    assert any("1 items have another emotion than in turned.csv" in event.text for event in events)


@pytest.fixture(scope="module")
def other(work, tmp_path_factory):
    """Another run on the same cache: the same head with noise in every weight."""
    folder = copied(work / "run", tmp_path_factory.mktemp("other") / "run")
    weights, rng = load_file(folder / "head.safetensors"), np.random.default_rng(0)
    noisy = {name: (x + rng.normal(0, 0.1, x.shape)).astype(x.dtype) for name, x in weights.items()}
    save_file(noisy, folder / "head.safetensors")
    return folder


def test_two_runs_are_compared_on_the_same_items(work, other):
    cache = open_cache(work / "cache")
    own, alone = evaluate_run(work / "run", cache, "test"), evaluate_run(other, cache, "test")
    assert own["against"] is None and own["auroc"] != alone["auroc"]
    found = evaluate_run(work / "run", cache, "test", against=other)["against"]
    assert found["run"] == str(other) and found["by"] == "applied"
    assert found["auroc"] == pytest.approx(alone["auroc"]) and found["brier_ci"] == pytest.approx(alone["brier_ci"])
    assert found["difference"]["auroc"] == pytest.approx(own["auroc"] - alone["auroc"])
    assert found["difference"]["brier"] == pytest.approx(own["brier"] - alone["brier"])
    low, high = found["difference"]["auroc_ci"]
    assert low <= found["difference"]["auroc"] <= high and low < high


def test_a_run_of_other_features_is_compared_by_what_it_wrote_down(work, tmp_path):
    cache = open_cache(work / "cache")
    half = copied(work / "run", tmp_path / "half", change=lambda row: {"probability": 1 - float(row["probability"])})
    config = tomllib.loads((half / "config.toml").read_text())
    config["cache"]["features"]["size"]["resnet50"] = 96
    (half / "config.toml").write_text(tomli_w.dumps(config))
    events = []
    found = evaluate_run(work / "run", cache, "test", against=half, report=events.append)
    assert found["against"]["auroc"] == pytest.approx(1 - found["auroc"])  # not what its head, the same, would say
    assert any(f"{half} cannot be applied to {work / 'cache'}" in event.text for event in events)
    assert found["against"]["by"] == "predictions.csv"
    rows = list(csv.DictReader((half / "predictions.csv").read_text().splitlines()))
    write_csv(half / "predictions.csv", pl.DataFrame([row for row in rows if row["split"] != "test"]))
    with pytest.raises(LabelError, match="says nothing of 60 of these 60 items, for example "):
        evaluate_run(work / "run", cache, "test", against=half)


def test_what_shows_no_face_is_missed_in_no_run(work, examples, tmp_path):
    """Nobody judged it, so another run's table need not name it."""
    other_size = {"size": {"mobilenet_v2": 64, "resnet50": 96}}
    faces = examples[np.arange(240) != 6]
    write_cache(tmp_path / "cache", faces, **other_size)
    train_head([open_cache(tmp_path / "cache")], QUICK, tmp_path / "run")
    engine = SimpleNamespace(name="xla", version="1", device="cpu")
    with CacheWriter(tmp_path / "cache", spec(**other_size), engine) as writer:
        writer.begin_item(examples.item[6], "image")
        writer.add_row(0.0, FACE_STATES.index("none"), NO_BOX, np.nan, None)
        writer.end_item(64, 64, 0.0, 7)
        writer.add_listing(entry(examples, 6))
    assert examples.split[6] == "test"
    found = evaluate_run(tmp_path / "run", open_cache(tmp_path / "cache"), "test", against=work / "run")
    assert found["n"] == found["against"]["difference"]["n"] == 59


def test_other_positives_of_another_run_are_said(work, other, tmp_path):
    config = tomllib.loads((other / "config.toml").read_text())
    config["run"]["positive_emotions"] = ["happy"]
    shutil.copytree(other, tmp_path / "run")
    (tmp_path / "run" / "config.toml").write_text(tomli_w.dumps(config))
    events = []
    evaluate_run(work / "run", open_cache(work / "cache"), "test", against=tmp_path / "run", report=events.append)
    assert any("learned happy as positive, this run neutral, sad" in event.text for event in events)
    with pytest.raises(RunError, match=r"is not a run: it has no config\.toml"):
        evaluate_run(work / "run", open_cache(work / "cache"), "test", against=tmp_path)


def test_a_run_that_learned_from_what_it_is_compared_on_is_named(work, other):
    events = []
    evaluate_run(work / "run", open_cache(work / "cache"), "all", against=other, report=events.append)
    assert any(f"180 of these items were learned from or chosen by in {other}" in event.text for event in events)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"by": ("hair",)}, "no listing has a column 'hair'; there are age, camera"),
        ({"second_label": "emotion7"}, "no listing has a column 'emotion7'"),
        ({"prevalences": (0.2, 20.0)}, "prevalence 20: expected a part between 0 and 1"),
        ({"split": "tset"}, "'tset'"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(work, asked, said):
    with pytest.raises(SettingsError, match=said):
        evaluate_run(work / "run", open_cache(work / "cache"), **asked)


def test_a_table_of_other_files_is_refused(work, tmp_path):
    (tmp_path / "labels.csv").write_text("path,emotion2\nelsewhere.jpg,sad\n")
    with pytest.raises(TableError, match="match no listing"):
        evaluate_run(work / "run", open_cache(work / "cache"), labels=tmp_path / "labels.csv")


def command(*arguments):
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def test_the_command_line_gives_what_the_library_gives(work, other):
    asked = ["--by", "camera", "--by", "age", "--second-label", "emotion2", "--prevalence", "0.05,0.2"]
    asked += ["--against", other]
    given = json.loads(command(work / "run", work / "cache", *asked, "--json").stdout)
    expected = evaluate_run(
        work / "run",
        open_cache(work / "cache"),
        by=("camera", "age"),
        second_label="emotion2",
        prevalences=(0.05, 0.2),
        against=other,
    )
    reads = [int(summary.pop("test_aurocs_read")) for summary in (given, expected)]
    assert given == expected and reads[1] == reads[0] + 1
    shown = command(work / "run", work / "cache", *asked).stdout
    for text in ("by camera", "second rater: emotion2", "Cohen's κ", "5 %", "thresholds for a specificity", "before"):
        assert text in shown
    wrong = command(work / "run", work / "cache", "--prevalence", "half")
    assert wrong.exit_code == 2 and "--prevalence half" in wrong.stderr
