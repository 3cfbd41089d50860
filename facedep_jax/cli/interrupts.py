"""Ctrl-C and other wishes that a command end: asked between two steps, or at once. Knows nothing of the work."""

import signal
import sys
from types import FrameType, TracebackType

from facedep_jax.cli.terminal.progress_displays import go_silent

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Wishes:
    """While it is entered, a first signal is kept in `number`; a second one raises KeyboardInterrupt wherever it comes.

    What whoever started the command made it ignore (nohup does that with SIGHUP) stays ignored, but for Ctrl-C.
    """

    def __init__(self) -> None:
        self.number = 0

    @property
    def status(self) -> int:
        """The exit status by which shells tell what ended a command: 130 after Ctrl-C."""
        return 128 + (self.number or signal.SIGINT)

    def __enter__(self) -> "Wishes":
        taken = [n for n in SIGNALS if n == signal.SIGINT or signal.getsignal(n) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._on_signal) for number in taken}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number == getattr(signal, "SIGHUP", None):
            _leave_the_terminal()
        if self.number:
            raise KeyboardInterrupt
        self.number = number


def _leave_the_terminal() -> None:
    """It may be gone, and then every word to it would be an error; files, and who reads a pipe, get them still."""
    for stream in (sys.stdout, sys.stderr):
        if stream.isatty():
            go_silent(stream)
