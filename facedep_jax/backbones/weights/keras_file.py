"""A Keras .h5 file, read by a child (keras_file_reader.py) that is ended where it takes too long."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from facedep_jax.errors import UnusableFile, UnusableWeights
from facedep_jax.file_opening import ARRAYS, opened
from facedep_jax.machine_resources import child_environment

READER = (sys.executable, "-m", "facedep_jax.backbones.weights.keras_file_reader")
PATIENCE, SLOWEST = 60.0, 2e6  # seconds for any file, and bytes a second that a slow disk gives
ANSWER = 2**24  # bytes of what is said of the arrays


class StoredArray(NamedTuple):
    """What a file says of an array in it."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        """Of its values."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


Layers = list[tuple[str, list[StoredArray]]]  # names and arrays, in the file's order


class KerasFile:
    """Layers with weights, in the order of `layer_names`; what is wrong with the file is raised as UnusableWeights."""

    def __init__(self, path: Path, child: subprocess.Popen[bytes]):
        assert child.stdin and child.stdout
        self._path, self._child = path, child
        self._asked: IO[bytes] = child.stdin
        self._said: IO[bytes] = child.stdout
        line = self._said.readline(ANSWER)
        said: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {"error": self._ending()}
        if "error" in said:
            raise UnusableWeights(
                path, f"not a readable Keras .h5 file, or cut short: {' '.join(said['error'].split())}"
            )
        self.layers: Layers = [
            (name, [StoredArray(tuple(shape), np.dtype(dtype)) for shape, dtype in arrays])
            for name, arrays in said["layers"]
        ]

    def read(self) -> Iterator[list[Shaped[np.ndarray, "..."]]]:
        """The arrays of each layer, once."""
        if sum(array.nbytes for _, arrays in self.layers for array in arrays) > ARRAYS:
            raise UnusableWeights(self._path, f"claims arrays of more than {ARRAYS:,} bytes")
        with suppress(BrokenPipeError):  # then what is read ends too soon
            os.write(self._asked.fileno(), b"the arrays\n")
        for _, arrays in self.layers:
            yield [self._next(array) for array in arrays]

    def _next(self, array: StoredArray) -> Shaped[np.ndarray, "..."]:
        data = self._said.read(array.nbytes)
        if len(data) < array.nbytes:
            raise UnusableWeights(self._path, f"not a readable Keras .h5 file, or cut short: {self._ending()}")
        return np.frombuffer(data, array.dtype).reshape(array.shape)

    def _ending(self) -> str:
        code = self._child.wait()  # it ended by itself, or is ended soon
        busy = code in (-signal.SIGXCPU, -signal.SIGKILL)
        return "the HDF5 library was busy with it for too long" if busy else f"the HDF5 library ended with {code}"


@contextmanager
def open_keras(path: Path) -> Iterator[KerasFile]:
    """The file at `path`, for as long as it is looked at. Raises UnusableWeights in one line."""
    try:
        with opened(path, ARRAYS) as stream:
            patience = PATIENCE + os.fstat(stream.fileno()).st_size / SLOWEST
    except UnusableFile as error:
        raise UnusableWeights(path, str(error.strerror)) from error
    except OSError as error:
        raise UnusableWeights(path, f"cannot be read: {error.strerror}") from error
    with subprocess.Popen(
        [*READER, os.fspath(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=child_environment(),
        process_group=0,  # Ctrl-C is for this process alone
    ) as child:
        late = threading.Timer(patience, child.kill)
        late.daemon = True
        late.start()
        try:
            yield KerasFile(path, child)
        finally:
            late.cancel()
            child.kill()
