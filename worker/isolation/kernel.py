"""Calls of the Linux kernel that Python 3.11 has no function for; OSError where one is refused."""

from __future__ import annotations

import ctypes
import os
import sys

LINUX = sys.platform == "linux"

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int, pointer: int = 0) -> None:
    """Change something about this process."""
    long = ctypes.c_ulong
    _check(_libc.prctl(option, long(value), long(pointer), long(0), long(0)))


def unshare(flags: int) -> None:
    """Leave namespaces for new ones."""
    _check(_libc.unshare(flags))


def mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    """Mount a file system."""
    texts = [text.encode() for text in (source, target, kind)]
    _check(_libc.mount(*texts, ctypes.c_ulong(flags), options.encode()))


def drop_capabilities() -> None:
    """Give up every capability of this process."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)()))


def system_call(number: int, *arguments: int) -> int:
    """A system call without a function in the C library."""
    long = ctypes.c_long
    _libc.syscall.restype = long
    result: int = _libc.syscall(long(number), *(long(argument) for argument in arguments))
    return _check(result)


def make_undumpable() -> None:
    """Close this process's memory and environment to others of its user; no core is dumped."""
    if LINUX:
        prctl(PR_SET_DUMPABLE, 0)


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
