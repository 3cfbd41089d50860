"""Names from outside written as text: on a page, in a table, as a file. Knows nothing of what they name."""

import hashlib
import os
import re
from urllib.parse import quote

FORMULA = ("=", "+", "-", "@", "'", "\t", "\r", "＝", "＋", "－", "＠")  # spreadsheets take the full-width ones alike


_HALVES = re.compile("[\ud800-\udfff]")  # how Python writes bytes of a name that are not UTF-8; no text holds them
_STAND_INS = re.compile("[\U0010d800-\U0010dfff]")  # of a plane for private use


_MARKDOWN = re.compile(r"](?=[(\[:])|`")  # what ends the text of a link, and code


def as_text(name: str) -> str:
    """A file's name as a data frame can hold it: what is not UTF-8 in it as private characters. `as_name` undoes it."""
    return name if name.isascii() else _HALVES.sub(lambda half: chr(ord(half[0]) + 0x100000), name)


def as_name(text: str) -> str:
    """The file's name that `as_text` made into `text`."""
    return text if text.isascii() else _STAND_INS.sub(lambda stand_in: chr(ord(stand_in[0]) - 0x100000), text)


def printable(text: str) -> str:
    """`text` on one line, with everything escaped that would move a cursor, turn the writing round or be no text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def quoted(text: str) -> str:
    """No formula to a spreadsheet: what begins like one gets a ' in front. `unquoted` takes it off."""
    return f"'{text}" if text.startswith(FORMULA) else text


def unquoted(cell: str) -> str:
    """What was written as `cell`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def in_tables(text: str) -> str:
    """`printable` and `quoted`."""
    return quoted(printable(text))


def in_markdown(text: str) -> str:
    """One line that Markdown takes for text: no tags, links, pictures or code. `html.unescape` undoes it but for what
    is not printable."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return _MARKDOWN.sub(lambda found: f"&#{ord(found[0])};", shown.replace("&", "&amp;").replace("<", "&lt;"))


def plot_name(path: str) -> str:
    """A file name that no other path gets: the whole relative path, percent-encoded."""
    name = quote(os.fsencode(path), safe=" ")
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()
    return f"{name}.png" if len(name) < 200 else f"{name[:150]}-{digest[:16]}.png"
