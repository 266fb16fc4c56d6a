"""Whose request is next where more wait than there are threads.

They come as they were sent, until so many wait that it is a crowd: it would keep out whoever comes
after it. From then on, of each sender (an address, or a program's token) the first request of this
minute goes before anybody's second, and so on; among equals the newest goes first, and those that
have waited for some seconds come after all others, because who has waited long has often left. The
requests of programs that are known take turns with those of strangers.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

from portal.server import limits
from portal.server.places import Full, Place

Waiting = tuple[int, int, float, Place, asyncio.Future[None]]


class Turn:
    """A thread that is free for one request."""

    def __init__(self) -> None:
        # What the thread does; it goes on when the request's client has left.
        self.work: Future[Any] | None = None


class Turns:
    """The turns of one lane with so many threads."""

    def __init__(self, threads: int) -> None:
        self._free = threads
        # Of strangers and of those who are known: the next one is the first (heaps). Those of a
        # crowd that have waited too long are apart.
        self._waiting: dict[bool, list[Waiting]] = {False: [], True: []}
        self._late: dict[bool, list[Waiting]] = {False: [], True: []}
        self._last = False
        self._number = count(1)
        # How many wait and have not left.
        self._present = 0
        # The requests of each sender in this minute.
        self._asked: Counter[str | bytes] = Counter()
        self._asked_since = 0.0

    @property
    def waiting(self) -> int:
        """How many requests are kept, with some whose clients have left."""
        return sum(map(len, [*self._waiting.values(), *self._late.values()]))

    @asynccontextmanager
    async def take(self, place: Place) -> AsyncIterator[Turn]:
        """A thread is free for the request during the block; raises Full if none is in time."""
        loop = asyncio.get_running_loop()
        asked = self._count(place.sender, loop.time())
        known = isinstance(place.sender, bytes)
        if self._free:
            self._free -= 1
        else:
            turn: asyncio.Future[None] = loop.create_future()
            number = next(self._number)
            is_crowd = self._present >= limits.CROWD
            order = (asked, -number) if is_crowd else (0, number)
            if self.waiting >= 2 * limits.CONNECTIONS:
                self._forget_who_has_left()
            heapq.heappush(self._waiting[known], (*order, loop.time(), place, turn))
            await self._wait(turn)
        mine = Turn()
        try:
            yield mine
        finally:
            if mine.work is None or mine.work.done():
                self._give_back()
            else:
                mine.work.add_done_callback(lambda _: self._later(loop))

    def _count(self, sender: str | bytes, now: float) -> int:
        if now - self._asked_since >= limits.TURNS_COUNTED_SECONDS:
            self._asked.clear()
            self._asked_since = now
        self._asked[sender] += 1
        return self._asked[sender]

    def _forget_who_has_left(self) -> None:
        for waiting in (*self._waiting.values(), *self._late.values()):
            waiting[:] = [one for one in waiting if not one[-1].done()]
            heapq.heapify(waiting)

    async def _wait(self, turn: asyncio.Future[None]) -> None:
        self._present += 1
        try:
            async with asyncio.timeout(limits.TURN_SECONDS):
                await asyncio.wait({turn})
        except TimeoutError:
            if not turn.done():
                raise Full from None
        except asyncio.CancelledError:  # the client has left
            if turn.done() and turn.exception() is None:
                self._give_back()
            raise
        finally:
            self._present -= 1
            turn.cancel()
        turn.result()

    def _later(self, loop: asyncio.AbstractEventLoop) -> None:
        """Another thread gives its turn back."""
        with suppress(RuntimeError):  # the server has ended meanwhile
            loop.call_soon_threadsafe(self._give_back)

    def _give_back(self) -> None:
        """A thread is free: the next request has it."""
        now = asyncio.get_running_loop().time()
        for known in (not self._last, self._last):
            if (turn := self._next(known, now)) is not None:
                self._last = known
                turn.set_result(None)
                return
        self._free += 1

    def _next(self, known: bool, now: float) -> asyncio.Future[None] | None:
        waiting, late = self._waiting[known], self._late[known]
        while waiting or late:
            source = waiting or late
            one = heapq.heappop(source)
            asked, _, since, place, turn = one
            if turn.done():
                continue
            if place.has_ended:
                turn.set_exception(Full())
            elif source is waiting and asked and now - since > limits.LATE_SECONDS:
                heapq.heappush(late, one)
            else:
                return turn
        return None
