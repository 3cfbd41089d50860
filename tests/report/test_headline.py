"""A report begins with what was learned, and speaks of no emotion that nobody asked for."""

import pytest

from facedep_jax.disclaimer import either, in_words, meaning, sides
from facedep_jax.report.headline import headline, headline_table
from facedep_jax.report.run_report_tables import figures_table
from facedep_jax.report.run_sections import sadness

FIGURES = ("auroc", "auroc_sadness", "auroc_sad_vs_rest", "auroc_sad_vs_neutral", "auroc_not_smiling")
OTHERS = (
    "auprc", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "specificity", "mcc", "brier", "ece",
    "calibration_slope", "calibration_intercept", "prevalence",
)  # fmt: skip


def metrics(**known):
    values = dict.fromkeys((*FIGURES, *OTHERS), 0.75) | known
    return values | {f"{name}_ci": [0.6, 0.9] if value else [None, None] for name, value in values.items()}


@pytest.mark.parametrize("positive", [("depressed",), ("1",), ("happy",)])
def test_who_did_not_ask_for_sadness_hears_nothing_of_it(positive):
    found = metrics() | {"too_few": {side: f"few {side}" for side in ("positive", "sad", "neutral", "not sad")}}
    shown = [headline_table(found, positive, "test"), figures_table(found, positive), sadness(found, positive)]
    assert not any(word in str(shown) for word in ("sad", "Sad", "neutral"))
    assert "Few positive" in str(shown)
    assert f"labelled {positive[0]}. It is not a diagnosis" in meaning(positive) and "sad" not in meaning(positive)
    told = headline(found, positive)
    assert told["auroc"] == f"{positive[0]} against the rest" and ("auroc_not_smiling" in told) == (
        positive[0] != "happy"
    )


def test_who_asked_for_it_hears_that_few_are_sad():
    found = metrics() | {"too_few": {"sad": "few sad"}}
    assert "Few sad" in str(headline_table(found, ("sad", "neutral"), "test"))


def test_three_figures_come_first_and_sadness_is_the_heads_own():
    table = headline_table(metrics(auroc_sadness=0.813), ("neutral", "sad"), "test")
    assert [row[0].split(",")[0] for row in table.rows] == [
        "sad or neutral against the rest", "sad against neutral", "the same without happy faces",
    ]  # fmt: skip
    assert table.rows[1] == ("sad against neutral, by what the head says of sadness", "0.813", "0.600 to 0.900")
    two_classes = headline_table(metrics(auroc_sadness=None), ("neutral", "sad"), "test")
    assert two_classes.rows[1][0] == "sad against neutral, by the same score"


def test_figures_that_are_not_there_leave_no_row():
    bare = {
        "auroc": 0.9,
        "auroc_ci": [0.8, 0.95],
        "auroc_sad_vs_neutral": None,
        "auroc_sad_vs_neutral_ci": [None, None],
    }
    assert list(headline(bare, ("neutral", "sad"))) == ["auroc"]
    assert "sad against" not in str(figures_table(metrics(auroc_sad_vs_rest=None, auroc_sad_vs_neutral=None), ("sad",)))


def test_names_are_listed_and_escaped():
    assert [either(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a or b", "a, b or c"]
    assert "\x1b" not in meaning(["red\x1b[31m"])


def test_sides_are_called_as_the_labels_are():
    assert sides(("neutral", "sad")) == ("sad-or-neutral", "other")
    assert sides(("depressed",)) == ("depressed", "other")
    assert sides(("fear", "sad", "neutral"))[0] == "sad-fear-or-neutral" and sides(())[0] == "positive"
    assert [in_words(said, ("sad",)) for said in ("positive", "negative", "", "no face")] == [
        "sad",
        "other",
        "",
        "no face",
    ]
