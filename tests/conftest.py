"""Fixtures that every test may use. JAX runs strict here: no silent promotion of dtypes or ranks."""

import functools
import itertools
import os
import sys
import tarfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", str(int("XLA_FLAGS" not in os.environ)))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")  # else what takes less than 1 s is not kept
os.environ.setdefault("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES", "none")  # else the folder is in the names of programs

import hypothesis
import jax
import numpy as np
import pytest
from support.kept_programs import keep, take_kept
from support.longest_first import longest_first
from support.quick_compiling import compile_quickly

from facedep_jax.backbones.weights import load
from facedep_jax.compilation_cache import keep_compiled

compile_quickly()
sys.modules.setdefault("openvino_telemetry", None)  # as the engine does: its makers' server is not told of every test
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_addoption(parser):
    parser.addoption("--exhaustive", action="store_true", help="also the cases that the short run leaves out")


def pytest_configure(config):
    """Properties are tried on the same examples every time, so that a change fails for what it does; the exhaustive run
    draws others."""
    hypothesis.settings.register_profile("the same examples", derandomize=True, database=None, deadline=None)
    hypothesis.settings.load_profile("default" if config.getoption("--exhaustive") else "the same examples")


def pytest_collection_modifyitems(config, items):
    """Cases marked `exhaustive` are for that run alone: pytest says how many are deselected. Long files come first."""
    longest_first(items)
    left_out = [] if config.getoption("--exhaustive") else [i for i in items if i.get_closest_marker("exhaustive")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]


@pytest.fixture(scope="session")
def exhaustive(pytestconfig) -> bool:
    """Whether a test that goes through very many cases goes through all of them."""
    return pytestconfig.getoption("--exhaustive")


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True, scope="session")
def private_user_cache(tmp_path_factory):
    """No test reads or writes the user's own cache and settings; what one compiles, no other has to, in any process.

    Nor in any later session: what was compiled is kept in build/.
    """
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEDEP_CACHE", str(folder / "user-cache"))
        patch.setenv("FACEDEP_CONFIG", str(folder / "user-settings"))
        patch.delenv("FACEDEP_WEIGHTS", raising=False)
        take_kept(folder / "user-cache" / "xla")
        keep_compiled()
        yield
        keep(folder / "user-cache" / "xla")


@pytest.fixture(autouse=True, scope="module")
def programs_of_one_file():
    """A process that held the programs of every file once aborted in XLA, at 4.4 GB, while it kept another; each takes
    some dozen maps of memory, of which there may be 65,530. They are in build/, for the next file that wants them.
    """
    yield
    jax.clear_caches()


@pytest.fixture(autouse=True, scope="session")
def networks_drawn_once():
    """Untrained networks of one seed are the same each time, and take a third of a second to draw."""

    @functools.lru_cache(maxsize=4)
    def draw(backbone: str, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        drawn = as_it_is(backbone, seed)
        for array in itertools.chain(*drawn.values()):
            array.setflags(write=False)
        return drawn

    as_it_is = load._draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "_draw", draw)
        yield


@pytest.fixture(autouse=True)
def umask():
    """The command line changes it; every test begins with the usual one."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real material beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the checkout: real data and weights are absent")
    return SHARED


def _unpacked(shared: Path, name: str, tmp_path_factory) -> Path:
    archive = shared / "data" / f"{name}.tar"
    if not archive.is_file():
        pytest.skip(f"{archive.name} is absent")
    folder = tmp_path_factory.mktemp(name)
    with tarfile.open(archive, encoding="utf-8", errors="surrogateescape") as tar:
        tar.extractall(folder, filter="fully_trusted")  # holds a FIFO and link loops on purpose
    return folder


@pytest.fixture(scope="session")
def faces_dev(shared, tmp_path_factory) -> Path:
    return _unpacked(shared, "faces-dev", tmp_path_factory)


@pytest.fixture(scope="session")
def clips_dev(shared, tmp_path_factory) -> Path:
    return _unpacked(shared, "clips-dev", tmp_path_factory)


@pytest.fixture(scope="session")
def awkward_dev(shared, tmp_path_factory) -> Path:
    return _unpacked(shared, "awkward-dev", tmp_path_factory)
