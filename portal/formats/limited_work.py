"""Work of seconds on one file, done in a limited process and not by the page that asks for it.

One such process for each purpose in each process of the portal, started when it is first needed and
confined like those that read headers (`header_pool`); it runs at low priority. Who asks while it
works waits, but only a few do, for all purposes together: the others are refused for now.
"""

import atexit
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import BoundedSemaphore, Lock
from typing import Any, Final, Protocol

from portal.formats.header_messages import CPU_SECONDS
from portal.formats.header_pool import HeaderPool, Shape, Work
from portal.formats.refusals import Refused

PLACES: Final = 3
"""So many threads of a process of the portal work or wait for all such work together: less than
half of those of people, and of the few that programs and strangers share one is left."""
SECONDS: Final = 40.0
"""How long a thread waits for its turn and for all its answers together."""


places: Final = BoundedSemaphore(PLACES)


class Ask(Protocol):
    """A function like `HeaderPool.ask`; also Busy where the turn's time is over."""

    def __call__(
        self,
        asked: dict[str, Any],
        data: bytes,
        work: Work | None = None,
        /,
        *,
        shape: type[Shape] = Shape,
    ) -> dict[str, Any]:
        """The answer; Refused."""


class Busy(Exception):
    """Others wait already, or the machine has too much to do. Nothing was done: try again."""


class LimitedWork:
    """One process that runs `module`, for one piece of work at a time.

    `most_seconds`: the processor time that is counted for a file by which it ended.
    """

    def __init__(self, module: str, most_seconds: float = CPU_SECONDS) -> None:
        self._module = module
        self._most_seconds = most_seconds
        self._turn = Lock()
        self._pool: HeaderPool | None = None
        self._owner = 0

    @contextmanager
    def turn(self, seconds: float = SECONDS) -> Iterator[Ask]:
        """The process to oneself, for so many seconds with those of waiting for it. No transaction
        may be open here or where a question is asked: others would wait for both.

        Busy where others wait already, or where the time is over, in between as well.
        """
        ends = time.monotonic() + seconds
        if not places.acquire(blocking=False):
            raise Busy
        try:
            if not self._turn.acquire(timeout=seconds):
                raise Busy
            try:
                yield partial(self._ask, ends)
            finally:
                self._turn.release()
        finally:
            places.release()

    def _ask(
        self,
        ends: float,
        asked: dict[str, Any],
        data: bytes,
        work: Work | None = None,
        /,
        *,
        shape: type[Shape] = Shape,
    ) -> dict[str, Any]:
        seconds = ends - time.monotonic()
        if seconds <= 0:
            raise Busy
        try:
            return self._started().ask(asked, data, work, seconds, shape=shape)
        except Refused:
            if time.monotonic() >= ends:  # it is not the file's doing
                raise Busy from None
            raise

    def close(self) -> None:
        """End the process; the next turn starts another one."""
        with self._turn:
            if self._pool is not None:
                self._pool.close()
            self._pool = None

    def _started(self) -> HeaderPool:
        if self._pool is None or self._owner != os.getpid():  # a forked process has its own
            self._owner = os.getpid()
            self._pool = HeaderPool(1, self._module, SECONDS, self._most_seconds)
            atexit.register(_close, self._pool, self._owner)
        return self._pool


def _close(pool: HeaderPool, owner: int) -> None:
    """End it with the process that started it, not with one that was forked from that."""
    if os.getpid() == owner:
        pool.close()
