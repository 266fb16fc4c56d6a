"""Calling a target: a connection to its host and port, by TLS where it has a certificate, on which
one message goes out and one answer comes.
"""

import hashlib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from portal.exchange import outbound
from portal.exchange.outbound import NotAllowed
from portal.hl7.framing import BrokenFrame, Frames, TooLarge, framed
from portal.listeners import peers
from portal.models import ReportTarget
from portal.settings import Settings

ANSWER_SECONDS: Final = 30.0
_LONGEST_ANSWER: Final = 65536


class NoAnswer(Exception):
    """The target can't be called, or no whole answer came. `code`: why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Called:
    """A target that is called. `certificate_ends`: of the one that it shows; None without TLS."""

    def __init__(self, connected: socket.socket, seconds: float) -> None:
        self._connected, self._seconds = connected, seconds
        self.certificate_ends = _end_of(connected)

    def send(self, message: bytes) -> bytes:
        """Send a message; the answer without its frame, or NoAnswer."""
        frames = Frames(
            self._connected,
            lambda: True,
            most_bytes=_LONGEST_ANSWER,
            frame_seconds=self._seconds,
            idle_seconds=self._seconds,
        )
        try:
            self._connected.settimeout(self._seconds)
            self._connected.sendall(framed(message))
            found = frames.next()
        except (BrokenFrame, TooLarge):
            raise NoAnswer("torn_answer") from None
        except TimeoutError:
            raise NoAnswer("no_answer") from None
        except OSError:
            raise NoAnswer("ended") from None
        if found is None:
            raise NoAnswer("ended")
        return found


@contextmanager
def called(
    settings: Settings, target: ReportTarget, seconds: float = ANSWER_SECONDS
) -> Iterator[Called]:
    """A target until the end of the block; NoAnswer where it may not be called, is away, or does
    not show the certificate that is stated of it. It is called without TLS only where that was
    chosen for the listener, too.
    """
    if settings.hl7 is None:
        raise NoAnswer("not_set_up")
    if target.fingerprint is None and not settings.hl7.plain:
        raise NoAnswer("plain_not_allowed")
    if target.fingerprint is not None and settings.hl7.tls_files is None:
        raise NoAnswer("no_certificate")
    try:
        place = outbound.judge_peer(target.host, target.port, settings.outgoing_hosts)
    except NotAllowed:
        raise NoAnswer("not_allowed") from None
    try:
        files = settings.hl7.tls_files if target.fingerprint is not None else None
        context = peers.calling_context(files) if files is not None else None
        connected = outbound.connect(place, seconds, context)
    except OSError:  # as is ssl.SSLError
        raise NoAnswer("no_connection") from None
    with connected:
        if not _shows(connected, target.fingerprint):
            raise NoAnswer("other_certificate")
        with outbound.ending(lambda: outbound.shut(connected), 3 * seconds):
            yield Called(connected, seconds)


def _shows(connected: socket.socket, fingerprint: str | None) -> bool:
    if fingerprint is None:
        return True
    shown = (
        connected.getpeercert(binary_form=True) if isinstance(connected, ssl.SSLSocket) else None
    )
    return shown is not None and hashlib.sha256(shown).hexdigest() == fingerprint


def _end_of(connected: socket.socket) -> datetime | None:
    if not isinstance(connected, ssl.SSLSocket):
        return None
    shown = connected.getpeercert() or {}
    ends = shown.get("notAfter")
    if not isinstance(ends, str):
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC)
