"""The spec of a cache: what decides the numbers in it. Knows nothing of files or features."""

import hashlib
import json
from pathlib import Path
from typing import Any

from facedep_jax.config import differences
from facedep_jax.errors import CacheError, SpecMismatch
from facedep_jax.files import write_atomically

FORMAT_VERSION = 1


def fingerprint(spec: dict[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `spec`: sorted keys, no spaces, ASCII."""
    canonical = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def write_header(folder: Path, spec: dict[str, Any]) -> None:
    """Write `cache.json`."""
    header = {"format": FORMAT_VERSION, "fingerprint": fingerprint(spec), "spec": spec}
    write_atomically(folder / "cache.json", json.dumps(header, indent=2) + "\n")


def read_header(folder: Path) -> dict[str, Any]:
    """The spec in `cache.json`. Raises CacheError for what is no cache of a version this program reads."""
    file = folder / "cache.json"
    try:
        header = json.loads(file.read_text())
        version, spec, stated = header["format"], header["spec"], header["fingerprint"]
    except FileNotFoundError as error:
        why = "is not a cache: it has no cache.json" if folder.is_dir() else "does not exist"
        raise CacheError(f"{folder} {why}") from error
    except NotADirectoryError as error:
        raise CacheError(f"{folder} is a file; a cache is a directory") from error
    except OSError as error:
        raise CacheError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CacheError(f"{file} is damaged ({error}); restore it from a copy, the shards are untouched") from error
    if version != FORMAT_VERSION:
        raise CacheError(
            f"{folder} has format version {version}, this program reads {FORMAT_VERSION}; update facedep-jax"
        )
    if stated != fingerprint(spec):
        raise CacheError(f"{file} is damaged: its spec does not have the fingerprint it states")
    return spec


def require_equal(folder: Path, held: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Raise SpecMismatch naming the fields in which a cache differs from what is wanted."""
    differing = differences(held, wanted)
    if differing:
        raise SpecMismatch(
            f"{folder} was extracted with other settings (held → asked for): "
            f"{'; '.join(differing)}. Choose another --out, or the cache's own settings"
        )
