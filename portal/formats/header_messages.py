"""Messages between the portal and its header processes: JSON over a socket, with a length."""

import json
import socket
from typing import Any, Final

_LENGTH_BYTES: Final = 4
_LONGEST: Final = 2**20


def send(channel: socket.socket, message: dict[str, Any]) -> None:
    """Send one message; OSError where the other side is gone."""
    encoded = json.dumps(message).encode()
    channel.sendall(len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded)


def receive(channel: socket.socket) -> dict[str, Any]:
    """Receive one message; EOFError where the other side ended or sends what is no message."""
    length = int.from_bytes(_read(channel, _LENGTH_BYTES), "big")
    if length > _LONGEST:
        raise EOFError
    try:
        message = json.loads(_read(channel, length))
    except (ValueError, RecursionError):
        raise EOFError from None
    if not isinstance(message, dict):
        raise EOFError
    return message


def _read(channel: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
