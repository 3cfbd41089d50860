"""When two names of subjects are one, and what is said of groups by subject. Knows nothing of tables or splits."""

import re
import unicodedata
from collections.abc import Iterable

BY = {"subject": "subject", "image": "picture", "mixed": "subject where one is known, else by picture"}
DRAWN = {"subject": "subjects", "image": "pictures", "mixed": "subjects and pictures of nobody known"}

UNNAMED = "\0"  # in front of what stands for somebody who is not named: no name holds it


def subject_key(name: str) -> str:
    """What subjects are compared by: NFC, without regard to case and blanks. Empty for a name of nothing else."""
    folded = name.lower() if name.isascii() else _nfc(_nfc(name).casefold())
    return "".join(folded.split())


def session_key(name: str) -> str:
    """What the names of sessions are compared by: 001 and 1 are one, as are 300 and 300_P."""
    name = name.strip().removesuffix("_P")
    return str(int(name)) if re.fullmatch(r"\d{1,9}", name) else name


def shown_spelling(name: str) -> str:
    """A subject's name as it is shown: NFC, no blanks around it."""
    return _nfc(name).strip()


def spellings(names: Iterable[str], of: Iterable[str]) -> list[str]:
    """Those of `names` that spell one of the subjects `of`."""
    keys = {subject_key(subject) for subject in of} - {""}
    return [name for name in names if subject_key(name) in keys]


def grouped_by(known: int, count: int) -> str:
    """What `count` items are grouped by, of which `known` have a subject: `subject`, `image` or `mixed`."""
    return "mixed" if 0 < known < count else "subject" if known else "image"


def by_words(by: str) -> str:
    """What `grouped_by` said, in words that follow `by`."""
    return BY.get(by, by)


def drawn(by: str) -> str:
    """What resamples and folds are made of, by what `grouped_by` said."""
    return DRAWN.get(by, by)


def of_subjects(count: int, by: str) -> str:
    """How many subjects some items show, to be said behind the items."""
    return "of nobody known" if by == "image" else f"of {count:,} {drawn(by)}"


def _nfc(name: str) -> str:
    return unicodedata.normalize("NFC", name)
