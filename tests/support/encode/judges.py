"""The programs that judge DICOM objects: dicom3tools and DCMTK, as CI has them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_PROGRAMS = ("dciodvfy", "dsrdump", "dcmpschk")
_MISSING = [name for name in _PROGRAMS if shutil.which(name) is None]
# In CI they are run in any case: what a bare machine lacks is to be seen there.
needed = pytest.mark.skipif(
    bool(_MISSING) and not os.environ.get("CI"),
    reason=f"{', '.join(_MISSING)} missing (on Debian: apt install dicom3tools dcmtk)",
)


def errors(data: bytes, folder: Path) -> list[str]:
    """What dciodvfy calls an error in an object."""
    said = _judged("dciodvfy", data, folder)
    return [line for line in said.splitlines() if line.startswith("Error")]


def dumped(data: bytes, folder: Path) -> str:
    """A structured report as dsrdump prints it, which it only does where it can read it."""
    return _judged("dsrdump", data, folder, "+U8", "+Pl")


def presentation(data: bytes, folder: Path) -> str:
    """What dcmpschk finds in a presentation state."""
    return _judged("dcmpschk", data, folder)


def _judged(program: str, data: bytes, folder: Path, *options: str) -> str:
    path = folder / "object.dcm"
    path.write_bytes(data)
    command = [program, *options, str(path)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    path.unlink()
    return (done.stdout + done.stderr).decode("utf-8", "replace")
