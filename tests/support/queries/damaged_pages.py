"""Damage to the files of a database, as a failing disk leaves it."""

import sqlite3
from pathlib import Path

from sqlalchemy import Engine, create_engine, text

_LEAF_OF_TABLE = 13


def overwrite_pages(engine: Engine, *values: bytes) -> int:
    """Overwrite every page of the database's file that holds one of these values; how many."""
    path, data, size = _file_of(engine)
    pages = {at // size for value in values for at in _places(data, value)}
    for page in pages:
        data[page * size : (page + 1) * size] = b"\xff" * size
    path.write_bytes(data)
    return len(pages)


def exchange_rows(engine: Engine, value: bytes) -> None:
    """Exchange the first two rows on a page of a table that holds this value."""
    path, data, size = _file_of(engine)
    starts = {at // size * size for at in _places(data, value)}
    start = min(at for at in starts if data[at] == _LEAF_OF_TABLE and data[at + 4] > 1)
    first, second = (slice(at, at + 2) for at in (start + 8, start + 10))
    data[first], data[second] = data[second], data[first]
    path.write_bytes(data)


def _file_of(engine: Engine) -> tuple[Path, bytearray, int]:
    """The file of SQLite with all that is in its log, what it holds, and the size of a page."""
    path = Path(str(engine.url.database))
    engine.dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    return path, bytearray(path.read_bytes()), size


def overwrite_page_of(engine: Engine, table: str, where: str, mark: str) -> None:
    """Overwrite the page on which a row of a table lies. `mark`: a text of the row that stands in
    no index, by which it is found in the file of SQLite.

    A server that has read a page of PostgreSQL keeps it; so its database is copied, file by file,
    and the copy takes its place.
    """
    if engine.dialect.name == "sqlite":
        assert overwrite_pages(engine, mark.encode()) == 1
        return
    with engine.connect() as connection:
        connection.execute(text("CHECKPOINT"))
        page = connection.scalar(
            text(f"SELECT (ctid::text::point)[0]::bigint FROM {table} WHERE {where}")
        )
        assert page is not None, "no row is there"
    engine.dispose()
    name = engine.url.database
    server = create_engine(engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}_copy TEMPLATE {name} STRATEGY file_copy"))
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        connection.execute(text(f"ALTER DATABASE {name}_copy RENAME TO {name}"))
    server.dispose()
    with engine.connect() as connection:
        folder, path, size = connection.execute(
            text(
                "SELECT current_setting('data_directory'), "
                f"pg_relation_filepath('{table}'), current_setting('block_size')::int"
            )
        ).one()
    with (Path(folder) / path).open("r+b") as file:
        file.seek(page * size)
        file.write(b"\xff" * size)


def _places(data: bytearray, value: bytes) -> list[int]:
    found, at = [], data.find(value)
    while at >= 0:
        found.append(at)
        at = data.find(value, at + 1)
    return found
