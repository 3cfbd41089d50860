"""From frame probabilities to a clip's score: constants worked out by hand."""

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from support.refusing_disk import small_files

from facedep_jax.dataset.clip_windows import cut
from facedep_jax.errors import OutputError
from facedep_jax.scoring.clip_scores import (
    ClipScore,
    ScoreSettings,
    Window,
    score_clip,
    windows_of,
    within_clip_interval,
)
from facedep_jax.scoring.frame_scores import Frames, Whole
from facedep_jax.scoring.score_cached_clips import Scored, relative_to_subjects
from facedep_jax.scoring.score_tables import COLUMNS, PICTURE, ignored_rows, write_tables
from facedep_jax.sources import Listing
from facedep_jax.sources.file_kinds import kind_of
from facedep_jax.sources.listing_types import passed_over
from facedep_jax.text_escaping import plot_name, unquoted

SETTINGS = ScoreSettings()


def frames(*probability, step=0.25):
    p = np.array(probability, float)
    return Frames(np.arange(len(p)) * step, np.ones(len(p), int), np.full((len(p), 4), np.nan), p)


def test_score_is_the_mean_over_frames_with_a_face():
    score = score_clip("a.mp4", frames(0.2, np.nan, 0.4, 0.9), 1.0, 0.5, SETTINGS)
    assert (score.status, score.decision, score.frames_sampled, score.frames_with_face) == ("scored", "positive", 4, 3)
    assert score.score == pytest.approx(0.5)
    assert score.coverage == 0.75


def test_decision_turns_at_the_threshold():
    assert score_clip("a", frames(0.5, 0.5), 1.0, 0.5, SETTINGS).decision == "positive"
    assert score_clip("a", frames(0.5, 0.498), 1.0, 0.5, SETTINGS).decision == "negative"


def test_low_coverage_abstains_with_a_score_and_no_decision():
    score = score_clip("a", frames(0.9, np.nan, np.nan), 1.0, 0.5, SETTINGS)
    assert (score.status, score.decision, score.score) == ("abstained", "", 0.9)
    assert score.reason == "a face in 33% of frames, below 50%"


def test_no_face_at_all_abstains_without_a_score():
    score = score_clip("a", frames(np.nan, np.nan), 1.0, 0.5, SETTINGS)
    assert (score.status, score.score, score.low, score.reason) == (
        "abstained",
        None,
        None,
        "no face in any sampled frame",
    )


def test_frames_without_a_face_change_no_score():
    with_gaps = frames(0.1, np.nan, 0.7, np.nan, 0.4, np.nan)
    kept = np.isfinite(with_gaps.probability)
    without = Frames(
        *(values[kept] for values in (with_gaps.time, with_gaps.face, with_gaps.box, with_gaps.probability))
    )
    assert score_clip("a", with_gaps, 1, 0.5, SETTINGS).score == score_clip("a", without, 1, 0.5, SETTINGS).score


def test_fewer_than_eight_windows_have_no_interval_and_equal_windows_have_an_empty_one():
    assert within_clip_interval(frames(*[0.1, 0.9] * 7), 0.5, 3.5) == (None, None)
    assert None not in within_clip_interval(frames(*[0.1, 0.9] * 8), 0.5, 4.0)
    gone = frames(*[0.1, 0.9] * 7, *[np.nan] * 10)
    assert within_clip_interval(gone, 0.5, 6.0) == (None, None)  # twelve windows, seven with a face
    for constant in (0.0, 0.4, 1.0):
        low, high = within_clip_interval(frames(*[constant] * 16), 0.5, 4.0)
        assert low <= constant <= high and (low, high) == (pytest.approx(constant), pytest.approx(constant))
    low, high = within_clip_interval(frames(*[0.3, 0.5] * 8), 0.5, 4.0)
    assert (low, high) == (pytest.approx(0.4), pytest.approx(0.4))


def test_the_interval_of_a_cosine_by_hand():
    """The clip is the first of two cosines: squares of 4a² and 0, so a variance of 2a² and, of the mean, a² / 4."""
    clip = frames(*0.5 + 0.1 * np.cos(np.pi * (np.arange(8) + 0.5) / 8))
    half = 4.302653 * 0.05 / (0.5 * 0.5)  # Student's t of two degrees of freedom; the slope of the logit at 0.5
    low, high = within_clip_interval(clip, 0.25, 2.0)
    assert (low, high) == (pytest.approx(1 / (1 + np.exp(half))), pytest.approx(1 / (1 + np.exp(-half))))
    faster = frames(*0.5 + 0.1 * np.cos(3 * np.pi * (np.arange(8) + 0.5) / 8))
    assert within_clip_interval(faster, 0.25, 2.0) == (pytest.approx(0.5), pytest.approx(0.5))


def windows_alike(rng, count, correlation, gone=0.0):
    """A clip of two frames a window, whose logits take over a part of the window before; some have no face."""
    fresh = rng.normal(size=count)
    logits = fresh.copy()
    for now in range(1, count):
        logits[now] = correlation * logits[now - 1] + np.sqrt(1 - correlation**2) * fresh[now]
    seen = np.where(rng.random(count) < gone, np.nan, 1 / (1 + np.exp(-logits)))
    return frames(*np.repeat(seen, 2))


@pytest.mark.parametrize("correlation", [0.0, 0.5])
@pytest.mark.parametrize(("windows", "gone"), [(10, 0.0), (20, 0.0), (50, 0.0), (150, 0.0), (30, 0.3)])
def test_about_95_of_100_intervals_hold_the_mean_however_alike_neighbours_are(windows, gone, correlation):
    """Drawn alone, windows that are alike gave intervals that held the mean, 0.5, in 65 to 75 of 100 clips."""
    rng = np.random.default_rng(0)
    clips = (windows_alike(rng, windows, correlation, gone) for _ in range(1000))
    ends = np.array([within_clip_interval(clip, 0.5, windows / 2) for clip in clips])
    held = (ends[:, 0] <= 0.5) & (ends[:, 1] >= 0.5)
    assert 0.9 <= held.mean() <= 0.98
    assert (ends > 0).all() and (ends < 1).all()


@pytest.mark.parametrize("mean", [-9.0, -2.0, 0.0, 4.0, 40.0])
def test_the_interval_holds_the_score_and_is_made_anew_each_time(mean):
    rng = np.random.default_rng(1)
    for _ in range(200):
        values = 1 / (1 + np.exp(-rng.normal(mean, 3, 50)))
        values[rng.random(50) < 0.2] = np.nan
        clip = score_clip("a", frames(*values), 12.5, 0.5, ScoreSettings(window=0.5))
        assert 0 <= clip.low <= clip.score <= clip.high <= 1
        assert clip == score_clip("a", frames(*values), 12.5, 0.5, ScoreSettings(window=0.5))


def test_windows_without_a_face_are_passed_over():
    values = np.random.default_rng(2).uniform(size=40)
    spread = np.full(80, np.nan)
    spread[8 * (np.arange(40) // 4) + np.arange(40) % 4] = values  # every second window of four frames
    found = within_clip_interval(frames(*spread), 1.0, 20.0)
    assert found == pytest.approx(within_clip_interval(frames(*values), 1.0, 10.0))
    assert found != pytest.approx(within_clip_interval(frames(*np.roll(values, 12)), 1.0, 10.0))  # time counts


def test_windows_are_equally_long_however_the_clip_ends():
    """A rest of one frame was a window as good as the others, and made the interval jump."""
    values = np.random.default_rng(1).uniform(size=41)
    own = frames(*values)
    windows = windows_of(own, 2.0, 10.25)
    assert [window.frames for window in windows] == [9, 8, 8, 8, 8]
    assert np.allclose(np.diff([w.start_s for w in windows] + [windows[-1].end_s]), 10.25 / 5)
    assert score_clip("a", own, 10.25, 0.5, SETTINGS).windows == 5
    for window in windows:
        assert window.score == pytest.approx(values[(own.time >= window.start_s) & (own.time < window.end_s)].mean())
    low, high = within_clip_interval(own, 1.0, 10.25)
    before = within_clip_interval(frames(*values[:40]), 1.0, 10.0)
    assert high - low == pytest.approx(before[1] - before[0], rel=0.25)


def test_copies_of_a_clip_count_once_in_what_is_usual_for_a_subject():
    def one(item, score):
        clip = ClipScore(f"{item}.mp4", "scored", score=score, subject="ann")
        return Scored(clip, Listing(clip.clip, Path(clip.clip), "clip", subject="ann"), item)

    a, copy, b, c = relative_to_subjects([one("a", 0.9), one("a", 0.9), one("b", 0.5), one("c", 0.2)])
    assert [x.clip.relative for x in (a, copy, b, c)] == pytest.approx([0.4, 0.4, 0.0, -0.3])
    assert [x.clip.relative for x in relative_to_subjects([one("a", 0.9), one("a", 0.9)])] == [None, None]


def test_a_clip_moved_along_its_time_axis_keeps_its_interval():
    values = np.random.default_rng(0).uniform(size=40)
    clip = frames(*values)
    later = Frames(clip.time + 123.1, clip.face, clip.box, clip.probability)
    assert within_clip_interval(clip, 1.0, 10.0) == within_clip_interval(later, 1.0, 10.0) != (None, None)


def test_pictures_of_equal_names_in_different_folders_stay_apart():
    names = ["a.mp4", "x/a.mp4", "x%2Fa.mp4", "a.avi", "é.mp4", "\udcff.mp4", "a\nb.mp4", "b" * 300, "b" * 299 + "c"]
    plots = [plot_name(name) for name in names]
    assert len(set(plots)) == len(names)
    assert all("/" not in plot and len(plot.encode()) < 255 for plot in plots)


def test_names_in_tables_are_text_to_a_spreadsheet_of_any_country(tmp_path):
    """Some split lines at ; as well, and take the full-width signs for those of a formula."""
    names = ("a;=1+1.mp4", "＝1+1.mp4", 'say "a".mp4')
    write_tables(
        tmp_path, [Scored(ClipScore(n, "failed", "cut; short"), Listing(n, Path(n), "clip")) for n in names], ""
    )
    raw = (tmp_path / "clips.csv").read_bytes().decode().split("\r\n")
    assert [line.split(",")[0] for line in raw[1:]] == ['"a;=1+1.mp4"', '"\'＝1+1.mp4"', '"say ""a"".mp4"', ""]
    with open(tmp_path / "clips.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(unquoted(row["clip"]) for row in rows) == names
    assert {(row["reason"], row["score"]) for row in rows} == {("cut; short", "")}


def test_the_tables_are_written_as_parquet_too_and_never_differ_from_an_earlier_pass(tmp_path):
    def write(score, **how):
        clip, window = ClipScore("=a.mp4", "scored", score=score, windows=1), Window(0.0, 2.0, 8, 7, score)
        one = Scored(clip, Listing(clip.clip, Path(clip.clip), "clip"), "0" * 64, frames(score, np.nan), (window,))
        write_tables(tmp_path, [one], "made up", **how)
        with open(tmp_path / "frames.csv", newline="", encoding="utf-8") as stream:
            return list(csv.DictReader(stream))

    rows = write(1 / 3, parquet=True)
    assert [(row["clip"], row["probability"], row["time_s"], row["warning"]) for row in rows] == [
        ("'=a.mp4", "0.3333", "0.000", "made up"), ("'=a.mp4", "", "0.250", "made up")
    ]  # fmt: skip
    kept = pl.read_parquet(tmp_path / "frames.parquet")
    assert kept["clip"].to_list() == ["=a.mp4"] * 2 and kept["probability"][0] == 1 / 3
    assert pl.read_parquet(tmp_path / "clips.parquet").select("score", "windows").rows() == [(1 / 3, 1)]
    assert pl.read_parquet(tmp_path / "windows.parquet")["frames_with_face"].to_list() == [7]
    write(0.5)
    assert pl.read_parquet(tmp_path / "frames.parquet")["probability"][0] == 0.5


def with_emotions(**probability):
    """Frames of a head over these emotions, `sad` its positive side."""
    emotions = {name: np.array(values, float) for name, values in probability.items()}
    own = frames(*emotions["sad"])
    return Frames(own.time, own.face, own.box, own.probability, emotions=emotions)


def test_emotions_of_windows_and_clips_are_means_over_frames_with_a_face():
    own = with_emotions(happy=[0.8, np.nan, 0.4, 0.3], sad=[0.2, np.nan, 0.6, 0.7])
    clip = score_clip("a", own, 1.0, 0.5, SETTINGS)
    assert clip.emotions == {"happy": pytest.approx(0.5), "sad": pytest.approx(0.5)}
    assert clip.emotions["sad"] == clip.score
    first, last = windows_of(own, 0.5, 1.0)
    assert (first.emotions, last.emotions["happy"]) == ({"happy": 0.8, "sad": 0.2}, pytest.approx(0.35))
    nobody = with_emotions(happy=[np.nan] * 2, sad=[np.nan] * 2)
    assert score_clip("a", nobody, 1.0, 0.5, SETTINGS).emotions == {} == windows_of(nobody, 2.0, 1.0)[0].emotions
    assert score_clip("a", frames(0.5), 1.0, 0.5, SETTINGS).emotions == {}


def test_emotions_of_a_clip_whose_frames_were_judged_as_one_are_its_own():
    own = with_emotions(happy=[0.8, 0.2], sad=[0.2, 0.8])
    whole = Whole(0.7, None, None, np.array([0.7]), {"happy": 0.3, "sad": 0.7})
    judged = Frames(
        own.time,
        own.face,
        own.box,
        own.probability,
        windows=cut(own.time, own.face > 0, 0.25),
        whole=whole,
        emotions=own.emotions,
    )
    assert score_clip("a", judged, 1.0, 0.5, SETTINGS).emotions == {"happy": 0.3, "sad": 0.7}


def test_emotions_are_the_last_columns_and_take_no_other_ones_name(tmp_path):
    """A head may have learned words that columns are called; what begins like a formula stands in the heading, too."""
    words = ("sad", "score", "=now", "clip")
    own = with_emotions(**{word: [0.25, np.nan] for word in words})
    clip = score_clip("a.mp4", own, 0.5, 0.5, SETTINGS)
    gone = Scored(ClipScore("b.mp4", "failed"), Listing("b.mp4", Path("b.mp4"), "clip"))
    one = Scored(clip, Listing("a.mp4", Path("a.mp4"), "clip"), "0" * 64, own, tuple(windows_of(own, 2.0, 0.5)))
    emotions = ("sad", "=now", "clip", "score")
    write_tables(tmp_path, [one, gone], "", ignored_rows(passed_over([("c.png", PICTURE)])), emotions, parquet=True)
    tables = {}
    for name in COLUMNS:
        with open(tmp_path / f"{name}.csv", newline="", encoding="utf-8") as stream:
            tables[name] = list(csv.DictReader(stream))
        ends = ["sad", "'=now", "p_clip", "score" if name == "frames" else "p_score"]
        assert list(tables[name][0]) == [*COLUMNS[name], *ends]
        assert tables[name][0]["sad"] == "0.2500"
        assert pl.read_parquet(tmp_path / f"{name}.parquet").columns[-4:] == ["sad", "=now", "p_clip", ends[3]]
    assert [row["sad"] for row in tables["clips"]] == ["0.2500", "", ""]
    assert [row["sad"] for row in tables["frames"]] == ["0.2500", ""]
    write_tables(tmp_path, [gone], "", (), emotions)  # columns do not hang on what could be read
    assert list(pl.read_csv(tmp_path / "frames.csv").columns)[-1] == "score"
    write_tables(tmp_path, [gone], "")
    assert tuple(pl.read_csv(tmp_path / "clips.csv").columns) == COLUMNS["clips"]


def test_files_that_are_no_clips_are_named_without_naming_clips():
    def rows(*paths):
        return ignored_rows(passed_over((path, kind_of(path).reason or PICTURE) for path in paths))

    few = rows("a/1.jpg", "b.png", "a/x.mp3", "a/y.JSON", "a/.hidden.mp4")
    assert [(row.clip, row.reason) for row in few] == [
        ("a/.hidden.mp4", "hidden files are passed over"),
        ("a/1.jpg", "pictures are scored by predict"),
        ("a/x.mp3", "sound"),
        ("a/y.JSON", ".json files are not read"),
        ("b.png", "pictures are scored by predict"),
    ]
    several = rows(*(f"ann/._{n}.mp4" for n in range(4)), *(f"ann/{n}" for n in range(1200)))
    assert [row.clip for row in several] == ["ann/ (1,200 files)", "ann/ (4 hidden files)"]
    many = rows(*(f"p{n}/notes.json" for n in range(5000)), "p1/other.txt")
    assert [row.clip for row in many] == ["(5,000 .json files)", "p1/other.txt"]  # not a row for every folder


def test_tables_on_a_full_disk_are_one_clear_error_and_leave_nothing(tmp_path):
    clip = ClipScore("a.mp4", "failed")
    with small_files(), pytest.raises(OutputError, match=r"clips\.csv cannot be written"):
        write_tables(tmp_path, [Scored(clip, Listing("a.mp4", Path("a.mp4"), "clip"))], "")
    assert list(tmp_path.iterdir()) == []
