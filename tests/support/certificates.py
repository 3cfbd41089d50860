"""Certificates of nobody's, made where they are needed."""

import subprocess
from pathlib import Path


def certificate(folder: Path, host: str) -> tuple[Path, Path]:
    """A certificate for `host` that vouches for itself, and its key."""
    files = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={host}"]
    kind = "IP" if host.replace(".", "").isdigit() else "DNS"
    places = ["-addext", f"subjectAltName={kind}:{host}", "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run([*command, *places], check=True, capture_output=True)
    return files
