"""Real images and clips with flipped bits, overwritten stretches, cut off and spliced: right pixels or a named failure.

    python -m soak.fuzz_media --material FOLDER --out FOLDER [--number 2000] [--seed 1]

from the folder above this one. Whatever is in FOLDER and a picture or clip by its name is used. Run again, it goes on
where it was stopped. What breaks a promise is kept in OUT/broken; then the exit status is 1.

Broken is: a decoder that crashes or hangs, another error than MediaError, a file opened that is not the one named
(Linux: inotify), a picture that was cut off or a PNG that was altered and that shows other pixels than the whole file,
frames whose times do not increase or that show something else than the whole clip at that time though it was only cut
off. What codecs without checksums cannot notice, flipped bits mostly, is counted as altered.
"""

import ctypes
import itertools
import json
import os
import random
import re
import resource
import struct
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import numpy as np

from facedep_jax.errors import MediaError
from facedep_jax.media import InputSettings, open_clip, read_image
from facedep_jax.sources.file_kinds import kind_of

LARGEST = 4 << 20  # bytes of a file that is used
APART = 12.0  # levels of 255, on average, from which on pixels are others
CANARY = "canary"  # in the names of files that nobody has any business with
SETTINGS = InputSettings((32,), fps=4)
DIED = re.compile(r"the decoder (crashed|ended|sent)|no frame for|the decoder was stopped")
HURTS = ("flipped", "overwritten", "cut", "spliced")

Shown = list[tuple[float, np.ndarray]]  # times and pixels


@dataclass(frozen=True)
class Case:
    """One hurt file. `name` keeps the extension, `whole` is the file it was."""

    number: int
    hurt: str
    whole: Path
    data: bytes

    @property
    def name(self) -> str:
        return f"case{self.number:06d}{self.whole.suffix}"


def make(files: list[Path], number: int, seed: int) -> Case:
    """Case `number`: the same for the same files and seed, whatever was run before."""
    rng = random.Random(f"{seed}:{number}")
    hurt, whole = HURTS[number % len(HURTS)], rng.choice(files)
    data = bytearray(whole.read_bytes())
    if hurt == "flipped":
        for _ in range(rng.choice((1, 2, 8, 64))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif hurt == "overwritten":
        start, length = rng.randrange(len(data)), rng.choice((1, 16, 400))
        data[start : start + length] = rng.randbytes(len(data[start : start + length]))
    elif hurt == "cut":
        del data[rng.randrange(len(data)) :]
    else:
        other = rng.choice([file for file in files if kind_of(file) == kind_of(whole)]).read_bytes()
        data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]
    return Case(number, hurt, whole, bytes(data))


def shown_by(path: Path) -> Shown:
    """What the library makes of a file. Raises MediaError."""
    if kind_of(path).kind == "image":
        return [(0.0, read_image(path, path.read_bytes(), SETTINGS).frame.crops[32])]
    with open_clip(path, SETTINGS) as clip:
        return [(frame.time, frame.crops[32]) for frame in clip]


@cache
def shown_whole(path: Path) -> Shown | None:
    try:
        return shown_by(path)
    except MediaError:
        return None


def judge(case: Case, path: Path, read: Callable[[Path], Shown]) -> dict[str, str]:
    """What came of a case: `outcome`, and `why` where it is broken or refused."""
    whole = shown_whole(case.whole)
    try:
        shown = read(path)
    except MediaError as error:
        return {"outcome": "broken" if DIED.search(error.reason) else "refused", "why": error.reason}
    except Exception as error:  # anything else is what this program looks for
        return {"outcome": "broken", "why": f"{type(error).__name__}: {error}"}
    if any(not np.isfinite(time) or pixels.shape != (32, 32, 3) for time, pixels in shown):
        return {"outcome": "broken", "why": "a time or a crop that cannot be"}
    times = [time for time, _ in shown]
    if not shown or any(later <= earlier for earlier, later in itertools.pairwise(times)):
        return {"outcome": "broken", "why": f"times do not increase: {times[:5]}"}
    if whole is None:
        return {"outcome": "read"}
    altered = _altered(shown, whole)
    checked = case.hurt == "cut" or (case.hurt != "spliced" and case.data.startswith(b"\x89PNG"))
    return {"outcome": "broken" if checked else "altered", "why": altered} if altered else {"outcome": "read"}


def _altered(shown: Shown, whole: Shown) -> str:
    """Which frame shows something else than the whole file at that time; nothing if none does."""
    for time, pixels in shown:
        near = min(whole, key=lambda frame: abs(frame[0] - time))
        apart = np.abs(pixels.astype(int) - near[1]).mean()
        if abs(near[0] - time) < 0.01 and apart > APART:
            return f"{apart:.0f} levels apart at {time:.2f} s"
    return ""


class Watch:
    """Which files of a folder were opened, by name. Knows of none where there is no inotify."""

    OPEN = 0x20

    def __init__(self, folder: Path) -> None:
        self._handle = -1
        if sys.platform == "linux":
            libc = ctypes.CDLL(None, use_errno=True)
            self._handle = libc.inotify_init1(os.O_NONBLOCK)
            libc.inotify_add_watch(self._handle, os.fsencode(folder), self.OPEN)

    def opened(self) -> set[str]:
        """Names since it was asked last."""
        names = set()
        while self._handle >= 0:
            try:
                data = os.read(self._handle, 1 << 16)
            except BlockingIOError:
                break
            while data:
                length = struct.unpack_from("iIII", data)[3]
                names.add(os.fsdecode(data[16 : 16 + length].rstrip(b"\0")))
                data = data[16 + length :]
        return names - {""}


def run(material: Path, out: Path, number: int, seed: int, read: Callable[[Path], Shown] = shown_by) -> dict[str, Any]:
    """Judge cases 0 to `number` that are not judged yet; the counts of all, and what is broken."""
    files = sorted(
        f for f in material.rglob("*") if f.is_file() and 0 < f.stat().st_size <= LARGEST and kind_of(f).kind
    )
    place, kept = out / "place", out / "broken"
    for folder in (place, kept):
        folder.mkdir(parents=True, exist_ok=True)
    for name in (f"{CANARY}.ts", f"{CANARY}.jpg", f"{CANARY}.mp4"):
        (place / name).write_bytes(b"nobody reads this")
    ledger, watch = out / "cases.jsonl", Watch(place)
    done = {line["number"] for line in _lines(ledger)}
    for case in (make(files, n, seed) for n in range(number) if n not in done):
        path = place / case.name
        path.write_bytes(case.data)
        watch.opened()
        found = judge(case, path, read)
        foreign = watch.opened() - {path.name}
        if foreign:
            found = {"outcome": "broken", "why": f"opened {', '.join(sorted(foreign))}"}
        if found["outcome"] == "broken":
            os.replace(path, kept / path.name)
        else:
            path.unlink()
        line = {
            "number": case.number,
            "hurt": case.hurt,
            "kind": kind_of(case.whole).kind,
            "whole": case.whole.name,
            **found,
        }
        with open(ledger, "a") as stream:
            stream.write(json.dumps(line) + "\n")
    return _counted(_lines(ledger)[:number])


def _lines(ledger: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []


def _counted(lines: list[dict[str, Any]]) -> dict[str, Any]:
    counts = Counter(f"{line['kind']}, {line['hurt']}: {line['outcome']}" for line in lines)
    broken = [f"case {line['number']} ({line['whole']}, {line['hurt']}): {line['why']}" for line in lines
              if line["outcome"] == "broken"]  # fmt: skip
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return {"cases": len(lines), **dict(sorted(counts.items())), "decoder_peak_mb": largest, "broken": broken}


@click.command()
@click.option("--material", type=click.Path(path_type=Path, exists=True), required=True, help="Real images and clips.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where cases and what broke are kept.")
@click.option("--number", default=2000, show_default=True)
@click.option("--seed", default=1, show_default=True)
def main(material: Path, out: Path, number: int, seed: int) -> None:
    """Hurt real files and see what is made of them."""
    found = run(material.resolve(), out.resolve(), number, seed)
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    sys.exit(1 if found["broken"] else 0)


if __name__ == "__main__":
    main()
