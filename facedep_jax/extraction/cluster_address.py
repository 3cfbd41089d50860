"""Where a dask.distributed scheduler is, and whether it may be spoken to: it runs what whoever reaches it sends.

Knows nothing of what is sent.
"""

import ipaddress
import json
from pathlib import Path
from urllib.parse import urlsplit

from facedep_jax.errors import ClusterError

LARGEST = 1 << 20  # bytes of a scheduler file, which has some hundreds and a line a worker
GUARDED = ("tls", "inproc")


def require_guarded(where: str, insecure: bool) -> None:
    """Raise ClusterError for a scheduler beyond this machine without TLS, unless that is wanted (`insecure`)."""
    address = address_of(where)
    if insecure or urlsplit(address).scheme in GUARDED or _is_here(urlsplit(address).hostname or ""):
        return
    raise ClusterError(
        f"{address} is another machine's without TLS, where whoever reaches the port runs code as you; use "
        "certificates and tls:// (docs/cluster.md), or --insecure in a network where you trust everybody"
    )


def address_of(where: str) -> str:
    """The address itself, or the one in the scheduler's file of this name. Raises ClusterError."""
    file = Path(where)
    try:
        if file.is_file():
            if file.stat().st_size > LARGEST:
                raise ValueError(f"it has more than {LARGEST:,} bytes")
            where = str(json.loads(file.read_text())["address"])
        return where if "://" in where else f"tcp://{where}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ClusterError(f"{file} is not a scheduler's file ({error!r}); dask scheduler writes one") from error


def _is_here(host: str) -> bool:
    """Whether a host is this machine by loopback, which nobody else reaches."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
