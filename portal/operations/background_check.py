"""The check of stored data that runs beside everything else: structure, and a sample of the cases.

A whole check is `vault verify`. This one is short enough to be made every hour.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Engine, text

from portal import database
from portal.operations import integrity
from portal.vault import Vault

_STUDIES: Final = 10
_MOST: Final = 20


def problems(engine: Engine, vault: Vault) -> list[str]:
    """What is damaged, named by tables and ids; empty where nothing was found."""
    found = structure(engine)
    with database.sessions(engine)() as session:
        found += [str(one) for one in integrity.sample(session, vault, _STUDIES).findings]
    return found


def structure(engine: Engine) -> list[str]:
    """What the database finds damaged in itself. SQLite reads all its pages; PostgreSQL counts the
    pages that it has read and whose checksum was wrong.
    """
    try:
        with database.snapshot(engine) as connection:
            if engine.dialect.name == "sqlite":
                lines = connection.exec_driver_sql(f"PRAGMA quick_check({_MOST})").scalars().all()
                return [f"database: {line}" for line in _split(lines) if line != "ok"]
            failures = connection.scalar(
                text(
                    "SELECT checksum_failures FROM pg_stat_database "
                    "WHERE datname = current_database()"
                )
            )
            return [f"database: {failures} pages with a wrong checksum"] if failures else []
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        return ["database: it can't be read to its end"]


def _split(lines: Sequence[str]) -> list[str]:
    """SQLite puts several findings into one text, after a heading."""
    return [one for line in lines for one in line.splitlines() if not one.startswith("***")]
