"""A frame as a message and back. Knows nothing of the pipe between."""

import math

import numpy as np

from facedep_jax.media.frames import NO_BOX, Face, Frame
from facedep_jax.media.worker_protocol import Header


def frame_header(frame: Frame) -> Header:
    """The JSON half of a frame; NaN, which JSON lacks, is null."""
    face = frame.face
    return {
        "time": frame.time,
        "state": face.state,
        "box": None if math.isnan(face.box[0]) else list(face.box),
        "score": None if math.isnan(face.score) else face.score,
        "sizes": list(frame.crops),
    }


def frame_bodies(frame: Frame) -> list[memoryview]:
    """The other half: the crops' bytes, in the order of the header's sizes."""
    return [memoryview(crop).cast("B") for crop in frame.crops.values()]


def frame_of(header: Header, body: bytearray) -> Frame:
    """The frame of a message. Its crops share the memory of `body`."""
    box = NO_BOX if header["box"] is None else tuple(header["box"])
    face = Face(header["state"], box, math.nan if header["score"] is None else header["score"])
    crops, start = {}, 0
    for size in header["sizes"]:
        end = start + size * size * 3
        crops[size] = np.frombuffer(body, np.uint8, end - start, start).reshape(size, size, 3)
        start = end
    return Frame(header["time"], face, crops)
