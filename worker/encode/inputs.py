"""The two inputs of a set, content and file of the picture, as the one that its process reads."""

from __future__ import annotations

import struct
from typing import Final

_LENGTH: Final = struct.Struct(">Q")


def joined(content: bytes, header: bytes) -> bytes:
    """Both as one."""
    return b"".join([_LENGTH.pack(len(content)), content, header])


def apart(data: bytes) -> tuple[bytes, bytes]:
    """Content and file."""
    (size,) = _LENGTH.unpack_from(data)
    start = _LENGTH.size + size
    return data[_LENGTH.size : start], data[start:]
