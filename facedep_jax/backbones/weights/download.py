"""The official Keras files, fetched once into the user's cache directory.

It knows addresses, sizes and hashes; whether a file holds the right network is found out when it is loaded.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin, urlsplit

from facedep_jax.errors import WeightsError
from facedep_jax.file_system import require_no_link, user_cache
from facedep_jax.progress_events import Progress, Report, silent
from facedep_jax.text_escaping import printable

if TYPE_CHECKING:
    from requests import Response

MIRROR_VARIABLE = "FACEDEP_WEIGHTS_MIRROR"
BASE_URL = "https://storage.googleapis.com/tensorflow/keras-applications/"
_CHUNK = 256 * 1024  # bytes between two reports of progress
_TIMEOUT = (10, 60)  # seconds to connect, and without a byte
SLOWEST = 16_000  # bytes a second over a whole download, beyond the first minute
REDIRECTS = 5


class OfficialFile(NamedTuple):
    """A file below the base URL: its size in bytes, and its hash ("md5:…") where a publisher states one."""

    folder: str
    name: str
    size: int
    known_hash: str | None


# ResNet50's MD5 is that of keras/src/applications/resnet.py (WEIGHTS_HASHES). Keras states no hash for
# MobileNetV2, and none is made up here: its size is checked, then its structure on loading, and its SHA-256
# goes into every spec.
OFFICIAL = {
    "mobilenet_v2": OfficialFile(
        "mobilenet_v2", "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5", 9_406_464, None
    ),
    "resnet50": OfficialFile(
        "resnet",
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        94_653_016,
        "md5:4d473c1dd8becc155b73f8504c6f6626",
    ),
}


def address(file: OfficialFile) -> str:
    """Where `file` would be fetched from now: FACEDEP_WEIGHTS_MIRROR, when set, replaces the base URL."""
    base = os.environ.get(MIRROR_VARIABLE) or BASE_URL
    return f"{base.rstrip('/')}/{file.folder}/{file.name}"


def cached_path(backbone: str) -> Path:
    """Where the official file of `backbone` lies once it has been fetched."""
    return user_cache() / "weights" / OFFICIAL[backbone].name


def partial_path(path: Path) -> Path:
    """Where the bytes that have arrived lie until `path` is whole."""
    return path.with_name(f"{path.name}.part")


def official_files(backbones: Sequence[str], report: Report = silent) -> dict[str, Path]:
    """Paths of the official files, downloading those that are not in the cache directory yet.

    A download that was cut short is continued. FACEDEP_WEIGHTS_MIRROR replaces the base URL; below it the
    paths are Google's. Raises WeightsError that says what to put where, when a file cannot be had.
    """
    folder = user_cache() / "weights"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _alone(folder):
            return {backbone: _fetch(OFFICIAL[backbone], folder, report) for backbone in backbones}
    except (
        OSError,
        ValueError,
    ) as error:  # those of requests are OSErrors, pooch's hash mismatch is a ValueError
        missing = [OFFICIAL[backbone] for backbone in backbones if not _whole(backbone)]
        wanted = missing or [OFFICIAL[backbone] for backbone in backbones]
        files = " and ".join(f"{file.name} ({file.size:,} bytes, {address(file)})" for file in wanted)
        raise WeightsError(
            f"cannot download the official weights: {' '.join(str(error).split())}. "
            f"Put {files} into {folder}, or give a directory of weights with --weights DIR"
        ) from error


def are_here(backbones: Sequence[str]) -> bool:
    """Whether none of the official files has to be downloaded."""
    return all(map(_whole, backbones))


def _whole(backbone: str) -> bool:
    path = cached_path(backbone)
    return path.is_file() and path.stat().st_size == OFFICIAL[backbone].size


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two processes must not write the same partial file; the second finds the first one's result."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch(file: OfficialFile, folder: Path, report: Report) -> Path:
    import pooch  # here, or every command would pay for its import

    pooch.get_logger().setLevel("WARNING")  # it would print each download to standard error; events say it here
    there = folder / file.name
    if there.exists() and there.stat().st_size != file.size:
        raise ValueError(f"{there} has {there.stat().st_size:,} bytes instead of {file.size:,}: remove it")
    registry = pooch.create(
        folder, "", registry={file.name: file.known_hash}, urls={file.name: address(file)}, retry_if_failed=1
    )
    downloader = _Resuming(partial_path(there), file.size, report)
    return Path(registry.fetch(file.name, downloader=downloader))


class _Resuming:
    """A pooch downloader that keeps what has arrived in `part` and asks for the rest of `size` bytes."""

    def __init__(self, part: Path, size: int, report: Report):
        self.part, self.size, self.report = part, size, report

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        require_no_link(self.part)
        have = self.part.stat().st_size if self.part.exists() else 0
        if have > self.size:
            self.part.unlink()
            have = 0
        if have < self.size:
            self._download(url, have)
        os.replace(self.part, output_file)  # pooch compares the hash next, and removes what does not match

    def _download(self, url: str, have: int) -> None:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with _answer(url, headers) as response:
            if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                have = 0  # the server ignored the range and sends everything
            offered = have + int(response.headers.get("Content-Length", self.size - have))
            if offered != self.size:
                raise ValueError(f"{url} offers {offered:,} bytes, the official file has {self.size:,}")
            with self.part.open("ab" if have else "wb") as part:
                for chunk in _in_time(url, response, self.size - have):
                    have += len(chunk)
                    if have > self.size:
                        self.part.unlink()  # what begins like the file is not it, and another try would take it
                        raise ValueError(f"{url} sends more than the {self.size:,} bytes that were expected")
                    part.write(chunk)
                    self.report(Progress("download", have, self.size, "bytes", detail=self.part.stem))
        if have != self.size:
            raise ConnectionError(f"{url} ended after {have:,} of {self.size:,} bytes")


@contextmanager
def _answer(url: str, headers: Mapping[str, str]) -> Iterator["Response"]:
    """What the server says, and where it sends on to, as long as that is itself: nobody else was asked for the file.

    Raises ConnectionError and what requests raises.
    """
    import requests

    with requests.Session() as session:
        for _ in range(REDIRECTS + 1):
            with session.get(url, headers=headers, stream=True, timeout=_TIMEOUT, allow_redirects=False) as response:
                response.raise_for_status()
                if not response.is_redirect:
                    yield response
                    return
                there = urljoin(url, response.headers["Location"])
            if urlsplit(there)[:2] != urlsplit(url)[:2]:
                raise ConnectionError(
                    f"{url} sends on to {printable(there)}, another server or another way; set {MIRROR_VARIABLE} to "
                    "that one if it is to be trusted"
                )
            url = there
    raise ConnectionError(f"{url} sends on to itself more than {REDIRECTS} times")


def _in_time(url: str, response: "Response", most: int) -> Iterator[bytes]:
    """What arrives, as it does. Raises TimeoutError where `most` bytes are not there in their time."""
    begun, have, allowed = time.monotonic(), 0, _TIMEOUT[1] + most / SLOWEST
    while chunk := _next_bytes(response):
        have += len(chunk)
        yield chunk
        if have < most and time.monotonic() - begun > allowed:
            raise TimeoutError(
                f"{url} gave {have:,} bytes in {allowed:.0f} s, less than {SLOWEST:,} a second; try again to go on"
            )


def _next_bytes(response: "Response") -> bytes:
    """What has arrived, at most a chunk, and not once a whole chunk is there, which would wait for its last byte."""
    import requests
    import urllib3

    try:
        return response.raw.read1(_CHUNK)
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from error
