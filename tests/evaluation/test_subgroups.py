"""Groups, raters and paired comparisons: against scikit-learn, explicit resampling and figures worked out by hand."""

import numpy as np
import pytest
from sklearn import metrics as reference

from facedep_jax.dataset.listing_columns import all_groups, groups, listing_columns, rater_columns
from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.evaluate import Scores, Wanted, evaluate
from facedep_jax.evaluation.label_leak import label_from_group
from facedep_jax.evaluation.paired_difference import paired_difference
from facedep_jax.evaluation.rater_agreement import compare_raters
from facedep_jax.evaluation.subgroups import subgroup_table
from facedep_jax.text_columns import text_frame

RESAMPLES = {"resamples": 200}


@pytest.fixture(scope="module")
def scored():
    """Two scores of the same 300 items of 100 subjects, the second a noisier one."""
    rng = np.random.default_rng(4)
    positive = rng.random(300) < 0.5
    first = np.clip(0.5 + 0.25 * (positive - 0.5) + rng.normal(0, 0.15, 300), 0, 1)
    second = np.clip(first + rng.normal(0, 0.2, 300), 0, 1)
    return first, second, positive, np.array([f"p{i // 3}" for i in range(300)], object)


def test_a_row_of_a_group_is_what_its_items_give_alone(scored):
    score, _, positive, subject = scored
    group = np.where(np.arange(300) < 24, "film", "portrait").astype(object)
    group[290:] = None
    found = subgroup_table(group, ("film", "portrait"), score, positive, 0.5, subject, **RESAMPLES)
    assert [row["group"] for row in found["groups"]] == ["film", "portrait", None]
    for row in found["groups"]:
        mine = group == row["group"]
        tn, fp, fn, tp = reference.confusion_matrix(positive[mine], score[mine] >= 0.5).ravel()
        expected = {
            "n": mine.sum(),
            "subjects": len(set(subject[mine])),
            "prevalence": positive[mine].mean(),
            "auroc": reference.roc_auc_score(positive[mine], score[mine]),
            "false_positive_rate": fp / (fp + tn),
            "false_negative_rate": fn / (fn + tp),
            "mean_score": score[mine].mean(),
        }
        assert {name: row[name] for name in expected} == pytest.approx(expected)
    few, many, unsaid = found["groups"]
    assert (few["small"], many["small"], unsaid["small"]) == (True, False, True)
    assert many["auroc_ci"][0] < many["auroc"] < many["auroc_ci"][1]
    assert unsaid["subjects"] == 4 and unsaid["auroc_ci"] == [None, None]


def test_groups_that_give_the_label_away_are_noticed(scored):
    """Also where they do so nine times in ten, or by the quarters of a number."""
    score, _, positive, subject = scored
    rng = np.random.default_rng(0)
    often = positive ^ (rng.random(300) < 0.1)
    quarters = groups("light", {"light": np.array([f"{x:.3f}" for x in positive + rng.random(300)], object)})
    assert len(quarters.names) == 4
    for telling, names in ((positive, "ab"), (often, "ab"), (quarters.of, quarters.names)):
        group = telling if telling.dtype == object else np.where(telling, "a", "b").astype(object)
        found = subgroup_table(group, tuple(names), score, positive, 0.5, subject, **RESAMPLES)
        assert found["gives_labels_away"] and found["label_from_group_ci"][0] > 0.8
    whole = subgroup_table(np.where(positive, "a", "b"), ("a", "b"), score, positive, 0.5, subject, **RESAMPLES)
    assert whole["label_from_group"] == 1.0 and whole["groups"][0]["auroc"] is None


@pytest.mark.parametrize("of_persons", [True, False])
@pytest.mark.parametrize("values", [1, 2, 5, 12, 40, 120])
def test_random_columns_do_not_give_labels_away(values, of_persons):
    """Of persons who mostly show one label, also where a column is a matter of the person, or of every item."""
    rng, found = np.random.default_rng(values), []
    for seed in range(40):
        clusters = np.r_[np.arange(60), rng.integers(0, 60, 60)]
        positive = np.where(rng.random(120) < 0.8, (rng.random(60) < 0.5)[clusters], rng.random(120) < 0.5)
        drawn = rng.integers(0, values, 60)[clusters] if of_persons else rng.integers(0, values, 120)
        found.append(label_from_group(drawn.astype(str).astype(object), positive, clusters, 100, seed))
    assert not any(each["gives_labels_away"] for each in found)
    assert abs(np.mean([each["label_from_group"] for each in found]) - 0.5) < 0.06


def test_of_few_persons_no_column_gives_labels_away():
    positive = np.repeat([True] * 4 + [False] * 4, 10)
    found = label_from_group(np.where(positive, "a", "b"), positive, np.repeat(np.arange(8), 10), 50, 0)
    assert found["label_from_group_ci"] == [None, None] and not found["gives_labels_away"]


def test_agreement_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    first = rng.choice(["sad", "neutral", "happy", "anger"], 200).astype(object)
    second = np.where(rng.random(200) < 0.6, first, rng.choice(["sad", " Happy ", "fear"], 200)).astype(object)
    second[:20] = None
    score, subject = rng.random(200), np.array([f"p{i // 2}" for i in range(200)], object)
    found = compare_raters(first, second, ("sad", "neutral"), score, 0.5, subject, **RESAMPLES)
    one, two = first[20:], np.array([e.strip().lower() for e in second[20:]], object)
    positive = [np.isin(e, ["sad", "neutral"]) for e in (one, two)]
    head = score[20:] >= 0.5
    pairs = {
        "raters": positive,
        "emotions": (one.astype(str), two.astype(str)),
        "head_and_first": (positive[0], head),
        "head_and_second": (positive[1], head),
    }
    for name, (a, b) in pairs.items():
        assert found[name]["agreement"] == pytest.approx(np.mean(a == b)), name
        assert found[name]["kappa"] == pytest.approx(reference.cohen_kappa_score(a, b)), name
        low, high = found[name]["kappa_ci"]
        assert low < found[name]["kappa"] < high
    ceiling = reference.balanced_accuracy_score(*positive)  # the AUC of a label as a score
    assert found["raters"]["auroc"] == pytest.approx(ceiling)
    assert found["raters"]["auroc_ci"][0] < ceiling < found["raters"]["auroc_ci"][1]
    assert found["head_and_first"]["auroc"] == pytest.approx(reference.roc_auc_score(positive[0], score[20:]))
    assert found["head_and_second"]["auroc"] == pytest.approx(reference.roc_auc_score(positive[1], score[20:]))
    assert found["confusion"] == reference.confusion_matrix(*positive).tolist()
    assert (found["n"], found["subjects"]) == (180, 90)


def test_raters_without_an_item_in_common_are_none():
    first, second = np.array(["sad", None], object), np.array([None, "sad"], object)
    assert compare_raters(first, second, ("sad",), np.zeros(2), 0.5, np.array([None, None]), **RESAMPLES) is None


def test_a_paired_difference_is_that_of_explicit_resampling(scored):
    first, second, positive, subject = scored
    found = paired_difference(first, second, positive, subject, resamples=1000)
    assert (found["n"], found["subjects"]) == (len(positive), len(set(subject)))
    auc = [reference.roc_auc_score(positive, score) for score in (first, second)]
    brier = [reference.brier_score_loss(positive, score) for score in (first, second)]
    assert found["auroc"] == pytest.approx(auc[0] - auc[1]) and found["brier"] == pytest.approx(brier[0] - brier[1])
    rng, rows, drawn = np.random.default_rng(7), np.arange(300).reshape(100, 3), []
    for _ in range(400):
        index = rows[rng.integers(0, 100, 100)].ravel()
        drawn.append(np.subtract(*(reference.roc_auc_score(positive[index], s[index]) for s in (first, second))))
    assert found["auroc_ci"] == pytest.approx(list(np.quantile(drawn, [0.025, 0.975])), abs=0.012)
    assert found["auroc_below_0"] == pytest.approx(np.mean(np.array(drawn) < 0), abs=0.03)


def test_pairing_is_what_makes_the_interval_narrow(scored):
    """Two scores that err on the same items differ by far less than either is uncertain."""
    first, _, positive, subject = scored
    alike = np.clip(first + np.random.default_rng(1).normal(0, 0.02, 300), 0, 1)
    paired = paired_difference(first, alike, positive, subject, **RESAMPLES)["auroc_ci"]
    table = subgroup_table(np.full(300, "all", object), ("all",), first, positive, 0.5, subject, **RESAMPLES)
    alone = table["groups"][0]["auroc_ci"]
    assert paired[1] - paired[0] < (alone[1] - alone[0]) / 3


def test_nothing_is_better_than_itself_and_signs_turn_around(scored):
    first, second, positive, subject = scored
    same = paired_difference(first, first, positive, subject, **RESAMPLES)
    assert (same["auroc"], same["auroc_ci"], same["auroc_below_0"]) == (0.0, [0.0, 0.0], 0.5)
    there, back = (
        paired_difference(*pair, positive, subject, **RESAMPLES) for pair in ((first, second), (second, first))
    )
    assert back["auroc_ci"] == pytest.approx([-v for v in reversed(there["auroc_ci"])])
    assert back["brier_below_0"] == pytest.approx(1 - there["brier_below_0"])


def listing(item, path, **columns):
    return {"item": item, "source": "/s", "path": path, "emotion": "sad", "subject": None, "split": None, **columns}


def test_columns_are_called_what_their_source_called_them():
    listings = [
        listing("a", "1.jpg", source_column="film", age="31", emotion2="Sad"),
        listing("b", "2.jpg", source_column="portrait", age=" "),
        listing("a", "copy.jpg", source_column="other"),
    ]
    columns = listing_columns(text_frame(listings), ["b", "a", "c", "a"], ["2.jpg", "copy.jpg", "3.jpg", "gone.jpg"])
    assert columns["source"].tolist() == ["portrait", "other", None, "film"]
    assert columns["age"].tolist() == [None, "31", None, "31"]  # of an item one listing says what others do not
    assert rater_columns(columns) == ("emotion2",)
    assert {name: made.why_not for name, made in all_groups(columns).items()} == {
        "source": "every item has one of its own"
    }


def test_numbers_are_cut_into_quarters_in_their_order():
    values = np.array([str(age) for age in range(5, 105)] + [None], object)
    made = groups("age", {"age": values})
    group, names = made.of, made.names
    assert names == ("up to 29.75", "over 29.75, to 54.5", "over 54.5, to 79.25", "over 79.25")
    assert [int(np.sum(group == name)) for name in names] == [25, 25, 25, 25] and group[-1] is None
    assert group[0] == names[0] and group[99] == names[3]


def test_columns_without_groups_are_said_and_only_those_that_are_not_there_refused():
    columns = {"id": np.array(["x", "y", "z"], object), "nothing": np.array([None] * 3, object)}
    assert groups("id", columns).why_not == "every item has one of its own"
    assert groups("nothing", columns).why_not == "no item of this split has one"
    with pytest.raises(SettingsError, match="there are id, nothing"):
        groups("sex", columns)


@pytest.mark.parametrize("count", [3, 12, 13, 60])
def test_no_column_of_the_listings_ends_an_evaluation(count):
    """A value an item, in as many items as a table may have groups, or more: names, dates, ages, odd numbers."""
    numbers = np.arange(count)
    columns = {
        "file": [f"{i}.jpg" for i in numbers],
        "date": [f"2021-01-{i + 1:02d}" for i in numbers],
        "age": [str(20 + i) for i in numbers],
        "score": [f"{np.sin(i):.6f}" for i in numbers],
        "odd": ["nan", "inf", "1e999", *(str(i) for i in numbers[3:])],
        "same": ["x"] * count,
        "mostly unsaid": ["a", "b", *[None] * (count - 2)],
        "half": ["a" if i % 2 else "b" for i in numbers],
    }
    columns = {name: np.array(values, object) for name, values in columns.items()}
    label = numbers % 2 == 0
    unsaid = np.full(count, None)
    scores = Scores(np.where(label, 1.0, -1.0)[:, None], label, unsaid, np.where(label, "sad", "happy"), None, columns)
    found = evaluate(scores, Wanted(resamples=20))
    assert list(found["subgroups"]) == ["half"]
    own = "every item has one of its own"
    assert {found["not_compared"][name] for name in ("file", "date", "odd", "mostly unsaid")} == {own}
    many = f"{count} different values; --by age compares quarters"
    assert found["not_compared"]["age"] == (many if count > 12 else own) and "same" not in found["not_compared"]
    asked = evaluate(scores, Wanted(resamples=20, by=("age", "file")))
    assert list(asked["subgroups"]) == (["age"] if count > 12 else []) and asked["not_compared"]["file"] == own
