"""The checks that run beside everything else: of stored data each hour, of the access log each day.

A whole check of stored data is `vault verify`; this one reads the database's pages and a sample of
the cases. The log is checked whole, as by `audit verify`.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Engine, exists, inspect, select, text
from sqlalchemy.orm import Session

from portal import database, readable_rows
from portal.audit import anchored_check, chain
from portal.models import AuditLink
from portal.operations import integrity
from portal.settings import Settings
from portal.vault import Vault

_STUDIES: Final = 10
_MOST: Final = 20
# Rows that waited because there was no scheduler are linked within seconds once there is one.
_LINKED_WITHIN: Final = 60.0


def problems(engine: Engine, vault: Vault) -> list[str]:
    """What is damaged, named by tables and ids; empty where nothing was found."""
    found = structure(engine)
    with database.sessions(engine)() as session:
        found += [str(one) for one in integrity.sample(session, vault, _STUDIES).findings]
    return found


def problems_of_log(engine: Engine, settings: Settings, now: datetime) -> list[str]:
    """What contradicts the access log, its anchors or the records that it binds.

    That rows have waited for long to be linked is none if they can be: there may have been no
    scheduler meanwhile. Where the first of them still waits after a minute of linking, nobody can.
    """
    with database.sessions(engine)() as session:
        checked = anchored_check.check(session, settings, now)
        seq = checked.log.first_bad
        only_late = checked.log.is_late and seq is not None and _is_linked_soon(session, seq)
    found = [*checked.log.bad_records] if only_late else checked.log.findings
    found += [one for one in (checked.refused, checked.contradiction) if one]
    return [f"access log: {one}" for one in found[:_MOST]]


def _is_linked_soon(session: Session, seq: int) -> bool:
    """Whether a row of the log comes into the chain, by this process or another that links."""
    end = time.monotonic() + _LINKED_WITHIN
    while True:
        chain.link(session)
        is_linked = session.scalar(select(exists().where(AuditLink.seq == seq)))
        session.commit()
        if is_linked or time.monotonic() > end:
            return bool(is_linked)
        time.sleep(1)


def structure(engine: Engine) -> list[str]:
    """What the database finds damaged in itself. Both kinds read all pages of the tables;
    PostgreSQL notices of most damage only where `database.checks_its_pages` is true, and has
    counted the wrong checksums of whatever it has read.
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
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        return ["database: it can't be read to its end"]
    found = [f"database: {failures} pages with a wrong checksum"] if failures else []
    return found + _damaged_tables(engine)


def _damaged_tables(engine: Engine) -> list[str]:
    """The tables of PostgreSQL with pages that can't be read."""
    found = list[str]()
    for table in inspect(engine).get_table_names():
        with database.sessions(engine)() as session:
            try:
                pages = readable_rows.of(session, table).unreadable
            except database.UNREADABLE as error:
                if not database.is_damage(error):
                    raise
                found.append(f"database: very many pages of {table} can't be read")
                continue
        if pages:
            found.append(f"database: pages of {table} that can't be read: {pages}")
    return found


def _split(lines: Sequence[str]) -> list[str]:
    """SQLite puts several findings into one text, after a heading."""
    return [one for line in lines for one in line.splitlines() if not one.startswith("***")]
