"""A filter of system calls (seccomp): all but a few fail with EPERM.

The few are enough to compute, to take memory and to use descriptors that are open already. Nothing
can be opened, connected, started, signalled, traced or shared.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Collection
from typing import Final

from worker.isolation import kernel

# Numbers on x86-64 and on aarch64.
_MACHINES: Final = ("x86_64", "aarch64")
_ARCHITECTURES: Final = (0xC000003E, 0xC00000B7)
_SECCOMP: Final = (317, 277)
ALLOWED: Final = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "sendto": (44, 206),
    "recvfrom": (45, 207),
    "exit": (60, 93),
    "gettimeofday": (96, 169),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "getrandom": (318, 278),
}
# What `restrict` may be asked to allow beyond these.
MORE: Final = {
    "setitimer": (38, 103),
    # To open files, of those that a process can see.
    "openat": (257, 56),
    "newfstatat": (262, 79),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlinkat": (267, 78),
    "getdents64": (217, 61),
    "lseek": (8, 62),
    "pread64": (17, 67),
    "fcntl": (72, 25),
    "fstatfs": (138, 44),
    "statfs": (137, 43),
    # To start threads, as many as the limit of processes allows.
    "clone": (56, 220),
    "clone3": (435, 435),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "prctl": (157, 167),
}
# Older forms, which one of the machines alone has.
_X86_ALONE: Final = {"open": 2, "stat": 4, "lstat": 6, "access": 21, "readlink": 89}
READING: Final = (
    *("openat", "newfstatat", "faccessat", "faccessat2", "readlinkat", "getdents64"),
    *("lseek", "pread64", "fcntl", "fstatfs", "statfs", *_X86_ALONE),
)
THREADS: Final = ("clone", "clone3", "set_robust_list", "rseq", "prctl")
# Limits, which are always allowed to a process about itself: another's can't be changed by it.
_PRLIMIT: Final = (302, 261)

_GET_ACTION_AVAIL, _MODE_FILTER = 2, 2
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16


def check() -> None:
    """OSError where this kernel or machine can't filter system calls."""
    machine = _machine()
    action = ctypes.c_uint32(_REFUSE & 0xFFFF0000)
    kernel.system_call(_SECCOMP[machine], _GET_ACTION_AVAIL, 0, ctypes.addressof(action))


def restrict(also: Collection[str] = ()) -> None:
    """Allow this process `ALLOWED` and, of `MORE`, those named in `also` (such as `READING`); for
    good.

    OSError where that is not possible.
    """
    machine = _machine()
    more = [MORE[name] for name in also if name in MORE]
    numbers = [call[machine] for call in (*ALLOWED.values(), *more)]
    if machine == 0:
        numbers += [_X86_ALONE[name] for name in also if name in _X86_ALONE]
    # A jump is as many steps as it leaves out.
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_IF_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        *((_IF_EQUAL, len(numbers) - i + 5, 0, number) for i, number in enumerate(numbers)),
        (_IF_EQUAL, 0, 4, _PRLIMIT[machine]),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_IF_EQUAL, 0, 2, 0),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT + 4),
        (_IF_EQUAL, 1, 0, 0),
        (_RETURN, 0, 0, _REFUSE),
        (_RETURN, 0, 0, _ALLOW),
    ]
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    described = ctypes.create_string_buffer(
        struct.pack("@HP", len(steps), ctypes.addressof(program))
    )
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(described))


def _machine() -> int:
    name = os.uname().machine
    if not kernel.LINUX or name not in _MACHINES:
        raise OSError(errno.ENOSYS, f"not known for {name}")
    return _MACHINES.index(name)
