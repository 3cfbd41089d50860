"""The arrays of a run out of bytes that anyone may have written. What they mean is the head's to know."""

from pathlib import Path

import numpy as np
import safetensors
from flax import nnx

from facedep_jax.errors import UnusableFile
from facedep_jax.file_opening import ARRAYS, read_bytes
from facedep_jax.head.model import Architecture
from facedep_jax.head.trained_head import Validation, from_names

_TYPES = {"F32": "<f4", "I32": "<i4"}
MOST_MEMBERS = 4096


def states_of(path: Path, content: bytes, architecture: Architecture) -> tuple[nnx.State, int]:
    """The members' parameters in `content` of the file at `path`, and how many members there are.

    Raises UnusableFile naming everything missing, extra, misshapen or not finite.
    """
    arrays = _arrays(path, content)
    counts = {array.shape[0] if array.ndim else 0 for array in arrays.values()}
    if len(counts) != 1 or not 1 <= min(counts) <= MOST_MEMBERS:
        raise UnusableFile(path, f"holds no members, or not the same of every parameter: {sorted(counts)[:4]}")
    states, wrong = from_names(architecture, arrays)
    wrong += [f"{name} is not finite" for name, array in arrays.items() if not np.isfinite(array).all()]
    if wrong:
        more = f" and {len(wrong) - 6} more" if len(wrong) > 6 else ""
        raise UnusableFile(path, f"does not fit its config.toml: {'; '.join(wrong[:6])}{more}")
    return states, counts.pop()


def read_validation(path: Path, members: int, classes: int) -> Validation | None:
    """The logits and classes of the items that a head over emotions was calibrated on, None where none are kept.

    Raises UnusableFile for what cannot be those of a head of so many `members` and `classes`.
    """
    try:
        arrays = _arrays(path, read_bytes(path, ARRAYS))
    except FileNotFoundError:
        return None
    if set(arrays) != set(Validation._fields):
        raise UnusableFile(path, f"holds {', '.join(sorted(arrays)[:4]) or 'nothing'}, expected logits and target")
    logits, target = arrays["logits"], arrays["target"]
    items = len(target) if target.ndim == 1 else 0
    frames = logits[:, :, None] if logits.ndim == 3 else logits
    if (
        frames.ndim != 4
        or not items
        or (frames.shape[0], frames.shape[1], frames.shape[3]) != (members, items, classes)
    ):
        raise UnusableFile(
            path,
            f"has logits of shape {logits.shape} and target of {target.shape}, expected {members} members and "
            f"{classes} classes of the same items",
        )
    if target.dtype != np.int32 or target.min() < 0 or target.max() >= classes:
        raise UnusableFile(path, f"has a target that is none of the {classes} classes")
    if np.isinf(frames).any() or not np.isfinite(frames).all(-1).any(2).all():
        raise UnusableFile(path, "has items without a finite logit")
    return Validation(logits, target)


def _arrays(path: Path, content: bytes) -> dict[str, np.ndarray]:
    """Every array by its name. Raises UnusableFile for what is no safetensors, or of other types than a run's."""
    try:
        found = dict(safetensors.deserialize(content))
    except safetensors.SafetensorError as error:
        raise UnusableFile(path, f"is no safetensors file, or cut short: {error}") from error
    other = [f"{name} is {entry['dtype']}" for name, entry in found.items() if entry["dtype"] not in _TYPES]
    if other:
        raise UnusableFile(path, f"has arrays of types that no run has: {'; '.join(other[:4])}")
    return {
        name: np.frombuffer(entry["data"], _TYPES[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in found.items()
    }
