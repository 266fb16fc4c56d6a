"""One running portal for one data folder: the lock, and where the running one is.

The kernel releases the lock when its process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import TextIO


class AlreadyRunning(Exception):
    """Another process runs a portal on the folder, at ``address`` once that is known."""

    def __init__(self, address: str | None) -> None:
        super().__init__("held")
        self.address = address


def lock(data_dir: Path) -> TextIO:
    """Take the folder's lock while the file is open; AlreadyRunning if another process has it."""
    file = _path(data_dir).open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise AlreadyRunning(running_address(data_dir)) from None
    file.truncate(0)
    return file


def write_address(file: TextIO, address: str) -> None:
    """Write into the held file where the portal answers."""
    json.dump({"pid": os.getpid(), "address": address}, file)
    file.flush()


def running_address(data_dir: Path) -> str | None:
    """Where the portal of this folder answers; None when none runs or it is not ready yet."""
    try:
        with _path(data_dir).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                address: str = json.load(file)["address"]
                return address
    except (OSError, ValueError, KeyError):
        pass
    return None


def _path(data_dir: Path) -> Path:
    return data_dir / "up.lock"
