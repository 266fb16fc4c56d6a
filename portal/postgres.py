"""How long a connection to PostgreSQL waits: for the network, for a statement, for an answer.

libpq itself waits for ever. A host that is gone is noticed by the system (unacknowledged data, no
answers to keepalives). A server that is frozen still acknowledges, and cannot keep its own limits:
whoever waits for it gives up by this machine's clock. Within a request a statement has a limit on
the server too, which ends it there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Connection, text

CONNECT_SECONDS: Final = 5
# What was sent has to be acknowledged after this; silence is looked into after it as well.
NETWORK_SECONDS: Final = 15
_PROBES, _BETWEEN_PROBES = 3, 5
# An answer may come so much later than the server's own limit for the statement.
_LATER_SECONDS: Final = 5.0
NETWORK: Final[dict[str, Any]] = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": NETWORK_SECONDS,
    "keepalives_interval": _BETWEEN_PROBES,
    "keepalives_count": _PROBES,
    "tcp_user_timeout": NETWORK_SECONDS * 1000,
}


class BoundedConnection(psycopg.Connection[Any]):
    """Gives up after `answer_seconds` without an answer, and is closed then; None: waits."""

    answer_seconds: float | None = None

    def wait(self, gen: PQGen[Any], *given: Any, **named: Any) -> Any:
        """Wait for whatever the server has to send; psycopg does all its waiting here."""
        if given or "timeout" in named or self.answer_seconds is None:
            return super().wait(gen, *given, **named)
        try:
            return super().wait(gen, timeout=self.answer_seconds, **named)
        except psycopg.OperationalError as error:
            if self.pgconn.status == psycopg.pq.ConnStatus.OK and error.sqlstate is None:
                self.close()  # its next answer would be the one to this
            raise


def connect(*args: Any, answer_seconds: float | None = None, **options: Any) -> BoundedConnection:
    """A connection by libpq's options that waits so long for answers."""
    made = BoundedConnection.connect(*args, **options)
    made.answer_seconds = answer_seconds
    return made


def statement_limit(seconds: int, options: Any) -> dict[str, Any]:
    """What `connect` needs for statements of at most so many seconds.

    None of them is spread over further processes of the server: to start these takes longer than a
    page's statements do. `options`: those that the address has for the server; they count more.
    """
    given = f" {options}" if isinstance(options, str) else ""
    limits = f"-c statement_timeout={seconds * 1000} -c max_parallel_workers_per_gather=0"
    return {
        "options": f"{limits}{given}",
        "answer_seconds": seconds + _LATER_SECONDS,
    }


@contextmanager
def allow(connection: Connection, seconds: int) -> Iterator[None]:
    """Let statements on a connection without transactions take so long during the block."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, BoundedConnection)
    before = raw.answer_seconds
    connection.execute(text(f"SET statement_timeout = {seconds * 1000}"))
    raw.answer_seconds = seconds + _LATER_SECONDS
    try:
        yield
    finally:
        if not raw.closed:
            connection.execute(text("RESET statement_timeout"))
            raw.answer_seconds = before
