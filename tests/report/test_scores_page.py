"""What stands on the page of a batch, from numbers to shapes and words: worked out by hand."""

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from support.scored import CARD, DELETION, HOSTILE, STACK, batch, page
from support.untrained_run import untrained_head

from facedep_jax import sources
from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.head.trained_head import flat_names, from_names
from facedep_jax.report.document import BulletList, Section, Table
from facedep_jax.report.markdown import from_markdown, to_markdown
from facedep_jax.report.score_over_time_plot import draw_timeline
from facedep_jax.report.score_over_time_svg import Gap, curve_of
from facedep_jax.report.scores_page import deletion_blocks, deletion_sentence, faces_of
from facedep_jax.scoring.attribution import places_of, weigh_attention
from facedep_jax.scoring.attribution_deletion_check import check_by_deletion, ratio_interval
from facedep_jax.scoring.clip_scores import ClipScore, windows_of
from facedep_jax.scoring.frame_scores import Frames
from facedep_jax.scoring.influential_frames import InfluentialFrame, choose_frames, whose
from facedep_jax.scoring.score_cached_clips import Scored
from facedep_jax.scoring.score_images import shading_of


def frames(*probability, face=None, step=0.5):
    p = np.array(probability, float)
    face = np.array(face or [1] * len(p), np.uint8)
    return Frames(np.arange(len(p)) * step, face, np.full((len(p), 4), np.nan), p)


def test_names_from_outside_are_text_on_the_whole_page():
    beside = [ClipScore(f"{name}.txt", "ignored", "no clip by its name") for name in HOSTILE]
    shown = page(batch(16), faces=True, warning=UNTRAINED, ignored=beside)
    assert "<img" not in shown and "<b>moov" not in shown and "\x1b" not in shown and "\u202e" not in shown
    assert shown.count("&lt;img src=x onerror=alert(1)&gt;") >= 7
    assert "&lt;img src=x onerror=alert(1)&gt;.mp4.txt" in shown and "ignored: no clip by its name" in shown
    assert r"red\x1b[31m\nline\u202egpj.mp4" in shown and r"\udcff.mp4" in shown
    assert shown.encode()  # no half of a surrogate pair is left
    assert f'<p class="warning">{UNTRAINED}</p>' in shown


def test_the_page_allows_its_own_style_and_script_and_nothing_else():
    shown = page(batch(8), faces=True)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', shown)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'; img-src data:; ")
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", shown, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy and " style=" not in shown and " onclick=" not in shown
    assert set(re.findall(r"(?:src|href)=\"(?!#)(.{10})", shown)) == {"data:image"}


def test_a_page_of_many_clips_stays_small():
    """Two hundred clips of a minute with three faces each: well below what a mail takes."""
    assert len(page(batch(200, seconds=60.0), faces=True).encode()) < 15e6
    assert len(page(batch(4, seconds=3600.0)).encode()) < 100_000  # curves are thinned
    emotions = page(batch(200, seconds=60.0, stack=STACK), stack=STACK)
    assert len(emotions.encode()) < 2.5e6
    assert len(page(batch(4, seconds=3600.0, stack=STACK), stack=STACK).encode()) < 200_000


def test_the_curve_of_a_long_clip_in_which_the_face_comes_and_goes_is_there_and_small():
    """Half an hour with a face in nine frames of ten: a mean of many frames is that of those that have one."""
    rng = np.random.default_rng(0)
    gone = rng.random(7200) < 0.1
    gone[3600:4320] = True
    own = frames(*np.where(gone, np.nan, 0.5), face=np.where(gone, 3, 1).tolist(), step=0.25)
    drawn = curve_of(ClipScore("a", "scored"), own, 0.5, points=500)
    assert drawn.path.count("L") + drawn.path.count("M") == 480 - 48 and drawn.path.count("M") == 2
    assert set(re.findall(r"[ML]\d+ (\d+)", drawn.path)) == {"100"}
    assert drawn.gaps == (Gap(500, 100, "none"),)
    small = curve_of(ClipScore("a", "scored"), frames(*np.where(rng.random(7200) < 0.9, np.nan, 0.5)), 0.5, points=500)
    assert len(small.gaps) < 200


def test_emotions_stand_below_each_curve_with_a_key_and_in_words():
    """What counts as positive lies below: it reaches as high as the score does."""
    scored = batch(8, stack=STACK)
    shown = page(scored, stack=STACK)
    assert shown.count('<svg class="bands"') == 7  # one clip failed
    key = re.search(r'<p class="key">emotions, from below:(.*?)</p>', shown, re.S)[1]
    assert re.findall(r"</i>([^<]+)</span>", key) == list(STACK)
    spoken = [f"{name} {scored[5].clip.emotions[name]:.2f}" for name in STACK]
    label = f"{scored[5].clip.clip}, emotions over time, on average: {', '.join(spoken)}"
    assert f'role="img" aria-label="{label}"' in shown
    drawn = re.search(re.escape(f'aria-label="{label}"') + "(.*?)</svg>", shown, re.S)[1]
    assert re.findall("<title>(.*?)</title>", drawn) == spoken[::-1]
    assert "which reach as high as the score" in shown
    assert 'svg class="bands"' not in page(batch(8)) and "emotions" not in page(batch(8)).split("</style>")[1]


def test_words_that_a_head_learned_are_text_on_the_page():
    stack = ("<img src=x>", "\x1b[31m", *STACK[2:])
    shown = page(batch(8, stack=stack), stack=stack)
    assert "<img" not in shown and "\x1b" not in shown and "&lt;img src=x&gt; 0." in shown and r"\x1b[31m 0." in shown


def test_a_timeline_shows_emotions_below_the_score():
    (one,) = batch(1, stack=STACK)
    drawn = draw_timeline(one.clip, one.frames, 0.4, stack=STACK)
    _, emotions, strip = drawn.axes
    said = [text.get_text() for text in emotions.get_legend().get_texts()]
    assert said == [f"{name} {one.clip.emotions[name]:.2f}" for name in reversed(STACK)]
    assert len(emotions.collections) == len(STACK) and strip.get_xlabel() == "time (s)"
    top = max(path.vertices[:, 1].max() for path in emotions.collections[1].get_paths())
    assert top == pytest.approx(np.nanmax(one.frames.probability))  # the score's two emotions lie below
    FigureCanvasAgg(drawn).draw()


def test_a_frame_beside_a_gap_has_its_whole_time_in_the_band():
    own = replace(frames(0.25, np.nan, 0.75), emotions={"sad": np.array([0.25, np.nan, 0.75])})
    _, emotions, _ = draw_timeline(
        ClipScore("a", "scored", decision="negative", coverage=1.0), own, 0.4, stack=("sad",)
    ).axes
    first, second = (path.get_extents() for path in emotions.collections[0].get_paths())
    assert (first.x0, first.x1, first.y1) == (0.0, 0.5, 0.25)
    assert (second.x0, second.x1, second.y1) == (1.0, 1.5, 0.75)


def test_failures_are_listed_with_their_reasons_and_columns_that_say_nothing_are_left_out():
    shown = page(batch(8))
    assert shown.count("not a video: &lt;b&gt;moov&lt;/b&gt; is missing") == 2  # in the table, and by itself
    assert "relative" in shown.split("<tbody>")[0] and "Failures" in shown
    alone = page(batch(1))
    assert "relative" not in alone.split("<tbody>")[0].split("<thead>")[1] and "Failures" not in alone


def test_a_timeline_shows_score_interval_threshold_coverage_and_what_was_lost():
    own = frames(0.5, np.nan, np.nan, 0.75, face=[1, 4, 3, 2])
    score = ClipScore(HOSTILE[2], "scored", decision="positive", score=0.625, low=0.5, high=0.75, coverage=0.5)
    drawn = draw_timeline(score, own, 0.4, UNTRAINED, windows_of(own, 1.0, 2.0))
    above, strip = drawn.axes
    said = [text.get_text() for axis in drawn.axes for text in axis.get_legend().get_texts()]
    assert said == [
        "frame",
        "window",
        "threshold 0.40",
        "clip 0.62",
        "0.50 to 0.75 within the clip",
        "face 25%",
        "one of several 25%",
        "no face 25%",
        "another's face 25%",
    ]
    assert drawn.get_suptitle() == UNTRAINED and above.get_title("left").startswith(r"red\x1b[31m\nline\u202egpj.mp4")
    assert [len(band.get_paths()) for band in strip.collections] == [1, 1, 1, 1]


def test_a_timeline_of_a_name_that_the_font_lacks_is_drawn_without_a_warning():
    own = frames(0.5, 0.75)
    drawn = draw_timeline(ClipScore("日本 🙂\x1b.mp4", "abstained", "no face"), own, 0.4)
    assert drawn.axes[0].get_title("left").startswith("\ufffd\ufffd \ufffd\\x1b.mp4")
    FigureCanvasAgg(drawn).draw()  # a glyph that the font lacks would be a warning


def test_a_curve_by_hand():
    """Four frames half a second apart in a box of 1000 × 200; the third has no face, the last stands alone."""
    score = ClipScore("a", "scored", score=0.5, low=0.25, high=0.75)
    drawn = curve_of(score, frames(0.0, 1.0, np.nan, 0.5, face=[1, 1, 4, 1]), 0.4, points=100)
    assert drawn.path == "M0 200h0L250 0M750 100h0"
    assert drawn.gaps == (Gap(500, 250, "lost"),)
    assert (drawn.threshold, drawn.score, drawn.band) == (120, 100, (50, 100))


def test_a_long_curve_is_thinned_to_means():
    drawn = curve_of(ClipScore("a", "scored"), frames(*[0.0, 1.0] * 50), 0.5, points=50)
    assert drawn.path.count("L") == 49 and set(re.findall(r"[ML]\d+ (\d+)", drawn.path)) == {"100"}
    assert drawn.score is None and drawn.band is None


def test_a_model_card_is_read_back_as_it_was_written():
    sections = [
        Section("", ("warning",)),
        Section("What", ("It <b> & it.", BulletList(("one", "two & three")))),
        Section("Figures", (Table(("a", "b|c"), (("1", "x|y"), ("–", "<i>"))), "end")),
    ]
    title, found = from_markdown(to_markdown(HOSTILE[0], sections))
    assert title == HOSTILE[0] and found == sections
    assert from_markdown(CARD)[1][0].blocks[0] == "Nothing <b>."
    assert from_markdown("") == ("", []) and from_markdown("no heading\n\n|")[1][0].blocks == ("no heading", "|")


def test_the_frames_shown_are_those_farthest_from_the_mean_and_a_second_apart():
    assert choose_frames(frames(0.5, 0.9, 0.95, 0.5, 0.5, 0.1, 0.5, 0.5, 0.8)) == [2, 5, 8]
    assert choose_frames(frames(np.nan, 0.3, np.nan)) == [1]
    assert choose_frames(frames(np.nan)) == []


def test_places_of_taps_with_grids_of_their_own():
    """A tap of 3 × 3, one of the whole face and one of 2 × 2, whose cells several places share."""
    places = places_of((3, 1, 2))
    assert places.count == 9 and places.cell[2].tolist() == [0, 1, 1, 2, 3, 3, 2, 3, 3]
    weights = np.zeros((1, 14))
    weights[0, 4], weights[0, 9], weights[0, 13] = 0.5, 0.3, 0.2  # middle, whole face, lower right quarter
    found = places.over(weights)
    assert found[0].tolist() == pytest.approx([0, 0, 0, 0, 0.55, 0.05, 0, 0.05, 0.05])
    assert found.sum() == pytest.approx(0.7)
    tokens = {"a": np.ones((1, 3, 3, 1)), "b": np.ones((1, 1, 1, 1)), "c": np.ones((1, 2, 2, 1))}
    covered = places.cover(tokens, np.arange(9)[None] == 0)
    assert [x[0, :, :, 0].tolist() for x in covered.values()] == [
        [[0, 1, 1], [1, 1, 1], [1, 1, 1]],
        [[1]],
        [[0, 1], [1, 1]],
    ]


def test_a_head_that_only_sees_whole_faces_has_nothing_to_shade():
    whole = places_of((1, 1))
    assert whole.count == 0 and whole.over(np.ones((2, 2))).tolist() == [[0.0], [0.0]]
    (one, *_) = batch(1)
    frame = InfluentialFrame(3, 0.75, 0.5, 0.1, np.zeros((1, 1)))
    (clip,) = faces_of([one], [[frame]], lambda *_: b"jpeg")
    assert [place["opacity"] for place in clip["faces"][0]["places"]] == [0.0]
    assert len(deletion_blocks(None, Path("crops"))) == 2


def test_attention_is_weighed_by_what_the_logit_hangs_on():
    """A head that reads out one cell and nothing else hangs on that token alone; an empty token has no say at all."""
    head = untrained_head()
    arrays = flat_names(head.states)
    width = arrays["norm.scale"].shape[-1]
    kept = np.arange(arrays["read_out.kernel"].shape[1]) // width == 4
    arrays["read_out.kernel"] = arrays["read_out.kernel"] * kept[:, None]
    arrays["pool.value.kernel"] = np.zeros_like(arrays["pool.value.kernel"])
    head = replace(head, states=from_names(head.architecture, arrays)[0])
    rng = np.random.default_rng(0)
    shapes = zip(head.taps, head.architecture.inputs.cells, head.architecture.inputs.channels, strict=True)
    tokens = {tap: rng.normal(size=(3, s, s, c)).astype(np.float16) for tap, s, c in shapes}
    tokens[head.taps[0]][2, 1, 1] = 0
    found = weigh_attention(head, tokens, head.attention(tokens), batch=1)
    assert found.shape == (3, 10) and (found[:2, 4] > 0).all()
    shaded = shading_of(head, {tap: values[:1] for tap, values in tokens.items()})  # what predict --plot draws
    assert shaded.shape == (3, 3) and shaded.argmax() == 4 and np.delete(shaded, 4).max() < 1e-6 * shaded[1, 1]
    assert found[2, 4] == 0 and np.delete(found, 4, axis=1).max() < 1e-6 * found.max()


class Summing:
    """A head whose logit is the sum of its tokens, weighted by place: what covering does can be worked out."""

    def __init__(self, *weights):
        self.weights = np.array(weights, float).reshape(2, 2, 1)

    def frame_logits(self, tokens):
        return (tokens["tap"] * self.weights).sum((1, 2, 3))


@pytest.mark.parametrize(("weights", "ratio"), [((4, 0, 0, 0), 4.0), ((0, 4, 4, 4), 0.0), ((1, 1, 1, 1), 1.0)])
def test_deletion_says_whether_attention_points_at_what_matters(weights, ratio):
    """A map points at the first of four places, one is covered: at random each moves the mean of the weights."""
    tokens = {"tap": np.ones((400, 2, 2, 1))}
    maps = {name: np.tile(row, (400, 1)) for name, row in (("shading", [4, 1, 1, 1]), ("attention", [0, 0, 0, 1]))}
    found = check_by_deletion(Summing(*weights), tokens, maps, places_of((2,)), np.arange(400) // 4)
    assert found["shading"]["ratio"] == pytest.approx(ratio, rel=0.05)
    assert found["attention"]["moved"] == weights[3]
    assert (found["covered"], found["places"], found["frames"], found["groups"]) == (1, 4, 400, 100)
    if ratio:
        low, high = found["shading"]["ratio_ci"]
        assert low <= found["shading"]["ratio"] <= high
    else:
        assert found["shading"]["ratio_ci"] is None and "moves nothing" in deletion_sentence(found)
    few = check_by_deletion(Summing(*weights), tokens, maps, places_of((2,)), np.arange(400) % 7)
    assert few["shading"]["ratio_ci"] is None and "Fewer than 8 clips are too few" in deletion_sentence(few)


def test_the_interval_of_a_ratio_by_hand():
    """Eight groups of two frames: moved 1, 2, …, 8 in their sums, 2 each at random."""
    moved = np.repeat(np.arange(1.0, 9.0) / 2, 2)
    low, high = ratio_interval(moved, np.ones(16), np.repeat(np.arange(8), 2))
    half = 2.3646 * np.sqrt(42 / 4.5**2 / 56)  # Student's with 7 degrees; 42 = Σ (i − 4.5)²
    assert (low, high) == (pytest.approx(2.25 * np.exp(-half), rel=1e-4), pytest.approx(2.25 * np.exp(half), rel=1e-4))
    nothing = np.where(np.arange(16) < 2, 0.0, 1.0)
    assert ratio_interval(moved, nothing, np.repeat(np.arange(8), 2)) is not None  # one clip that random spares


def test_an_interval_of_few_clips_holds_what_it_promises():
    """Ten clips whose true ratio is 1: about 5 of 100 intervals may say otherwise."""
    rng, missed = np.random.default_rng(0), 0
    for _ in range(1000):
        scale = rng.gamma(4, 1, 10)
        ends = ratio_interval(scale * rng.gamma(8, 1 / 8, 10), scale * rng.gamma(60, 1 / 60, 10), np.arange(10))
        missed += not ends[0] <= 1 <= ends[1]
    assert missed < 85


def test_copies_and_clips_of_one_subject_are_no_more_clips():
    def one(item, subject=None):
        return Scored(ClipScore(item, "scored", subject=subject), sources.Listing(item, Path(item), "clip"), item)

    shown = [one("a"), one("b", "ann"), one("a"), one("c", "ann"), one("d"), one("b"), one("ann")]
    assert whose(shown).tolist() == [0, 1, 0, 1, 2, 1, 3]


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ([1.1, 1.8], "matter more to the head than others do"),
        ([0.5, 0.9], "matter less than others do"),
        ([0.9, 1.2], "it cannot be said"),
    ],
)
def test_deletion_is_told_whichever_way_it_falls(ends, said):
    assert said in deletion_sentence(DELETION | {"shading": DELETION["shading"] | {"ratio_ci": ends}})
