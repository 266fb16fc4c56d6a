"""Engines and sessions, inside Flask and outside of it, and the schema's version.

On SQLite a transaction takes the write lock when it begins: nearly every one writes (the audit
row at least), and a reader that turns writer later can fail without waiting. WAL keeps other
processes' snapshots readable meanwhile, and nobody waits longer than `_BUSY_SECONDS`.
"""

import contextlib
import functools
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    Connection,
    CursorResult,
    Engine,
    Float,
    Result,
    create_engine,
    event,
    literal,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute, Session, sessionmaker
from sqlalchemy.sql.functions import FunctionElement

from portal import postgres
from portal.models.base import Base, UtcDateTime
from portal.settings import Settings, SettingsError

# How long a transaction waits for another's end on SQLite, and between two looks at the write lock.
_BUSY_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.01
MIGRATIONS: Final = Path(__file__).resolve().parents[1] / "migrations"

# What reading a damaged row raises: the database's own finding, or a value of another kind.
UNREADABLE: Final = (DBAPIError, ValueError, LookupError, TypeError)
_SQLITE_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)
_POSTGRES_DAMAGE: Final = ("XX001", "XX002", "58030")  # data, index corrupted; input or output
Key = TypeVar("Key")
Row = TypeVar("Row")


@event.listens_for(Engine, "do_connect")
def _connect(dialect: Any, _record: Any, args: Any, options: dict[str, Any]) -> Any:
    """To PostgreSQL by a connection that waits for a limited time."""
    return postgres.connect(*args, **options) if dialect.driver == "psycopg" else None


@event.listens_for(Engine, "connect")
def _set_up_connection(connection: Any, _record: Any) -> None:
    """Prepare a raw SQLite connection; look at the encoding of PostgreSQL's.

    Called before SQLAlchemy reads anything: in SQL_ASCII it would get bytes for texts.
    """
    if isinstance(connection, postgres.BoundedConnection):
        _refuse_encoding(connection.info.parameter_status("server_encoding"))
    if not isinstance(connection, sqlite3.Connection):
        return
    connection.isolation_level = None  # the driver would begin transactions of its own kind
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {_milliseconds(_BUSY_SECONDS)}",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
        "secure_delete = ON",  # what is deleted or changed is overwritten in the file
        "recursive_triggers = ON",  # a row that REPLACE removes counts as deleted
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@event.listens_for(Engine, "begin")
def _begin(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        if connection.get_execution_options().get("pleura_snapshot", False):
            connection.exec_driver_sql("BEGIN")
        else:
            _begin_writing(connection)


def _begin_writing(connection: Connection) -> None:
    """Take the write lock of SQLite, beside others who take it all the time.

    SQLite itself would look every tenth of a second in the end: beside somebody who lets go of the
    lock for a millisecond only, it waits in vain. So it is asked for short waits, again and again.
    """
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    end = time.monotonic() + _BUSY_SECONDS
    raw.execute(f"PRAGMA busy_timeout = {_milliseconds(_LOOK_SECONDS)}")
    try:
        while time.monotonic() < end:
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break  # asked once more below, for SQLAlchemy's own error
            else:
                return
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        raw.execute(f"PRAGMA busy_timeout = {_milliseconds(_BUSY_SECONDS)}")


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _refuse_encoding(encoding: str | None) -> None:
    if encoding != "UTF8":
        raise SettingsError(
            [
                f"DATABASE_URL: the database stores texts in {encoding}, which can't hold all "
                "names. Make it anew: createdb --template=template0 --encoding=UTF8 NAME"
            ]
        )


def open_engine(settings: Settings, statement_seconds: int | None = None) -> Engine:
    """An engine for the command line, the scheduler and tests. Without `statement_seconds` a
    statement may take its time, and who asks a frozen server waits for ever.
    """
    return create_engine(settings.database_url, **_engine_options(settings, statement_seconds))


def request_engine_options(settings: Settings) -> dict[str, Any]:
    """What create_engine needs beside the address for requests, whose threads are few: no
    statement takes longer than the settings allow, whether the server answers or not.
    """
    return _engine_options(settings, settings.statement_seconds)


def _engine_options(settings: Settings, statement_seconds: int | None) -> dict[str, Any]:
    if settings.database_url.startswith("sqlite"):
        return {"hide_parameters": True}
    query = make_url(settings.database_url).query
    network = {name: value for name, value in postgres.NETWORK.items() if name not in query}
    limited: dict[str, Any] = {}
    if statement_seconds is not None:
        limited = postgres.statement_limit(statement_seconds, query.get("options"))
    return {
        "hide_parameters": True,  # an error's text does not quote what was sent
        "pool_pre_ping": True,
        "max_overflow": 20,  # more than the web server has threads
        "connect_args": {**network, **settings.database_tls, **limited},
    }


def sessions(engine: Engine) -> sessionmaker[Session]:
    """Sessions that keep loaded rows readable after their commit."""
    return sessionmaker(engine, expire_on_commit=False)


def commit(session: Session) -> None:
    """Commit where files belong to the rows, outside of whatever removes files after an error.

    An error here can be an answer that was lost: the rows may stand. The files stay then; if the
    rows don't, the sweep finds files that no row names.
    """
    try:
        session.commit()
    except BaseException:
        session.rollback()
        raise


class DatabaseTime(FunctionElement[datetime]):
    """So many seconds from now, by the database's clock: one clock for all processes of a portal.

    It is the time at which the statement runs, not the one at which its transaction began.
    """

    name = "database_time"
    inherit_cache = True
    type = UtcDateTime()

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(literal(seconds, Float()))


@compiles(DatabaseTime, "postgresql")
def _on_postgresql(element: DatabaseTime, compiler: Any, **options: Any) -> str:
    seconds = compiler.process(element.clauses, **options)
    return f"(clock_timestamp() + {seconds} * interval '1 second')"


@compiles(DatabaseTime, "sqlite")
def _on_sqlite(element: DatabaseTime, compiler: Any, **options: Any) -> str:
    # Six digits, as the driver stores times: they are compared as text.
    seconds = compiler.process(element.clauses, **options)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {seconds} || ' seconds')"


def is_damage(error: BaseException) -> bool:
    """Whether an error of `UNREADABLE` is about stored data, not a database away or busy."""
    if not isinstance(error, DBAPIError):
        return isinstance(error, UNREADABLE)
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", None)
        if code is None:  # the driver's own: a text that is none
            return str(error.orig).startswith("Could not decode")
        return code & 0xFF in _SQLITE_DAMAGE
    return getattr(error.orig, "sqlstate", None) in _POSTGRES_DAMAGE


def read_readable(
    session: Session, ids: Sequence[Key], read: Callable[[Sequence[Key]], dict[Key, Row]]
) -> tuple[dict[Key, Row], set[Key]]:
    """What `read` returns for these ids, and the ids whose rows are damaged.

    All are read at once; where that meets damage, each by itself. Then the session is rolled back:
    only for what changes nothing.
    """
    try:
        return read(ids), set()
    except UNREADABLE as error:
        if not is_damage(error):
            raise
        session.rollback()
    found, damaged = dict[Key, Row](), set[Key]()
    for one in ids:
        try:
            found |= read([one])
        except UNREADABLE as error:
            if not is_damage(error):
                raise
            session.rollback()
            damaged.add(one)
    return found, damaged


def lock_table(session: Session, table: type[Base]) -> None:
    """Wait until nobody else has changes of a table open, and let nobody begin one until the end.

    For a decision that rests on several rows or on there being none, and that no constraint
    expresses. Readers go on. Call it before anything is read for the decision. SQLite does it for
    every transaction.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"LOCK TABLE {table.__tablename__} IN SHARE ROW EXCLUSIVE MODE"))


def insert_if_new(
    session: Session, table: type[Base], key: InstrumentedAttribute[Any], **values: Any
) -> bool:
    """Insert a row unless one with this unique key is there; whether it was inserted.

    Of two who insert it at once the later waits for the earlier's commit, and inserts nothing.
    """
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    row = dialect.insert(table).values(**values).on_conflict_do_nothing(index_elements=[key])
    return session.scalar(row.returning(key)) is not None


def rows_changed(result: Result[Any]) -> int:
    """How many rows an UPDATE or DELETE has changed; TypeError for the result of a query."""
    if not isinstance(result, CursorResult):
        raise TypeError("the statement changes no rows")
    return result.rowcount


@contextlib.contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection that sees the whole database as it was at one moment; writers go on."""
    with engine.connect() as connection:
        connection = connection.execution_options(**_of_one_moment(engine))
        with connection.begin():
            yield connection


def read_one_moment(session: Session) -> None:
    """Begin a transaction that reads the whole database as it is at one moment; writers go on.

    A session within its caller's transaction stays in that one.
    """
    bind = session.get_bind()
    if isinstance(bind, Engine):
        session.connection(execution_options=_of_one_moment(bind))


def begin_reading(session: Session) -> None:
    """Begin a transaction that only reads, unless one is open: on SQLite it takes no lock, so that
    it waits for nobody and nobody for it. What is decided by it is decided again where it is
    written, as on PostgreSQL, where others write between any two queries.
    """
    bind = session.get_bind()
    if isinstance(bind, Engine) and bind.dialect.name == "sqlite" and not session.in_transaction():
        session.connection(execution_options={"pleura_snapshot": True})


def _of_one_moment(engine: Engine) -> dict[str, Any]:
    if engine.dialect.name == "sqlite":  # in WAL mode a reader keeps what it saw first
        return {"pleura_snapshot": True}
    return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


@contextlib.contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """A transaction in which tables may change.

    SQLite alters a table by copying it, and dropping the old one would count as deleting its rows:
    so foreign keys are not looked at meanwhile, and all together before the commit.
    """
    with engine.connect() as connection:
        raw: Any = connection.connection.driver_connection
        is_sqlite = engine.dialect.name == "sqlite"
        if is_sqlite:
            raw.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                yield connection
                if is_sqlite and raw.execute("PRAGMA foreign_key_check").fetchone():
                    raise RuntimeError("a migration left a row that names one that is not there")
        finally:
            if is_sqlite:
                raw.execute("PRAGMA foreign_keys = ON")


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the schema to a revision."""
    with migrating(engine) as connection:
        upgrade_within(connection, revision)


def upgrade_within(connection: Connection, revision: str = "head") -> None:
    """The same in a transaction of `migrating` that does more."""
    command.upgrade(_config(connection), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the schema back to a revision (`base` for nothing)."""
    with migrating(engine) as connection:
        downgrade_within(connection, revision)


def downgrade_within(connection: Connection, revision: str) -> None:
    """The same in a transaction of `migrating` that does more."""
    command.downgrade(_config(connection), revision)


def is_before(revision: str) -> bool:
    """Whether this code's schema has grown out of that revision."""
    scripts = ScriptDirectory(str(MIGRATIONS))
    return revision in {script.revision for script in scripts.walk_revisions()}


def revisions(engine: Engine) -> tuple[str | None, str | None]:
    """The revision that the database has and the one that this code needs."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision(), head()


@functools.cache  # every question whether the portal is ready asks for it, and files are read
def head() -> str | None:
    """The revision that this code needs."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


def checks_its_pages(engine: Engine) -> bool:
    """Whether the database can tell a damaged page: PostgreSQL only where it keeps checksums.

    Without them it counts no page as wrong, whatever stands in it. SQLite reads its structure.
    """
    if engine.dialect.name == "sqlite":
        return True
    with engine.connect() as connection:
        return bool(connection.scalar(text("SHOW data_checksums")) == "on")


def schema_is_current(engine: Engine) -> bool:
    """Whether the database has the tables that this code expects."""
    found, needed = revisions(engine)
    return found == needed


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config
