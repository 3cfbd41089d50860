"""A network whose products are of bytes: post-training quantisation by NNCF, kept in the user's cache.

It knows nothing of layers: which parts of a graph keep their type is told by who wrote it. NNCF prints to standard
output, so it works in a process of its own, `python -m facedep_jax.backbones.int8_graph FOLDER`.
"""

import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from facedep_jax.errors import EngineError, OutputError
from facedep_jax.file_system import user_cache, write_atomically
from facedep_jax.machine_resources import child_environment, end_with_parent, signal_name
from facedep_jax.progress_events import Note, Report

# Depthwise convolutions cost little and lose most, as each channel has scales of its own; averages are what is kept.
KEPT_TYPES = ("GroupConvolution", "MatMul", "ReduceMean")
_CODE = ("architectures.py", "int8_graph.py", "network_graph.py", "openvino_engine.py")  # what a graph hangs on


def quantised(
    core: Any,
    graph: Any,
    kept: Sequence[str],
    pictures: UInt8[np.ndarray, "n s s 3"],
    terms: Mapping[str, Any],
    report: Report,
) -> Any:
    """`graph`, which takes one picture, with int8 products but in the nodes named in `kept` and those of KEPT_TYPES.

    `terms` are all that its numbers hang on beside the pictures and the code of this room, as JSON has it. NNCF's
    version is none of them: 3.1 to 3.4 were tried and leave the same, and where a graph is kept none is needed. Raises
    EngineError where it is not in the user's cache and cannot be made.
    """
    told = json.dumps({"pictures": sha256_of(pictures), "code": _code(), **terms}, sort_keys=True).encode()
    file = user_cache() / "int8" / f"{hashlib.sha256(told).hexdigest()}.npz"
    found = _read(core, file)
    if found is not None:
        return found
    if importlib.util.find_spec("nncf") is None:
        raise EngineError(
            f"int8 needs nncf once for each network, and {graph.get_friendly_name()} was not quantised yet for this "
            "user: pip install 'facedep-jax[int8]'"
        )
    report(Note(f"{graph.get_friendly_name()} is quantised to int8, which takes up to a minute; it is kept"))
    try:
        parts = _made(graph, kept, pictures)
    except OSError as error:  # no room for a copy of the network, say
        raise EngineError(f"{graph.get_friendly_name()} cannot be quantised to int8: {error}") from error
    stream = io.BytesIO()
    np.savez(stream, xml=np.frombuffer(parts["xml"], np.uint8), bin=np.frombuffer(parts["bin"], np.uint8))
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(file, stream.getvalue())
    except (OSError, OutputError) as error:
        report(Note(f"{graph.get_friendly_name()} in int8 is not kept for the next time: {error}", "warning"))
    return core.read_model(parts["xml"], parts["bin"])


def sha256_of(pictures: UInt8[np.ndarray, "n s s 3"]) -> str:
    """Of their size and pixels."""
    return hashlib.sha256(repr(pictures.shape).encode() + pictures.tobytes()).hexdigest()


def _read(core: Any, file: Path) -> Any | None:
    """What was kept, if it is whole: the archive has a checksum of each part."""
    try:
        with np.load(io.BytesIO(file.read_bytes())) as parts:
            return core.read_model(parts["xml"].tobytes(), parts["bin"].tobytes())
    except Exception:  # whatever is wrong with what was kept, it is made anew
        return None


def _code() -> str:
    return hashlib.sha256(b"".join((Path(__file__).parent / name).read_bytes() for name in _CODE)).hexdigest()


def _made(graph: Any, kept: Sequence[str], pictures: UInt8[np.ndarray, "n s s 3"]) -> dict[str, bytes]:
    import openvino

    with tempfile.TemporaryDirectory(prefix="facedep-int8-") as name:
        folder = Path(name)
        openvino.serialize(graph, folder / "graph.xml")
        np.save(folder / "pictures.npy", pictures)
        (folder / "kept.json").write_text(json.dumps(list(kept)))
        done = subprocess.run(
            [sys.executable, "-m", "facedep_jax.backbones.int8_graph", name],
            env=child_environment(), capture_output=True, text=True, errors="replace", check=False,
        )  # fmt: skip
        if done.returncode:
            lines = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            how = signal_name(-done.returncode) if done.returncode < 0 else f"status {done.returncode}"
            said = ": ".join([f"nncf ended with {how}", *lines])
            raise EngineError(f"{graph.get_friendly_name()} cannot be quantised to int8: {said[:400]}")
        return {part: (folder / f"int8.{part}").read_bytes() for part in ("xml", "bin")}


def _quantise(folder: Path) -> None:
    """In the process that `_made` begins."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # as the engine has it
    import nncf
    import openvino
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, OverflowFix

    graph = openvino.Core().read_model(folder / "graph.xml")
    pictures = np.load(folder / "pictures.npy")
    names = json.loads((folder / "kept.json").read_text())
    openvino.save_model(
        nncf.quantize(
            graph,
            nncf.Dataset([picture[None] for picture in pictures]),
            subset_size=len(pictures),
            preset=nncf.QuantizationPreset.MIXED,
            fast_bias_correction=False,  # slower by half, and no less exact whatever is quantised (docs/performance.md)
            ignored_scope=nncf.IgnoredScope(names=names, types=list(KEPT_TYPES), validate=False),
            # Without VNNI sums of two products overflow 16 bits unless kernels have 7; who lacks it is refused.
            advanced_parameters=AdvancedQuantizationParameters(overflow_fix=OverflowFix.DISABLE),
        ),
        folder / "int8.xml",
        compress_to_fp16=False,
    )


if __name__ == "__main__":
    end_with_parent()
    _quantise(Path(sys.argv[1]))
