"""Lanes: nobody chooses one by an address alone."""

from __future__ import annotations

import threading

import pytest

from portal.server.lanes import Lanes
from portal.web.security.known_senders import Known, Sender

LANES = Lanes(1000)


@pytest.mark.parametrize(
    ("path", "sender", "lane"),
    [
        ("/worklist", Sender.PERSON, "people"),
        ("/worklist", None, "others"),
        ("/worklist", Sender.WORKER, "others"),
        ("/worker/v1/hello", Sender.WORKER, "workers"),
        ("/worker/v1/hello", None, "others"),
        ("/worker/v1/hello", Sender.PROGRAM, "others"),
        ("/worker/v1/hello", Sender.PERSON, "people"),
        ("/api/v1/studies", Sender.PROGRAM, "others"),
        ("/health/other", None, "others"),
    ],
)
def test_a_lane_follows_from_who_is_known(path: str, sender: Sender | None, lane: str) -> None:
    chosen = LANES.of(path, Known(sender, b"") if sender else None)
    assert chosen.threads.submit(_thread_name).result().startswith(lane)


def _thread_name() -> str:
    return threading.current_thread().name
