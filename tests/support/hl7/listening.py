"""An HL7 listener over a clinic's core, nodes that may send to it, and a peer that sends bytes."""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from hl7apy.parser import parse_message

from portal.hl7 import admission, listener, nodes, taking
from portal.hl7.admission import Caller
from portal.models import Hl7Node
from portal.services import Services
from tests.support.clinic import Clinic
from tests.support.core import NOW, Clock, Core, make_settings

CANARY = "ZEBRAFINCH"
PATIENT = "P-0001"  # of the pictures of tests
ACCESSION = "A-77"


def settings_of(clinic: Clinic, **environ: str) -> Any:
    """The settings of a listener over this core, at a free port."""
    url = clinic.core.engine.url.render_as_string(hide_password=False)
    given = {"DATABASE_URL": url, "PLEURA_HL7_PORT": "0"}
    return make_settings(clinic.core.data_dir, **(given | environ))


@contextmanager
def listening(
    clinic: Clinic, clock: Callable[[], Any] | None = None, **environ: str
) -> Iterator[listener.Listener]:
    """A listener until the end of the block."""
    settings = settings_of(clinic, **environ)
    services = Services.open(settings, clock or Clock())
    with listener.listening(services, clinic.core.engine, settings.hl7) as listens:
        yield listens
    services.broker.close()


def add_node(clinic: Clinic, team_id: UUID | None = None, **stated: Any) -> Hl7Node:
    """A node of the owner's team that may send from this machine."""
    given: dict[str, Any] = {
        "name": "Information system",
        "application": "RIS",
        "facility": "HOSP",
        "team_id": team_id or clinic.owner.team_id,
        "networks": "127.0.0.1",
    }
    with clinic.session as session:
        return nodes.add(session, clinic.admin, nodes.Described(**(given | stated)), NOW)


class Peer:
    """A connection to the listener."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        connected.settimeout(30)

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def answer(self) -> bytes:
        """One frame's message; nothing where the listener has ended the connection."""
        found = b""
        try:
            while not found.endswith(b"\x1c\x0d"):
                more = self.socket.recv(65536)
                if not more:
                    return b""
                found += more
        except (ConnectionError, ssl.SSLError):
            return b""
        assert found.startswith(b"\x0b")
        return found[1:-2]

    def send(self, message: bytes) -> "Ack":
        """Send a message in its frame, and read the answer."""
        self.write(b"\x0b" + message + b"\x1c\x0d")
        return Ack(self.answer())


class Ack:
    """An answer, read by hl7apy."""

    def __init__(self, raw: bytes) -> None:
        assert raw, "no answer"
        self.raw = raw
        self.message = parse_message(raw.decode("ascii"), find_groups=False)
        if "ACK^" in raw.decode() and "^ACK|" in raw.decode():
            self.message.validate()  # it knows no structure of older ones
        self.code = self.message.msa.msa_1.to_er7()
        self.control_id = self.message.msa.msa_2.to_er7()
        errors = self.message.children.get("ERR")
        self.error = errors[0].to_er7() if errors else ""

    @property
    def reason(self) -> str:
        """Ours, in words; empty for what was taken."""
        return self.message.msa.msa_3.to_er7().removeprefix("Not taken: ")


@contextmanager
def connected(listens: listener.Listener, tls: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """A peer until the end of the block."""
    with socket.create_connection(("127.0.0.1", listens.port), timeout=30) as plain:
        if tls is None:
            yield Peer(plain)
        else:
            with tls.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
                yield Peer(secured)


def give(core: Core, *messages: bytes) -> list[Ack]:
    """The answers to messages that come from this machine, without a connection."""
    url = core.engine.url.render_as_string(hide_password=False)
    settings = make_settings(core.data_dir, DATABASE_URL=url, PLEURA_HL7_PORT="0")
    assert settings.hl7 is not None
    services, refusals = Services.open(settings, Clock()), admission.Refusals()
    caller = Caller("127.0.0.1")
    found = [
        taking.take(services, core.sessions, settings.hl7, refusals, caller, one)
        for one in messages
    ]
    services.broker.close()
    return [Ack(one) for one in found]


def sent(clinic: Clinic, *messages: bytes, **environ: str) -> list[Ack]:
    """The answers to messages that go one after the other on one connection."""
    with listening(clinic, **environ) as listens, connected(listens) as peer:
        return [peer.send(one) for one in messages]
