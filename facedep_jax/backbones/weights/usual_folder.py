"""The folder of weights where none is named: by FACEDEP_WEIGHTS, or remembered in the user's settings.

It does not look into the folder, and it does not know what runs need.
"""

import os
import tomllib
from pathlib import Path
from typing import NamedTuple

import tomli_w

from facedep_jax.errors import SettingsError
from facedep_jax.file_system import user_settings, write_atomically, writing

VARIABLE = "FACEDEP_WEIGHTS"


class UsualFolder(NamedTuple):
    """A folder, and who says so."""

    path: str
    said_by: str


def usual_folder() -> UsualFolder | None:
    """The folder, None where nobody says one. Raises SettingsError for settings that cannot be read."""
    if said := os.environ.get(VARIABLE):
        return UsualFolder(said, VARIABLE)
    file = user_settings()
    try:
        remembered = tomllib.loads(file.read_text()).get("weights")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{file} cannot be read ({error}); mend or remove it") from error
    return UsualFolder(str(remembered), f"remembered in {file}") if remembered else None


def remember(folder: Path | None) -> Path:
    """Keep `folder` for later commands, None to forget it; the file in which it is kept. Raises OutputError."""
    file = user_settings()
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, tomli_w.dumps({"weights": str(folder.resolve())} if folder else {}))
    return file
