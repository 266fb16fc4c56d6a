"""Restore: a backup goes into an empty host, whole or not at all.

The file is read to its end and checked before anything is touched. Rows go in by one transaction,
files beside the vault; only when counts, digests and the chain of the access log are equal to what
was backed up, the files become the vault's and the rows are committed. A backup of a version before
goes into the tables of that version, which are then migrated; `upgrade` does the rest.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, Table, delete, func, inspect, select, update
from sqlalchemy.orm import Session

from portal import audit, database
from portal.audit import anchors, chain, first_bindings, first_seals, verification
from portal.models import (
    ApiToken,
    AuditHead,
    Blob,
    BreakGlass,
    DicomNode,
    ExamLinkKey,
    Hl7Node,
    Invitation,
    LoginSession,
    QuarantinedFile,
    ReportTarget,
    WorkerToken,
)
from portal.operations.backup import RING_MARK, ReportProgress
from portal.operations.encrypted_stream import Opener, UnusableBackup
from portal.operations.table_dump import TABLES, digest_of, parse, tables_of
from portal.vault import NotReadable, Vault

# Tables in which a new host already has rows.
_OWN: Final = frozenset({"audit_head", "audit_writers", "workers"})
_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a backup."""

    made_at: datetime
    revision: str
    ring: str
    ring_keys: frozenset[str]
    tables: dict[str, dict[str, Any]]
    blobs: dict[str, Any]
    missing: list[str]
    gone: list[str]
    log: dict[str, Any]

    @property
    def rows(self) -> int:
        """All rows of all tables."""
        return sum(int(table["rows"]) for table in self.tables.values())


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, and whether the access log in it is whole: it may have been broken before
    the backup, which is no reason to lose the pictures."""

    contents: Contents
    log: verification.Verification


def check(path: Path, key: str) -> Contents:
    """Read a backup to its end; UnusableBackup if it is damaged, cut off or under another key."""
    first, last = dict[str, Any](), dict[str, Any]()
    rows, files, digest = dict[str, int](), 0, hashlib.sha256()
    for name, data in _members(path, key):
        if name == "manifest.json":
            first = json.loads(data)
        elif name == "end.json":
            last = json.loads(data)
        elif name.startswith("tables/"):
            table = name.split("/")[1]
            rows[table] = rows.get(table, 0) + data.count(b"\n")
        else:
            digest.update(name.removeprefix("blobs/").encode() + hashlib.sha256(data).digest())
            files += 1
    if not first or not last:
        raise UnusableBackup("The backup is cut off: its end is missing.")
    found = {"files": files, "sha256": digest.hexdigest()}
    counts = {name: table["rows"] for name, table in last["tables"].items() if table["rows"]}
    if found != last["blobs"] or rows != counts:
        raise UnusableBackup("The backup's contents do not match its own list.")
    return Contents(
        made_at=datetime.fromisoformat(first["made_at"]),
        revision=first["revision"],
        ring=first["ring"],
        ring_keys=frozenset(first["ring_keys"]),
        **{name: last[name] for name in ("tables", "blobs", "missing", "gone", "log")},
    )


def restore(
    engine: Engine, vault: Vault, key: str, path: Path, now: datetime, *, progress: ReportProgress
) -> Restored:
    """Put a backup into an empty host; UnusableBackup, with nothing changed, where that can't be.

    Login sessions, links, API tokens and workers' tokens of the backup end, because some may have
    been ended since. `progress(done, all)` is called
    for each encrypted file.
    """
    contents = check(path, key)
    if contents.ring != vault.lookup("backup", RING_MARK):
        raise UnusableBackup("The key ring of this host is not the one that the backup belongs to.")
    lacking = sorted(contents.ring_keys - vault.key_ids)
    if lacking:
        raise UnusableBackup(
            f"The key ring lacks keys that the backup needs: {', '.join(lacking)}."
        )
    _prepare(engine, vault, contents)
    vault.discard()  # left by a killed restore
    adopted = False
    try:
        with database.migrating(engine) as connection:
            if contents.revision != database.head():
                database.downgrade_within(connection, contents.revision)
            tables = {table.name: table for table in tables_of(connection)}
            _fill(connection, tables, vault, key, path, contents, progress)
            _compare(connection, tables, vault, contents)
            database.upgrade_within(connection)
            log = _follow_log(connection, contents)
            _settle(connection, contents, now)
            vault.adopt()
            adopted = True
    except BaseException:
        vault.discard()
        if adopted:
            vault.give_up_adopted()
        raise
    return Restored(contents, log)


def _members(path: Path, key: str) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of everything inside, each authenticated before it is handed on."""
    try:
        with path.open("rb") as stream:
            opener = Opener(stream, key)
            with tarfile.open(fileobj=opener, mode="r|") as tar:
                for member in tar:
                    body = tar.extractfile(member)
                    if body is None:
                        raise UnusableBackup("The backup holds something that is not a file.")
                    yield member.name, body.read()
            opener.drain()
    except tarfile.TarError:
        raise UnusableBackup("The backup is damaged inside.") from None
    except OSError as error:
        raise UnusableBackup(f"The backup can't be read ({error.strerror}).") from None


def _prepare(engine: Engine, vault: Vault, contents: Contents) -> None:
    """Refuse a host that was used before; make the tables where there are none."""
    if not vault.is_empty():
        raise UnusableBackup("The data folder holds encrypted files: restore into an empty one.")
    there = set(inspect(engine).get_table_names())
    found, head = database.revisions(engine)
    if not database.is_before(contents.revision):
        raise UnusableBackup(
            f"The backup has the schema {contents.revision}, which this version does not know: "
            "restore it with the version that made it."
        )
    if there & {table.name for table in TABLES}:
        if found != head:
            raise UnusableBackup("The database has an old schema: restore into an empty one.")
        with engine.connect() as connection:
            for table in TABLES:
                if table.name not in _OWN and connection.scalar(
                    select(func.count()).select_from(table)
                ):
                    raise UnusableBackup(
                        f"The database is not empty ({table.name}): restore into an empty one."
                    )
    else:
        database.upgrade(engine)


def _fill(
    connection: Connection,
    by_name: dict[str, Table],
    vault: Vault,
    key: str,
    path: Path,
    contents: Contents,
    progress: ReportProgress,
) -> None:
    for name in _OWN & by_name.keys():
        connection.execute(delete(by_name[name]))
    files = 0
    for name, data in _members(path, key):
        if name.startswith("tables/"):
            table = by_name[name.split("/")[1]]
            rows = [parse(table, line) for line in data.splitlines()]
            for start in range(0, len(rows), _AT_ONCE):
                connection.execute(table.insert(), rows[start : start + _AT_ONCE])
        elif name.startswith("blobs/"):
            vault.stage(name.removeprefix("blobs/"), data)
            files += 1
            progress(files, contents.blobs["files"])


def _compare(
    connection: Connection, tables: dict[str, Table], vault: Vault, contents: Contents
) -> None:
    """Read everything back: rows and files equal the backup's."""
    for name, table in tables.items():
        if digest_of(connection, table).as_json() != contents.tables.get(name):
            raise UnusableBackup(f"The table {name} is not the same after the restore.")
    digest = hashlib.sha256()
    absent = set(contents.missing) | set(contents.gone)
    holders = [tables[name] for name in ("blobs", "quarantined_files") if name in tables]
    names = [name for one in holders for name in connection.scalars(select(one.c.name))]
    for name in sorted(names):
        if name not in absent:
            try:
                sealed = vault.staged_file(name)
            except (OSError, NotReadable):
                raise UnusableBackup("A file is not the same after the restore.") from None
            digest.update(name.encode() + hashlib.sha256(sealed).digest())
    if digest.hexdigest() != contents.blobs["sha256"]:
        raise UnusableBackup("A file is not the same after the restore.")


def _follow_log(connection: Connection, contents: Contents) -> verification.Verification:
    """Verify the access log up to the end that the backup states."""
    with Session(connection, join_transaction_mode="create_savepoint") as session:
        first_seals.seal(session)  # of a version before
        found = verification.verify(session, records=first_bindings.are_made(session))
        head = session.execute(select(AuditHead.count, AuditHead.mac)).first()
    if head is not None and (head[0], head[1]) != (contents.log["rows"], contents.log["mac"]):
        raise UnusableBackup("The access log in the backup does not end as its list states.")
    return found


def _settle(connection: Connection, contents: Contents, now: datetime) -> None:
    """Adapt the rows to another host at a later time."""
    with Session(connection, join_transaction_mode="create_savepoint") as session:
        ended = _end_ways_in(session, now)
        if contents.gone:  # purged or swept while the backup was made
            for table in (Blob, QuarantinedFile):
                session.execute(delete(table).where(table.name.in_(contents.gone)))
        detail = {
            "made_at": contents.made_at.isoformat(),
            "rows": contents.rows,
            "files": contents.blobs["files"],
            anchors.LINKED_ROWS: contents.log["rows"],
            **ended,
        }
        audit.go_on_numbering(session)
        audit.append(session, anchors.RESTORED, now=now, detail=detail)
        chain.link(session)


def _end_ways_in(session: Session, now: datetime) -> dict[str, int]:
    """End sessions, links, tokens and keys of the backup, and switch its nodes off: what was ended
    or switched off since would come back. Returns how many of each.
    """
    ways = {
        "sessions": update(LoginSession)
        .where(LoginSession.ended_at.is_(None))
        .values(ended_at=now)
        .returning(LoginSession.id),
        "links": update(Invitation)
        .where(Invitation.used_at.is_(None), Invitation.expires > now)
        .values(expires=now)
        .returning(Invitation.id),
        "tokens": update(ApiToken)
        .where(ApiToken.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(ApiToken.id),
        "worker_tokens": update(WorkerToken)
        .where(WorkerToken.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(WorkerToken.id),
        "grants": update(BreakGlass)
        .where(BreakGlass.ended_at.is_(None), BreakGlass.expires > now)
        .values(ended_at=now)
        .returning(BreakGlass.id),
        "link_keys": update(ExamLinkKey)
        .where(ExamLinkKey.ended_at.is_(None))
        .values(ended_at=now)
        .returning(ExamLinkKey.id),
        "dicom_nodes": update(DicomNode)
        .where(DicomNode.disabled_at.is_(None))
        .values(disabled_at=now)
        .returning(DicomNode.id),
        "hl7_nodes": update(Hl7Node)
        .where(Hl7Node.disabled_at.is_(None))
        .values(disabled_at=now)
        .returning(Hl7Node.id),
        "report_targets": update(ReportTarget)
        .where(ReportTarget.disabled_at.is_(None))
        .values(disabled_at=now)
        .returning(ReportTarget.id),
    }
    return {name: len(session.scalars(way).all()) for name, way in ways.items()}
