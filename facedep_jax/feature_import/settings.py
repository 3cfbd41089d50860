"""Settings of an import. They know nothing of the files that they will meet."""

import re
from dataclasses import dataclass

from facedep_jax.backbones.taps import BACKBONES, named_taps
from facedep_jax.errors import SettingsError
from facedep_jax.toml_settings import check_rules

FORMATS = ("openface", "npy", "npz", "csv", "parquet", "daic", "dvlog", "lmvd")
MAX_SHARD_ROWS = 1 << 20  # of a shard that readers accept


@dataclass(frozen=True)
class ImportSettings:
    """What decides the rows of a cache of imported features."""

    format: str
    name: str  # taps, such as openface:au,openface:pose
    rate: float | None = None  # frames a second, of files that do not say it, or of which another is not taken
    fps: float | None = None  # frames a second that are kept; all where it is not said
    confidence: float = 0.0  # below it a frame has no face
    columns: str | None = None  # of a table of any kind, those that are taken; all numbers by default
    shard_rows: int = 65_536  # a row is small
    retry_failed: bool = False
    rehash: bool = False

    def __post_init__(self) -> None:
        plain = self.format in ("csv", "parquet")
        check_rules(
            (self.format in FORMATS, f"--format is {self.format!r}, expected one of {', '.join(FORMATS)}"),
            (_positive(self.rate), f"--rate is {self.rate}, expected frames a second, above 0 to 1000"),
            (_positive(self.fps), f"--fps is {self.fps}, expected frames a second, above 0 to 1000"),
            (0 <= self.confidence <= 1, f"--confidence is {self.confidence}, expected 0 to 1"),
            (plain or not self.columns, f"--columns is for csv and parquet; {self.format} has groups of columns"),
            (
                1 <= self.shard_rows <= MAX_SHARD_ROWS,
                f"--shard-rows is {self.shard_rows}, expected at least 1 and at most {MAX_SHARD_ROWS}",
            ),
        )

    @property
    def groups(self) -> dict[str, str]:
        """The group of columns of each tap, by its name. Raises SettingsError for names of another form."""
        found = {}
        for text in named_taps(self.name):
            match = re.fullmatch(r"([A-Za-z]\w{0,30}):([A-Za-z]\w{0,30})", text, re.ASCII)
            if not match:
                raise SettingsError(f"--name {text!r}: expected NAME:GROUP of letters, digits and _, as in openface:au")
            if match[1] in BACKBONES:
                raise SettingsError(f"--name {text!r}: {match[1]} is a network of this program; choose another name")
            found[f"{text}@1"] = match[2]
        if not found or len(found) < len(named_taps(self.name)):
            raise SettingsError(f"--name {self.name!r}: name each tap once, and at least one, as in openface:au")
        return found


def _positive(value: float | None) -> bool:
    return value is None or 0 < value <= 1000
