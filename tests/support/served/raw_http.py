"""HTTP as bytes on a socket: for requests that no client sends."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message

PATIENCE = 60.0


@dataclass(frozen=True)
class Answer:
    """An answer as it came."""

    status: int
    headers: Message
    body: bytes


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    """A connection to the server of this machine, from an address of this machine."""
    return socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=(source, 0))


def read_to_end(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def exchange(port: int, request: bytes, source: str = "127.0.0.1") -> bytes:
    """Send the bytes and return what comes until the server closes the connection."""
    with connect(port, source) as connection:
        connection.sendall(request)
        return read_to_end(connection)


def statuses(received: bytes) -> list[int]:
    """The statuses of all answers in the bytes."""
    return [int(status) for status in re.findall(rb"HTTP/1\.\d (\d{3}) ", received)]


def answer_of(received: bytes) -> Answer:
    """The bytes as one answer."""
    head, _, body = received.partition(b"\r\n\r\n")
    first, _, lines = head.partition(b"\r\n")
    return Answer(int(first.split()[1]), message_from_bytes(lines), body)


def request(
    target: str = "/health/live", *lines: str, method: str = "GET", body: bytes = b""
) -> bytes:
    """A request that closes its connection."""
    head = [f"{method} {target} HTTP/1.1", "Host: pleura.test", "Connection: close", *lines]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body
