"""Bytes of one image → a picture with its face cropped. Knows nothing of where the bytes came from."""

import os

import numpy as np
from jaxtyping import UInt8

from facedep_jax.errors import MediaError
from facedep_jax.media.frame_types import InputSettings, Picture
from facedep_jax.media.worker_pool import TIMEOUT, borrow, give_back
from facedep_jax.media.worker_protocol import Message, frame_of

MAX_BYTES = 1 << 30  # of an image file; the wire to the worker carries twice that


def read_image(path: str | os.PathLike, data: bytes, settings: InputSettings, timeout: float = TIMEOUT) -> Picture:
    """The picture in `data`, the bytes of the file at `path` (which is not opened).

    Decoded upright in a worker process; its frame has time 0. Safe to call from several threads: each call
    in flight has a worker of its own. Raises MediaError for bytes that are no image, are damaged, cut short
    or too large, and for a decoder that crashes or says nothing for `timeout` seconds; EngineError when the
    detector of `settings` cannot be loaded.
    """
    header, body = _asked("image", data, settings, timeout)
    return Picture(header["width"], header["height"], int(header["phash"], 16), frame_of(header, body))


def read_view(data: bytes, side: int, timeout: float = TIMEOUT) -> UInt8[np.ndarray, "h w 3"]:
    """The whole picture, upright, its longer side at most `side` pixels: to be looked at. Raises as `read_image`."""
    header, body = _asked("view", data, InputSettings((side,)), timeout)
    return np.frombuffer(body, np.uint8).reshape(header["height"], header["width"], 3)


def _asked(what: str, data: bytes, settings: InputSettings, timeout: float) -> Message:
    if not data:
        raise MediaError("empty file (0 bytes)", stage="read")
    if len(data) > MAX_BYTES:
        raise MediaError(
            f"{len(data) / 1e9:.1f} GB, above {MAX_BYTES / 1e9:.1f} GB, the limit for one image", stage="read"
        )
    decoder = borrow()
    try:
        decoder.ask(what, settings, data)
        return decoder.answer(timeout)
    finally:
        give_back(decoder)
