"""A real SMTP server for tests (aiosmtpd), plain or by TLS, with or without sign-in."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "pleura", "a password of the mail server"


@dataclass
class Mailbox:
    """What the server has taken. `answer`: refuse with this line instead."""

    port: int = 0
    mails: list[Message] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    answer: str = ""

    async def handle_RCPT(
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Refuse whom nobody knows."""
        if address.startswith("nobody"):
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """Keep the mail."""
        if self.answer:
            return self.answer
        self.mails.append(message_from_bytes(bytes(envelope.content or b"")))
        self.recipients += envelope.rcpt_tos
        return "250 taken"


def _sign_in(*given: Any) -> AuthResult:
    data = given[-1]
    is_known = isinstance(data, LoginPassword) and (data.login, data.password) == (
        USER.encode(),
        PASSWORD.encode(),
    )
    return AuthResult(success=is_known, handled=False)


def _free_port() -> int:
    """The controller tries out the port that it was given, which can't be 0."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        found: int = probe.getsockname()[1]
        return found


@contextmanager
def mail_server(
    *,
    starttls: ssl.SSLContext | None = None,
    tls: ssl.SSLContext | None = None,
    signs_in: bool = False,
) -> Iterator[Mailbox]:
    """A mail server on a free port of this machine."""
    box = Mailbox()
    options: dict[str, Any] = {"require_starttls": starttls is not None}
    if signs_in:
        options |= {"authenticator": _sign_in, "auth_required": True}
        options |= {"auth_require_tls": starttls is not None}
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=_free_port(),
        tls_context=starttls,
        ssl_context=tls,
        **options,
    )
    controller.start()
    try:
        box.port = controller.port
        yield box
    finally:
        controller.stop()
