"""Messages over a socket; and what a process that was taken over could send in their place."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from worker.framing import InvalidFrame, receive, receive_untrusted, send

LARGEST, PARTS = 1000, 3


def sent(raw: bytes) -> socket.socket:
    """The other end of a socket into which the bytes are written, and which is closed then."""
    ours, theirs = socket.socketpair()

    def write() -> None:
        with theirs:
            theirs.sendall(raw)

    threading.Thread(target=write).start()
    return ours


def raw(head: bytes, parts: bytes = b"") -> bytes:
    return len(head).to_bytes(8, "big") + head + parts


@pytest.mark.parametrize("parts", [[], [b"", b"ab"], [b"x" * LARGEST]])
def test_a_message_comes_as_it_was_sent(parts: list[bytes]) -> None:
    for how in (receive, lambda ours: receive_untrusted(ours, LARGEST, PARTS)):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            send(theirs, {"n": 1}, parts)
            assert how(ours) == ({"n": 1}, parts)


@pytest.mark.parametrize(
    "message",
    [
        (2**62).to_bytes(8, "big"),
        raw(b"no JSON"),
        raw(b"\xff\xfe"),
        raw(b"[" * 100_000),
        raw(b"[]"),
        raw(b"{}"),
        raw(json.dumps({"sizes": 5}).encode()),
        raw(json.dumps({"sizes": [LARGEST + 1]}).encode()),
        raw(json.dumps({"sizes": [10**30]}).encode()),
        raw(json.dumps({"sizes": [-1]}).encode()),
        raw(json.dumps({"sizes": [1.5]}).encode()),
        raw(json.dumps({"sizes": [True]}).encode()),
        raw(json.dumps({"sizes": ["1"]}).encode()),
        raw(json.dumps({"sizes": [1] * (PARTS + 1)}).encode(), b"aaaa"),
    ],
)
def test_what_is_no_message_is_refused_before_it_takes_memory(message: bytes) -> None:
    with sent(message) as ours, pytest.raises(InvalidFrame):
        receive_untrusted(ours, LARGEST, PARTS)


@pytest.mark.parametrize("message", [b"", b"\0\0", raw(b'{"sizes": [4]}', b"abc")])
def test_a_message_that_is_cut_off_is_none(message: bytes) -> None:
    with sent(message) as ours, pytest.raises(EOFError):
        receive_untrusted(ours, LARGEST, PARTS)
