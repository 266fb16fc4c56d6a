"""Who holds a place at the ports: no stranger, and no address all of them."""

import socket
import time
from pathlib import Path
from typing import Any

from sqlalchemy import select

from portal.listeners.places import Known, Places
from portal.models import AuditEvent
from tests.support.clinic import Clinic
from tests.support.dicom import listening as dicom
from tests.support.dicom import sender
from tests.support.dicom.certificates import made
from tests.support.hl7 import listening as hl7
from tests.support.hl7 import messages


def is_closed(connected: socket.socket) -> bool:
    connected.settimeout(5)
    try:
        return connected.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def details(clinic: Clinic, event: str) -> str:
    ends = time.monotonic() + 10
    while time.monotonic() < ends:
        with clinic.session as session:
            query = select(AuditEvent.detail).where(AuditEvent.event == event)
            if found := session.scalars(query).all():
                return " ".join(map(str, found))
        time.sleep(0.02)
    return ""


def test_one_address_has_half_of_the_places() -> None:
    places = Places(4)
    assert [places.take("a") for _ in range(3)] == [True, True, False]
    assert [places.take(one) for one in ("b", "c", "d")] == [True, True, False]
    places.leave("a")
    assert (places.taken, places.take("b"), places.take("c")) == (3, True, False)
    assert Places(1).take("a")


def test_nodes_that_cannot_be_read_are_those_of_before() -> None:
    known, networks = Known(lambda: networks.pop(0)), [["10.1.2.0/24"]]
    assert known.has("10.1.2.3")
    known._at = -1000.0
    assert known.has("10.1.2.3")
    assert not known.has("10.1.3.3")


def test_a_silent_stranger_holds_no_place_at_the_dicom_port(clinic: Clinic) -> None:
    dicom.add_node(clinic)
    with dicom.listening(clinic) as listens:
        at: Any = ("127.0.0.1", listens.port)
        strangers = [
            socket.create_connection(at, source_address=("127.0.0.2", 0)) for _ in range(80)
        ]
        assert all(is_closed(one) for one in strangers)
        with sender.associated(listens):
            assert listens.server.places.taken == 1
        for one in strangers:
            one.close()
    assert '"address"' in details(clinic, "dicom_association_refused")


def test_a_silent_stranger_holds_no_place_at_the_hl7_port(clinic: Clinic) -> None:
    hl7.add_node(clinic)
    with hl7.listening(clinic) as listens:
        at: Any = ("127.0.0.1", listens.port)
        strangers = [
            socket.create_connection(at, source_address=("127.0.0.2", 0)) for _ in range(30)
        ]
        assert all(is_closed(one) for one in strangers)
        with hl7.connected(listens) as peer:
            assert peer.send(messages.adt()).code == "AA"
        for one in strangers:
            one.close()
    assert '"connection"' in details(clinic, "hl7_refused")


def test_a_silent_stranger_does_not_even_shake_hands_at_the_hl7_port(
    clinic: Clinic, tmp_path: Path
) -> None:
    """By TLS a connection is judged once more after its handshake, which may take seconds."""
    files = made(tmp_path)
    hl7.add_node(clinic, fingerprint=files.node.fingerprint)
    environ = {
        "PLEURA_HL7_CERTIFICATE_FILE": str(files.ours.certificate),
        "PLEURA_HL7_KEY_FILE": str(files.ours.key),
        "PLEURA_HL7_CA_FILE": str(files.authority),
    }
    with hl7.listening(clinic, **environ) as listens:
        at: Any = ("127.0.0.1", listens.port)
        with socket.create_connection(at, source_address=("127.0.0.2", 0)) as stranger:
            assert is_closed(stranger)
    assert '"connection"' in details(clinic, "hl7_refused")


def test_a_known_but_silent_node_leaves_places_to_others(clinic: Clinic) -> None:
    dicom.add_node(clinic, networks="127.0.0.0/8")
    with dicom.listening(clinic, PLEURA_DICOM_MAX_ASSOCIATIONS="1") as listens:
        at: Any = ("127.0.0.1", listens.port)
        half = listens.server.places._most_of_one
        silent = [
            socket.create_connection(at, source_address=("127.0.0.2", 0)) for _ in range(half + 2)
        ]
        assert all(is_closed(one) for one in silent[half:])
        with sender.associated(listens):
            assert listens.server.places.taken == half + 1
        for one in silent:
            one.close()
    assert '"too_many"' in details(clinic, "dicom_association_refused")


def test_a_known_but_silent_system_leaves_places_to_others(clinic: Clinic) -> None:
    hl7.add_node(clinic, networks="127.0.0.0/8")
    with hl7.listening(clinic, PLEURA_HL7_MAX_CONNECTIONS="4") as listens:
        at: Any = ("127.0.0.1", listens.port)
        silent = [socket.create_connection(at, source_address=("127.0.0.2", 0)) for _ in range(4)]
        assert all(is_closed(one) for one in silent[2:])
        with hl7.connected(listens) as peer:
            assert peer.send(messages.adt()).code == "AA"
        for one in silent:
            one.close()
