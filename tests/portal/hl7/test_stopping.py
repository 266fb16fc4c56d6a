"""A listener that is stopped while it takes a message."""

import threading
import time
from typing import Any

import pytest

from portal.hl7 import taking
from tests.support.clinic import Clinic
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import add_node, connected, listening


def test_a_stop_returns_after_what_is_being_taken(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen without the database, whose lock would wait for the message as well."""
    add_node(clinic)
    begun, ended = threading.Event(), threading.Event()
    real = taking.APPLIED["ORU", "R01"]

    def slow(*given: Any) -> Any:
        begun.set()
        time.sleep(0.5)  # longer than `stop` takes where it waits for nobody
        ended.set()
        return real(*given)

    monkeypatch.setitem(taking.APPLIED, ("ORU", "R01"), slow)
    with listening(clinic) as listens, connected(listens) as peer:
        peer.write(b"\x0b" + made.oru() + b"\x1c\r")
        assert begun.wait(20)
        listens.stop()
        assert ended.is_set()
