"""What the portal and its header processes share: messages over a socket, and the limits."""

import json
import socket
import time
from typing import Any, Final

CPU_SECONDS: Final = 0.4
"""Processor time for one file, and as much again for each 64 MiB of it."""
MEMORY_BYTES: Final = 48 * 2**20
"""What reading one header may take beyond the loaded modules and the file itself."""
_LENGTH_BYTES: Final = 4
_LONGEST: Final = 2**20
_STEP: Final = 2**20


def send(channel: socket.socket, message: dict[str, Any]) -> None:
    """Send one message; OSError where the other side is gone."""
    encoded = json.dumps(message).encode()
    channel.sendall(len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded)


def receive(channel: socket.socket, ends: float | None = None) -> dict[str, Any]:
    """Receive one message; EOFError where the other side ended or sends what is no message.

    `ends`: see `read_bytes`.
    """
    length = int.from_bytes(read_bytes(channel, _LENGTH_BYTES, ends), "big")
    if length > _LONGEST:
        raise EOFError
    try:
        message = json.loads(read_bytes(channel, length, ends))
    except (ValueError, RecursionError):
        raise EOFError from None
    if not isinstance(message, dict):
        raise EOFError
    return message


def read_bytes(channel: socket.socket, size: int, ends: float | None = None) -> bytes:
    """So many bytes of the channel; EOFError where the other side ended before.

    `ends`: by the monotonic clock, after which TimeoutError is raised, however little comes at a
    time.
    """
    data = bytearray()
    while len(data) < size:
        if ends is not None:
            channel.settimeout(left(ends))
        part = channel.recv(min(size - len(data), _STEP))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def left(ends: float) -> float:
    """How many seconds are left; TimeoutError where none are."""
    seconds = ends - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds
