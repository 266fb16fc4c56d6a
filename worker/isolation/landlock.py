"""Landlock: a process that may open no file, connect to nothing and signal nobody outside.

https://docs.kernel.org/userspace-api/landlock.html; the numbers are the same on every machine.
"""

from __future__ import annotations

import ctypes
import errno
import os

from worker.isolation import kernel

_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_CREATE_RULESET_VERSION = 1
# Every access to files that a version of Landlock can deny; the latest also for later versions.
_FILES = {1: 2**13 - 1, 2: 2**14 - 1, 3: 2**15 - 1, 4: 2**15 - 1, 5: 2**16 - 1}
_TCP_FROM, _TCP = 4, 0b11
_SCOPES_FROM, _ABSTRACT_SOCKETS_AND_SIGNALS = 6, 0b11


def deny_everything() -> None:
    """Deny all that Landlock of this kernel can deny, for good and for all later children.

    OSError where there is none, or, after denying what it can, an old one.
    """
    version = kernel.system_call(_CREATE_RULESET, 0, 0, _CREATE_RULESET_VERSION)
    handled = (ctypes.c_uint64 * 3)(
        _FILES[min(version, max(_FILES))],
        _TCP if version >= _TCP_FROM else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if version >= _SCOPES_FROM else 0,
    )
    # Older kernels take a longer structure as long as the rest of it is zero.
    ruleset = kernel.system_call(
        _CREATE_RULESET, ctypes.addressof(handled), ctypes.sizeof(handled), 0
    )
    try:
        kernel.system_call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    if version < _SCOPES_FROM:
        lacking = "signals and abstract sockets are not denied"
        lacking = lacking if version >= _TCP_FROM else f"TCP, {lacking}"
        raise OSError(errno.ENOTSUP, f"version {version}: {lacking}")
