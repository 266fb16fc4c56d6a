"""Places: each address has so many, and strangers give way to whoever comes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.server import limits
from portal.server.places import Connections, Full, Place, Requests
from portal.web.security.known_senders import Known, Sender

FEW, RESERVED, FOR_WORKERS, BYTES = 10, 2, 1, 100
PER_SENDER = 4


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CONNECTIONS", FEW)
    monkeypatch.setattr(limits, "RESERVED_CONNECTIONS", RESERVED)
    monkeypatch.setattr(limits, "WORKERS_CONNECTIONS", FOR_WORKERS)
    monkeypatch.setattr(limits, "HEALTH_CONNECTIONS", 0)
    monkeypatch.setattr(limits, "KNOWN_PER_SENDER", PER_SENDER)
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

    def known(
        self,
        name: str,
        address: str = "192.0.2.1",
        sender: Sender = Sender.PERSON,
        holder: str = "",
    ) -> Place:
        """By default with a login of its own."""
        place = self.stranger(name, address)
        self.connections.set_known(place, Known(sender, (holder or name).encode()))
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
        worker = server.known("worker", sender=Sender.WORKER)
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
    server.connections.set_known(place, None)
    for number in range(FEW):
        server.known(f"person {number}", sender=Sender.WORKER)
    assert server.ended == ["the proxy's"]
    assert server.connect("without a place") is None


def test_one_login_keeps_so_many_places_and_the_others_give_way() -> None:
    server = Server()
    for sender in (Sender.PERSON, Sender.PROGRAM):
        places = [
            server.known(f"{sender.name} {n}", sender=sender, holder=sender.name)
            for n in range(PER_SENDER + 1)
        ]
    for number in range(FEW):
        server.stranger(f"new {number}", "192.0.2.2")
    assert [one for one in server.ended if "new" not in one] == [
        f"{sender.name} {PER_SENDER}" for sender in (Sender.PERSON, Sender.PROGRAM)
    ]
    server.connections.finish(places[0])
    server.connections.set_known(places[0], None)
    one_more = server.known("one more", sender=Sender.PROGRAM, holder=Sender.PROGRAM.name)
    server.stranger("the last")
    assert not one_more.has_ended, "a place that another has left is free for the same login"


def test_with_any_number_of_logins_places_are_left_for_workers_and_health_checks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "HEALTH_CONNECTIONS", 1)
    monkeypatch.setattr(limits, "WORKERS_CONNECTIONS", 2)
    monkeypatch.setattr(limits, "RESERVED_CONNECTIONS", 3)
    server = Server()
    with ExitStack() as stack:
        for number in range(FEW - 3):
            stack.enter_context(server.connections.work(server.stranger(f"stranger {number}")))
        people = [server.known(f"person {number}") for number in range(3)]
        workers = [server.known(f"worker {n}", sender=Sender.WORKER) for n in range(3)]
        assert [one.has_ended for one in people] == [False, True, True]
        assert [one.has_ended for one in workers] == [False, True, False]
        assert server.connect("health check"), "the last worker gives way"
        assert workers[2].has_ended
        with pytest.raises(Full):
            stack.enter_context(server.connections.work(server.stranger("one too many")))


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
    server.connections.set_known(upload, Known(Sender.PROGRAM, b"upload"))
    new = server.stranger("new")
    server.connections.receive(new, BYTES // 2)
    assert not upload.has_ended
    server.connections.set_known(upload, None)
    server.connections.receive(new, 1)
    assert server.ended == ["crowd", "upload"]


def test_what_threads_work_on_is_bounded_by_itself_and_ends_nobody_elses_request() -> None:
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

    def know(place: Place, known: Known | None) -> None:
        if place not in works:
            server.connections.set_known(place, known)

    def somebody(number: int) -> Known:
        return Known(list(Sender)[number % 3], b"%d" % (number % 4))

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
            "known": lambda place=place, n=number: know(place, somebody(n)),
            "unknown": lambda place=place: know(place, None),
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
    for place in fresh[:PER_SENDER]:
        assert place is not None
        server.connections.set_known(place, Known(Sender.PERSON, b"0"))
        assert place.known is not None
        server.connections.set_known(place, None)
    with ExitStack() as stack:
        for place in fresh[: FEW - RESERVED]:
            assert place is not None
            stack.enter_context(server.connections.work(place))
    ended = len(server.ended)
    assert fresh[-1] is not None
    server.connections.receive(fresh[-1], BYTES)
    assert len(server.ended) == ended
