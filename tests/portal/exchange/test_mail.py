"""Mails to a real SMTP server: TLS, sign-in, refusals, and servers that hang."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from portal.exchange import mail
from portal.exchange.mail import MailRefused
from portal.exchange.outbound import Target
from portal.settings.notifications import Smtp
from tests.support.core import NOW
from tests.support.servers.mail_server import PASSWORD, USER, Mailbox, mail_server
from tests.support.servers.tls_front import Authority

HOST = "mail.example.org"
ID = UUID(int=7)


def smtp(security: str = "none", ca_file: Path | None = None, **more: str) -> Smtp:
    given = {"PLEURA_SMTP_HOST": HOST, "PLEURA_SMTP_SENDER": "pleura@example.org"}
    given |= {"PLEURA_SMTP_SECURITY": security, **more}
    return Smtp.model_validate(given | ({"PLEURA_CA_FILE": str(ca_file)} if ca_file else {}))


def send(
    box: Mailbox, settings: Smtp, to: str = "reader@example.org", seconds: float = 5.0
) -> None:
    made = mail.message(settings, to, "Subject", "Text\n", message_id=ID, host=HOST, now=NOW)
    mail.send(settings, target(box.port), made, seconds=seconds)


def target(port: int) -> Target:
    return Target("", HOST, port, "", "127.0.0.1")


def test_a_mail_arrives_with_its_id() -> None:
    with mail_server() as box:
        send(box, smtp())
    (taken,) = box.mails
    assert box.recipients == ["reader@example.org"]
    assert (taken["Message-ID"], taken["From"]) == (f"<{ID}@{HOST}>", "pleura@example.org")
    assert taken["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_by_tls_with_a_sign_in(tmp_path: Path, security: str) -> None:
    authority = Authority.make(tmp_path)
    context = authority.issue(HOST)
    account = {"PLEURA_SMTP_USER": USER, "PLEURA_SMTP_PASSWORD": PASSWORD}
    with mail_server(**{security: context}, signs_in=True) as box:
        send(box, smtp(security, authority.file, **account))
        with pytest.raises(MailRefused) as refused:
            send(box, smtp(security, authority.file, **account | {"PLEURA_SMTP_PASSWORD": "no"}))
        mail.try_out(smtp(security, authority.file, **account), target(box.port), seconds=5)
    assert (refused.value.code, refused.value.is_final) == ("sign_in", False)
    assert len(box.mails) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("wrong", ["host", "authority"])
def test_another_certificate_is_not_accepted(tmp_path: Path, security: str, wrong: str) -> None:
    authority = Authority.make(tmp_path)
    context = authority.issue("other.example.org" if wrong == "host" else HOST)
    ca_file = authority.file if wrong == "host" else None
    with (
        mail_server(**{security: context}) as box,
        pytest.raises(OSError, match=r"(?i)certificate"),
    ):
        send(box, smtp(security, ca_file))
    assert box.mails == []


def test_a_server_without_tls_gets_nothing() -> None:
    with mail_server() as box, pytest.raises(MailRefused) as refused:
        send(box, smtp("starttls"))
    assert (refused.value.code, box.mails) == ("no_tls", [])


def test_an_unknown_recipient_is_not_tried_again_and_a_full_server_is() -> None:
    with mail_server() as box:
        with pytest.raises(MailRefused) as unknown:
            send(box, smtp(), "nobody@example.org")
        box.answer = "452 no room"
        with pytest.raises(MailRefused) as full:
            send(box, smtp())
    assert (unknown.value.code, unknown.value.is_final) == ("recipient", True)
    assert (full.value.code, full.value.is_final) == ("smtp_452", False)


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server of one connection that behaves so."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        done = threading.Event()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                answer(connection)
                done.wait(10)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        done.set()


def _silent(_connection: socket.socket) -> None:
    pass


def _drips(connection: socket.socket) -> None:
    """A greeting that never ends, one byte after the other."""
    try:
        while True:
            connection.sendall(b"2")
            time.sleep(0.05)
    except OSError:
        pass


@pytest.mark.parametrize("behaviour", [_silent, _drips])
def test_a_server_that_hangs_is_left_in_time(behaviour: Callable[[socket.socket], None]) -> None:
    with answering(behaviour) as port:
        began = time.monotonic()
        with pytest.raises((OSError, MailRefused)):
            send(Mailbox(port), smtp(), seconds=0.5)
    assert time.monotonic() - began < 3
