"""Folders of clips from files to tables and a page: what is read again, what is kept, and whose names do no harm."""

import csv
import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from support.logits import member_logits
from support.planted import labelled
from support.untrained_run import write_run

from facedep_jax.cache import open_cache
from facedep_jax.cache.maintenance.subject_mentions import find_traces
from facedep_jax.cli import main
from facedep_jax.dataset.labelled_examples import gather
from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.head.batched_forward import member_clip_logits
from facedep_jax.media.media_writer import write_clip
from facedep_jax.runs.run_directory import load_head
from facedep_jax.scoring.clip_scores import ScoreSettings
from facedep_jax.scoring.correlated_mean import half_width
from facedep_jax.scoring.saved_crops import Crops
from facedep_jax.scoring.score_videos import score_videos
from facedep_jax.sources import Listing, Listings, read_source
from facedep_jax.sources.file_kinds import LAYERED, RAW_CLIP
from facedep_jax.sources.synthetic_faces import EXPRESSIONS, draw_face, draw_person
from facedep_jax.text_escaping import in_tables

TAG, FORMULA, CONTROL = "<img src=x onerror=alert(1)>.mp4", "=cmd()|' !A0.mp4", "red\x1b[31m\nline.mp4"
NAMES = (TAG, FORMULA, CONTROL, "ann/a.mp4", "ann/b.mp4", "bob/a.mp4")
OTHERS = ("=1+1.txt", "bob/sound.mp3", "bob/._a.mp4", "frames/4.png", *(f"frames/{n}.jpg" for n in range(4)))


def draw(path, seed, seconds=5):
    rng = np.random.default_rng(seed)
    ends = [np.array(EXPRESSIONS[name]) for name in ("neutral", ("happy", "sad", "surprise")[seed % 3])]
    person, along = draw_person(seed), np.linspace(0, 1, 4 * seconds)
    write_clip(path, [draw_face(person, ends[0] + t * (ends[1] - ends[0]), rng) for t in along], 4.0)


def cli(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return result


def table(path):
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Clips with names of every kind, one of them broken, other files beside them, two runs, and the scores by the
    first with faces kept."""
    folder = tmp_path_factory.mktemp("work")
    for seed, name in enumerate(NAMES):
        draw(folder / "clips" / name, seed)
    (folder / "clips" / "bob" / "broken.mp4").write_bytes((folder / "clips" / TAG).read_bytes()[:300])
    (folder / "clips" / "frames").mkdir()
    for name in OTHERS:
        (folder / "clips" / name).write_bytes(b"not opened")
    for seed in (0, 1):
        write_run(folder / f"run{seed}", seed)
    folder.joinpath("result").write_text(score(folder, "--keep-crops", "--shared", code=3).stdout)
    return folder


def score(work, *more, run="run0", out="scores", clips="clips", code=3):
    return cli(
        "score-videos",
        work / clips,
        "--head",
        work / run,
        "--faces",
        "none",
        "--engine",
        "xla",
        "--out",
        work / out,
        *more,
        code=code,
    )


def test_every_clip_is_in_the_tables_and_on_the_page_with_its_reason(work):
    rows = {row["clip"]: row for row in table(work / "scores" / "clips.csv")}
    summary = json.loads((work / "scores" / "summary.json").read_text())
    page = (work / "scores" / "report.html").read_text()
    assert [summary[f"clips_{name}"] for name in ("total", "scored", "failed", "abstained")] == [7, 6, 1, 0]
    assert [summary["items_new"], summary["items_reused"]] == [6, 0]
    ignored = {name: row for name, row in rows.items() if row["status"] == "ignored"}
    assert len(rows) - len(ignored) == 7 and rows["bob/broken.mp4"]["status"] == "failed"
    reason = rows["bob/broken.mp4"]["reason"]
    assert reason and reason in page and reason in (work / "result").read_text()
    assert rows["ann/a.mp4"]["score"] != rows["bob/a.mp4"]["score"]  # equal names in different folders
    assert len(list((work / "scores" / "plots").iterdir())) == 6


def test_a_clip_that_is_not_read_is_failed_and_a_picture_that_is_not_read_ignored(work, tmp_path):
    shutil.copytree(work / "clips" / "ann", tmp_path / "mixed")
    for name in ("b.braw", "c.psd"):
        (tmp_path / "mixed" / name).write_bytes(b"not opened")
    score(work, "--tables-only", clips=tmp_path / "mixed", out=tmp_path / "mixed-scores", code=3)
    rows = {row["clip"]: (row["status"], row["reason"]) for row in table(tmp_path / "mixed-scores" / "clips.csv")}
    assert rows["b.braw"] == ("failed", RAW_CLIP.reason) and rows["c.psd"] == ("ignored", LAYERED.reason)


def test_files_that_are_no_clips_are_in_the_table_with_the_reason(work):
    rows = table(work / "scores" / "clips.csv")
    page = (work / "scores" / "report.html").read_text()
    ignored = {row["clip"]: row for row in rows if row["status"] == "ignored"}
    assert {name: row["reason"] for name, row in ignored.items()} == {
        "'=1+1.txt": ".txt files are not read",
        "bob/sound.mp3": "sound",
        "bob/._a.mp4": "hidden files are passed over",
        "frames/ (5 pictures)": "pictures are scored by predict",
    }
    assert [row["status"] for row in rows][-4:] == ["ignored"] * 4
    for name, row in ignored.items():
        assert {row[column] for column in ("score", "decision", "frames_sampled", "windows")} == {""}
        assert f"<td>{name.removeprefix(chr(39))}</td>" in page and f"ignored: {row['reason']}" in page
    assert "no clips: 8 files" in (work / "result").read_text()
    assert sorted(OTHERS) == json.loads((work / "scores" / "summary.json").read_text())["not_clips"]


def test_windows_hold_the_frames_of_their_clip(work):
    frames = [row for row in table(work / "scores" / "frames.csv") if row["clip"] == "ann/a.mp4"]
    windows = [row for row in table(work / "scores" / "windows.csv") if row["clip"] == "ann/a.mp4"]
    assert [(w["start_s"], w["end_s"], w["frames"]) for w in windows] == [
        ("0.0000", "2.5000", "10"),
        ("2.5000", "5.0000", "10"),
    ]
    for window in windows:
        inside = [
            float(f["probability"])
            for f in frames
            if float(window["start_s"]) <= float(f["time_s"]) < float(window["end_s"])
        ]
        assert float(window["score"]) == pytest.approx(np.mean(inside), abs=2e-4)
        assert float(window["members_low"]) < float(window["score"]) < float(window["members_high"])


def test_hostile_names_are_text_everywhere(work):
    for name in ("clips.csv", "windows.csv", "frames.csv"):
        text = (work / "scores" / name).read_text(encoding="utf-8")
        assert "\x1b" not in text and f"'{FORMULA}" in text and "red\\x1b[31m\\nline.mp4" in text
        for row in csv.reader(text.splitlines()):
            assert not any(cell.startswith(("=", "+", "@", "\t")) for cell in row)
    page = (work / "scores" / "report.html").read_text(encoding="utf-8")
    assert "<img" not in page and "\x1b" not in page and "&lt;img src=x onerror=alert(1)&gt;.mp4" in page
    said = (work / "result").read_text(encoding="utf-8")
    assert "\x1b" not in said and TAG in said and FORMULA in said and "red\\x1b[31m\\nline.mp4" in said
    exact = [clip["clip"] for clip in json.loads((work / "scores" / "summary.json").read_text())["clips"]]
    assert set(NAMES) < set(exact)


def test_the_banner_of_untrained_weights_is_on_the_page_and_in_every_row(work):
    assert f'<p class="warning">{UNTRAINED}</p>' in (work / "scores" / "report.html").read_text()
    for name in ("clips.csv", "windows.csv", "frames.csv"):
        assert {row["warning"] for row in table(work / "scores" / name)} == {UNTRAINED}


def test_clips_of_other_inputs_than_the_head_learned_from_are_marked(work, tmp_path):
    scored = [row for row in table(work / "scores" / "clips.csv") if row["status"] == "scored"]
    assert {row["inputs"] for row in scored} == {"the run learned from images, these are clips"}
    assert "the run learned from images" in (work / "scores" / "report.html").read_text()
    write_run(tmp_path / "run", kind="clip")
    arguments = ("--out", tmp_path / "scores", "--cache", work / "scores" / "cache", "--tables-only", "--json")
    found = json.loads(score(work, *arguments, run=tmp_path / "run").stdout)
    learned = "clip.detector_sha256"  # the run's clips had faces looked for, these are taken whole
    assert learned in found["inputs"] and all(learned in clip["inputs"] for clip in found["clips"] if clip["score"])


def no_decoding(patch):
    def refuse():
        raise AssertionError("something was decoded")

    patch.setattr("facedep_jax.media.media_reader.borrow", refuse)


def test_another_head_scores_again_without_decoding(work, monkeypatch, tmp_path):
    no_decoding(monkeypatch)
    again = ("--cache", work / "scores" / "cache", "--out", tmp_path / "other")
    found = json.loads(score(work, *again, "--json", run="run1").stdout)
    assert (found["clips_scored"], found["items_new"], found["items_reused"], found["engine"]) == (6, 0, 6, "none")
    first = json.loads((work / "scores" / "summary.json").read_text())
    assert all(a["score"] != b["score"] for a, b in zip(found["clips"], first["clips"], strict=True) if a["score"])
    unheld = score(work, "--out", tmp_path / "anew", code=1)  # the guard bites
    assert "something was decoded" in str(unheld.exception)


MIXING = [
    ("gru", 2.0, "emotion"),
    ("transformer", 0.0, "emotion"),
    ("transformer", 0.6, "proxy"),
]
OTHERWISE = [
    ("gru", 0.0, "proxy"),
    ("gru", 0.0, "emotion"),
    *((temporal, window, {"proxy": "emotion", "emotion": "proxy"}[target]) for temporal, window, target in MIXING),
]


@pytest.mark.parametrize(
    ("temporal", "window", "target"),
    [*MIXING, *(pytest.param(*head, marks=pytest.mark.exhaustive) for head in OTHERWISE)],
)
def test_a_head_that_mixes_frames_says_of_clips_what_evaluate_says(work, tmp_path, temporal, window, target):
    """Windows that do not divide a clip are cut as in training, and weigh as much as there."""
    write_run(tmp_path / "run", 3, temporal, window, target=target)
    again = ("--cache", work / "scores" / "cache", "--out", tmp_path / "s", "--keep-crops")
    told = " ".join(score(work, *again, run=tmp_path / "run").stderr.split())
    assert f"it judges {f'windows of {window:g} s' if window else 'whole clips'} each as one" in told
    assert "faces are kept but not shown" in told
    rows = {row["clip"]: row for row in table(tmp_path / "s" / "clips.csv") if row["status"] == "scored"}
    windows, frames = (table(tmp_path / "s" / f"{name}.csv") for name in ("windows", "frames"))

    cache, head = open_cache(work / "scores" / "cache"), load_head(tmp_path / "run")
    item = {e["path"]: e["item"] for e in cache.listings.to_dicts()}
    labels = labelled([item[path] for path in NAMES], "test", NAMES)
    examples = gather([cache], labels, [1] * len(labels), head.taps, window=window)
    members = member_clip_logits(head.architecture, head.states, examples, head.positive)[..., 0]
    logits = member_logits(head, examples.tokens, examples.times, examples.mask).mean(0)
    pieces = head.probability(logits)
    by_class = head.class_logits(examples.tokens, examples.times, examples.mask)
    emotions = head.by_emotion(by_class), head.by_emotion(examples.over_clips(by_class))
    assert list(emotions[0]) == (["happy", "neutral", "sad"] if target == "emotion" else [])
    number = np.floor(np.arange(20) / 4 / window).astype(int) if window else np.zeros(20, int)
    assert len(pieces) == 6 * len(set(number))
    for at, path in enumerate(NAMES):
        row = rows[in_tables(path)]
        assert float(row["score"]) == pytest.approx(head.probability(members[:, at].mean()), abs=1e-4)
        ends = [float(row["members_low"]), float(row["members_high"])]
        assert ends == pytest.approx(sorted(head.probability(members[:, at])), abs=1e-4)
        own, cut = pieces[examples.path == path], [w for w in windows if w["clip"] == in_tables(path)]
        assert [float(w["score"]) for w in cut] == pytest.approx(own.tolist(), abs=1e-4)
        for name, of_windows in emotions[0].items():
            each = of_windows[examples.path == path]
            assert [float(w[name]) for w in cut] == pytest.approx(each.tolist(), abs=1e-4)
            said = [float(f[name]) for f in frames if f["clip"] == in_tables(path)]
            assert said == pytest.approx(each[number].tolist(), abs=1e-4)
            assert float(row[name]) == pytest.approx(emotions[1][name][at], abs=1e-4)
        shown = [float(f["probability"]) for f in frames if f["clip"] == in_tables(path)]
        assert shown == pytest.approx(own[number].tolist(), abs=1e-4)
        assert bool(row["low"]) == (len(own) >= 8) == (window == 0.6)
        if row["low"]:
            by_window = logits[examples.path == path]  # whose mean is the clip's logit, or nearly, with emotions
            wide = head.probability(by_window.mean() + half_width(by_window) * np.array([-1, 1]))
            ends = [float(row["low"]), float(row["high"])]
            assert ends == pytest.approx(wide, abs=1e-4 if target == "proxy" else 0.02)
            assert float(row["low"]) < float(row["score"]) < float(row["high"])
    first = {tap: x[0] for tap, x in examples.tokens.items()}
    assert abs(head.probability(head.frame_logits(first)).mean() - pieces[0]) > 1e-3  # frame by frame it is another
    summary = json.loads((tmp_path / "s" / "summary.json").read_text())
    page = (tmp_path / "s" / "report.html").read_text()
    assert summary["deletion"] is None and f"judges {summary['judged']} each as one" in page


def test_another_window_than_a_mixing_head_learned_from_is_said(work, tmp_path):
    write_run(tmp_path / "run", 3, "gru", 2.5)
    again = ("--cache", work / "scores" / "cache", "--out", tmp_path / "s", "--tables-only", "--window", 1)
    said = " ".join(score(work, *again, run=tmp_path / "run").stderr.split())
    assert "judges windows of 1 s each as one, though it learned from windows of 2.5 s" in said
    assert len({w["score"] for w in table(tmp_path / "s" / "windows.csv") if w["clip"] == "ann/a.mp4"}) == 5


def test_a_clip_that_was_added_is_the_only_one_read(work, tmp_path):
    shutil.copytree(work / "clips" / "ann", tmp_path / "clips")
    shutil.copytree(work / "run0", tmp_path / "run0")
    first = json.loads(score(tmp_path, "--json", code=0).stdout)
    draw(tmp_path / "clips" / "c.mp4", 7)
    second = json.loads(score(tmp_path, "--json", code=0).stdout)
    assert [(s["items_new"], s["items_reused"]) for s in (first, second)] == [(2, 0), (1, 2)]
    assert second["clips"][:2] == first["clips"]


def test_tables_only_draws_nothing_and_says_what_is_of_an_earlier_pass(work, tmp_path):
    again = ("--cache", work / "scores" / "cache", "--out", tmp_path / "s")
    found = json.loads(score(work, *again, "--tables-only", "--json").stdout)
    assert found["page"] is None and not (tmp_path / "s" / "plots").exists()
    assert {p.name for p in (tmp_path / "s").iterdir()} == {
        "clips.csv",
        "windows.csv",
        "frames.csv",
        "summary.json",
        "config.toml",
    }
    assert [clip["score"] for clip in found["clips"]] == [
        clip["score"] for clip in json.loads((work / "scores" / "summary.json").read_text())["clips"]
    ]
    score(work, *again)
    assert "plots and report.html in" in score(work, *again, "--tables-only").stderr


def test_faces_are_kept_only_when_asked_for_and_for_the_user_alone(work, tmp_path):
    crops = work / "scores" / "crops"
    assert stat.S_IMODE(crops.stat().st_mode) == 0o700  # though the rest was shared
    assert len(list(crops.glob("*/*.jpg"))) == 6 * 20
    page = (work / "scores" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 6 * 3 and "personal data" in page and str(crops) in page
    found = json.loads((work / "scores" / "summary.json").read_text())
    assert found["deletion"]["frames"] == 18 and found["deletion"]["places"] == 9
    assert f"{found['deletion']['shading']['moved']:.3f}" in page and found["crops"] == str(crops)
    score(work, "--cache", work / "scores" / "cache", "--out", tmp_path / "s")
    assert not (tmp_path / "s" / "crops").exists()
    assert "data:image/jpeg" not in (tmp_path / "s" / "report.html").read_text()


def test_faces_of_cached_clips_are_decoded_again_only_where_they_are_shown(work, tmp_path):
    again = ("--cache", work / "scores" / "cache", "--out", tmp_path / "s", "--keep-crops")
    said = score(work, *again).stderr
    assert said.count("decoded again") == 6
    assert len(list((tmp_path / "s" / "crops").glob("*/*.jpg"))) == 6 * 3
    page = (tmp_path / "s" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 18
    first = (work / "scores" / "report.html").read_text()
    assert faces(page) == faces(first)
    assert "decoded again" not in score(work, *again).stderr
    damaged = next((tmp_path / "s" / "crops").glob("*/*.jpg"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert "1 faces are not on the page: their crops are missing or damaged" in score(work, *again).stderr
    assert (tmp_path / "s" / "report.html").read_text().count("data:image/jpeg;base64,") == 17


def faces(page):
    return [part.split('"')[0] for part in page.split("data:image/jpeg;base64,")[1:]]


def test_whoever_was_purged_is_found_in_scores_whatever_the_clip_is_called(work):
    first = open_cache(work / "scores" / "cache").listings.to_dicts()
    item = next(entry["item"] for entry in first if entry["path"] == CONTROL)
    found = find_traces([work / "scores"], [item], [FORMULA, CONTROL], [])
    tables = [(trace["kind"], Path(trace["path"]).name, trace["detail"].split()[0]) for trace in found]
    assert [t for t in tables if t[0] == "scores"] == [
        ("scores", "clips.csv", "2"),
        ("scores", "frames.csv", "40"),
        ("scores", "windows.csv", "4"),
    ]
    assert [t[1] for t in tables if t[0] == "crops"] == [item]
    assert len([t for t in tables if t[0] == "plot"]) == 2


def test_clips_of_one_subject_are_compared_with_each_other(work, tmp_path):
    again = ("--cache", work / "scores" / "cache", "--out", tmp_path / "s", "--tables-only")
    said = score(work, *again, "--subject-regex", "^(ann|bob)/").stderr
    assert "subjects for 4 of 12 files" in " ".join(said.split())
    rows = {row["clip"]: row for row in table(tmp_path / "s" / "clips.csv")}
    scores = [float(rows[name]["score"]) for name in ("ann/a.mp4", "ann/b.mp4")]
    assert float(rows["ann/a.mp4"]["relative"]) == pytest.approx(scores[0] - np.median(scores), abs=2e-4)
    assert rows["bob/a.mp4"]["subject"] == "bob" and rows["bob/a.mp4"]["relative"] == ""  # the other one failed
    frames = [row for row in table(tmp_path / "s" / "frames.csv") if row["clip"] == "ann/a.mp4"]
    middle = np.median([float(row["probability"]) for row in frames])
    assert [float(f["relative"]) for f in frames] == pytest.approx(
        [float(f["probability"]) - middle for f in frames], abs=2e-4
    )
    assert not any(row["relative"] for row in table(tmp_path / "s" / "frames.csv") if row["clip"].startswith("bob"))


def test_scores_of_another_run_are_not_overwritten(work):
    before = (work / "scores" / "clips.csv").read_bytes()
    said = score(work, run="run1", code=1).stderr
    assert f"holds scores by {work / 'run0'}, made otherwise" in said and "run.sha256" in said
    assert (work / "scores" / "clips.csv").read_bytes() == before


def test_what_was_done_is_compared_and_not_the_words_that_asked_for_it(work, tmp_path):
    """Without faces looked for, a margin around them changes nothing."""
    again = ("--cache", work / "scores" / "cache", "--out", tmp_path / "s", "--tables-only")
    score(work, *again)
    score(work, *again, "--margin", "0.1", "--min-face", "40")
    assert "input.fps: 4.0 → 5.0" in score(work, *again, "--fps", "5", code=1).stderr
    assert "score.window: 2.0 → 1.0" in score(work, *again, "--window", "1", code=1).stderr


def test_crops_of_a_pass_that_was_killed_are_not_taken_for_those_of_another(work, tmp_path, monkeypatch):
    left = iter(range(3))

    def keep(crops, *frame):
        if next(left, None) is None:
            raise SystemExit(1)
        kept(crops, *frame)

    kept = Crops.keep
    again = ("--out", tmp_path / "s", "--keep-crops")
    with monkeypatch.context() as patch:
        patch.setattr(Crops, "keep", keep)
        score(work, *again, "--cache", tmp_path / "one", clips="clips/ann", code=1)
    assert len(list((tmp_path / "s" / "crops").glob("*/*.jpg"))) == 3
    assert not (tmp_path / "s" / "clips.csv").exists()
    said = score(work, *again, "--cache", tmp_path / "two", "--fps", "5", clips="clips/ann", code=1).stderr
    assert "made otherwise" in said and "input.fps: 4.0 → 5.0" in said


def test_what_a_clip_left_behind_is_named_when_it_is_gone_from_the_folder(work, tmp_path):
    shutil.copytree(work / "clips" / "ann", tmp_path / "clips")
    arguments = ("--cache", work / "scores" / "cache", "--keep-crops")
    shutil.copytree(work / "run0", tmp_path / "run0")
    first = score(tmp_path, *arguments, code=0)
    assert "not among these scores" not in first.stderr
    listed = {e["path"]: e["item"] for e in open_cache(work / "scores" / "cache").listings.to_dicts()}
    (tmp_path / "clips" / "b.mp4").unlink()
    said = " ".join(score(tmp_path, *arguments, code=0).stderr.split())
    gone = listed["ann/b.mp4"]
    assert "plots/b.mp4.png" in said and f"crops/{gone}" in said and "not among these scores" in said
    assert "a.mp4.png" not in said
    found = find_traces([tmp_path / "scores"], [gone], ["b.mp4"], [])
    assert [(trace["kind"], Path(trace["path"]).name) for trace in found] == [("crops", gone), ("plot", "b.mp4.png")]


def test_scores_of_another_folder_are_not_overwritten(work, tmp_path):
    """Two folders of the same name have the same default --out."""
    for name in ("one", "two"):
        shutil.copytree(work / "clips" / "ann", tmp_path / name / "clips")
    again = ("--cache", work / "scores" / "cache", "--out", tmp_path / "s", "--tables-only")
    score(work, *again, clips=tmp_path / "one" / "clips", code=0)
    before = (tmp_path / "s" / "clips.csv").read_bytes()
    said = score(work, *again, clips=tmp_path / "two" / "clips", code=1).stderr
    assert f"holds scores of {tmp_path / 'one' / 'clips'}" in said and f"--cache {work / 'scores' / 'cache'}" in said
    assert (tmp_path / "s" / "clips.csv").read_bytes() == before


@pytest.mark.parametrize("part", ["clips/a.mp4", "clips/[a]*.mp4"])
def test_scores_of_a_batch_are_not_lost_by_asking_for_a_part_of_it(work, tmp_path, part):
    shutil.copytree(work / "clips" / "ann", tmp_path / "clips")
    shutil.copytree(work / "run0", tmp_path / "run0")
    again = ("--cache", work / "scores" / "cache", "--tables-only")
    score(tmp_path, *again, clips=part, code=0)
    score(tmp_path, *again, code=0)  # what is asked for besides is added
    before = (tmp_path / "scores" / "clips.csv").read_bytes()
    said = score(tmp_path, *again, clips=part, code=1).stderr
    assert "would lose 1 of its scores, which are not asked for now: b.mp4" in said and "another --out" in said
    assert (tmp_path / "scores" / "clips.csv").read_bytes() == before


def test_weights_that_are_not_found_are_named(work, tmp_path):
    (tmp_path / "weights").mkdir()
    for family, more in (("torchvision", ()), ("keras", ("--weights", tmp_path / "weights"))):
        write_run(tmp_path / family, family=family, sha256="ab" * 32)
        said = score(work, *more, run=tmp_path / family, out=tmp_path / "s", code=1).stderr
        assert f"mobilenet_v2 ({family}, SHA-256 {'ab' * 32})" in said and "--weights" in said + "".join(map(str, more))
        assert not (tmp_path / "s").exists()


def test_a_folder_that_cannot_be_read_fails_also_beside_pictures(work, tmp_path):
    """It may hold clips. (Root can read any: what stands for it here is a folder listed as such.)"""
    found = read_source(str(work / "clips"))
    (work / "secret").mkdir()
    closed = Listing("secret/", work / "secret", "image")
    source = replace(found, listings=Listings.of([*found.listings, closed]))
    given = ExtractSettings(faces="none", engine="xla")
    summary = score_videos(source, load_head(work / "run0"), tmp_path / "s", given, ScoreSettings(), tables_only=True)
    (failed,) = (clip for clip in summary["clips"] if clip["clip"] == "secret/")
    assert failed["status"] == "failed" and "directory" in failed["reason"]
    assert "secret/" not in summary["not_clips"]


def test_an_empty_folder_is_one_clear_line(work, tmp_path):
    assert "no images or clips" in score(work, clips=tmp_path, out=tmp_path / "s", code=1).stderr


def test_faces_are_turned_as_the_run_learned_them_unless_somebody_says_otherwise(work, tmp_path):
    """Haar finds no eyes: asked to turn faces upright it refuses, which shows who asked."""
    learned = {"image": {"faces": "yunet", "align": True, "margin": 0.0}}
    write_run(tmp_path / "run", learned=learned)
    shutil.copytree(work / "clips" / "ann", tmp_path / "clips")
    given = [tmp_path / "clips", "--head", tmp_path / "run", "--faces", "haar", "--engine", "xla", "--tables-only"]
    refused = cli("score-videos", *given, "--out", tmp_path / "a", code=2)
    assert "alignment needs eyes" in refused.stderr and "--no-align" in refused.stderr
    said = cli("score-videos", *given, "--no-align", "--out", tmp_path / "b", code=0)
    assert "align: True → False" in said.stdout
