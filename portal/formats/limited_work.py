"""Work of seconds on one file, done in a limited process and not by the page that asks for it.

One such process for each purpose in each process of the portal, started when it is first needed and
confined like those that read headers (`header_pool`); it runs at low priority. Who asks while it
works waits, but only a few do: the others are told to come again.
"""

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock
from typing import Any, Final

from portal.formats.header_pool import HeaderPool

Ask = Callable[[dict[str, Any], bytes], dict[str, Any]]
WAITING: Final = 3
"""Who waits beside the one whose turn it is: with that one half of the threads of people."""
_SECONDS: Final = 60.0


class Busy(Exception):
    """Others wait already. Nothing was done: try again."""


class LimitedWork:
    """One process that runs `module`, for one piece of work at a time."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._places = BoundedSemaphore(1 + WAITING)
        self._turn = Lock()
        self._pool: HeaderPool | None = None
        self._owner = 0

    @contextmanager
    def turn(self) -> Iterator[Ask]:
        """The process to oneself, as a function like `HeaderPool.ask`; Busy where others wait."""
        if not self._places.acquire(blocking=False):
            raise Busy
        try:
            with self._turn:
                yield self._started().ask
        finally:
            self._places.release()

    def close(self) -> None:
        """End the process; the next turn starts another one."""
        with self._turn:
            if self._pool is not None:
                self._pool.close()
            self._pool = None

    def _started(self) -> HeaderPool:
        if self._pool is None or self._owner != os.getpid():  # a forked process has its own
            self._owner = os.getpid()
            self._pool = HeaderPool(1, self._module, _SECONDS)
            atexit.register(_close, self._pool, self._owner)
        return self._pool


def _close(pool: HeaderPool, owner: int) -> None:
    """End it with the process that started it, not with one that was forked from that."""
    if os.getpid() == owner:
        pool.close()
