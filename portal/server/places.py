"""Places of connections and requests: how many an address has, and who gives way to whom.

An address is an IPv4 address or an IPv6 network of 64 bits. When there are no more places, the
connection of a stranger gives way for whom no thread works: of the address with most of them the
one that has waited longest. People, workers and programs who are known keep theirs, within limits:
one login or token so many, and never all, so that workers and health checks find some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import lru_cache
from itertools import chain
from typing import TypeVar

from portal.accounts.throttle import origin
from portal.server import limits
from portal.web.security.known_senders import Known, Sender

Key = TypeVar("Key")

# Asked several times for each request.
network_of = lru_cache(maxsize=limits.KNOWN_SENDERS)(origin)


class Full(Exception):
    """An address, or all strangers together, have as many requests in progress as they may."""


class Requests:
    """How many requests each client address has in progress."""

    def __init__(self, per_address: int) -> None:
        self._per_address = per_address
        self._taken: Counter[str] = Counter()

    def take(self, address: str) -> bool:
        """Begin a request; False if the address has too many."""
        network = network_of(address)
        if self._taken[network] >= self._per_address:
            return False
        self._taken[network] += 1
        return True

    def give_back(self, address: str) -> None:
        """A request has ended."""
        _subtract(self._taken, network_of(address))


class State(Enum):
    """What a connection waits for, and who is at its other side."""

    WAITING = "a stranger, for whom the portal waits, or who waits for a thread"
    IN_WORK = "a stranger, for whom a thread works"
    KNOWN = "a person, a worker or a program"


class Place:
    """The place of one connection."""

    def __init__(self, network: str, close: Callable[[], None]) -> None:
        self.network = network
        self.close = close
        # Who sends the request: a client's address (behind a proxy another than the connection's),
        # or the digest of the login or token that is known.
        self.sender: str | bytes = network
        # Bytes of the request that is being received or answered.
        self.received = 0
        self.state = State.WAITING
        # Who is at the other side, for as long as that keeps the place.
        self.known: Known | None = None
        # A header has come, and nobody has looked yet whose it is.
        self.is_unread = False
        self.has_ended = False


class Connections:
    """The connections that are served."""

    def __init__(self, per_address: int) -> None:
        self._per_address = per_address
        self._taken: Counter[str] = Counter()
        self._total = 0
        self._in_state: Counter[State] = Counter()
        # Of each login and token, how many places it keeps.
        self._kept: Counter[bytes] = Counter()
        # Of each address those who give way; the longest wait is the first.
        self._waiting: dict[str, dict[Place, None]] = {}
        self._received = dict.fromkeys(State, 0)

    def take(self, address: str, close: Callable[[], None]) -> Place | None:
        """A place for a new connection, which `close` ends; None if nobody gives way to it."""
        network = network_of(address)
        if self._taken[network] >= self._per_address and not self._make_way(network):
            return None
        if self._total >= limits.CONNECTIONS and not self._make_way():
            return None
        place = Place(network, close)
        self._taken[network] += 1
        self._total += 1
        self._enter(place)
        return place

    def give_back(self, place: Place) -> None:
        """The connection has ended; for one that gave way already, nothing happens."""
        if not place.has_ended:
            self._leave(place)
            place.has_ended = True
            _subtract(self._taken, place.network)
            self._total -= 1

    def set_known(self, place: Place, known: Known | None) -> None:
        """Who sends the request that has begun, if the portal knows; whether the place is kept."""
        place.is_unread = False
        if place.has_ended or (known is not None and place.known == known):
            return
        self._move(place, State.WAITING)
        if known is not None and self._may_keep(known):
            place.known = known
            self._move(place, State.KNOWN)

    def receive(self, place: Place, size: int) -> None:
        """Count bytes that have arrived. Who has sent most of those waiting may have to give way.

        A small request that has just come is not the one that has sent most, and a large one is
        first looked at.
        """
        place.received += size
        if place.has_ended:
            return
        self._received[place.state] += size
        while self._received[State.WAITING] > limits.STRANGERS_BYTES:
            waiting = chain.from_iterable(self._waiting.values())
            read = [one for one in waiting if not one.is_unread]
            if not read:
                break
            self._end(max(read, key=lambda one: one.received))
        if self._received[State.IN_WORK] > limits.STRANGERS_BYTES and not place.has_ended:
            self._end(place)  # it sends more although its request is complete

    def finish(self, place: Place) -> None:
        """The request is answered; the next one may come."""
        if not place.has_ended:
            self._leave(place)
            place.received, place.is_unread = 0, False
            self._enter(place)

    @contextmanager
    def work(self, place: Place) -> Iterator[None]:
        """A thread works on a request: its connection does not give way; raises Full."""
        if place.state is State.KNOWN or place.has_ended:
            yield
            return
        if (
            self._held() >= limits.CONNECTIONS - limits.RESERVED_CONNECTIONS
            or self._received[State.IN_WORK] + place.received > limits.STRANGERS_BYTES
        ):
            raise Full
        self._move(place, State.IN_WORK)
        try:
            yield
        finally:
            self._move(place, State.WAITING)

    def _held(self) -> int:
        """How many connections do not give way."""
        return self._in_state[State.KNOWN] + self._in_state[State.IN_WORK]

    def _may_keep(self, known: Known) -> bool:
        """Whether one more place of this login or token does not give way."""
        if known.sender is Sender.WORKER:
            return self._held() < limits.CONNECTIONS - limits.HEALTH_CONNECTIONS
        return (
            self._kept[known.holder] < limits.KNOWN_PER_SENDER
            and self._held() < limits.CONNECTIONS - limits.WORKERS_CONNECTIONS
        )

    def _move(self, place: Place, state: State) -> None:
        if not place.has_ended and place.state is not state:
            self._leave(place)
            place.state = state
            if state is not State.KNOWN:
                place.known = None
            self._enter(place)

    def _enter(self, place: Place) -> None:
        self._received[place.state] += place.received
        self._in_state[place.state] += 1
        if place.state is State.KNOWN and place.known is not None:
            self._kept[place.known.holder] += 1
        if place.state is State.WAITING:
            self._waiting.setdefault(place.network, {})[place] = None

    def _leave(self, place: Place) -> None:
        self._received[place.state] -= place.received
        self._in_state[place.state] -= 1
        if place.state is State.KNOWN and place.known is not None:
            _subtract(self._kept, place.known.holder)
        if place.state is State.WAITING:
            of_network = self._waiting[place.network]
            del of_network[place]
            if not of_network:
                del self._waiting[place.network]

    def _make_way(self, network: str | None = None) -> bool:
        """End a connection, of this address if one is given; False if there is none to end."""
        if network is None and self._waiting:
            network = max(self._waiting, key=lambda one: len(self._waiting[one]))
        if network is None or network not in self._waiting:
            return False
        self._end(next(iter(self._waiting[network])))
        return True

    def _end(self, place: Place) -> None:
        self.give_back(place)
        place.close()


def _subtract(counts: Counter[Key], key: Key) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
