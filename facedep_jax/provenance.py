"""What a result was made with, and the resolved `config.toml` that says so."""

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tomli_w

from facedep_jax import __version__
from facedep_jax.file_system import write_atomically
from facedep_jax.text_escaping import as_text

PACKAGES = ("jax", "flax", "optax", "numpy", "h5py", "opencv-python-headless")


def versions() -> dict[str, str]:
    """Versions of Python and of every package that can change a number."""
    return {
        "facedep-jax": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def write_config(path: Path, command: str, settings: dict[str, Any], records: dict[str, dict[str, Any]]) -> None:
    """Write the resolved settings of `command`, which `--config` reads back, and tables that only record."""
    text = as_text(tomli_w.dumps({command: settings, "versions": versions(), **records})).encode()
    write_atomically(path, text + config_check(text))


def config_check(text: bytes) -> bytes:
    """The last line of a `config.toml` that is otherwise `text`: a comment with 16 digits of the SHA-256 of it."""
    return f"# check {hashlib.sha256(text).hexdigest()[:16]}\n".encode()
