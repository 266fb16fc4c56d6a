"""Messages between a worker process and its decoder or engine: a JSON head and byte parts."""

from __future__ import annotations

import json
import socket
from typing import Any

_LENGTH_BYTES = 8
_HEAD_BYTES_MAX = 2**20


class InvalidFrame(Exception):
    """What another process sent is no message."""


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


def receive_untrusted(
    channel: socket.socket, largest: int, parts_most: int
) -> tuple[dict[str, Any], list[bytes]]:
    """The same from a process that may send anything: InvalidFrame for what is no such message.

    ``largest``: bytes of all parts together; ``parts_most``: how many there may be.
    """
    length = int.from_bytes(_read(channel, _LENGTH_BYTES), "big")
    if length > _HEAD_BYTES_MAX:
        raise InvalidFrame
    try:
        head = json.loads(_read(channel, length))
    except (ValueError, RecursionError):
        raise InvalidFrame from None
    sizes = head.pop("sizes", None) if isinstance(head, dict) else None
    if (
        not isinstance(sizes, list)
        or len(sizes) > parts_most
        or any(type(size) is not int or size < 0 for size in sizes)
        or sum(sizes) > largest
    ):
        raise InvalidFrame
    return head, [_read(channel, size) for size in sizes]


def _read(channel: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        count = channel.recv_into(view[filled:])
        if count == 0:
            raise EOFError
        filled += count
    return bytes(data)
