"""Figures: they show the numbers given, carry the warning, and survive small data."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from sklearn.metrics import roc_curve
from support.refusing_disk import small_files

from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.errors import OutputError
from facedep_jax.evaluation.metrics import headline_metrics
from facedep_jax.head.calibration import OperatingPoint
from facedep_jax.report import run_plots
from facedep_jax.report.score_over_time_plot import draw_timeline
from facedep_jax.report.scored_image_plot import draw_prediction, drawing
from facedep_jax.scoring.clip_scores import ClipScore
from facedep_jax.scoring.frame_scores import Frames
from facedep_jax.scoring.score_images import Drawable, Prediction

BANNER, POSITIVE = UNTRAINED, ("neutral", "sad")
DIFFERENCE = {"auroc": 0.01, "auroc_ci": [-0.02, 0.03]}


@pytest.fixture(scope="module")
def judged():
    rng = np.random.default_rng(0)
    positive = rng.random(60) < 0.5
    score = np.round(np.clip(0.3 * positive + rng.random(60) * 0.7, 0, 1), 2)
    emotion = np.where(positive, "neutral", "happy").astype(object)
    points = (OperatingPoint(0.8, 0.6), OperatingPoint(0.9, 0.7))
    found = headline_metrics(
        score, positive, 0.5, np.full(60, None), emotion, resamples=50, raw=np.sqrt(score), points=points
    )
    return score, positive, emotion, found


def draw_all(judged, banner=""):
    score, positive, emotion, metrics = judged
    history = {
        name: np.linspace(0.5, 0.9, 8).reshape(4, 2)
        for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "val_auroc")
    }
    return [
        run_plots.draw_curves(history, np.array([2, 4]), banner),
        run_plots.draw_confusion(metrics["confusion"], 0.5, "test", banner),
        run_plots.draw_roc({"head": (score, positive), "probe": (1 - score, positive)}, metrics, "test", banner),
        run_plots.draw_precision_recall({"head": (score, positive)}, metrics, "test", banner),
        run_plots.draw_reliability(score, positive, metrics, "test", banner, np.sqrt(score)),
        run_plots.draw_models({"head": metrics, "probe": metrics | {"vs_head": DIFFERENCE}}, "test", banner),
        run_plots.draw_score_by_emotion(score, emotion, ("neutral",), metrics, 0.5, "test", banner),
    ]


def test_every_figure_carries_the_warning_and_none_without_it(judged):
    for figure in draw_all(judged, BANNER):
        assert figure.get_suptitle() == BANNER
    for figure in draw_all(judged):
        assert figure.get_suptitle() == ""


def test_figures_are_written_as_png(judged, tmp_path):
    for number, figure in enumerate(draw_all(judged)):
        run_plots.save(figure, tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").read_bytes().startswith(b"\x89PNG")


def test_confusion_shows_the_counts(judged):
    drawn = run_plots.draw_confusion([[7, 3], [1, 9]], 0.5, "test")
    assert [text.get_text() for text in drawn.axes[0].texts] == ["7\n70%", "3\n30%", "1\n10%", "9\n90%"]


def test_points_of_the_roc_curve_are_those_of_scikit_learn(judged):
    score, positive, _, _ = judged
    expected = roc_curve(positive, score, drop_intermediate=False)[:2]
    np.testing.assert_allclose(run_plots.roc_points(score, positive), expected)


def test_operating_points_lie_on_the_curve_where_they_were_reached(judged):
    _, _, _, metrics = judged
    axis = draw_all(judged)[2].axes[0]
    marks = {line.get_label(): line.get_xydata() for line in axis.lines}
    hollow = next(xy for label, xy in marks.items() if label.startswith("thresholds for specificity 80%, 90%"))
    expected = [(1 - point["specificity"], point["recall"]) for point in metrics["operating_points"]]
    np.testing.assert_allclose(hollow, expected)
    np.testing.assert_allclose(marks["the run's threshold"], [(1 - metrics["specificity"], metrics["recall"])])


def test_reliability_shows_both_sides_of_calibration(judged):
    score, positive, _, metrics = judged
    labels = [text.get_text() for text in draw_all(judged)[4].axes[0].get_legend().get_texts()]
    assert f"before, ECE {metrics['raw']['ece']:.3f}" in " ".join(labels)
    low, high = metrics["ece_debiased_ci"]
    told = f"without chance {metrics['ece_debiased']:.3f} [{low:.3f}, {high:.3f}]"
    assert f"calibrated, ECE {metrics['ece']:.3f}, {told}" in " ".join(labels)
    once = run_plots.draw_reliability(score, positive, metrics, "test").axes[0]
    assert not any("before" in text.get_text() for text in once.get_legend().get_texts())


def test_emotions_are_in_the_order_of_their_means(judged):
    labels = [tick.get_text() for tick in draw_all(judged)[-1].axes[0].get_yticklabels()]
    assert labels[0].startswith("happy") and labels[1].startswith("neutral")


def test_wilson_interval_by_hand():
    low, high = run_plots.wilson(np.array([0.5]), np.array([10]))
    assert (low[0], high[0]) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_fewer_items_than_bins_and_one_emotion():
    score, positive = np.array([0.2, 0.8, 0.6]), np.array([False, True, True])
    metrics = headline_metrics(score, positive, 0.5, np.full(3, None), np.full(3, "sad", object), resamples=20)
    run_plots.draw_reliability(score, positive, metrics, "val")
    run_plots.draw_roc({"head": (score, positive)}, metrics, "val")  # of so few there is no interval to be shown
    run_plots.draw_score_by_emotion(score, np.full(3, "sad", object), ("sad",), metrics, 0.5, "val")


def test_pictures_on_a_full_disk_are_one_clear_error_and_leave_nothing(tmp_path):
    frames = Frames(np.arange(3.0), np.zeros(3), np.zeros((3, 4)), np.full(3, 0.5))
    picture = Prediction(
        "p.jpg",
        "scored",
        face={"state": "whole", "box": None},
        probability=0.5,
        decision="positive",
        drawable=Drawable(np.zeros((8, 8, 3), np.uint8), 1.0, np.zeros((8, 8, 3), np.uint8), np.eye(2)),
    )
    draws = {
        "matrix.png": lambda path: run_plots.save(run_plots.draw_confusion([[7, 3], [1, 9]], 0.5, "test"), path),
        "clip.png": lambda path: run_plots.save(draw_timeline(ClipScore("clip.mp4", "abstained"), frames, 0.5), path),
        "p.jpg.png": lambda path: list(drawing(path.parent, [picture], 0.5, POSITIVE)),
    }
    for name, draw in draws.items():
        with small_files(), pytest.raises(OutputError, match=f"{name} cannot be written"):
            draw(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_for_pictures_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        list(drawing(tmp_path / "file" / "plots", [], 0.5, POSITIVE))


def drawn(state="found", box=(10.0, 20.0, 30.0, 40.0), path="a.jpg", scored=True, warning="", **more):
    """The figure of a prediction whose picture, shrunk to half, has 80×60 pixels."""
    shading = np.array([[0.1, 0.2], [0.3, 0.0]])
    picture, crop = np.zeros((60, 80, 3), np.uint8), np.full((8, 8, 3), 200, np.uint8)
    shown = Drawable(picture, 0.5, *((crop, shading) if scored else ()))
    known = {"probability": 0.64, "decision": "positive", "members_low": 0.5, "members_high": 0.7} if scored else {}
    face = {"state": state, "box": box and list(box)}
    return draw_prediction(Prediction(path, "scored", face, **known, **more), shown, 0.41, POSITIVE, warning)


def texts(figure):
    return " | ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def test_a_prediction_shows_the_box_on_the_whole_picture_its_score_and_shading():
    figure = drawn(warning=BANNER)
    boxes = {(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in figure.axes[0].patches}
    assert boxes == {(5.0, 10.0, 15.0, 20.0)}
    said = texts(figure)
    for part in ("one face, 30×40 pixels", "score 0.640", "sad-or-neutral (threshold 0.41)", "members 0.50 to 0.70",
                 BANNER, "attention × gradient", "50%", "far the logit hangs on it", "not a diagnosis"):  # fmt: skip
        assert part in said.replace("\n", " "), part
    FigureCanvasAgg(figure).draw()


def test_a_prediction_names_every_emotion_the_likeliest_first_and_nothing_overlaps():
    words = ("angry", "$x^2$", "disgust", "fear", "happy", "neutral", "surprise", *map(str, range(20)))
    many = dict.fromkeys(words, 0.01) | {"sad": 0.73}
    figure = drawn(emotions=many)
    assert "emotions: sad 0.73, angry 0.01, $x^2$ 0.01" in texts(figure).replace("\n", " ")
    FigureCanvasAgg(figure).draw()
    pictures, scale = figure.axes[:2], figure.axes[2]
    assert scale._left_title.get_window_extent().y1 <= min(axes.get_window_extent().y0 for axes in pictures)
    assert scale.get_tightbbox().y0 >= 0
    assert "emotions" not in texts(drawn())


def test_a_picture_without_a_score_is_drawn_with_its_reason():
    said = texts(drawn("too-small", scored=False))
    assert "no score: face too small to judge, 30×40 pixels" in said and "%" not in said
    assert "gradient" not in said
    assert "no score: no face found" in texts(drawn("none", None, scored=False))


def test_a_name_on_a_picture_is_shown_and_nothing_else():
    figure = drawn(path="$x^2$ \x1b[31m\n<b>\u202e面.jpg")
    assert "$x^2$ �[31m�<b>��.jpg" in texts(figure)
    FigureCanvasAgg(figure).draw()  # a glyph that the font lacks would be a warning, a formula that is none an error
