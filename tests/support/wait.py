"""Waiting for another thread or process, and two transactions held in one order.

The waits are long enough for a busy machine. And whether anybody could write meanwhile.
"""

import sqlite3
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
from portal.formats.header_pool import HeaderPool
from portal.formats.limited_work import LimitedWork


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


def only_on_sqlite(engine: Engine) -> None:
    """PostgreSQL stores no text in a column of times or ids."""
    if engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL refuses the value")


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


def is_free(engine: Engine) -> bool:
    """Whether no transaction is open: on SQLite another could begin, on PostgreSQL none is idle."""
    if engine.dialect.name == "sqlite":
        other = sqlite3.connect(str(engine.url.database), timeout=0, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        finally:
            other.close()
        return True
    idle = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'"
    )
    with engine.connect() as connection:
        return connection.execute(idle).scalar_one() == 0


def noted_while_waiting(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> list[tuple[str, bool]]:
    """What is asked of confined processes from now on, and waited for, and whether the database was
    free then."""
    noted = list[tuple[str, bool]]()
    ask, turn = HeaderPool.ask, LimitedWork.turn

    def noted_ask(pool: HeaderPool, asked: dict[str, Any], *args: Any, **named: Any) -> Any:
        noted.append((asked.get("what", "?"), is_free(engine)))
        return ask(pool, asked, *args, **named)

    def noted_turn(work: LimitedWork, *args: Any) -> Any:
        noted.append(("turn", is_free(engine)))
        return turn(work, *args)

    monkeypatch.setattr(HeaderPool, "ask", noted_ask)
    monkeypatch.setattr(LimitedWork, "turn", noted_turn)
    return noted
