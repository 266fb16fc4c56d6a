"""What the server bounds before anybody has signed in: time, connections, memory, threads.

A connection that waits, for a header, a body or a reader, takes no thread. All numbers are those of
one process.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from portal.accounts.throttle import origin

# A header must be complete after this time.
HEADER_SECONDS: Final = 10.0
# A body gets this time, and a second more for so many bytes that came.
BODY_SECONDS: Final = 120.0
BYTES_PER_SECOND: Final = 16 * 1024
# So many bytes of an answer have to be taken within this time, also an event of a stream.
ANSWER_PART: Final = 64 * 1024
ANSWER_SECONDS: Final = 30.0
# What the system takes of an answer before its reader does. Left to itself, it takes 4 MB from each
# of many readers who read nothing, and the event loop is busy with nothing else meanwhile.
SEND_BUFFER: Final = 256 * 1024
# How long a request waits for memory that other bodies hold.
MEMORY_SECONDS: Final = 30.0
# How long what is left of a refused body is read and dropped, so that the client gets the answer.
REST_SECONDS: Final = 5.0
# How long a closed connection may take to send what is left of its answer.
CLOSE_SECONDS: Final = 30.0
# An unused connection is closed after this.
KEEPALIVE_SECONDS: Final = 15
# What is read of a body before the portal has checked who sends it.
UNCHECKED_BYTES: Final = 64 * 1024

CONNECTIONS: Final = 2000
# Threads that run views: for browsers with a login, for others and for programs, for workers, for
# health checks, and for whether the process lives: that waits for no check that waits itself.
PEOPLE_THREADS: Final = 8
OTHER_THREADS: Final = 4
WORKER_THREADS: Final = 4
HEALTH_THREADS: Final = 2
LIVE_THREADS: Final = 1
# So many bodies of the largest size may be in memory, of people and of workers.
LARGEST_BODIES: Final = 4


class Places:
    """How many connections or requests each client address has; of IPv6 each network of 64 bits."""

    def __init__(self, per_address: int) -> None:
        self._per_address = per_address
        self._taken: Counter[str] = Counter()

    def take(self, address: str) -> bool:
        """Take a place; False if the address, or the server, has no more."""
        address = origin(address)
        if self._taken[address] >= self._per_address or self._taken.total() >= CONNECTIONS:
            return False
        self._taken[address] += 1
        return True

    def give_back(self, address: str) -> None:
        """Give a place back."""
        address = origin(address)
        self._taken[address] -= 1
        if not self._taken[address]:
            del self._taken[address]


class Memory:
    """How many bytes of bodies may be in memory at the same time."""

    def __init__(self, size: int) -> None:
        self._free = self._size = size
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, wanted: int) -> AsyncIterator[None]:
        """Reserve so many bytes during the block; TimeoutError if none get free in time."""
        wanted = min(wanted, self._size)
        async with asyncio.timeout(MEMORY_SECONDS), self._changed:
            await self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            self._free += wanted
            async with self._changed:
                self._changed.notify_all()


def allow_enough_files() -> None:
    """Let the process open as many files as the connections need, if the system permits it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 500
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
