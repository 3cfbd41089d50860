"""What jax finds in the environment, looked at before anything is computed. Knows nothing of what will be computed."""

import os
import runpy
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facedep_jax.errors import EngineError
from facedep_jax.progress_events import Note, Report

if TYPE_CHECKING:
    import jax

EXTRAS = {
    "gpu": "pip install 'facedep-jax[gpu]' beside NVIDIA's driver",
    "tpu": "pip install 'jax[tpu]' on a machine with one",
}
# Settings, which jax also takes from the variables of their names in capitals, that would change what random numbers
# are drawn or how products are computed, or that stop what is compiled here; and jax's own values of them.
KEPT: dict[str, Any] = {
    "jax_enable_x64": False,
    "jax_default_matmul_precision": None,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_disable_jit": False,
    "jax_debug_nans": False,
    "jax_debug_infs": False,
    "jax_transfer_guard": None,
    "jax_transfer_guard_host_to_device": None,
    "jax_transfer_guard_device_to_device": None,
    "jax_transfer_guard_device_to_host": None,
}


def prepare_jax(report: Report) -> None:
    """Load jax, set back what its variables change (a warning says so), have it keep what it compiles (a note says
    where it cannot), and look for its devices.

    Raises EngineError where jax cannot be loaded, would end the process, or has no device.
    """
    if flags := os.environ.get("XLA_FLAGS"):
        _try_flags(flags)
    jax = _load_jax()
    changed = {name: value for name, value in KEPT.items() if name.upper() in os.environ}
    changed = {name: value for name, value in changed.items() if getattr(jax.config, name, value) != value}
    for name, value in changed.items():
        jax.config.update(name, value)
    if changed:
        said = " and ".join(f"{name.upper()}={os.environ[name.upper()]}" for name in changed)
        report(Note(f"{said}: not followed, results are those without it; unset it to be rid of this line", "warning"))
    from facedep_jax.compilation_cache import keep_compiled

    if lost := keep_compiled():
        report(Note(lost))
    local_devices()


def local_devices(platform: str | None = None) -> "list[jax.Device]":
    """The devices of this process on `platform` ("cpu", "gpu" or "tpu"; None: those that jax prefers).

    Raises EngineError, naming what to install, where there are none.
    """
    import jax

    try:
        return jax.local_devices(backend=platform)
    except (RuntimeError, AssertionError) as error:  # jax asserts that there is a plug-in for cuda
        asked = next((name for name in ("JAX_PLATFORMS", "JAX_PLATFORM_NAME") if os.environ.get(name)), None)
        wanted = platform or os.environ.get(asked or "", "device")
        extra = EXTRAS.get("gpu" if wanted in ("cuda", "rocm") else wanted, "install what jax needs for it")
        choice = f"unset {asked}" if asked and not platform else "leave the choice out"
        said = f" ({_one_line(error)})" if str(error) else ""
        raise EngineError(f"no {wanted} that jax can use here; {extra}, or {choice}{said}") from error


@cache
def _try_flags(flags: str) -> None:
    """In a process of its own, because XLA ends the one that has flags which it does not know."""
    tried = subprocess.run(
        [sys.executable, "-P", "-c", "import jax; jax.local_devices()"],
        env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    said = [line.rpartition("] ")[2] for line in tried.stderr.splitlines() if "XLA_FLAGS" in line]
    if tried.returncode and said:  # whatever else ends it is seen here as well
        raise EngineError(f"XLA_FLAGS is {flags!r}, which XLA ends over ({said[-1]}); correct or unset it")


def _load_jax() -> Any:
    try:
        import jax
    except ValueError as error:  # a variable that it reads
        raise EngineError(f"jax cannot be loaded: {_one_line(error)}; correct that variable or unset it") from error
    except (ImportError, RuntimeError, AttributeError) as error:
        raise EngineError(
            f"jax cannot be loaded: {_one_line(error).rstrip('.')}; found are {_whereabouts('jax')} and "
            f"{_whereabouts('jaxlib')}, which have to be of one installation: look at PYTHONPATH, or install jax again"
        ) from error
    return jax


def _whereabouts(package: str) -> str:
    """ "jaxlib 0.4.1 in /opt/python", of the package that is found first."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return f"no {package} at all"
    folder = Path(next(iter(spec.submodule_search_locations)))
    file = folder / "version.py"
    version = runpy.run_path(str(file)).get("__version__") if file.is_file() else None
    return f"{package} {version or 'of an unknown version'} in {folder.parent}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
