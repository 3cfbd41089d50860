"""Orbax checkpoints of one training: the same bits come out that went in. They know nothing of heads."""

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from facedep_jax.errors import RunError
from facedep_jax.file_opening import ARRAYS, SETTINGS, read_bytes, read_text
from facedep_jax.file_system import refusal, write_atomically

LEAST_SECONDS = 10.0  # of work that a kill may cost
SHARE = 0.05  # of the time, at most, goes into checkpoints

History = dict[str, np.ndarray]


class Stage:
    """Checkpoints of one call of `fit`: one at a time, not so often that they cost more than `SHARE` of the time."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._saved_at, self._cost = time.monotonic(), 0.0

    @property
    def due(self) -> bool:
        """Whether it is time for another checkpoint."""
        return time.monotonic() - self._saved_at >= max(LEAST_SECONDS, self._cost / SHARE)

    def latest(self) -> int:
        """The epoch of the newest checkpoint, 0 for none. One without its checksum was not finished."""
        return max((int(path.stem) for path in self.folder.glob("*.sha256") if path.stem.isdecimal()), default=0)

    def save(self, epoch: int, state: Any, history: History) -> None:
        """Keep the arrays of the tree `state` as of `epoch`, then remove older ones. Raises OutputError."""
        import orbax.checkpoint as ocp

        begun = time.monotonic()
        arrays = _arrays_of(state) | {f"history.{name}": values for name, values in history.items()}
        folder = self.folder / str(epoch)
        try:
            self.folder.mkdir(exist_ok=True)
            self._remove_except(self.latest())  # what was being written when the process was killed
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
                checkpointer.save(folder.resolve(), arrays)
            write_atomically(self.folder / f"{epoch}.sha256", _digest(folder))
        except (OSError, ValueError) as error:  # TensorStore's errors of the file system are ValueErrors
            raise refusal(self.folder, error if isinstance(error, OSError) else OSError(str(error))) from error
        self._remove_except(epoch)
        self._saved_at = time.monotonic()
        self._cost = self._saved_at - begun

    def _remove_except(self, epoch: int) -> None:
        for path in self.folder.iterdir():
            if path.name == f"{epoch}.sha256" or path.name == str(epoch):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()

    def discard(self) -> None:
        """Remove what is kept: the stage is done, and what came of it is kept elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def load(self, template: Any) -> tuple[int, Any, History] | None:
        """Epoch, tree like `template` and history of the newest checkpoint; None where there is none.

        Raises RunError for a checkpoint that is damaged or of another program.
        """
        epoch = self.latest()
        if not epoch:
            return None
        folder = self.folder / str(epoch)
        arrays = _restore(folder)
        history = {name.removeprefix("history."): arrays.pop(name) for name in [*arrays] if name.startswith("history.")}
        return epoch, _tree_of(template, arrays, folder), history


def _restore(folder: Path) -> dict[str, np.ndarray]:
    import orbax.checkpoint as ocp

    # Orbax does not notice a flipped bit, and leaves unfinished reads behind where it notices more.
    try:
        if read_text(folder.with_name(f"{folder.name}.sha256"), SETTINGS) != _digest(folder):
            raise unusable(folder, "is damaged")
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            return dict(checkpointer.restore(folder.resolve()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        _hush_reads_left_behind()
        raise unusable(folder, f"cannot be read ({error})") from error


@cache
def _hush_reads_left_behind() -> None:
    """Threads of TensorStore end them later, and would print that nobody waits for them any more."""
    before = sys.unraisablehook

    def hook(found: "sys.UnraisableHookArgs") -> None:
        if found.object is not None or str(found.exc_value) != "Event loop is closed":
            before(found)

    sys.unraisablehook = hook


def unusable(folder: Path, why: str) -> RunError:
    """What to say of a checkpoint that cannot be gone on from."""
    place = folder.parents[1]
    return RunError(f"the checkpoint {folder.relative_to(place.parent)} {why}; remove {place} to begin again")


def _arrays_of(state: Any) -> dict[str, np.ndarray]:
    """Leaves by number, random keys as the integers that they are made of."""
    leaves = jax.device_get([jax.random.key_data(x) if _is_key(x) else x for x in jax.tree.leaves(state)])
    return {f"{number:05d}": np.asarray(leaf) for number, leaf in enumerate(leaves)}


def _tree_of(template: Any, arrays: Mapping[str, np.ndarray], folder: Path) -> Any:
    leaves, tree = jax.tree.flatten(template)
    plain = [jax.eval_shape(jax.random.key_data, x) if _is_key(x) else x for x in leaves]
    expected = {f"{number:05d}": (x.shape, x.dtype) for number, x in enumerate(plain)}
    if expected != {name: (x.shape, x.dtype) for name, x in arrays.items()}:
        raise unusable(folder, "was written by another version of this program")
    there = jax.device_put([arrays[name] for name in expected])
    keyed = [jax.random.wrap_key_data(x) if _is_key(like) else x for x, like in zip(there, leaves, strict=True)]
    return jax.tree.unflatten(tree, keyed)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _digest(folder: Path) -> str:
    """SHA-256 of all files and their names. Raises UnusableFile for what is no plain file, which Orbax would open."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()):
        content = read_bytes(path, ARRAYS)
        total.update(os.fsencode(path.relative_to(folder)) + f" {len(content)}\n".encode())
        total.update(content)
    return total.hexdigest()
