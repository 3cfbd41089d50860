"""SIGINT, SIGTERM and SIGHUP: how a command ends when it is told to, and that it does. Knows nothing of commands.

The first signal is kept in `number`, for the work to stop between two steps. Where it has not after PATIENCE seconds,
because it waits for something, KeyboardInterrupt is raised wherever it is, and again where it then waits for a thread
or a process. Where that does not end it either, the process ends as it would by `kill -9`: what was committed is safe.
"""

import atexit
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
AGAIN = 0.02  # seconds until a thread is interrupted again that was where an exception is not passed on
PATIENCE = 0.6  # seconds until whoever waits is interrupted, and as long again until one in foreign code is ended
LEAVING = 8.0  # seconds for whoever is ending: to commit, to close what is open
SAFE = "what was committed is safe; run the same command to go on"
ENDED = f"it did not stop by itself and was ended; {SAFE}"


WAITING = {module.__file__ for module in (threading, subprocess, selectors)}  # whose Python code does nothing else


def _waits(thread: int) -> bool:
    """Whether a thread waits for another or for a process."""
    frame = sys._current_frames().get(thread)
    return frame is not None and frame.f_code.co_filename in WAITING


def _swallows(frame: FrameType | None) -> bool:
    """Whether what is raised here is told as a traceback and goes no further: in what the garbage collector calls."""
    callbacks = [getattr(function, "__code__", None) for function in gc.callbacks]
    while frame is not None:
        if frame.f_code in callbacks or frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


class Signals:
    """While it is entered, a first signal is kept in `number`; a second one raises KeyboardInterrupt wherever it comes.

    What whoever started the command made it ignore (nohup does that with SIGHUP) stays ignored, but for Ctrl-C.
    `on_hangup` is called with SIGHUP. May be entered again by the same thread, which changes nothing.
    """

    def __init__(self, on_hangup: Callable[[], None] = lambda: None) -> None:
        self.number = 0
        self.as_json = False  # whether last words are
        self._on_hangup = on_hangup
        self._depth = self._heard = 0
        self._lost = False  # an interruption that came where none is passed on
        self._leaving, self._left = threading.Event(), threading.Event()
        self._status: int | None = None

    @property
    def status(self) -> int:
        """The exit status by which shells tell what ended a command: 130 after Ctrl-C."""
        return 128 + (self.number or signal.SIGINT)

    def __enter__(self) -> "Signals":
        self._depth += 1
        if self._depth == 1:
            self._bell, self._rung = socket.socketpair()
            self._bell.setblocking(False)
            self._woken = signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
            taken = [n for n in SIGNALS if n == signal.SIGINT or signal.getsignal(n) != signal.SIG_IGN]
            self._before = {number: signal.signal(number, self._on_signal) for number in taken}
            threading.Thread(target=self._watch, args=(threading.get_ident(),), daemon=True).start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._depth -= 1
        if not self._depth:
            self._left.set()
            for number, before in self._before.items():
                signal.signal(number, before)
            signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
            self._bell.close()  # which ends the thread

    def leave(self) -> None:
        """Say that the work is ending because of a signal: it is given LEAVING seconds."""
        self._leaving.set()

    def end(self, status: int) -> None:
        """End the process with `status`, whatever threads still wait for; signals change nothing any more."""
        self._status = status
        with suppress(KeyboardInterrupt):  # one that was on its way
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):  # nobody reads it any more
                    stream.flush()
            if not self.number:
                return
            atexit._run_exitfuncs()
        os._exit(status)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._heard += 1
        if number == getattr(signal, "SIGHUP", None):
            self._on_hangup()
        if self._status is not None:
            return
        if not self.number:
            self.number = number
        elif _swallows(frame):
            self._lost = True
        else:
            self.leave()
            raise KeyboardInterrupt

    def _watch(self, main: int) -> None:
        """Wait for a signal, which is told here even while the main thread is in foreign code; then see to the end."""
        with self._rung as rung:
            for number in iter(lambda: (rung.recv(1) or b"\0")[0], 0):
                if number in self._before:
                    self._see_to_the_end(number, main)

    def _see_to_the_end(self, number: int, main: int) -> None:
        if self._left.wait(PATIENCE):
            return
        heard = self._heard
        if self._status is None and not self._leaving.is_set():
            signal.pthread_kill(main, number)
            if self._left_within(PATIENCE, number, main) or self._heard == heard:
                return self._end_hard(number)
        until = time.monotonic() + LEAVING
        while self._status is None and not self._left_within(PATIENCE, number, main) and time.monotonic() < until:
            if _waits(main):
                signal.pthread_kill(main, number)
        self._end_hard(number)

    def _left_within(self, seconds: float, number: int, main: int) -> bool:
        """Whether the command is left by then; the main thread is interrupted again where that was lost."""
        until = time.monotonic() + seconds
        while not (left := self._left.wait(AGAIN)) and time.monotonic() < until:
            if self._lost:
                self._lost = False
                signal.pthread_kill(main, number)
        return left

    def _end_hard(self, number: int) -> None:
        """The main thread may hold any lock: nothing of the program is called."""
        if self._left.is_set():
            return
        if self._status is None:
            said = json.dumps({"event": "interrupted", "text": ENDED}) if self.as_json else f"interrupted: {ENDED}"
            with suppress(OSError):
                os.write(2, f"{said}\n".encode())
        os._exit(128 + number if self._status is None else self._status)
