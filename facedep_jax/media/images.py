"""Bytes of one image → a picture with its face cropped. Knows nothing of where the bytes came from."""

import os

from facedep_jax.errors import MediaError
from facedep_jax.media.decoder import TIMEOUT, borrow, give_back
from facedep_jax.media.frames import InputSettings, Picture
from facedep_jax.media.messages import frame_of

MAX_BYTES = 1 << 30  # of an image file; the wire to the worker carries twice that


def read_image(path: str | os.PathLike, data: bytes, settings: InputSettings, timeout: float = TIMEOUT) -> Picture:
    """The picture in `data`, the bytes of the file at `path` (which is not opened).

    Decoded upright in a worker process; its frame has time 0. Safe to call from several threads: each call
    in flight has a worker of its own. Raises MediaError for bytes that are no image, are damaged, cut short
    or too large, and for a decoder that crashes or says nothing for `timeout` seconds; EngineError when the
    detector of `settings` cannot be loaded.
    """
    if not data:
        raise MediaError("empty file (0 bytes)", stage="read")
    if len(data) > MAX_BYTES:
        raise MediaError(
            f"{len(data) / 1e9:.1f} GB, above {MAX_BYTES / 1e9:.1f} GB, the limit for one image", stage="read"
        )
    decoder = borrow()
    try:
        decoder.ask("image", settings, data)
        header, body = decoder.answer(timeout)
    finally:
        give_back(decoder)
    return Picture(header["width"], header["height"], int(header["phash"], 16), frame_of(header, body))
