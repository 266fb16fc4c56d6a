"""Backup: one sealed file with every row and every encrypted file, made while the portal runs.

The rows are those of one moment (`database.snapshot`); the files that they name are copied after
it, sealed as they lie. The key ring is not in it, nor is the key that seals the backup. Inside is
a tar: `manifest.json`, `tables/NAME/N.jsonl`, `blobs/NAME`, and `end.json` with all counts.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Engine, select, union_all
from sqlalchemy.orm import Session

from portal import audit, database
from portal.models import (
    AuditHead,
    Blob,
    HospitalOrder,
    HospitalReport,
    Instance,
    QuarantinedFile,
    Study,
)
from portal.operations.encrypted_stream import Sealer
from portal.operations.table_dump import TABLES, TableDigest, lines
from portal.vault import NotReadable, Vault

RING_MARK: Final = "key-ring"
_PART: Final = 4 * 1024 * 1024

ReportProgress = Callable[[int, int], None]


@dataclass
class BackupSummary:
    """What a backup holds. `missing` are files that a row names and that are not there."""

    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    blobs: int = 0
    size: int = 0
    missing: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """All rows of all tables."""
        return sum(table["rows"] for table in self.tables.values())


def make(
    engine: Engine, vault: Vault, key: str, path: Path, now: datetime, *, progress: ReportProgress
) -> BackupSummary:
    """Write a backup to a new file; FileExistsError where it is there, OSError where it can't be.

    The file has its name only once it is whole and on the disk. `progress(done, all)` is called for
    each encrypted file.
    """
    if path.exists():
        raise FileExistsError(path)
    temporary = path.with_name(f".{path.name}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            summary = _write(engine, vault, key, stream, now, progress)
            stream.flush()
            os.fsync(stream.fileno())
        if path.exists():
            raise FileExistsError(path)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    with database.sessions(engine)() as session:
        detail = {"rows": summary.rows, "files": summary.blobs, "missing": len(summary.missing)}
        audit.append(session, "backup_made", now=now, detail=detail)
        session.commit()
    return summary


def _write(
    engine: Engine, vault: Vault, key: str, stream: Any, now: datetime, progress: ReportProgress
) -> BackupSummary:
    summary, sealer = BackupSummary(), Sealer(stream, key)
    with tarfile.open(fileobj=sealer, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        with database.snapshot(engine) as connection:
            _add(tar, "manifest.json", json.dumps(_manifest(connection, engine, vault, now)))
            for table in TABLES:
                summary.tables[table.name] = _add_table(tar, connection, table)
            named = sorted(
                connection.execute(
                    union_all(
                        select(Blob.name, Blob.instance_id),
                        select(QuarantinedFile.name, QuarantinedFile.id),
                    )
                ).all()
            )
            head = connection.execute(select(AuditHead.count, AuditHead.mac)).first()
        digest = hashlib.sha256()
        for done, (name, owner_id) in enumerate(named, 1):
            try:
                sealed = vault.sealed_file(name)
            except NotReadable:
                (summary.missing if _is_named(engine, name, owner_id) else summary.gone).append(
                    name
                )
                continue
            _add(tar, f"blobs/{name}", sealed)
            digest.update(name.encode() + hashlib.sha256(sealed).digest())
            summary.blobs, summary.size = summary.blobs + 1, summary.size + len(sealed)
            progress(done, len(named))
        end = {
            "tables": summary.tables,
            "blobs": {"files": summary.blobs, "sha256": digest.hexdigest()},
            "missing": summary.missing,
            "gone": summary.gone,
            "log": {"rows": head[0], "mac": head[1]} if head else {"rows": 0, "mac": ""},
        }
        _add(tar, "end.json", json.dumps(end))
    sealer.finish()
    return summary


def _manifest(
    connection: Connection, engine: Engine, vault: Vault, now: datetime
) -> dict[str, Any]:
    tables = (Instance, QuarantinedFile, HospitalOrder, HospitalReport)
    named = select(Study.key_id).union(*(select(table.key_id) for table in tables))
    keys = connection.scalars(named).all()
    return {
        "made_at": now.isoformat(),
        "revision": database.revisions(engine)[0],
        # Identifies the key ring; nothing of its keys follows from it.
        "ring": vault.lookup("backup", RING_MARK),
        "ring_keys": sorted(key for key in keys if key),
    }


def _add_table(tar: tarfile.TarFile, connection: Connection, table: Any) -> dict[str, Any]:
    counted, part, number = TableDigest(), bytearray(), 0
    for line in lines(connection, table):
        counted.add(line)
        part += line
        if len(part) >= _PART:
            _add(tar, f"tables/{table.name}/{number:06d}.jsonl", bytes(part))
            number += 1
            part.clear()
    if part:
        _add(tar, f"tables/{table.name}/{number:06d}.jsonl", bytes(part))
    return counted.as_json()


def _add(tar: tarfile.TarFile, name: str, data: str | bytes) -> None:
    raw = data.encode() if isinstance(data, str) else data
    info = tarfile.TarInfo(name)
    info.size = len(raw)
    tar.addfile(info, io.BytesIO(raw))


def _is_named(engine: Engine, name: str, owner_id: UUID) -> bool:
    """Whether a file's row is still there: a purge or the sweep may have come between.

    `owner_id`: of its picture, or of its own row in quarantine.
    """
    of_picture = select(Blob.id).where(Blob.name == name, Blob.instance_id == owner_id)
    kept_apart = select(QuarantinedFile.id).where(
        QuarantinedFile.name == name, QuarantinedFile.id == owner_id
    )
    with Session(engine) as session:
        return session.scalars(union_all(of_picture, kept_apart)).first() is not None
