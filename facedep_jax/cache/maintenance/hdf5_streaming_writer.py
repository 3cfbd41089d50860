"""An HDF5 file written from front to back, of any size. Knows nothing of what is in its datasets.

The HDF5 library does not survive a disk that refuses a write. So it makes the file's skeleton in memory, with
datasets that have no place yet, and their values follow as plain bytes; what it leaves open is filled in here: the
address of each dataset (HDF5 File Format Specification 3.0, IV.A.2.i: data layout message, version 3, contiguous) and
the file's end (II.A: superblock, version 0).
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

_END = 40  # where the superblock states the file's size
_NOWHERE = b"\xff" * 8
_CONTIGUOUS = b"\x03\x01"
_ALIGNED = 8


class Streamed(NamedTuple):
    """An array to be written: its values come in blocks of rows."""

    dtype: np.dtype
    shape: tuple[int, ...]
    blocks: Callable[[], Iterator[np.ndarray]]

    @property
    def nbytes(self) -> int:
        """Of all values."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def write_hdf5(path: Path, arrays: Mapping[str, Streamed], attributes: Mapping[str, Any]) -> Iterator[str]:
    """Write `arrays` by their paths, and `attributes` of the root; yields the name of each array before it is written.

    Raises OSError as any plain file does.
    """
    image, headers = _skeleton(arrays, attributes)
    end = _aligned(len(image))
    for name, array in arrays.items():
        if array.nbytes:
            layout = _CONTIGUOUS + _NOWHERE + struct.pack("<Q", array.nbytes)
            at = image.index(layout, headers[name]) + len(_CONTIGUOUS)
            image[at : at + 8] = struct.pack("<Q", end)
            end = _aligned(end + array.nbytes)
    image[_END : _END + 8] = struct.pack("<Q", end)
    with open(path, "wb") as stream:
        _write_aligned(stream, [image])
        for name, array in arrays.items():
            yield name
            _write_aligned(
                stream,
                (np.ascontiguousarray(block, array.dtype).data.cast("B") for block in array.blocks() if block.size),
            )


def _skeleton(arrays: Mapping[str, Streamed], attributes: Mapping[str, Any]) -> tuple[bytearray, dict[str, int]]:
    """A file of empty datasets, and where the header of each lies."""
    import h5py

    headers = {}
    with h5py.File("skeleton", "w", libver="earliest", driver="core", backing_store=False) as file:
        file.attrs.update(attributes)
        for name, array in arrays.items():
            headers[name] = h5py.h5o.get_info(file.create_dataset(name, array.shape, array.dtype).id).addr
        file.flush()
        return bytearray(file.id.get_file_image()), headers


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _write_aligned(stream: BinaryIO, pieces: Iterable[bytes | bytearray | memoryview]) -> None:
    for piece in pieces:
        stream.write(piece)
    stream.write(bytes(_aligned(stream.tell()) - stream.tell()))
