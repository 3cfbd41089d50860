"""Pages show what they are given as text, and hold nothing that could run."""

import base64
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from facedep_jax.disclaimer import meaning
from facedep_jax.evaluation.evaluate import Scores, Wanted, evaluate
from facedep_jax.head.calibration import Calibration, OperatingPoint
from facedep_jax.report.html import render_sections
from facedep_jax.report.model_card import model_card, page_sections
from facedep_jax.report.run_sections import sadness

HOSTILE = "<img src=x onerror=alert(1)>\n=cmd()\x1b[31m"


def test_figures_have_three_decimals_and_gaps_a_dash():
    page = render_sections("t", meaning(["happy"]), {"a": 0.12345, "b": None, "c": 7}, [], Path())
    assert "<td>0.123</td>" in page and "<td>–</td>" in page and "<td>7</td>" in page
    assert "not a diagnosis" in page


@pytest.fixture(scope="module")
def metrics():
    """Of a small set whose groups, raters and emotions have names that would do harm if they were more than text."""
    rng = np.random.default_rng(0)
    positive = rng.random(90) < 0.5
    logit = 3 * (positive - 0.5) + rng.normal(size=90)
    emotion = np.where(positive, "neutral", np.where(np.arange(90) % 3, "sad|b", HOSTILE)).astype(object)
    columns = {HOSTILE: np.where(np.arange(90) < 20, HOSTILE, "x").astype(object), "emotion2": emotion[::-1].copy()}
    wanted = Wanted(("neutral",), (0.1,), resamples=30)
    subject = np.array([f"p{i // 2}" for i in range(90)], object)
    chosen = Calibration(1.2, 0.1, 0.5), (OperatingPoint(0.9, 0.6),)
    return evaluate(
        Scores(logit[:, None], positive, subject, emotion, np.stack([logit[:, None]] * 2), columns, *chosen), wanted
    )


def test_the_spread_of_members_is_theirs_and_one_member_has_none():
    logit, positive = np.tile([1.0, -1.0, 2.0, -2.0], 3), np.tile([True, False, False, True], 3)
    unsaid, rest = np.array([None] * 12), Wanted(("sad",), resamples=5)
    members = np.stack([logit + 0.5, logit - 0.5])
    scores = Scores(logit[:, None], positive, unsaid, unsaid, members[..., None])
    found = evaluate(scores, rest)["spread"]
    apart = [np.std([1 / (1 + np.exp(-x - d)) for d in (0.5, -0.5)], ddof=1) for x in logit]
    assert found["mean"] == pytest.approx(np.mean(apart)) and found["mean_wrong"] == pytest.approx(np.mean(apart[2:4]))
    assert found["auroc_of_wrong"] == 0.0  # far from the threshold members agree, and these are wrong
    few = evaluate(scores[np.arange(12) < 9], rest)["spread"]  # four wrong ones
    assert few["auroc_of_wrong"] is None and few["mean_wrong"] is not None
    assert evaluate(replace(scores, members=members[:1]), rest)["spread"] is None


def difference(value, low, high):
    ends = {"auroc_ci": [low, high], "brier_ci": [low, high], "auroc_below_0": 0.4}
    return {"auroc": value, "brier": value, "n": 90, "subjects": 45, **ends}


@pytest.fixture
def summary(metrics):
    differences = {"worse": (0.1, 0.05, 0.2), "alike": (0.0, -0.1, 0.1), "better": (-0.1, -0.2, -0.05)}
    return {
        "run": f"/runs/{HOSTILE}",
        "metrics": {"val": metrics, "test": metrics},
        "baselines": {
            name: {"val": metrics, "test": metrics | {"vs_head": difference(*d)}} for name, d in differences.items()
        },
        "warnings": [f"3 items are near-duplicates of {HOSTILE}"],
        "notes": [HOSTILE],
        "left_out": {"conflicting": 7},
        "members": [],
        "seconds": 1.0,
        "threshold": 0.5,
        "warning": "",
        **{f"n_{split}": 90 for split in ("train", "val", "test")},
    }


def test_a_page_of_sections_shows_names_as_text_and_allows_only_its_own_style(summary, tmp_path):
    (tmp_path / "roc.png").write_bytes(b"\x89PNG")
    page = render_sections(
        HOSTILE, meaning([HOSTILE]), {HOSTILE: HOSTILE}, page_sections(summary, ("neutral",), {"roc"}), tmp_path
    )
    assert "<img src=x" not in page and "\x1b" not in page and "<script" not in page and " style=" not in page
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") >= 8 and page.count("data:image/png;base64,") == 1
    style = page[page.index("<style>") + 7 : page.index("</style>")]
    allowed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src &#39;sha256-{allowed}&#39;" in page or f"style-src 'sha256-{allowed}'" in page
    assert "unsafe-inline" not in page and "http" not in page.replace("http-equiv", "")


def test_differences_are_told_whichever_way_they_fall(summary):
    card = model_card(summary, ("neutral",))
    rows = {line.split(" | ")[0][2:]: line for line in card.splitlines() if "ranks" in line or "to be told" in line}
    assert "the head ranks better" in rows["worse"] and "+0.100 (+0.050, +0.200)" in rows["worse"]
    assert "no difference to be told" in rows["alike"]
    assert "the head ranks worse" in rows["better"] and "−0.100 (−0.200, −0.050)" in rows["better"]


def test_the_card_says_what_is_known_to_be_wrong(summary, metrics):
    card = model_card(summary, ("neutral",))
    for text in ("7 items carried conflicting labels", "near-duplicates", "second rater: emotion2", "hiring", "κ"):
        assert text in card
    assert "<img" not in card and "| sad\\|b |" in card and "\x1b" not in card
    assert "it is not known how far people agree" not in card
    alone = metrics | {"raters": {}, "subgroups": {}, "ci_by": "image"}
    card = model_card(summary | {"metrics": {"val": metrics, "test": alone}}, ("neutral",))
    for text in ("it is not known how far people agree", "No item names a subject", "name no groups"):
        assert text in card


def test_of_three_persons_the_page_concludes_nothing_and_says_how_few_they_are(summary):
    logit, label = np.array([2.0, 1.0, 3.0, -1.0, -2.0, -3.0]), np.arange(6) < 3
    emotion = np.where(label, "sad", "neutral").astype(object)
    columns = {"camera": np.where(label, "a", "b").astype(object), "emotion2": emotion}
    scores = Scores(logit[:, None], label, np.array([f"p{i}" for i in range(6)], object), emotion, None, columns)
    found = evaluate(scores, Wanted(("sad",), resamples=50))
    few = summary | {"metrics": {"val": found, "test": found}, "baselines": {"probe": {"test": found}}}
    card = model_card(few, ("sad",))
    assert "Fewer than 5 subjects (3) have positive items: what hangs on these has no interval" in card
    assert "1.000 to 1.000" not in card and "(1.000" not in card
    for conclusion in ("Sad faces score", "gives labels away", "Two people agree", "has an AUC of 1.00 ("):
        assert conclusion not in card


def test_a_summary_of_an_earlier_version_is_still_shown(summary, metrics):
    later = ("auroc_not_smiling", "auroc_not_smiling_ci", "by_person", "too_few", "not_compared", "ece_debiased")
    before = {name: value for name, value in metrics.items() if name not in (*later, "ece_debiased_ci")}
    before |= {"ece_ci": [0.1, 0.2], "subgroups": {"camera": {"groups": [], "label_from_group": 0.8}}, "raters": {}}
    card = model_card(summary | {"metrics": {"val": before, "test": before}, "baselines": {}}, ("neutral",))
    assert "calibration error (10 equal-mass bins), as found | " in card and "has an AUC of 0.800" in card


@pytest.mark.parametrize(
    ("value", "interval", "said"),
    [
        (0.23, [0.12, 0.4], "Sad faces score lower than neutral ones (AUC 0.23, 0.12 to 0.40)"),
        (0.45, [0.3, 0.6], "cannot be said to tell sad faces from neutral ones"),
        (0.8, [0.7, 0.9], "Sad faces score higher than neutral ones"),
        (0.16, [None, None], "Too few persons to say how the score tells sad faces from neutral ones (AUC 0.16)."),
    ],
)
def test_sadness_is_judged_by_the_interval(value, interval, said):
    found = {"auroc_sad_vs_rest": None, "auroc_sad_vs_rest_ci": [None, None]}
    metrics = found | {"auroc_sad_vs_neutral": value, "auroc_sad_vs_neutral_ci": interval}
    assert said in sadness(metrics, ("neutral", "sad"))[0] and not sadness(metrics, ("happy",))
