"""MLLP frames on a connection (HL7 transport specification, release 1): 0x0B, message, 0x1C 0x0D.

Strict: a byte outside a frame, a beginning within one or an end that is cut off ends the connection
without an answer, because where the next message begins is a guess. Bounded in size and time.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Final, Protocol

START: Final = b"\x0b"
END: Final = b"\x1c\x0d"
_AT_ONCE: Final = 65536
_LOOK: Final = 0.5  # so often it is asked whether to go on
# So much of a message that is too large is returned: enough for its first segment.
_HEAD: Final = 4096


class BrokenFrame(Exception):
    """What came is no frame, or not whole; `code` names how."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class TooLarge(Exception):
    """A message beyond the limit; `head` is its beginning."""

    def __init__(self, head: bytes) -> None:
        super().__init__("too large")
        self.head = head


class Connected(Protocol):
    """What is used of a socket."""

    def recv(self, size: int, /) -> bytes:
        """Read some bytes; none at the end."""

    def settimeout(self, seconds: float | None, /) -> None:
        """Wait no longer."""


class Frames:
    """The messages that come on one connection, one after the other."""

    def __init__(
        self,
        connected: Connected,
        goes_on: Callable[[], bool],
        *,
        most_bytes: int,
        frame_seconds: float,
        idle_seconds: float,
    ) -> None:
        self._connected, self._goes_on = connected, goes_on
        self._most = most_bytes
        self._frame_seconds, self._idle_seconds = frame_seconds, idle_seconds
        self._rest = b""

    def next(self) -> bytes | None:
        """The next message without its frame; None where the peer has ended the connection, or
        `goes_on` is no longer true.

        Raises BrokenFrame, TooLarge, TimeoutError (`idle_seconds` without a beginning,
        `frame_seconds` from there without an end) or OSError.
        """
        found = bytearray(self._rest or self._read(self._idle_seconds))
        self._rest = b""
        if not found:
            return None
        if found[:1] != START:
            raise BrokenFrame("outside_frame")
        ends = time.monotonic() + self._frame_seconds
        looked = 1
        while (at := found.find(END[:1], looked)) < 0 or at + 1 == len(found):
            self._check(found, looked, at)
            looked = len(found) if at < 0 else at
            more = self._read(ends - time.monotonic())
            if not more:
                raise BrokenFrame("torn")
            found += more
        self._check(found, looked, at)
        if found[at + 1] != END[1]:
            raise BrokenFrame("bad_end")
        self._rest = bytes(found[at + 2 :])
        return bytes(found[1:at])

    def _check(self, found: bytearray, looked: int, at: int) -> None:
        end = len(found) if at < 0 else at
        if found.find(START, looked, end) >= 0:
            raise BrokenFrame("begun_again")
        if end - 1 > self._most:
            raise TooLarge(bytes(found[1:_HEAD]))

    def _read(self, seconds: float) -> bytes:
        ends = time.monotonic() + seconds
        while self._goes_on():
            left = ends - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connected.settimeout(min(left, _LOOK))
            with contextlib.suppress(TimeoutError):
                return self._connected.recv(_AT_ONCE)
        return b""


def framed(message: bytes) -> bytes:
    """A message in its frame."""
    return START + message + END
