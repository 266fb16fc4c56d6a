"""Listeners whose accepting fails: for a moment they go on, and for good they give no sign of life
and end.
"""

import threading
import time
from datetime import datetime
from typing import Any

import pytest

from portal.dicom_network import listener as dicom_listener
from portal.governance import scheduler_signs
from portal.hl7 import listener as hl7_listener
from portal.listeners import accepting
from portal.services import Services
from tests.support.clinic import Clinic
from tests.support.dicom import listening as dicom
from tests.support.dicom import sender
from tests.support.hl7 import listening as hl7
from tests.support.hl7 import messages
from tests.support.servers.faulty_socket import Faulty


def waits_for(condition: Any) -> bool:
    ends = time.monotonic() + 20
    while not condition() and time.monotonic() < ends:
        time.sleep(0.02)
    return bool(condition())


def once() -> threading.Event:
    """The end of a listener after its first sign of life."""
    stop = threading.Event()
    stop.set()
    return stop


def test_hl7_accepts_again_after_a_failure(clinic: Clinic) -> None:
    hl7.add_node(clinic)
    with hl7.listening(clinic) as listens:
        faulty: Any = Faulty(listens._socket, 1)
        listens._socket = faulty
        assert waits_for(lambda: faulty.left == 0)
        with hl7.connected(listens) as peer:
            assert peer.send(messages.adt()).code == "AA"


def test_dicom_accepts_again_after_a_failure_without_turning_in_circles(clinic: Clinic) -> None:
    dicom.add_node(clinic)
    with dicom.listening(clinic) as listens:
        faulty: Any = Faulty(listens.server.socket, 2)
        listens.server.socket = faulty
        began = time.monotonic()
        with sender.associated(listens):
            assert faulty.left == 0
            assert time.monotonic() - began >= 1


def test_without_a_thread_for_a_connection_its_place_is_free_again(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    hl7.add_node(clinic)
    dicom.add_node(clinic)
    real, left = threading.Thread.start, [0]

    def start(thread: threading.Thread) -> None:
        if left[0] and threading.current_thread() in accepts:
            left[0] -= 1
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with (
        hl7.listening(clinic, PLEURA_HL7_MAX_CONNECTIONS="1") as of_hl7,
        dicom.listening(clinic) as of_dicom,
    ):
        accepts = (of_hl7.accepts, of_dicom.accepts)
        left[0] = 1
        with hl7.connected(of_hl7) as peer:
            assert peer.answer() == b""
        with hl7.connected(of_hl7) as peer:
            assert peer.send(messages.adt()).code == "AA"
        left[0] = 1
        assert not sender.associate(of_dicom).is_established
        assert waits_for(lambda: of_dicom.server.places.taken == 0)
        with sender.associated(of_dicom):
            pass


def test_a_deaf_hl7_listener_gives_no_sign_of_life(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "_GIVE_UP_SECONDS", 0)
    hl7.add_node(clinic)
    settings = hl7.settings_of(clinic)
    services = Services.open(settings, datetime.now)
    with hl7.listening(clinic) as listens:
        assert listens.accepts is not None
        listens._socket.close()
        listens.accepts.join(20)
        with pytest.raises(accepting.Deaf):
            hl7_listener.give_signs(listens, services, clinic.core.engine, settings.hl7, once())
    with clinic.session as session:
        assert scheduler_signs.hl7_is_silent(session)
    services.broker.close()


def test_a_deaf_dicom_listener_gives_no_sign_of_life(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "_GIVE_UP_SECONDS", 0)
    dicom.add_node(clinic)
    settings = dicom.settings_of(clinic)
    services = Services.open(settings, datetime.now)
    with dicom.listening(clinic) as listens:
        assert listens.accepts is not None
        listens.server.socket.close()
        listens.accepts.join(20)
        with pytest.raises(accepting.Deaf):
            dicom_listener.give_signs(listens, services, clinic.core.engine, once())
    with clinic.session as session:
        assert scheduler_signs.dicom_is_silent(session)
    services.broker.close()
