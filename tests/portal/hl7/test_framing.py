"""MLLP frames: whole, cut, late, too large, and bytes that are in none."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.hl7.framing import BrokenFrame, Frames, TooLarge, framed

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    one, other = socket.socketpair()
    with one, other:
        yield one, other


def frames(connected: socket.socket, most: int = 100, seconds: float = 5.0) -> Frames:
    return Frames(
        connected,
        lambda: True,
        most_bytes=most,
        frame_seconds=seconds,
        idle_seconds=seconds,
    )


def test_messages_come_one_after_the_other_however_they_are_cut(pair: Pair) -> None:
    sends, takes = pair
    data = framed(b"one") + framed(b"two")

    def send() -> None:
        for byte in data:
            sends.sendall(bytes([byte]))
        sends.close()

    thread = threading.Thread(target=send)
    thread.start()
    reads = frames(takes)
    assert [reads.next(), reads.next(), reads.next()] == [b"one", b"two", None]
    thread.join()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"MSH|", "outside_frame"),
        (b"\r\n\x0bMSH\x1c\x0d", "outside_frame"),
        (b"\x0bMSH|", "torn"),
        (b"\x0bMSH|\x1c", "torn"),
        (b"\x0bMSH|\x0bMSH|\x1c\x0d", "begun_again"),
        (b"\x0bMSH|\x1cX", "bad_end"),
        (b"\x0bMSH|\x1c\x1c\x0d", "bad_end"),
    ],
)
def test_what_is_no_frame_is_no_message(pair: Pair, data: bytes, code: str) -> None:
    sends, takes = pair
    sends.sendall(data)
    sends.close()
    with pytest.raises(BrokenFrame) as broken:
        frames(takes).next()
    assert broken.value.code == code


def test_behind_a_whole_frame_nothing_but_another_may_stand(pair: Pair) -> None:
    sends, takes = pair
    sends.sendall(framed(b"one") + b"two")
    reads = frames(takes)
    assert reads.next() == b"one"
    with pytest.raises(BrokenFrame, match="outside_frame"):
        reads.next()


@pytest.mark.parametrize(("size", "fits"), [(100, True), (101, False), (100_000, False)])
def test_a_message_is_bounded(pair: Pair, size: int, fits: bool) -> None:
    sends, takes = pair
    threading.Thread(target=lambda: sends.sendall(framed(b"x" * size)), daemon=True).start()
    if fits:
        assert frames(takes).next() == b"x" * size
        return
    with pytest.raises(TooLarge) as large:
        frames(takes).next()
    assert 0 < len(large.value.head) <= 4096


def test_a_frame_that_does_not_end_is_given_up(pair: Pair) -> None:
    sends, takes = pair
    sends.sendall(b"\x0bMSH|")
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        frames(takes, seconds=0.2).next()
    assert time.monotonic() - began < 5


def test_who_drips_gets_no_more_time_for_it(pair: Pair) -> None:
    sends, takes = pair
    sends.sendall(b"\x0b")
    stop = threading.Event()

    def drip() -> None:
        for _ in range(500):
            if stop.wait(0.02):
                return
            sends.sendall(b"x")
        sends.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        with pytest.raises(TimeoutError):
            frames(takes, most=10**6, seconds=0.3).next()
    finally:
        stop.set()
        thread.join()


def test_a_connection_without_messages_ends_where_the_listener_stops(pair: Pair) -> None:
    reads = Frames(pair[1], lambda: False, most_bytes=10, frame_seconds=60, idle_seconds=60)
    assert reads.next() is None


@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_a_reason(data: bytes) -> None:
    one, other = socket.socketpair()
    with one, other:
        one.sendall(data)
        one.close()
        try:
            found = frames(other, most=20).next()
        except (BrokenFrame, TooLarge):
            return
        assert found is None or framed(found) == data[: len(found) + 3]
