"""Damage to an SQLite file, as a failing disk leaves it."""

import sqlite3
from pathlib import Path

from sqlalchemy import Engine


def overwrite_pages(engine: Engine, *values: bytes) -> int:
    """Overwrite every page of the database's file that holds one of these values; how many."""
    path = Path(str(engine.url.database))
    engine.dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    data = bytearray(path.read_bytes())
    pages = {at // size for value in values for at in _places(data, value)}
    for page in pages:
        data[page * size : (page + 1) * size] = b"\xff" * size
    path.write_bytes(data)
    return len(pages)


def _places(data: bytearray, value: bytes) -> list[int]:
    found, at = [], data.find(value)
    while at >= 0:
        found.append(at)
        at = data.find(value, at + 1)
    return found
