"""Namespaces: a process that sees no other process, no network and no file.

As root it needs no user namespace; another user gets one, and with it the right to the others.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress

from worker.isolation import kernel

_MOUNTS, _UTS, _IPC, _USER, _PIDS, _NETWORK = (
    0x00020000,
    0x04000000,
    0x08000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
_PRIVATE_EVERYWHERE = 0x4000 | 0x40000
_READ_ONLY_NO_PROGRAMS = 0x1 | 0x2 | 0x4 | 0x8
# Any folder that is everywhere: what is in it can't be seen any more.
_EMPTY = "/proc"


def enter() -> None:
    """Go on as the first process of new namespaces, in an empty folder; OSError where refused.

    The process that calls goes on as a child; the process itself waits for it and ends as it does.
    Files that are open stay open.
    """
    user, group = os.geteuid(), os.getegid()
    flags = _MOUNTS | _UTS | _IPC | _PIDS | _NETWORK
    kernel.unshare(flags if user == 0 else flags | _USER)
    refused = None
    if user != 0:
        try:
            _write("setgroups", "deny")
            _write("uid_map", f"{user} {user} 1")
            _write("gid_map", f"{group} {group} 1")
        except OSError as error:
            refused = error
    # In any case: no process can be started once the first of the namespace has ended.
    child = os.fork()
    if child:
        _end_with(child)
    if refused is not None:
        raise refused
    kernel.mount("none", "/", "", _PRIVATE_EVERYWHERE, "")
    kernel.mount("none", _EMPTY, "tmpfs", _READ_ONLY_NO_PROGRAMS, "size=4k,mode=0555")
    os.chroot(_EMPTY)
    os.chdir("/")


def end_all_others() -> None:
    """End what else runs in this PID namespace, if it is the process's own."""
    if os.getpid() == 1:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        with suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)


def _write(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "wb") as file:
        file.write(text.encode())


def _end_with(child: int) -> None:
    """Wait for the child and end like it."""
    kernel.make_undumpable()
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))
