"""What bodies and answers may hold in memory, and who gives way when it is too much."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from portal.server import limits

# Who takes an answer: a client's address, or the digest of a login or token.
Reader = str | bytes


class Hold:
    """The memory of one body; it grows while the body arrives."""

    def __init__(self, memory: BodyMemory) -> None:
        self.size = 0
        self._memory = memory

    async def grow(self, size: int) -> None:
        """Have at least so many bytes; TimeoutError if none get free in time."""
        if size > self.size:
            await self._memory.grow(self, size)


class BodyMemory:
    """How many bytes of bodies may be in memory at the same time.

    What was announced counts for nothing: a body has what has arrived of it, in steps. As much as
    the oldest one may still need is left free for it, so that bodies never wait for each other in
    a circle. `largest` is the most that a body may have, and no more than `size`.
    """

    def __init__(self, size: int, largest: int) -> None:
        self._free = size
        self._largest = largest
        self._holds: dict[Hold, None] = {}
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[Hold]:
        """A body's memory during the block."""
        hold = Hold(self)
        self._holds[hold] = None
        try:
            yield hold
        finally:
            del self._holds[hold]
            self._free += hold.size
            async with self._changed:
                self._changed.notify_all()

    async def grow(self, hold: Hold, size: int) -> None:
        """Let the body have so many bytes; TimeoutError if none get free in time."""
        wanted = -(-size // limits.BODY_STEP) * limits.BODY_STEP
        more = max(min(wanted, self._largest), size) - hold.size
        if not self._has(hold, more):
            async with asyncio.timeout(limits.MEMORY_SECONDS), self._changed:
                await self._changed.wait_for(lambda: self._has(hold, more))
        self._free -= more
        hold.size += more

    def _has(self, hold: Hold, more: int) -> bool:
        oldest = next(iter(self._holds))
        left = 0 if hold is oldest else max(self._largest - oldest.size, 0)
        return self._free - more >= left


class WaitingAnswer:
    """An answer that its reader has not taken whole."""

    def __init__(self, size: int, reader: Reader, close: Callable[[], None], now: float) -> None:
        self.size = size
        self.reader = reader
        self.close = close
        self._began = now
        self._taken = 0

    def take(self, size: int) -> None:
        """So many bytes more went to the reader."""
        self._taken += size

    def behind(self, now: float) -> float:
        """By how many seconds the reader is slower than it should be."""
        return now - self._began - self._taken / limits.READ_BYTES_PER_SECOND


class WaitingAnswers:
    """How many bytes of answers may wait for their readers.

    An answer counts whole until its end: it is one piece. When a new one makes it too much, the
    connections of those who are behind most are ended. A reader (an address, a login or a token)
    whose connection was ended waits for the next answer: it would be in the way again at once.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._size = 0
        self._waiting: dict[WaitingAnswer, None] = {}
        # Until when they wait; who was cut off last is the last.
        self._cut_off: dict[Reader, float] = {}

    def pause(self, reader: Reader) -> float:
        """For how many seconds a new request of this reader has to wait; mostly 0."""
        now = self._clock()
        return max(self._cut_off.get(reader, now) - now, 0.0)

    def cut_off(self, reader: Reader) -> None:
        """The reader has not taken its answer in time, or gives way to another."""
        now = self._clock()
        for one, until in list(self._cut_off.items()):
            if until > now:
                break
            del self._cut_off[one]
        self._cut_off.pop(reader, None)
        self._cut_off[reader] = now + limits.CUT_OFF_SECONDS

    @contextmanager
    def wait(self, size: int, reader: Reader, close: Callable[[], None]) -> Iterator[WaitingAnswer]:
        """An answer of so many bytes waits during the block; `close` ends its connection."""
        now = self._clock()
        while self._waiting and self._size + size > self._most:
            slowest = max(self._waiting, key=lambda one: one.behind(now))
            self._forget(slowest)
            self.cut_off(slowest.reader)
            slowest.close()
        answer = WaitingAnswer(size, reader, close, now)
        self._waiting[answer] = None
        self._size += size
        try:
            yield answer
        finally:
            self._forget(answer)

    def _forget(self, answer: WaitingAnswer) -> None:
        if answer in self._waiting:
            del self._waiting[answer]
            self._size -= answer.size
