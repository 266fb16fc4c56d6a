"""Work in a confined process: nobody waits for it longer than a turn lasts."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict

import pytest

from portal.formats import header_messages
from portal.formats.header_pool import Work
from portal.formats.limited_work import PLACES, Busy, LimitedWork, places
from portal.formats.refusals import Limits, Refused
from portal.server import limits

ASKED = {"what": "upload", "name": "x", "limits": asdict(Limits(2**20))}


@pytest.fixture(scope="module")
def work() -> Iterator[LimitedWork]:
    """A process that does what the file says; 3 s are counted for a file by which it ends."""
    made = LimitedWork("tests.support.hostile_files.wrong_reader", 3.0)
    with made.turn() as ask:
        ask(ASKED, file("nothing"))
    yield made
    made.close()


def file(what: str) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + what.encode()


def test_an_answer_that_does_not_come_within_the_turn_is_nobodys_fault(work: LimitedWork) -> None:
    began = time.monotonic()
    with work.turn(seconds=1) as ask, pytest.raises(Busy):
        ask(ASKED, file("sleep:60"))
    assert time.monotonic() - began < 10
    with work.turn() as ask:
        assert ask(ASKED, file("nothing"))["upload"]["media_type"] == "image/png"


def test_all_questions_of_a_turn_share_its_time(work: LimitedWork) -> None:
    def ask_often() -> None:
        with work.turn(seconds=1.5) as ask:
            for _ in range(30):
                ask(ASKED, file("sleep:0.4"))

    with pytest.raises(Busy):
        ask_often()


def test_who_waits_for_a_turn_does_so_no_longer_than_it_would_last(work: LimitedWork) -> None:
    refused = list[float]()

    def wait() -> None:
        began = time.monotonic()
        with pytest.raises(Busy), work.turn(seconds=0.3):
            pass
        refused.append(time.monotonic() - began)

    with work.turn():
        others = [threading.Thread(target=wait) for _ in range(PLACES - 1)]
        for other in others:
            other.start()
        for other in others:
            other.join(20)
    assert len(refused) == PLACES - 1
    assert max(refused) < 10


def test_all_works_share_the_places_and_leave_threads_to_others() -> None:
    """An export waits like an overlay: neither beside the other takes more threads."""
    with ExitStack() as stack:
        for _ in range(PLACES):
            stack.enter_context(LimitedWork("tests.support.hostile_files.wrong_reader").turn())
        other = LimitedWork("tests.support.hostile_files.wrong_reader")
        with pytest.raises(Busy), other.turn():
            pass
    with other.turn():
        assert places.acquire(blocking=False)
        places.release()
    assert PLACES <= limits.PEOPLE_THREADS / 2
    assert PLACES < limits.OTHER_THREADS


def test_what_a_file_took_is_counted_also_where_it_ended_the_process(work: LimitedWork) -> None:
    took = Work()
    with work.turn() as ask:
        ask(ASKED, file("nothing"), took)
        assert 0 < took.seconds < 1
        with pytest.raises(Refused):
            ask(ASKED, file("crash"), took)
    assert 3 <= took.seconds < 4


def test_a_few_bytes_at_a_time_are_no_way_to_last_longer() -> None:
    ours, theirs = socket.socketpair()
    ended = threading.Event()

    def trickle() -> None:
        while not ended.wait(0.05):
            theirs.send(b"\0")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        with pytest.raises(TimeoutError):
            header_messages.read_bytes(ours, 10_000, time.monotonic() + 0.4)
    finally:
        ended.set()
        thread.join()
        ours.close()
        theirs.close()
