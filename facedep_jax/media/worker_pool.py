"""The library's end of a decoding worker: a process and a watchdog. Knows nothing of pixels.

A worker that hangs is killed, one that crashes is replaced, and either is a MediaError for the item in hand
and nothing else. Idle workers are kept for the next item, as importing cv2 costs a fifth of a second.
"""

import atexit
import fcntl
import os
import re
import select
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import asdict
from functools import lru_cache
from io import FileIO

import numpy as np

from facedep_jax.errors import EngineError, MediaError, NotADetector
from facedep_jax.machine_resources import child_environment, signal_name
from facedep_jax.media.file_hashing import ITEM_BYTES
from facedep_jax.media.frame_types import InputSettings
from facedep_jax.media.worker_protocol import BrokenWire, Bytes, Message, encoded, pack, unpack, write_whole

# Seconds without a message after which a worker counts as hung.
TIMEOUT = 30.0
READ_S = 600.0  # … while it waits for the bytes of a file: a disk may have to be woken, or a network to come back
_TICK = 0.5  # seconds between two looks at whether an answer is still wanted
PIPE_BYTES = 1 << 20  # what every user may ask of Linux for a pipe
# glibc gives freed memory back to the system after almost every picture, and each page that it takes anew for the next
# costs a fault. It may keep this much, which is what its own thresholds can rise to.
_KEPT = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
_NOWHERE = bytes(4) + b" " * ITEM_BYTES  # of progress: no file of a request is hashed
_ITEM = re.compile(f"[0-9a-f]{{{ITEM_BYTES}}}")


class DecoderLost(MediaError):
    """The worker is gone: it crashed, or was killed for saying nothing."""


class Decoder:
    """One worker process. Not for use by two threads at once."""

    def __init__(self) -> None:
        # Plain files: no pipe can fill up and block it. The worker reads back what its libraries said; where it is in a
        # request of several files is read once it is gone.
        self._said, self._progress = (tempfile.TemporaryFile() for _ in range(2))  # noqa: SIM115  (for its whole life)
        self._reads = False  # whether it is asked for files that it opens and hashes itself
        progress = self._progress.fileno()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "facedep_jax.media.decode.decode_worker", str(progress)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, bufsize=0, pass_fds=(progress,),
            env=_KEPT | child_environment(), start_new_session=True,
        )  # fmt: skip
        # False while an answer is outstanding: such a worker is not for anyone else.
        self.is_free = True
        requests, answers = self._process.stdin, self._process.stdout
        assert isinstance(requests, FileIO) and isinstance(answers, FileIO)  # as pipes without a buffer are
        self._requests, self._answers = requests, answers
        for pipe in (requests, answers):
            _widen(pipe)
        os.set_blocking(answers.fileno(), False)  # this end: what is there is read without asking first whether it is
        self._answered = select.poll()
        self._answered.register(answers, select.POLLIN)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def ask(self, what: str, settings: InputSettings, body: bytes, **further: int) -> None:
        """Sends a request. Raises DecoderLost; EngineError for a worker that could not start."""
        self.is_free, self._reads = False, what == "images"
        if self._has_started():  # else it says so itself; what it said of the last request is none of this one
            os.pwrite(self._progress.fileno(), _NOWHERE, 0)
        try:
            head = pack(_request(what, settings, *further.items()), len(body))
            write_whole(self._requests.fileno(), [head, body])
        except BrokenPipeError as error:
            raise self._ended() from error

    def progress(self) -> tuple[int, str]:
        """Which file of a request of several the worker, which may be gone, has come to, 0 for the first; and its item,
        "" until it is known."""
        said = os.pread(self._progress.fileno(), len(_NOWHERE), 0)
        item = said[4:].decode("ascii", "replace")
        return int.from_bytes(said[:4], "little"), item if is_item(item) else ""

    def answer(self, timeout: float, over: threading.Event | None = None) -> Message:
        """The next message that is more than a sign of life.

        Raises MediaError or EngineError as the worker says; DecoderLost when it crashed, or said nothing for `timeout`
        seconds and was killed; EngineError when it could not start; CancelledError once `over` is set.
        """
        header, body = self._next(timeout, over)
        while header["say"] == "alive":
            header, body = self._next(timeout, over)
        self.is_free = header["say"] != "frame"
        if header["say"] == "failed":
            raise MediaError(header["reason"], stage=header["stage"])
        if header["say"] == "no detector":
            raise NotADetector(header["path"], header["found"])
        if header["say"] == "no engine":
            raise EngineError(header["reason"])
        return header, body

    def is_well(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Ends the process, whatever it does; who waits for its answer, in another thread, is told."""
        self._process.kill()

    def kill(self) -> None:
        """Ends the process, whatever it does, and waits for it."""
        self._process.kill()
        self._process.wait()
        for file in (self._requests, self._answers, self._said, self._progress):
            file.close()

    def _next(self, timeout: float, over: threading.Event | None) -> Message:
        try:
            return unpack(lambda count: self._read(count, timeout, over))
        except BrokenWire as error:
            raise self._ended() from error

    def _read(self, count: int, timeout: float, over: threading.Event | None) -> Bytes:
        data = rest = np.empty(count, np.uint8).data  # bytearray writes zeros first, and other threads wait
        while rest:
            got = self._answers.readinto(rest)
            if got is None:
                self._wait(timeout, over)
            elif not got:
                raise BrokenWire("end of the pipe")
            else:
                rest = rest[got:]
        return data

    def _wait(self, timeout: float, over: threading.Event | None) -> None:
        """Until there is something to read. What is waited is counted, and no clock read: this process may be stopped
        and go on hours later."""
        waited, reads = 0.0, self._reads
        while not self._answered.poll(1000 * min(_TICK, timeout)):
            if over and over.is_set():
                raise CancelledError
            was, reads = reads, self._reads and not self.progress()[1]
            waited = min(_TICK, timeout) + (waited if reads == was else 0.0)
            if waited >= (READ_S if reads else timeout):
                self._process.kill()
                if reads:
                    raise DecoderLost(f"cannot be read: nothing came for {READ_S:g} s", stage="read")
                raise DecoderLost(f"no frame for {timeout:g} s; the decoder was stopped")

    def _has_started(self) -> bool:
        """Whether it got as far as to say where it is."""
        return bool(os.fstat(self._progress.fileno()).st_size)

    def _ended(self) -> DecoderLost | EngineError:
        """How the worker ended, with the last line it said: no file's fault where it gave up before it took any."""
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return DecoderLost("the decoder sent what is not a message, and was stopped")
        how = f"crashed ({signal_name(-code)})" if code < 0 else f"ended with status {code}"
        self._said.seek(0)
        lines = self._said.read()[-2000:].decode(errors="replace").strip().splitlines()
        how += f": {lines[-1][:200]}" if lines else ""
        if code > 0 and not self._has_started():
            return EngineError(f"decoders cannot start here, so that no file can be read; the first {how}")
        return DecoderLost(f"the decoder {how}")


def is_item(said: object) -> bool:
    """Whether what a decoder sent is the name of an item: one that a file has taken over may say anything."""
    return isinstance(said, str) and bool(_ITEM.fullmatch(said))


@lru_cache(maxsize=16)
def _request(what: str, settings: InputSettings, *further: tuple[str, int]) -> bytes:
    return encoded({"do": what, "settings": asdict(settings), **dict(further)})


def _widen(pipe: FileIO) -> None:
    """Room for a whole file or picture where the system grants it: fewer calls for each."""
    with suppress(OSError, AttributeError):  # no such thing but on Linux; a user's allowance may be used up
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


_idle: list[Decoder] = []
_lock = threading.Lock()


def borrow() -> Decoder:
    """An idle worker, or a new one, to be given back."""
    with _lock:
        while _idle:
            decoder = _idle.pop()
            if decoder.is_well():
                return decoder
            decoder.kill()
    return Decoder()


def start_ahead() -> None:
    """An idle worker is there as soon as it can be, so that who is to ask one need not wait while it starts."""
    give_back(borrow())


def give_back(decoder: Decoder) -> None:
    """Shelves a worker that has answered to the end, and kills any other."""
    if not decoder.is_free:
        return decoder.kill()
    with _lock:
        _idle.append(decoder)


def stop_idle() -> None:
    """Ends all idle workers; done by itself when Python exits."""
    with _lock:
        while _idle:
            _idle.pop().kill()


def _forget_in_child() -> None:
    # A forked child shares the pipes of its parent's workers: talking on them would garble both.
    global _lock
    _lock = threading.Lock()
    _idle.clear()


atexit.register(stop_idle)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
