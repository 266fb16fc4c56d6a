"""Landlock: a process that may open no file but listed ones, connect to nothing and signal nobody
outside.

https://docs.kernel.org/userspace-api/landlock.html; the numbers are the same on every machine.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Collection

from worker.isolation import kernel

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH, _READ = 1, 2**2 | 2**3  # files and folders
_CREATE_RULESET_VERSION = 1
# Every access to files that a version of Landlock can deny; the latest also for later versions.
_FILES = {1: 2**13 - 1, 2: 2**14 - 1, 3: 2**15 - 1, 4: 2**15 - 1, 5: 2**16 - 1}
_TCP_FROM, _TCP = 4, 0b11
_SCOPES_FROM, _ABSTRACT_SOCKETS_AND_SIGNALS = 6, 0b11


def deny_everything(but: Collection[str] = ()) -> None:
    """Deny all that Landlock of this kernel can deny, for good and for all later children, but for
    reading in the folders `but`.

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
        for folder in but:
            _allow_reading(ruleset, folder)
        kernel.system_call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    if version < _SCOPES_FROM:
        lacking = "signals and abstract sockets are not denied"
        lacking = lacking if version >= _TCP_FROM else f"TCP, {lacking}"
        raise OSError(errno.ENOTSUP, f"version {version}: {lacking}")


def _allow_reading(ruleset: int, folder: str) -> None:
    place = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        # The kernel's structure is packed: 64 bits of rights, 32 of the descriptor.
        rule = ctypes.create_string_buffer(struct.pack("=Qi", _READ, place))
        kernel.system_call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.addressof(rule), 0)
    finally:
        os.close(place)
