"""Processes as another process of their user sees them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from worker.isolation import kernel


def descendants(pid: int) -> list[int]:
    """A process and all that it started, and these in turn."""
    found = [pid]
    for process in found:
        for children in Path(f"/proc/{process}/task").glob("*/children"):  # of each thread
            with suppress(OSError):  # it has just ended
                found += [int(child) for child in children.read_text().split()]
    return found


def command_and_environment(pid: int) -> bytes:
    """What a process was started with, as far as it can be read."""
    found = b""
    for name in ("cmdline", "environ"):
        try:
            found += Path(f"/proc/{pid}/{name}").read_bytes()
        except OSError:
            continue
    return found


def exists(pid: int) -> bool:
    """Whether the process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def is_open_to_its_user(pid: int) -> bool:
    """Whether others of the process's user can read its environment, and so its memory."""
    child = os.fork()
    if child == 0:
        try:
            kernel.drop_capabilities()
            Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            os._exit(1)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 0
