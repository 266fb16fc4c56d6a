"""Pictures that were refused and are kept sealed for thirty days, within the limits of their team.

A file is written before its row, and the row is removed before its file: one without a row is
nobody's, and the sweep removes it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, Permission
from portal.models import BlobKind, QuarantinedFile, Study, Team
from portal.studies import locks
from portal.vault import Vault, content_digest

LASTS: Final = timedelta(days=30)
# Of one team at a time: what is refused beyond that leaves its reason alone.
MOST_FILES: Final = 500
MOST_BYTES: Final = 2 * 2**30
_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a file is kept. `study_uid`: its StudyInstanceUID, where that is known."""

    code: str
    rule_id: UUID | None = None
    study_uid: str = field(default="", repr=False)


class _NoRoom(Exception):
    """The team has as many files, or bytes, in quarantine as it may."""


def keep(
    session: Session,
    vault: Vault,
    actor: Actor,
    data: bytes,
    reason: Reason,
    now: datetime,
    *,
    stated: Mapping[str, Any] | None = None,
) -> bool:
    """Seal a file under a key of its own, with one audit row; False, with nothing left behind,
    where it is here already or its team has no room. Commits; raises VaultError.

    `stated`: its name and what its sender typed, as JSON; sealed as well.
    """
    actor.require(Permission.STUDY_SUBMIT)
    content = vault.lookup("content", content_digest(data))
    same = (QuarantinedFile.team_id == actor.team_id, QuarantinedFile.content_key == content)
    is_here = session.scalar(select(QuarantinedFile.id).where(*same)) is not None
    has_room = _has_room(session, actor.team_id, len(data))
    session.commit()  # the file is written while nothing is locked
    if is_here or not has_room:
        return False
    row = QuarantinedFile(
        id=uuid4(),
        team_id=actor.team_id,
        sender_id=actor.user_id,
        via=actor.via,
        code=reason.code,
        rule_id=reason.rule_id,
        size=len(data),
        content_key=content,
        study_key=vault.lookup("study_uid", reason.study_uid) if reason.study_uid else None,
        created=now,
    )
    data_key, wrapped = vault.new_data_key(row.id)
    row.wrapped_key, row.key_id = wrapped.wrapped, wrapped.key_id
    given = json.dumps(dict(stated or {})).encode()
    row.sealed_stated = vault.seal(data_key, _aad(row.id), given)
    row.name = vault.put(data_key, blob_id=row.id, kind=BlobKind.SOURCE, attempt=0, data=data)
    name = row.name
    try:
        if row.study_key is not None:  # a purge of the exam finds the row, or comes before it
            locks.lock_named(
                session, Study.team_id == row.team_id, Study.study_uid_key == row.study_key
            )
        session.get_one(Team, actor.team_id, with_for_update={"key_share": True})
        if not _has_room(session, actor.team_id, len(data)):
            raise _NoRoom
        session.add(row)
        session.flush()
        audit.append(
            session,
            "quarantine_filled",
            actor=actor,
            now=now,
            subject_id=row.id,
            detail={"reason": reason.code},
        )
    except (_NoRoom, IntegrityError):  # or the same file has just come another way
        session.rollback()
        vault.destroy(name)
        return False
    except BaseException:
        session.rollback()
        vault.destroy(name)
        raise
    database.commit(session)
    return True


def read(vault: Vault, row: QuarantinedFile) -> tuple[bytes, dict[str, Any]]:
    """The file and what was stated of it; NotReadable, or ValueError, where it does not open."""
    data_key = vault.data_key(row.id, row.wrapped_key, row.key_id)
    data = vault.get(data_key, blob_id=row.id, kind=BlobKind.SOURCE, name=row.name)
    return data, dict(json.loads(vault.open_(data_key, _aad(row.id), row.sealed_stated)))


def forget_old(session: Session, vault: Vault, now: datetime) -> int:
    """Remove the files of more than thirty days ago, with their rows; returns how many."""
    gone = 0
    while True:
        rows = session.scalars(
            select(QuarantinedFile)
            .where(QuarantinedFile.created <= now - LASTS)
            .order_by(QuarantinedFile.created)
            .limit(_AT_ONCE)
            .with_for_update(skip_locked=True)
        ).all()
        names = [row.name for row in rows]
        for row in rows:
            audit.append(session, "quarantine_expired", now=now, subject_id=row.id)
            session.delete(row)
        session.commit()
        for name in names:
            vault.destroy(name)
        gone += len(names)
        if not names:
            return gone


def _has_room(session: Session, team_id: UUID, size: int) -> bool:
    held = select(func.count(), func.coalesce(func.sum(QuarantinedFile.size), 0))
    count, filled = session.execute(held.where(QuarantinedFile.team_id == team_id)).one()
    return count < MOST_FILES and int(filled) + size <= MOST_BYTES


def _aad(file_id: UUID) -> str:
    return f"quarantined_files:{file_id}:stated"
