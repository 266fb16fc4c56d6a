"""A certificate authority for tests, and certificates that it has signed, by `openssl`."""

import hashlib
import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        der = ssl.PEM_cert_to_DER_cert(self.certificate.read_text())
        return hashlib.sha256(der).hexdigest()


@dataclass(frozen=True)
class Certificates:
    """Of the listener, of a node, of another system that the same authority has signed."""

    authority: Path
    ours: Pair
    node: Pair
    other: Pair


def made(folder: Path) -> Certificates:
    """Make them in a folder; the test skips without openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    authority, key = folder / "authority.pem", folder / "authority.key"
    _openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"),
        *("-subj", "/CN=Test authority", "-keyout", str(key), "-out", str(authority)),
    )
    return Certificates(
        authority, *(_signed(folder, name, authority, key) for name in ("ours", "node", "other"))
    )


def _signed(folder: Path, name: str, authority: Path, authority_key: Path) -> Pair:
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    request, more = folder / f"{name}.csr", folder / f"{name}.ext"
    more.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    _openssl(
        *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
        *("-keyout", str(pair.key), "-out", str(request)),
    )
    _openssl(
        *("x509", "-req", "-in", str(request), "-days", "30", "-extfile", str(more)),
        *("-CA", str(authority), "-CAkey", str(authority_key), "-CAcreateserial"),
        *("-out", str(pair.certificate)),
    )
    return pair


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=120)
