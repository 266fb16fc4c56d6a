"""How the render task and its decoder process talk: a JSON head and byte parts over a socket."""

from __future__ import annotations

import json
import socket
from typing import Any

_SIZE = 8


def send(channel: socket.socket, head: dict[str, Any], parts: list[bytes]) -> None:
    """Send one message; OSError when the other side is gone."""
    encoded = json.dumps({**head, "sizes": [len(part) for part in parts]}).encode()
    channel.sendall(len(encoded).to_bytes(_SIZE, "big") + encoded)
    for part in parts:
        channel.sendall(part)


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[bytes]]:
    """Receive one message; EOFError when the other side ended before it was whole."""
    length = int.from_bytes(_exactly(channel, _SIZE), "big")
    head: dict[str, Any] = json.loads(_exactly(channel, length))
    parts = [_exactly(channel, size) for size in head.pop("sizes")]
    return head, parts


def _exactly(channel: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        count = channel.recv_into(view[filled:])
        if count == 0:
            raise EOFError
        filled += count
    return bytes(data)
