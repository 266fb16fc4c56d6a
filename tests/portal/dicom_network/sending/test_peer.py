"""A PACS that aborts just when something is to be sent to it: nothing waits for its thread."""

import threading
import time
from typing import Any

import pytest

from portal.dicom_network.sending import peer
from tests.portal.dicom_network.test_commitment import own_address
from tests.support.clinic import Clinic
from tests.support.dicom.listening import settings_of
from tests.support.dicom.pacs import SEG, Pacs, running
from tests.support.dicom.sending import receiver
from xray_files import kinds

FILE = peer.File(SEG, "1.2.3", kinds.EXPLICIT, memoryview(b"\x08\x00\x60\x00CS\x04\x00SEG "))


def within(seconds: float, do: Any) -> Any:
    """What it gives or raises, unless it takes longer."""
    found = list[Any]()

    def run() -> None:
        try:
            found.append(do())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it waits for ever"
    return found[0]


@pytest.mark.parametrize("asks", ["store", "commitment", "find", "release"])
def test_a_pacs_that_aborts_just_now_keeps_nothing_waiting(clinic: Clinic, asks: str) -> None:
    """Its thread ends between the look whether it is there and the wait until it pauses; reports
    that are taken meanwhile leave it as one that does not pause.
    """
    address = own_address()
    with running(Pacs(), address) as pacs:
        settings = settings_of(clinic, PLEURA_OUTGOING_HOSTS=f"private:{address}:{pacs.port}")
        node = receiver(clinic, pacs, address)
        with peer.called(settings, node, [FILE], lambda _report: 0, seconds=2) as called:
            associated = called._associated
            assert called.store(1, FILE).status == 0
            associated.acse.send_abort(0)
            associated.kill()
            ends = time.monotonic() + 10
            while associated.is_alive() and time.monotonic() < ends:
                time.sleep(0.01)
            associated.is_established, associated._is_paused = True, False
            if asks == "store":
                answer = within(20, lambda: called.store(2, FILE))
                assert isinstance(answer, peer.NoAnswer)
                assert answer.code == "ended"
            elif asks == "commitment":
                assert (
                    within(20, lambda: called.ask_for_commitment("1.2", [(SEG, "1.2.3")])) is False
                )
            elif asks == "find":
                assert within(20, lambda: called.has("1.2", "1.2.3", "1.2.3.4")) is None
            else:
                within(20, associated.release)
            associated.is_established = False


def test_a_thread_that_does_not_pause_is_no_answer(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer, "_PAUSES_WITHIN", 0.2)
    address = own_address()
    with running(Pacs(), address) as pacs:
        settings = settings_of(clinic, PLEURA_OUTGOING_HOSTS=f"private:{address}:{pacs.port}")
        node = receiver(clinic, pacs, address)
        with peer.called(settings, node, [FILE], lambda _report: 0, seconds=2) as called:
            busy = threading.Event()
            called._associated.dimse.get_msg = lambda block: (busy.wait(5), (None, None))[1]
            time.sleep(0.1)
            answer = within(5, lambda: called.store(1, FILE))
            assert isinstance(answer, peer.NoAnswer)
            assert answer.code == "no_answer"
            busy.set()
