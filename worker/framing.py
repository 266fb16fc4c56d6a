"""Messages between a worker process and its decoder or engine: a JSON head and byte parts."""

from __future__ import annotations

import json
import socket
from typing import Any

_LENGTH_BYTES = 8


def send(channel: socket.socket, head: dict[str, Any], parts: list[bytes]) -> None:
    """Send one message; OSError when the other side is gone."""
    encoded = json.dumps({**head, "sizes": [len(part) for part in parts]}).encode()
    channel.sendall(len(encoded).to_bytes(_LENGTH_BYTES, "big") + encoded)
    for part in parts:
        channel.sendall(part)


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[bytes]]:
    """Receive one message; EOFError when the other side ended before it was complete."""
    length = int.from_bytes(_read(channel, _LENGTH_BYTES), "big")
    head: dict[str, Any] = json.loads(_read(channel, length))
    parts = [_read(channel, size) for size in head.pop("sizes")]
    return head, parts


def _read(channel: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        count = channel.recv_into(view[filled:])
        if count == 0:
            raise EOFError
        filled += count
    return bytes(data)
