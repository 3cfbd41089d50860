"""What the decoding libraries say on standard error while a worker works. Knows nothing of what it means.

libjpeg, libpng and FFmpeg tell of damage nowhere else. In a worker, file descriptor 2 is a plain file, so
their words can be read back after each call; in another process (a test, say) there is nothing to read.
"""

import os
import re
import stat

_EXCERPT = 4096
_OPENCV_OWN = re.compile(r"\[ ?(WARN|ERROR|INFO):")
_ADDRESS = re.compile(r" @ 0x[0-9a-f]+")


def clear() -> None:
    """Forgets what was said so far."""
    if stat.S_ISREG(os.fstat(2).st_mode):
        os.ftruncate(2, 0)
        os.lseek(2, 0, os.SEEK_SET)


def text() -> str:
    """The first 4 kB said since `clear`, without addresses of memory."""
    state = os.fstat(2)
    if not stat.S_ISREG(state.st_mode) or not state.st_size:
        return ""
    return _ADDRESS.sub("", os.pread(2, _EXCERPT, 0).decode(errors="replace"))


def first_line(said: str) -> str:
    """The first line that is not OpenCV's own, at most 160 characters, or an empty string."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not _OPENCV_OWN.match(line)]
    return lines[0][:160] if lines else ""
