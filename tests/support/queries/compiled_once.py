"""Statements are compiled once a process, as in a running portal, and not anew in each test.

A test has an engine of its own, and SQLAlchemy keeps what it compiled by engine: a quarter of the
tests' time went into compiling the same few hundred statements again.
"""

from typing import Any

from sqlalchemy import Connection, event
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Engine

_COMPILED: dict[Any, Any] = {}


def _is_alike(one: object, other: object) -> bool:
    return type(one) is type(other)


def _by_class(one: object) -> int:
    return hash(type(one))


def share() -> None:
    """From now on all engines of this process use what one of them has compiled.

    The key of a compiled statement holds its dialect: two of the same class count as the same, all
    servers of a run being of one version.
    """
    for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):
        dialect.__eq__ = _is_alike  # type: ignore[method-assign, assignment]
        dialect.__hash__ = _by_class  # type: ignore[method-assign, assignment]
    event.listen(Engine, "engine_connect", _use)


def _use(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_COMPILED)
