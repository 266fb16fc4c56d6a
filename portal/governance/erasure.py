"""What is done so that values which a transaction has destroyed are in no file of the database.

An UPDATE leaves the old value behind: SQLite in its log and in unused parts of its file, PostgreSQL
in row versions that nobody sees any more. This room's purges write their proof after this.
"""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from portal import postgres
from portal.governance import byte_search

# All that a purge deletes rows of, or empties columns of: their old versions have what it destroys.
TABLES: Final = (
    *("studies", "instances", "study_names", "blobs", "review_drafts", "outline_drafts"),
    *("dicom_objects", "dicom_sent_objects", "dicom_asked_objects", "arrivals"),
    "quarantined_files",
    *("hospital_orders", "hospital_reports", "report_sends"),
)
# Whoever writes waits for a checkpoint that waits for readers, so it does not wait for long.
_WAIT_SECONDS: Final = 1.0
_SEARCH_SECONDS: Final = 600
_VACUUM_SECONDS: Final = 600  # large tables; longer than a statement of a request usually may


class NotErased(Exception):
    """Old values are still in the database's files, or may be. To be tried again later."""


def erase(session: Session, marks: Sequence[bytes]) -> dict[str, Any]:
    """Clear old values out of the database's files; what was done, for a proof.

    The session has no open transaction. `marks` are bytes of destroyed values: on SQLite its files
    are searched for them. Raises NotErased as long as a reader still sees the old values.
    """
    engine = session.get_bind().engine
    if engine.dialect.name == "sqlite":
        return _erase_in_files(engine, marks)
    return _vacuum(engine)


def _erase_in_files(engine: Engine, marks: Sequence[bytes]) -> dict[str, Any]:
    path = Path(str(engine.url.database)).resolve()
    _checkpoint(engine)
    found, size = _search(path, marks)
    vacuumed = found > 0
    if vacuumed:  # a row that moved to another page before may have left a copy in the old one
        _run(engine, "VACUUM")
        _checkpoint(engine)
        found, size = _search(path, marks)
    if found:
        raise NotErased
    done = ["secure_delete", "wal_truncated", *(["vacuumed"] if vacuumed else [])]
    return {
        "database": "sqlite",
        "done": done,
        "searched": {"values": len(marks), "bytes": size, "found": found},
        "not_covered": ["freed_disk_blocks", "backups"],
    }


def _checkpoint(engine: Engine) -> None:
    """Write the log into the file and cut it to nothing."""
    if _run(engine, "PRAGMA wal_checkpoint(TRUNCATE)")[0] != 0:
        raise NotErased


def _run(engine: Engine, statement: str) -> Any:
    """One statement outside of any transaction; its first row."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {round(_WAIT_SECONDS * 1000)}")
        return cursor.execute(statement).fetchone()
    except sqlite3.OperationalError:  # another connection is writing
        raise NotErased from None
    finally:
        connection.invalidate()  # the next one has its usual timeout again


def _search(path: Path, marks: Sequence[bytes]) -> tuple[int, int]:
    """How many of the marks are in the database's files, and how large these are.

    In a process of its own: a process that closes a database's file releases all of SQLite's locks
    on it.
    """
    found = subprocess.run(  # this interpreter, our own module  # noqa: S603  # nosec B603
        [sys.executable, "-I", byte_search.__file__, str(path)],
        input="\n".join(mark.hex() for mark in marks).encode(),
        capture_output=True,
        timeout=_SEARCH_SECONDS,
        check=False,
    )
    if found.returncode != 0:
        raise NotErased
    count, size = found.stdout.split()
    return int(count), int(size)


def _vacuum(engine: Engine) -> dict[str, Any]:
    """Free the row versions that nobody sees any more, once nobody does.

    A page that another connection is reading is passed over until the next VACUUM; the bytes of a
    freed version stay in its page until another row is written over them; the server's log and
    whatever follows it have them for longer. The proof names all of these.
    """
    notices = list[str]()
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # Whatever destroyed the values has a lower number.
        limit = connection.scalar(text("SELECT pg_snapshot_xmax(pg_current_snapshot())::text"))
        end = time.monotonic() + _WAIT_SECONDS
        while connection.scalar(_OLDER, {"limit": limit}):
            if time.monotonic() > end:
                raise NotErased
            time.sleep(0.05)
        raw: Any = connection.connection.driver_connection

        def note(notice: Any) -> None:
            notices.append(notice.severity_nonlocalized)

        raw.add_notice_handler(note)
        try:
            with postgres.allow(connection, _VACUUM_SECONDS):
                connection.execute(text(f"VACUUM {', '.join(TABLES)}"))
        finally:
            raw.remove_notice_handler(note)
    is_done = "WARNING" not in notices  # who does not own a table gets a warning and nothing else
    return {
        "database": "postgresql",
        "done": ["vacuumed"] if is_done else [],
        "not_covered": [
            *([] if is_done else ["row_versions"]),
            "pages_in_use",  # VACUUM waits for nobody who reads a page at this moment
            *("freed_page_space", "write_ahead_log", "replicas", "freed_disk_blocks", "backups"),
        ],
    }


# Whether anything may make VACUUM leave versions that a transaction below the limit has replaced.
# By numbers of transactions, which every role sees of all others; a transaction's start, for one,
# is hidden from a role without pg_read_all_stats, and a prepared one has no row there at all.
# 1. A transaction that has a number and has not ended: of any role and database, prepared ones too.
# 2. A snapshot that somebody holds, or a standby without a slot (no database).
# 3. A standby's snapshot that its slot holds, also while it is away. What a slot holds of the
#    catalogue (catalog_xmin) does not concern these tables.
# Once the first is false, every new snapshot is above the limit.
_OLDER: Final = text(
    "SELECT pg_snapshot_xmin(pg_current_snapshot()) < CAST(:limit AS xid8) "
    "OR EXISTS (SELECT FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
    "AND (datname = current_database() OR datname IS NULL) "
    "AND age(backend_xmin) > age(xid(CAST(:limit AS xid8)))) "
    "OR EXISTS (SELECT FROM pg_replication_slots "
    "WHERE age(xmin) > age(xid(CAST(:limit AS xid8))))"
)
