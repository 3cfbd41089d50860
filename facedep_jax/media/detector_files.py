"""Which face detector is used, and from which file. Knows nothing of pictures, and does not load cv2."""

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from facedep_jax.errors import EngineError, NotADetector, SettingsError
from facedep_jax.file_opening import PICTURE, read_bytes
from facedep_jax.media.frame_types import InputSettings
from facedep_jax.media.worker_pool import TIMEOUT, borrow, give_back

CHOICES = ("none", "auto", "yunet", "haar")

# Output names of YuNet's three strides, as opencv_zoo exports it (models/face_detection_yunet/yunet.py).
_YUNET_OUTPUTS = (b"cls_8", b"obj_16", b"bbox_32", b"kps_32")
# The published files have 0.1 to 0.4 MB; a detector of this size is another network.
_YUNET_LARGEST = 16 << 20

_WHERE_FROM = "face_detection_yunet_2023mar.onnx of github.com/opencv/opencv_zoo (MIT)"


@dataclass(frozen=True)
class FaceChoice:
    """`faces`: "none", "yunet" or "haar". `detector`: the detector's file and `sha256` of its bytes, both
    None for "none". `reason`: one sentence for the user."""

    faces: str
    detector: str | None
    sha256: str | None
    reason: str


def resolve_faces(
    choice: str, detector_model: str | None, weights_dir: str | None, user_cache: str | os.PathLike
) -> FaceChoice:
    """Turns `choice` (one of CHOICES) into a detector that is at hand.

    A YuNet model is `detector_model`, else one found in `weights_dir`, else one in `user_cache`; *.onnx files
    are told by their content, whatever their name. "auto" takes YuNet where there is one, Haar where there is
    not. Raises SettingsError for another `choice`; EngineError when YuNet is asked for (by name or by
    `detector_model`) and the model is absent or is not a YuNet, or when OpenCV has no Haar cascade.
    """
    if choice not in CHOICES:
        raise SettingsError(f"--faces is one of {', '.join(CHOICES)}, got {choice!r}")
    if choice == "none":
        return FaceChoice("none", None, None, "no face is looked for: pictures are used whole")
    if choice == "haar":
        return _haar("the Haar cascade was asked for")
    if detector_model is not None:
        return _yunet(Path(detector_model), "the detector model was given")
    for where in (weights_dir, user_cache):
        found = _yunet_in(Path(where)) if where is not None else None
        if found is not None:
            return _yunet(found, f"a model is in {where}")
    if choice == "yunet":
        raise EngineError(
            f"--faces yunet needs YuNet's model and there is none; put {_WHERE_FROM} into "
            f"{weights_dir or user_cache}, or name it with --detector-model"
        )
    return _haar(f"no YuNet model was found; put {_WHERE_FROM} into {user_cache} for a better detector")


def haar_cascade() -> Path:
    """OpenCV's frontal-face cascade. Raises EngineError where the installed OpenCV ships none (5.0)."""
    spec = importlib.util.find_spec("cv2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "data" / "haarcascade_frontalface_default.xml"
        if path.is_file():
            return path
    raise EngineError("the installed OpenCV has no Haar cascade; install opencv-python-headless>=4.13,<5")


def _haar(reason: str) -> FaceChoice:
    path = haar_cascade()
    return FaceChoice("haar", str(path), _sha256(path), f"faces by OpenCV's Haar cascade: {reason}")


def _yunet(path: Path, reason: str) -> FaceChoice:
    if not path.is_file():
        raise EngineError(f"{path} is not a file; --detector-model names {_WHERE_FROM}")
    if not _looks_like_yunet(path):
        raise NotADetector(str(path), "not a YuNet model", f"--detector-model names {_WHERE_FROM}")
    reason = f"faces by YuNet ({path.name}): {reason}"
    choice = FaceChoice("yunet", str(path.resolve()), _sha256(path), reason)
    _try(choice)
    return choice


def _yunet_in(folder: Path) -> Path | None:
    """The only YuNet model in a folder; copies count once. Raises EngineError when several differ."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("*.onnx")):
        if path.is_file() and _looks_like_yunet(path):
            found.setdefault(_sha256(path), path)
    if len(found) > 1:
        names = " and ".join(path.name for path in found.values())
        raise EngineError(f"{folder} holds several YuNet models, {names}; name one with --detector-model")
    return next(iter(found.values()), None)


def _looks_like_yunet(path: Path) -> bool:
    if path.stat().st_size > _YUNET_LARGEST:
        return False
    data = read_bytes(path, PICTURE, follow=True)
    return all(name in data for name in _YUNET_OUTPUTS)


def _try(choice: FaceChoice) -> None:
    """Loads the detector in a worker, where a damaged file can do no harm. Raises EngineError."""
    decoder = borrow()
    try:
        decoder.ask("detector", InputSettings((32,), faces=choice.faces, detector=choice.detector), b"")
        decoder.answer(TIMEOUT)
    finally:
        give_back(decoder)


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_bytes(path, PICTURE, follow=True)).hexdigest()
