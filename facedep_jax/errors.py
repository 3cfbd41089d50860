"""Everything that can go wrong in a way the user can mend.

    FacedepError
    ├── SettingsError        an option, setting or configuration key that cannot be meant
    ├── SourceError          a source with nothing to read, or a manifest nobody can understand
    │   └── TableError       … because a table that the user brought cannot be understood
    ├── LabelError           labels, subjects or splits that cannot make a training set
    ├── MediaError           one image or clip that cannot be used; recorded, the batch goes on
    ├── WeightsError         weights that are missing, damaged or of another network
    │   └── UnusableWeights  … of which one file cannot be used
    ├── EngineError          an engine or device that was asked for and is not there
    │   └── NotADetector     … because the file of a face detector holds something else
    ├── OutputError          a place that cannot be written: full, read-only, or holding something else
    ├── CacheError           a cache that cannot be used as asked
    │   ├── SpecMismatch     … because it was extracted with other settings
    │   ├── CacheLocked      … because another process is writing it
    │   └── DamagedCache     … because bytes in it are not what was written
    ├── ClusterError         workers or a scheduler that cannot be used as asked
    ├── RunError             a run or scores directory that cannot be used as asked
    └── UnusableFile         a file that is not read: no regular one, too large, or not of its form

The command line catches `FacedepError` and nothing else. A message names the rule, what was
expected, what was found, and what to do.
"""

import errno
from pathlib import Path


class FacedepError(Exception):
    """Root of the tree: the message is one that a user can act on."""

    exit_code = 1


class SettingsError(FacedepError):
    """An option, setting or configuration key that cannot be meant."""

    exit_code = 2


class SourceError(FacedepError):
    """A source with nothing to read, or a manifest nobody can understand."""


class TableError(SourceError):
    """A table that the user brought and nobody can understand."""


class LabelError(FacedepError):
    """Labels, subjects or splits that cannot make a training set."""


class MediaError(FacedepError):
    """One image or clip that cannot be used. `stage` is where it was noticed: read, decode, faces or compute."""

    def __init__(self, reason: str, *, stage: str = "decode"):
        super().__init__(reason)
        self.reason = reason
        self.stage = stage


class WeightsError(FacedepError):
    """Weights that are missing, damaged or of another network."""


class UnusableWeights(WeightsError):
    """A file of weights that cannot be used; `reason` says why, without naming it."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type["UnusableWeights"], tuple[Path, str]]:
        """To other processes it goes as what it was made of."""
        return type(self), (self.path, self.reason)


class EngineError(FacedepError):
    """An engine or device that was asked for and is not there."""


class NotADetector(EngineError):
    """A file that should be a face detector; `found` says what it is, `advice` what to do."""

    def __init__(self, path: str, found: str, advice: str = ""):
        super().__init__(f"{path} is {found}{advice and f'; {advice}'}")
        self.path = path
        self.found = found
        self.advice = advice

    def __reduce__(self) -> tuple[type["NotADetector"], tuple[str, str, str]]:
        """To other processes it goes as what it was made of."""
        return type(self), (self.path, self.found, self.advice)


class ClusterError(FacedepError):
    """Workers or a scheduler that cannot be used as asked."""


class OutputError(FacedepError):
    """A place that cannot be written: full, read-only, or holding something else."""


class CacheError(FacedepError):
    """A cache that cannot be used as asked."""


class SpecMismatch(CacheError):
    """A cache that was extracted with other settings."""


class CacheLocked(CacheError):
    """A cache that another process is writing."""


class DamagedCache(CacheError):
    """A cache in which bytes are not what was written."""


class RunError(FacedepError):
    """A run or scores directory that cannot be used as asked."""


class Diverged(RunError):
    """A loss that is not finite: the same training would end there again."""


class UnusableFile(FacedepError, OSError):
    """A file that is not read: no regular one, too large, or not of its form. `strerror` says why, without naming it.

    Whoever can say what to do about it catches it as the OSError that it is to them.
    """

    def __init__(self, path: Path, reason: str):
        super().__init__(errno.EINVAL, reason, str(path))

    def __str__(self) -> str:
        """The file and what is wrong with it."""
        return f"{self.filename} {self.strerror}"

    def __reduce__(self) -> tuple[type["UnusableFile"], tuple[Path, str]]:
        """To other processes it goes as what it was made of."""
        return type(self), (Path(self.filename), str(self.strerror))
