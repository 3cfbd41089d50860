"""The child that reads a Keras .h5 file.

The HDF5 library does not survive every file (bytes changed at random keep it busy for ever, and the process that it
is in hears no signal then), so it opens the files of strangers here, where it can be ended. It says one line of JSON:
names, shapes and types of the arrays, or what is wrong; and after a line on standard input the arrays themselves.
"""

import json
import os
import resource
import sys

import h5py

from facedep_jax.machine_resources import end_with_parent, lower_limits

MEMORY = 2**32  # bytes of address space
PROCESSING, SLOWEST = 8, 2e7  # seconds of processor time for any file, and bytes that one of them is enough for
Layers = list[tuple[str, list[h5py.Dataset]]]


def layers_of(file: h5py.File) -> Layers:
    """The layers with weights, in the order of `layer_names`: keras/src/legacy/saving/legacy_h5_format.py."""
    inner = "layer_names" not in file.attrs and file.get("model_weights", getlink=True) is not None
    group = inside(file, "model_weights") if inner else file
    groups = [(name, inside(group, name)) for name in names_in(group, "layer_names")]
    layers = [(name, [dataset(own, n) for n in names_in(own, "weight_names")]) for name, own in groups]
    return [(name, datasets) for name, datasets in layers if datasets]


def names_in(group: h5py.Group, attribute: str) -> list[str]:
    """An attribute of names; Keras cuts long ones into NAME0, NAME1, … because HDF5 limits their size."""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        parts = []
        while f"{attribute}{len(parts)}" in group.attrs:
            parts.append(group.attrs[f"{attribute}{len(parts)}"])
    return [name.decode() if isinstance(name, bytes) else str(name) for part in parts for name in part]


def inside(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """What `name` leads to in the file itself: links other than hard ones may lead anywhere, and are not followed."""
    for part in name.split("/"):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is not there, or is a link")
        group = group[part]
    return group


def dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """An array whose values lie in this file."""
    found = inside(group, name)
    if not isinstance(found, h5py.Dataset) or found.shape is None or found.external or found.is_virtual:
        raise ValueError(f"{name} is not an array stored in this file")
    return found


def main(path: str) -> None:
    """Say what is in the file, and send it if that is wanted."""
    processing = PROCESSING + int(os.stat(path).st_size / SLOWEST)
    lower_limits({resource.RLIMIT_AS: MEMORY, resource.RLIMIT_CPU: processing, resource.RLIMIT_CORE: 0})
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints breaks no message
    try:
        with h5py.File(path, "r") as file:
            layers = layers_of(file)
            shown = [(name, [(d.shape, d.dtype.str) for d in datasets]) for name, datasets in layers]
            out.write(json.dumps({"layers": shown}).encode() + b"\n")
            out.flush()
            for _, datasets in layers if sys.stdin.readline() else ():
                for each in datasets:
                    out.write(each[()].tobytes())
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError) as error:
        out.write(json.dumps({"error": str(error).strip("'\"") or type(error).__name__}).encode() + b"\n")
    out.flush()


if __name__ == "__main__":
    end_with_parent()
    main(sys.argv[1])
