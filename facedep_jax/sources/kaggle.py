"""`kaggle:OWNER/DATASET` → a folder, through kagglehub. Knows nothing of what is in it.

The download stays below the user cache and is not repeated. Kaggle is asked for the newest version each time unless the
source names one: kaggle:OWNER/DATASET/versions/3 works without a network once it is there.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from facedep_jax.errors import SourceError
from facedep_jax.file_system import user_cache
from facedep_jax.progress_events import Note, Report
from facedep_jax.sources.label_vocabulary import known_split

if TYPE_CHECKING:
    import requests

_HANDLE = re.compile(r"[\w.-]+/[\w.-]+(/versions/[0-9]+)?")
_FORBIDDEN, _ABSENT = (401, 403), 404


def fetch(source: str, report: Report) -> Path:
    """The folder that `source` was downloaded to, without the folders that only wrap it. Raises SourceError."""
    handle = source.removeprefix("kaggle:")
    if not _HANDLE.fullmatch(handle):
        raise SourceError(f"{source}: expected kaggle:OWNER/DATASET or kaggle:OWNER/DATASET/versions/NUMBER")
    home = os.environ.get("KAGGLEHUB_CACHE") or str(user_cache() / "kaggle")
    os.environ.setdefault("KAGGLEHUB_VERBOSITY", "error")  # read when it is imported; it would talk on standard output
    try:
        import kagglehub
    except ImportError as error:
        raise SourceError(f"{source}: needs kagglehub ({error}); pip install 'facedep-jax[kaggle]'") from error
    report(Note(f"{source}: asking Kaggle; what is downloaded stays in {home}"))
    with _environment("KAGGLEHUB_CACHE", home):
        return _unwrapped(Path(_downloaded(kagglehub, handle, source)).resolve())


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def _downloaded(kagglehub: ModuleType, handle: str, source: str) -> str:
    import requests
    from kagglehub.exceptions import BackendError, CredentialError, DataCorruptionError, UnauthenticatedError

    try:
        # Its progress bar would write between our own lines.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            return kagglehub.dataset_download(handle)
    except (UnauthenticatedError, CredentialError) as error:
        raise SourceError(f"{source}: {_credentials()} ({_one_line(error)})") from error
    except requests.HTTPError as error:
        raise SourceError(f"{source}: {_refusal(error)}") from error
    except requests.RequestException as error:
        raise SourceError(
            f"{source}: Kaggle cannot be reached ({_cause(error)}); connect and try again, name a version that was "
            "downloaded before (…/versions/NUMBER), or download the set elsewhere and name its folder"
        ) from error
    except (BackendError, DataCorruptionError) as error:
        raise SourceError(f"{source}: the download failed ({_one_line(error)}); try again") from error
    except OSError as error:
        raise SourceError(f"{source}: the download cannot be kept: {error}") from error
    except ValueError as error:  # what kagglehub says of credentials and answers that it cannot read
        raise SourceError(f"{source}: kagglehub refuses: {_one_line(error)}") from error


def _refusal(error: "requests.HTTPError") -> str:
    status = error.response.status_code if error.response is not None else 0
    if status in _FORBIDDEN:
        return f"Kaggle refuses (HTTP {status}): {_credentials()}"
    if status == _ABSENT:
        return "Kaggle knows no such data set, or does not show it without credentials (HTTP 404); check the name"
    return f"Kaggle answers HTTP {status} ({_one_line(error)}); try again later"


def _credentials() -> str:
    return (
        "it wants credentials. Make a token at kaggle.com/settings, set KAGGLE_API_TOKEN to it or put it into "
        "~/.kaggle/access_token, and accept the set's terms on its page"
    )


def _cause(error: Exception) -> str:
    """What is at the bottom of urllib3's report, such as NameResolutionError, without the report."""
    return type(getattr(error.args[0] if error.args else error, "reason", error)).__name__


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _unwrapped(folder: Path) -> Path:
    """The first folder on the way down that holds more than one other folder: archives often wrap all in one."""
    while True:
        inside = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
        if len(inside) != 1 or not inside[0].is_dir() or known_split(inside[0].name):
            return folder
        if not any(entry.is_dir() for entry in inside[0].iterdir()):  # the only emotion, not a wrapping
            return folder
        folder = inside[0]
