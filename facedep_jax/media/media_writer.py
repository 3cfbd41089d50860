"""Pixels → image and clip files, for drawn material and for crops that are kept. Knows nothing of what is seen."""

from __future__ import annotations  # decoders begin sooner without jaxtyping

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from facedep_jax.errors import OutputError

if TYPE_CHECKING:
    from jaxtyping import UInt8


def write_image(path: Path, pixels: UInt8[np.ndarray, "h w 3"]) -> None:
    """Write RGB `pixels` in the format of the extension, making folders as needed. Raises OutputError."""
    from facedep_jax.media.decode.opencv_setup import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    written, data = cv2.imencode(path.suffix, np.ascontiguousarray(pixels[..., ::-1]))
    if not written:
        raise OutputError(f"{path}: OpenCV cannot write {path.suffix} images")
    path.write_bytes(data.tobytes())


def write_clip(path: Path, frames: Iterable[UInt8[np.ndarray, "h w 3"]], fps: float) -> None:
    """Write RGB `frames`, all of one size, as MPEG-4 at `fps`. Raises OutputError."""
    from facedep_jax.media.decode.opencv_setup import cv2

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = None
    for pixels in frames:
        if writer is None:
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, pixels.shape[1::-1])
            if not writer.isOpened():
                raise OutputError(f"{path}: OpenCV cannot write MPEG-4 clips here")
        writer.write(np.ascontiguousarray(pixels[..., ::-1]))
    if writer is None:
        raise OutputError(f"{path}: a clip needs at least one frame")
    writer.release()


def encode_png(pixels: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """RGB `pixels` as a PNG, from which the same are read."""
    from facedep_jax.media.decode.opencv_setup import cv2

    _, data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]), (cv2.IMWRITE_PNG_COMPRESSION, 1))
    return data.tobytes()


def encode_jpeg(pixels: UInt8[np.ndarray, "h w 3"], quality: int) -> bytes:
    """RGB `pixels` as a JPEG of `quality` 0 to 100."""
    from facedep_jax.media.decode.opencv_setup import cv2

    _, data = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), (cv2.IMWRITE_JPEG_QUALITY, quality))
    return data.tobytes()
