"""Waiting for another thread or process, and two transactions held in one order.

The waits are long enough for a busy machine.
"""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from portal.accounts.throttle import Limit, Throttle


def until(true: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether it has become true within this time; asked every 20 ms."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def stopped_once(engine: Engine, words: str, meanwhile: Callable[[], None]) -> Iterator[None]:
    """Call a function after the first statement of this thread that holds these words."""
    thread, left = threading.get_ident(), [meanwhile]

    def look(*sent: Any) -> None:
        if threading.get_ident() == thread and words in sent[2] and left:
            left.pop()()

    event.listen(engine, "after_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(engine, "after_cursor_execute", look)


def until_it_waits(engine: Engine, other: Future[Any]) -> None:
    """Until the other has ended, or waits for a row or a table that we have locked."""

    def stands() -> bool:
        if other.done():
            return True
        with engine.connect() as connection:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            return bool(connection.scalar(text(f"{waiting} AND datname = current_database()")))

    assert until(stands)


def only_on_postgresql(engine: Engine) -> None:
    """On SQLite nobody writes between two statements of a transaction."""
    if engine.dialect.name == "sqlite":
        pytest.skip("on SQLite there is one transaction at a time")


class StoppedThrottle(Throttle):
    """Calls a function once, where a limit is counted: between a read and what is made of it."""

    def __init__(self, limit: Limit, meanwhile: Callable[[], Any]) -> None:
        super().__init__()
        self._limit, self._left = limit, [meanwhile]

    def take(self, tries: Any, now: datetime) -> None:
        """Count as always, then call it."""
        super().take(tries, now)
        if self._left and any(limit is self._limit for limit, _ in tries):
            self._left.pop()()
