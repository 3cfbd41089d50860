"""A stream that nobody reads any more. Imports nothing of its own: a signal's handler may call it at any moment."""

import os
from typing import IO


def go_silent(stream: IO[str]) -> None:
    """Let what is still written to `stream`, whose reader has gone away, lead nowhere.

    A broken pipe is no failure here: `… 2>&1 | head -1` has read what it wanted, and hours of extraction are not
    given up for a line that nobody reads. Nothing else is hidden: results are in files, and the exit status says
    what became of them.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
