"""Namespaces: a process that sees no other process, no network and no file but listed ones.

As root it needs no user namespace; another user gets one, and with it the right to the others.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
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
_AGAIN, _SAME_FILES, _AND_BELOW = 0x20, 0x1000, 0x4000
# Any folder that is everywhere: what is in it can't be seen any more.
_EMPTY = "/proc"
# How a first process, which cannot end by a signal, reports that its child did.
_BY_SIGNAL = 128


def enter(readable: Collection[str] = (), *, as_first: bool) -> None:
    """Go on as a process of new namespaces, in a folder that is empty but for the folders
    `readable`, which are there at their own paths and can't be written; OSError where refused.

    The process that calls goes on as a child; the process itself waits for it and ends as it does.
    Files that are open stay open. `as_first`: as the namespace's first process, which no other of
    it can end, but which no limit can end by a signal that it has no handler for.
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
    go_on_as_child()
    try:
        if refused is not None:
            raise refused
        kernel.mount("none", "/", "", _PRIVATE_EVERYWHERE, "")
        options = "size=4k,mode=0555"
        kernel.mount("none", _EMPTY, "tmpfs", 0 if readable else _READ_ONLY_NO_PROGRAMS, options)
        for folder in readable:
            _show(folder)
        if readable:
            kernel.mount("none", _EMPTY, "", _AGAIN | _READ_ONLY_NO_PROGRAMS, options)
        os.chroot(_EMPTY)
        os.chdir("/")
    finally:
        if not as_first:
            go_on_as_child()


def end_all_others() -> None:
    """End what else runs in this PID namespace, if it is the process's own."""
    if os.getpid() == 1:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        with suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)


def _show(folder: str) -> None:
    place = _EMPTY + folder
    # Whatever the caller's umask is, the process's own user passes through the folders above.
    before = os.umask(0o022)
    try:
        os.makedirs(place)
    finally:
        os.umask(before)
    kernel.mount(folder, place, "", _SAME_FILES | _AND_BELOW, "")
    kernel.mount("none", place, "", _AGAIN | _SAME_FILES | _READ_ONLY_NO_PROGRAMS, "")


def _write(name: str, text: str) -> None:
    with open(f"/proc/self/{name}", "wb") as file:
        file.write(text.encode())


def go_on_as_child() -> None:
    """Return in a child; this process waits for it and ends like it."""
    if (child := os.fork()) == 0:
        return
    kernel.make_undumpable()
    with suppress(OSError):
        kernel.drop_capabilities()
    if os.getpid() == 1:  # else its parent may be a thread that ends before the rest of the process
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    number = -code if code < 0 else code - _BY_SIGNAL
    if number <= 0:
        os._exit(code)
    if os.getpid() == 1:
        os._exit(_BY_SIGNAL + number)  # a signal to itself would be without effect
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(_BY_SIGNAL + number)
