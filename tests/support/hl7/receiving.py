"""A system that gets reports: it takes messages by MLLP at an address of this machine, judges them
by hl7apy, and answers as it is told. And a sender over a clinic's core, with its steps.
"""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hl7apy.parser import parse_message
from sqlalchemy import select, update

from portal.database import DatabaseTime
from portal.hl7.sending import targets
from portal.hl7.sending.sender import ReportSender
from portal.models import ReportSend, ReportTarget
from portal.services import Services
from portal.web.present.reports import text as report_text
from tests.portal.dicom_network.test_commitment import own_address
from tests.support.clinic import Clinic
from tests.support.core import NOW, Clock
from tests.support.hl7.listening import settings_of

Answer = Callable[[str], bytes]


def ack(code: str = "AA", *more: str, charset: str = "", control: str = "") -> Answer:
    """An answer in its frame. `more`: MSA-3, and further segments."""

    def answer(control_id: str) -> bytes:
        head = "MSH|^~\\&|RIS|HOSP|PLEURA|PLEURA|20260304090000||ACK^R01^ACK|A1|P|2.5.1||||||"
        head += charset
        words, *segments = more or ("",)
        lines = [head, f"MSA|{code}|{control or control_id}|{words}", *segments]
        return b"\x0b" + "".join(f"{one}\r" for one in lines).encode("utf-8") + b"\x1c\x0d"

    return answer


class Receiver:
    """What came, and what is answered next; the last answer is repeated. None: no answer."""

    def __init__(self, *answers: Answer | None, holds: bool = True) -> None:
        self.answers: list[Answer | None] = list(answers or (ack(),))
        self.holds = holds
        self.raw: list[bytes] = []
        self.port = 0

    @property
    def messages(self) -> list[Any]:
        """The messages, parsed and valid by HL7's definitions."""
        found = []
        for one in self.raw:
            message = parse_message(one.decode("utf-8"), find_groups=True)
            assert message.validate()
            found.append(message)
        return found

    def serve(self, server: socket.socket, context: ssl.SSLContext | None) -> None:
        while True:
            try:
                plain, _ = server.accept()
            except OSError:
                return
            try:
                peer = context.wrap_socket(plain, server_side=True) if context else plain
                with peer:
                    self._talk(peer)
            except (OSError, ssl.SSLError):
                plain.close()

    def _talk(self, peer: socket.socket) -> None:
        peer.settimeout(30)
        found = b""
        while not found.endswith(b"\x1c\x0d"):
            more = peer.recv(65536)
            if not more:
                return
            found += more
        self.raw.append(found[1:-2])
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            peer.sendall(answer(self.raw[-1].split(b"|")[9].decode()))
        if self.holds:
            peer.recv(1)  # until the sender leaves


@contextmanager
def running(receiver: Receiver, context: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """The receiver until the end of the block."""
    with socket.create_server((own_address(), 0)) as server:
        receiver.port = server.getsockname()[1]
        serving = threading.Thread(target=receiver.serve, args=(server, context), daemon=True)
        serving.start()
        yield receiver
        server.shutdown(socket.SHUT_RDWR)
    serving.join(30)


def add_target(clinic: Clinic, port: int, **stated: Any) -> ReportTarget:
    """A target of the owner's team at this port."""
    given: dict[str, Any] = {
        "name": "Hospital RIS",
        "team_id": clinic.owner.team_id,
        "host": own_address(),
        "port": str(port),
        "application": "RIS",
        "facility": "HOSP",
        "authority": "HOSP",
    }
    with clinic.session as session:
        return targets.add(session, clinic.admin, targets.Described(**(given | stated)), NOW)


def settings_to(clinic: Clinic, port: int, **environ: str) -> Any:
    """Settings of a sender that may call this port without TLS."""
    given = {
        "PLEURA_OUTGOING_HOSTS": f"private:{own_address()}:{port}",
        "PLEURA_HL7_PLAIN": "yes",
    }
    return settings_of(clinic, **(given | environ))


@contextmanager
def sending(
    clinic: Clinic, port: int, clock: Clock | None = None, seconds: float = 30.0, **environ: str
) -> Iterator[ReportSender]:
    """A sender that may call this port."""
    services = Services.open(settings_to(clinic, port, **environ), clock or Clock())
    try:
        yield ReportSender(
            services, clinic.core.engine, report_text.compose, answer_seconds=seconds
        )
    finally:
        services.broker.close()


def due(clinic: Clinic) -> None:
    """Let every send be due now, and every claim lapse."""
    with clinic.session as session:
        session.execute(update(ReportSend).values(next_at=DatabaseTime(-1.0), claimed_until=None))
        session.commit()


def sends(clinic: Clinic) -> list[ReportSend]:
    with clinic.session as session:
        return list(session.scalars(select(ReportSend).order_by(ReportSend.created, ReportSend.id)))


def sent(clinic: Clinic, sender: ReportSender, target: ReportTarget) -> ReportSend:
    """Look, then one attempt of each send; the newest one."""
    sender.look()
    due(clinic)
    while sender.step(target.id):
        pass
    return max(sends(clinic), key=lambda one: (one.created, one.id))
