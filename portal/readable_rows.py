"""What can still be read of a table of which pages are damaged.

Owns the way around them. The places where a table's rows lie are halved until each part can be read
as a whole or is a single place that can't: a page on PostgreSQL, a row on SQLite. A statement is
then made once for each part. It reads the whole table, so it is for what has just met damage.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Integer,
    func,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy.orm import Session

from portal.database import UNREADABLE, is_damage
from portal.models.base import Base

# More damage than this is no longer read around: each place costs a few statements.
_MOST: Final = 500
_WAYS: Final = ("seqscan", "indexscan", "indexonlyscan", "bitmapscan")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Readable:
    """The parts of a table that can be read, as conditions of a statement on it, and how many of
    its places can't: pages on PostgreSQL, rows on SQLite.
    """

    conditions: tuple[ColumnElement[bool], ...] = (true(),)
    unreadable: int = 0

    @contextmanager
    def parts(self, session: Session) -> Iterator[tuple[ColumnElement[bool], ...]]:
        """The conditions, one for each statement or part of one, for the block. Around damage
        PostgreSQL reads rows by their places in it, and by indexes alone from then on until the
        transaction's end: it would read a small table whole, damaged pages too.
        """
        if self is EVERYTHING:
            yield self.conditions
            return
        _use(session, by_place=True)
        yield self.conditions
        _use(session, by_place=False)


# A table without damage, as one part.
EVERYTHING: Final = Readable()


def around_damage(
    session: Session,
    table: type[Base],
    read: Callable[[Readable], Value],
    *,
    keep_transaction: bool = False,
) -> tuple[Value, int]:
    """What `read` returns, and how many places of the table it has passed over.

    It is called with the whole table, and where that meets damage again, with what can be read: in
    a new transaction, as the one before is rolled back, or with `keep_transaction` in the same one.
    Damage of other tables is raised.
    """
    try:
        if not keep_transaction:
            return read(EVERYTHING), 0
        with session.begin_nested():
            return read(EVERYTHING), 0
    except UNREADABLE as error:
        if not is_damage(error):
            raise
        if not keep_transaction:
            session.rollback()
    readable = of(session, table.__tablename__)
    return read(readable), readable.unreadable


def beside(session: Session, read: Callable[[Session], Value]) -> Value:
    """What `read` returns, beside the caller's transaction, which goes on where it meets damage: in
    a savepoint, or on SQLite, where a transaction that has met damage commits nothing any more,
    with a session of its own that sees what is committed.
    """
    engine = session.get_bind().engine
    if engine.dialect.name == "sqlite":
        with Session(engine.execution_options(pleura_snapshot=True)) as own:
            return read(own)
    with session.begin_nested():
        return read(session)


def of(session: Session, table: str) -> Readable:
    """The parts of a table that can be read, as connections of their own find them: SQLite makes no
    change any more in a transaction that has met damage.
    """
    engine = session.get_bind().engine
    is_sqlite = engine.dialect.name == "sqlite"
    found = list[tuple[int, int]]()
    with _reading(engine) as connection:
        ends = _of_rows(connection, table) if is_sqlite else (0, _pages(connection, table))
    waiting, unreadable = [ends] if ends[0] < ends[1] else [], 0
    while waiting:
        first, end = waiting.pop()
        try:
            with _reading(engine) as connection:
                _read(connection, table, _within(table, is_sqlite, first, end))
        except UNREADABLE as error:
            if not is_damage(error) or unreadable == _MOST:
                raise
            if end - first == 1:
                unreadable += 1
            else:
                middle = (first + end) // 2
                waiting += [(middle, end), (first, middle)]  # the last is taken first
            continue
        # SQLite reads one row further than a part, so parts stay as they were tried.
        if found and found[-1][1] == first and not is_sqlite:
            first = found.pop()[0]
        found.append((first, end))
    return Readable(tuple(_within(table, is_sqlite, *part) for part in found), unreadable)


@contextmanager
def _reading(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        connection = connection.execution_options(pleura_snapshot=True)
        with connection.begin():
            yield connection


def by_index(session: Session) -> None:
    """Let PostgreSQL find rows by indexes alone until the transaction's end: it would read a small
    table whole, damaged pages too.
    """
    _use(session, by_place=False)


def _use(connection: Session | Connection, *, by_place: bool) -> None:
    bind = connection.get_bind() if isinstance(connection, Session) else connection
    if bind.dialect.name != "postgresql":
        return
    for way in _WAYS:
        is_on = way != "seqscan" and not by_place
        connection.execute(text(f"SET LOCAL enable_{way} = {'on' if is_on else 'off'}"))
    # To plan one, the rows at the ends of an index are read.
    connection.execute(text("SET LOCAL enable_mergejoin = off"))


def _pages(connection: Connection, table: str) -> int:
    size = text(
        "SELECT pg_relation_size(CAST(:name AS regclass)) "
        "/ CAST(current_setting('block_size') AS bigint)"
    )
    return int(connection.scalar(size, {"name": table}) or 0)


def _of_rows(connection: Connection, table: str) -> tuple[int, int]:
    """Between which numbers SQLite's rows lie, from an index: the table's own ends may be damaged.

    Only a table whose key is its rows' number has no index; its ends are read themselves.
    """
    indexes = text("SELECT name FROM pragma_index_list(:name) WHERE NOT partial ORDER BY seq")
    names = connection.scalars(indexes, {"name": table}).all()
    hint = f' INDEXED BY "{names[-1]}"' if names else ""
    rowid = literal_column("rowid", Integer())
    ends = select(func.min(rowid), func.max(rowid)).select_from(text(f"{table}{hint}"))
    first, last = connection.execute(ends).one()
    return (0, 0) if first is None else (first, last + 1)


def _read(connection: Connection, table: str, where: ColumnElement[bool]) -> None:
    hint = " NOT INDEXED" if connection.dialect.name == "sqlite" else ""
    rows = select(func.count()).select_from(text(f"{table}{hint}"))
    _use(connection, by_place=True)
    connection.execute(rows.where(where))


def _within(table: str, is_sqlite: bool, first: int, end: int) -> ColumnElement[bool]:
    if not is_sqlite:
        where = f"({table}.ctid >= '({first},0)' AND {table}.ctid < '({end},0)')"
    elif end - first == 1:  # by its number alone, or the row after it would be read too
        where = f"{table}.rowid = {first}"
    else:
        where = f"({table}.rowid >= {first} AND {table}.rowid < {end})"
    return literal_column(where)  # of no type: as a Boolean SQLite would get it with `= 1`
