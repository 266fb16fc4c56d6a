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
    connections of those give way who are behind by more than `limits.BEHIND_SECONDS`, the furthest
    first, and then those of the largest answers. A reader (an address, a login or a token) who was
    behind waits for the next answer: it would be in the way again at once. Who was not behind waits
    where that happens a second time within as long: else many readers of large answers would come
    again and again, and nothing else would be answered.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._size = 0
        self._waiting: dict[WaitingAnswer, None] = {}
        # Until when they wait; who was cut off last is the last.
        self._cut_off: dict[Reader, float] = {}
        # The same of those who gave way without having been behind, who do not wait the first time.
        self._gave_way: dict[Reader, float] = {}

    def pause(self, reader: Reader) -> float:
        """For how many seconds a new request of this reader has to wait; mostly 0."""
        now = self._clock()
        return max(self._cut_off.get(reader, now) - now, 0.0)

    def cut_off(self, reader: Reader) -> None:
        """The reader has not taken its answer in time: the next one waits."""
        self._remember(self._cut_off, reader)

    @contextmanager
    def wait(self, size: int, reader: Reader, close: Callable[[], None]) -> Iterator[WaitingAnswer]:
        """An answer of so many bytes waits during the block; `close` ends its connection."""
        now = self._clock()
        while self._waiting and self._size + size > self._most:
            first = max(self._waiting, key=lambda one: _before_others(one, now))
            self._forget(first)
            if (
                first.behind(now) > limits.BEHIND_SECONDS
                or self._gave_way.get(first.reader, 0) > now
            ):
                self.cut_off(first.reader)
            else:
                self._remember(self._gave_way, first.reader)
            first.close()
        answer = WaitingAnswer(size, reader, close, now)
        self._waiting[answer] = None
        self._size += size
        try:
            yield answer
        finally:
            self._forget(answer)

    def _remember(self, readers: dict[Reader, float], reader: Reader) -> None:
        """Until the pause's end; who is in it last is the last."""
        now = self._clock()
        for one, until in list(readers.items()):
            if until > now:
                break
            del readers[one]
        readers.pop(reader, None)
        readers[reader] = now + limits.CUT_OFF_SECONDS

    def _forget(self, answer: WaitingAnswer) -> None:
        if answer in self._waiting:
            del self._waiting[answer]
            self._size -= answer.size


def _before_others(answer: WaitingAnswer, now: float) -> tuple[float, int, float]:
    """Whose value is highest gives way first. Some milliseconds are no delay: a page of 10 ms is
    "behind" an answer that is taken faster than it has to be.
    """
    behind = answer.behind(now)
    return behind if behind > limits.BEHIND_SECONDS else 0.0, answer.size, behind
