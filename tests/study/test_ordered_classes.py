"""Ordered classes: learned by rank, judged by distance, and found where they are."""

import numpy as np
import pytest
from scipy.stats import rankdata

from facedep_jax.errors import SettingsError, TableError
from facedep_jax.evaluation.persons.ordered_classification import mean_auc, ordered_classification
from facedep_jax.evaluation.weighted_metrics import plain_auroc
from facedep_jax.study.cohort_labels import band_names
from facedep_jax.study.cohort_table import read_cohort
from facedep_jax.study.cohort_units import units_of
from facedep_jax.study.models import CONFOUND, DESCRIPTOR, DUMMY, SCORE, labellings
from facedep_jax.study.ordered_classes import grade, judge_order, midranks
from facedep_jax.study.protocols import by_partition, repeated_folds
from facedep_jax.study.ridge.linear_models import Columns
from facedep_jax.study.settings import StudySettings

NAMES = ("none", "mild", "moderate", "severe")


def cohort(persons, effect, seed):
    """Four bands, of which the lower ones have more persons; the first of six columns rises with them."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=persons)
    band = np.searchsorted((-0.2, 0.5, 1.1), hidden)
    values = rng.normal(size=(persons, 6))
    values[:, 0] += effect * hidden
    names = tuple(f"c{k}" for k in range(6))
    return Columns(values, names, names), band


def test_a_band_counts_as_the_mean_rank_of_whom_it_holds():
    band = np.array([[0, 3], [0, 0], [2, 0], [1, 0]])
    np.testing.assert_allclose(midranks(band) * 4, [[1.5, 4], [1.5, 2], [4, 2], [3, 2]])


def test_what_is_there_is_found_beside_nothing_and_beside_the_score():
    columns, band = cohort(80, 2.0, 0)
    noise = Columns(np.random.default_rng(9).normal(size=(80, 2)), ("a", "b"), ("a", "b"))
    how = repeated_folds(band.astype(float), 5, 3, 0)
    plain = columns.values[:, 0]
    judged = judge_order({CONFOUND: noise, DESCRIPTOR: columns}, plain, band, how, labellings(how, 19, 0), names=NAMES)
    found, nothing = judged.figures[DESCRIPTOR], judged.figures[CONFOUND]
    assert found["auc"] > 0.85 and found["kappa_quadratic"] > 0.6 and judged.chance[DESCRIPTOR]["p"] == 0.05
    assert abs(nothing["auc"] - 0.5) < 0.25 and nothing["kappa_quadratic_ci"][0] < 0
    assert judged.figures[SCORE]["kappa_quadratic"] > 0.6  # as it is, by thresholds between those learned from
    assert judged.figures[DUMMY]["kappa_linear"] == 0 and judged.figures[DUMMY]["auc"] == 0.5
    assert judged.differences["descriptors − dummy"]["mae_ci"][1] < 0
    assert [one["from"] for one in found["cuts"]] == list(NAMES[1:])
    assert [one["positive"] for one in found["cuts"]] == [(band >= k).sum() for k in (1, 2, 3)]
    assert found["auc"] == pytest.approx(np.mean([one["auc"] for one in found["cuts"]]))


def test_who_is_judged_has_no_part_in_their_own_band():
    columns, band = cohort(40, 1.0, 1)
    how = repeated_folds(band.astype(float), 5, 2, 0)
    before = grade(columns, band, how)
    turned = band.copy()
    turned[7] = (turned[7] + 2) % 3
    after = grade(columns, turned, how)
    np.testing.assert_allclose(before.ranking[:, 7], after.ranking[:, 7], atol=1e-12)
    np.testing.assert_array_equal(before.value[:, 7], after.value[:, 7])
    assert not np.allclose(before.ranking, after.ranking)


def test_without_anything_to_go_by_everybody_has_the_median_band():
    _, band = cohort(60, 0.0, 2)
    nothing = Columns(np.zeros((60, 0)), (), ())
    given = grade(nothing, band, repeated_folds(band.astype(float), 5, 2, 0)).value
    assert set(given.ravel()) == {np.median(band)}


def test_figures_by_hand():
    band, value = np.array([0, 0, 1, 1, 2, 2]), np.array([0.0, 1, 1, 2, 2, 0])
    found = ordered_classification(value, value, band, NAMES[:3], False)
    assert found["mae"] == pytest.approx(4 / 6) and found["accuracy"] == 0.5
    expected = [plain_auroc(value, band >= k) for k in (1, 2)]
    assert [one["auc"] for one in found["cuts"]] == pytest.approx(expected)
    assert found["auc"] == pytest.approx(np.mean(expected))


def test_the_interval_of_the_mean_over_cuts_is_the_jackknife_s_and_holds_what_it_should():
    rng = np.random.default_rng(0)
    band = rng.integers(0, 4, 60)
    score = band + 2 * rng.normal(size=60)

    def mean(own):
        return np.mean([plain_auroc(score[own], band[own] >= k) for k in (1, 2, 3)])

    without = [mean(np.arange(60) != one) for one in range(60)]
    variance = 59 * np.var(without)
    found = mean_auc(score[None], band, False)
    low, high = found["auc_ci"]
    assert found["auc"] == pytest.approx(mean(np.ones(60, bool)))
    assert (high - low) / 2 == pytest.approx(2 * np.sqrt(variance), rel=0.06)
    held = 0
    for _ in range(200):
        band = np.arange(40) % 4
        low, high = mean_auc(rng.normal(size=(1, 40)), band, False)["auc_ci"]
        held += low <= 0.5 <= high
    assert 180 <= held <= 199


def test_ties_of_bands_leave_ranks_alone_and_an_official_partition_judges_its_own():
    columns, band = cohort(60, 2.0, 3)
    partition = np.array(["train"] * 40 + ["test"] * 20, object)
    judged = judge_order(
        {DESCRIPTOR: columns}, None, band, by_partition(partition), np.zeros((60, 0), int), names=NAMES
    )
    assert judged.figures[DESCRIPTOR]["n"] == 20 and not judged.chance
    assert np.isnan(judged.predictions[DESCRIPTOR].value[0, :40]).all()
    rising = judged.predictions[DESCRIPTOR]
    order = np.argsort(rising.ranking[0, 40:])
    assert (np.diff(rising.value[0, 40:][order]) >= 0).all()
    assert rankdata(rising.value[0, 40:]).max() > 10


def read(tmp_path, rows, **settings):
    path = tmp_path / "t.csv"
    path.write_text("\n".join(rows))
    return read_cohort([path], StudySettings(**settings))


def test_labels_are_bands_in_the_order_that_is_told(tmp_path):
    rows = ["subject,label,score", "a,Mild,3", "b,none,12", "c,,4", "d,severe,20", "e,None,1"]
    table = read(tmp_path, rows, order=NAMES, cutoff=10)
    units = units_of(table)
    assert units["band"].to_list() == [1, 0, None, 3, 0]  # none is said, and nothing is not
    assert units["label"].to_list() == [False, True, False, True, False]  # of the score alone
    assert "nobody is moderate" in " ".join(table.said) and "by --cutoff alone" in " ".join(table.said)
    assert units_of(read(tmp_path, rows, order=NAMES))["label"].to_list() == [None] * 5
    with pytest.raises(TableError, match=r"'severe' of its labels are not in --order none,mild"):
        read(tmp_path, rows, order=("none", "mild"))
    with pytest.raises(TableError, match="one visit has one band"):
        read_twice = [*rows, "a,severe,3"]
        units_of(read(tmp_path, read_twice, order=NAMES))


def test_bands_are_of_scores_where_no_order_is_told(tmp_path):
    rows = ["subject,score", "a,3", "b,12", "c,", "d,20"]
    settings = {"bands": (5.0, 10.0, 20.0)}
    assert units_of(read(tmp_path, rows, **settings))["band"].to_list() == [0, 2, None, 3]
    assert band_names(StudySettings(**settings)) == ("below 5", "5", "10", "20")
    assert units_of(read(tmp_path, rows))["band"].null_count() == 4


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"order": ("mild",)}, "two different labels or more"),
        ({"order": ("mild", "Mild")}, "two different labels or more"),
        ({"order": NAMES, "positive": "mild"}, "give one of both"),
    ],
)
def test_an_order_that_is_none_is_refused(settings, said):
    with pytest.raises(SettingsError, match=said):
        StudySettings(**settings)
