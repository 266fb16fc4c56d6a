"""Places: each address has so many, and strangers give way to whoever comes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.server import limits
from portal.server.places import Connections, Full, Place, Requests

FEW, RESERVED, BYTES = 10, 2, 100


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", FEW)
    monkeypatch.setattr(limits, "RESERVED_CONNECTIONS", RESERVED)
    monkeypatch.setattr(limits, "STRANGERS_BYTES", BYTES)


class Server:
    """Connections, and the names of those that gave way."""

    def __init__(self, per_address: int = FEW) -> None:
        self.connections = Connections(per_address)
        self.ended: list[str] = []

    def connect(self, name: str, address: str = "192.0.2.1") -> Place | None:
        return self.connections.take(address, lambda: self.ended.append(name))

    def stranger(self, name: str, address: str = "192.0.2.1") -> Place:
        place = self.connect(name, address)
        assert place is not None
        return place

    def known(self, name: str, address: str = "192.0.2.1") -> Place:
        place = self.stranger(name, address)
        self.connections.set_known(place, True)
        return place


def test_an_address_has_so_many_requests() -> None:
    requests = Requests(2)
    assert [requests.take("a") for _ in range(3)] == [True, True, False]
    assert requests.take("b")
    requests.give_back("a")
    assert requests.take("a")


@pytest.mark.parametrize(
    ("one", "other", "are_one"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_of_ipv6_a_network_of_64_bits_is_one_address(one: str, other: str, are_one: bool) -> None:
    requests = Requests(1)
    assert requests.take(one)
    assert requests.take(other) != are_one
    server = Server(1)
    server.known("first", one)
    assert (server.connect("second", other) is None) == are_one


def test_of_the_address_with_most_the_one_that_has_waited_longest_gives_way() -> None:
    server = Server()
    server.stranger("alone", "192.0.2.1")
    for number in range(FEW - 1):
        server.stranger(f"crowd {number}", "192.0.2.2")
    server.stranger("new", "192.0.2.3")
    server.stranger("next", "192.0.2.3")
    assert server.ended == ["crowd 0", "crowd 1"]


def test_at_an_address_that_has_too_many_one_of_its_own_gives_way() -> None:
    server = Server(per_address=2)
    for name in ("first", "second", "third"):
        server.stranger(name)
    server.stranger("elsewhere", "192.0.2.2")
    assert server.ended == ["first"]


def test_who_is_known_never_gives_way_whatever_comes() -> None:
    server = Server()
    people = [server.known(f"person {number}") for number in range(RESERVED)]
    for number in range(10 * FEW):
        server.stranger(f"stranger {number}", f"192.0.2.{number % 5}")
    assert not any(person.has_ended for person in people)
    assert len(server.ended) == 9 * FEW + RESERVED


def test_strangers_in_work_leave_places_to_others() -> None:
    """They give way as little as people do, but there are never so many of them."""
    server = Server()
    with ExitStack() as stack:
        for number in range(FEW - RESERVED):
            place = server.stranger(f"stranger {number}")
            stack.enter_context(server.connections.work(place))
        with pytest.raises(Full):
            stack.enter_context(server.connections.work(server.stranger("one too many")))
        worker = server.known("worker")
        with server.connections.work(worker):
            pass
        for number in range(FEW):
            server.stranger(f"waiting {number}")
        assert not worker.has_ended
    assert set(server.ended) == {"one too many", *(f"waiting {n}" for n in range(FEW - 1))}


def test_a_connection_is_a_strangers_again_with_its_next_request() -> None:
    """A proxy sends requests of different people by one connection."""
    server = Server()
    place = server.known("the proxy's")
    server.connections.finish(place)
    server.connections.set_known(place, False)
    for number in range(FEW):
        server.known(f"person {number}")
    assert server.ended == ["the proxy's"]
    assert server.connect("without a place") is None


def test_who_has_sent_most_of_what_is_unfinished_gives_way() -> None:
    server = Server()
    small, large = server.stranger("small"), server.stranger("large")
    server.connections.receive(small, 10)
    server.connections.receive(large, BYTES - 10)
    assert server.ended == []
    person = server.known("person")
    server.connections.receive(person, 5 * BYTES)
    server.connections.receive(server.stranger("new"), 1)
    assert server.ended == ["large"]
    server.connections.finish(small)
    server.connections.receive(small, BYTES - 1)
    assert server.ended == ["large"], "what is answered counts no more"


def test_a_large_request_is_looked_at_before_it_gives_way() -> None:
    """An upload's header comes with much of its body; the header shows that a person sends it."""
    server = Server()
    crowd, upload = server.stranger("crowd"), server.stranger("upload")
    server.connections.receive(crowd, BYTES)
    upload.is_unread = True
    server.connections.receive(upload, 2 * BYTES)
    assert server.ended == ["crowd"]
    server.connections.set_known(upload, True)
    new = server.stranger("new")
    server.connections.receive(new, BYTES // 2)
    assert not upload.has_ended
    server.connections.set_known(upload, False)
    server.connections.receive(new, 1)
    assert server.ended == ["crowd", "upload"]


def test_what_waits_for_a_thread_is_bounded_by_itself_and_ends_nobody_elses_request() -> None:
    server = Server()
    first, second = server.stranger("first"), server.stranger("second")
    server.connections.receive(first, BYTES - 1)
    with server.connections.work(first):
        server.connections.receive(second, 2)
        with pytest.raises(Full):
            server.connections.work(second).__enter__()
        assert server.ended == []
        server.connections.receive(first, 2)
        assert server.ended == ["first"], "it sends on although its request is complete"


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "end", "known", "unknown", "receive", "work", "rest", "finish"]),
        st.integers(0, 40),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_nothing_is_counted_twice_or_forgotten(steps: list[Step]) -> None:
    server = Server(per_address=4)
    places: list[Place] = []
    works: dict[Place, AbstractContextManager[None]] = {}

    def work(place: Place) -> None:
        if place not in works:
            begun = server.connections.work(place)
            try:
                begun.__enter__()
            except Full:
                return
            works[place] = begun

    def rest(place: Place) -> None:
        if place in works:
            works.pop(place).__exit__(None, None, None)

    def know(place: Place, known: bool) -> None:
        if place not in works:
            server.connections.set_known(place, known)

    for step, number in steps:
        if step == "take":
            place = server.connect(str(number), f"192.0.2.{number % 4}")
            places += [place] if place else []
            continue
        if not places:
            continue
        place = places[number % len(places)]
        do: dict[str, Callable[[], None]] = {
            "end": lambda place=place: server.connections.give_back(place),
            "known": lambda place=place: know(place, True),
            "unknown": lambda place=place: know(place, False),
            "receive": lambda place=place, n=number: server.connections.receive(place, n),
            "work": lambda place=place: work(place),
            "rest": lambda place=place: rest(place),
            "finish": lambda place=place: (rest(place), server.connections.finish(place))[1],
        }
        do[step]()
        assert sum(not one.has_ended for one in places) <= FEW
    for place in places:
        rest(place)
        server.connections.give_back(place)
    # Everything is free again.
    fresh = [server.connect("fresh", f"192.0.2.{number % 4}") for number in range(FEW)]
    assert all(fresh)
    with ExitStack() as stack:
        for place in fresh[: FEW - RESERVED]:
            assert place is not None
            stack.enter_context(server.connections.work(place))
    ended = len(server.ended)
    assert fresh[-1] is not None
    server.connections.receive(fresh[-1], BYTES)
    assert len(server.ended) == ended
