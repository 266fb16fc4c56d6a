"""Confining a process before it reads untrusted bytes, in layers of which each is tried.

A kernel or a container that refuses a layer leaves the others; what is missing is reported, for the
log and for whoever starts the portal. Limits (`limits`) and the filter of system calls
(`system_calls`) come last, in the process that reads the bytes.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Collection
from contextlib import suppress

from worker.isolation import kernel, landlock, namespaces, system_calls

# A user and group that no distribution gives to anything.
OWN_ID = 65531
_FILTER = "filter of system calls"


def confine(
    keep: Collection[int], *, as_first: bool = False, readable: Collection[str] = ()
) -> list[str]:
    """Confine this process for good; the layers that are missing, each with its reason.

    `keep`: the descriptors that stay open. Everything must be loaded: afterwards no file can be
    opened but those in the folders `readable`. Single-threaded processes only, and
    `namespaces.enter` (see there for `as_first`) makes another process of it.
    """
    close_all_but({0, 1, 2, *keep})
    if not kernel.LINUX:
        return ["namespaces", "a user of its own", "Landlock", f"{_FILTER} (all on Linux only)"]
    missing: list[str] = []

    def attempt(layer: str, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            missing.append(f"{layer} ({error.strerror})")

    started = os.getpid()
    attempt("namespaces", lambda: namespaces.enter(readable, as_first=as_first))
    if os.geteuid() == 0:
        attempt("a user of its own", become_own_user)
    attempt("capabilities", kernel.drop_capabilities)
    kernel.make_undumpable()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if os.getpid() != started:
        # The parent is the process that waits. After the change of user, which takes this back.
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    attempt("Landlock", lambda: landlock.deny_everything(readable))
    attempt(_FILTER, system_calls.check)
    return missing


def filter_calls(missing: Collection[str], also: Collection[str] = ()) -> None:
    """Filter the system calls of this process, as the last step, unless `confine` found it missing.

    `also`: see `system_calls.restrict`.
    """
    if not any(layer.startswith(_FILTER) for layer in missing):
        system_calls.restrict(also)


def missing_layers() -> list[str]:
    """What `confine` would return, found out in a child process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            os.write(writing, json.dumps(confine({writing})).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return [str(layer) for layer in json.loads(text)] if text else ["all (it could not be tried)"]


def become_own_user() -> None:
    """Go on as a user and group of nobody else; OSError where that is not allowed."""
    os.setgroups([])
    os.setresgid(OWN_ID, OWN_ID, OWN_ID)
    os.setresuid(OWN_ID, OWN_ID, OWN_ID)


def close_all_but(keep: Collection[int]) -> None:
    """Close every descriptor but these."""
    first = 0
    for descriptor in sorted(keep):
        # An empty range would close everything in Python 3.11.
        if first < descriptor:
            os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
