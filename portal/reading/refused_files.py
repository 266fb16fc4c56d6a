"""The files that were refused in a login session, so that the upload page lists them again after a
reload: name and reason, sealed, for a day.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from portal.access import Actor, Permission
from portal.formats.display_text import clean
from portal.languages import _
from portal.models import RefusedFile
from portal.vault import NotReadable, Vault

LASTS: Final = timedelta(days=1)
_MOST_LISTED: Final = 50
_MOST_KEPT: Final = 1000
_NAME_LENGTH: Final = 255
_KEY: Final = "refused_files"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file's name as it was sent, and why the file was refused, in one sentence."""

    name: str = field(repr=False)
    why: str


@dataclass(frozen=True, slots=True)
class Refusals:
    """The newest ones, the newest first, and how many there are."""

    rows: list[Refusal]
    total: int


def note(
    session: Session, vault: Vault, actor: Actor, refused: Sequence[Refusal], now: datetime
) -> None:
    """Keep these refusals for the actor's session; a program has none."""
    actor.require(Permission.STUDY_SUBMIT)
    if actor.session_id is None or not refused:
        return
    for number, one in enumerate(refused):
        row = RefusedFile(
            id=uuid4(),
            session_id=actor.session_id,
            # Those of a ZIP stand in its order, the newest first like all others.
            created=now - timedelta(microseconds=number),
        )
        text = json.dumps([clean(one.name, _NAME_LENGTH), one.why]).encode()
        row.sealed_refusal = vault.seal(_key(vault), _aad(row), text)
        session.add(row)
    session.flush()
    own = RefusedFile.session_id == actor.session_id
    newest = select(RefusedFile.id).where(own).order_by(RefusedFile.created.desc(), RefusedFile.id)
    oldest = session.scalars(newest.offset(_MOST_KEPT)).all()
    if oldest:
        session.execute(delete(RefusedFile).where(RefusedFile.id.in_(oldest)))
    session.commit()


def of_session(
    session: Session, vault: Vault, actor: Actor, now: datetime, *, skip: int = 0
) -> Refusals:
    """What was refused in the actor's session within the last day, but for the newest `skip`."""
    actor.require(Permission.STUDY_SUBMIT)
    own = (RefusedFile.session_id == actor.session_id, RefusedFile.created > now - LASTS)
    total = session.scalar(select(func.count()).select_from(RefusedFile).where(*own)) or 0
    newest = select(RefusedFile).where(*own).order_by(RefusedFile.created.desc(), RefusedFile.id)
    rows = session.scalars(newest.offset(skip).limit(_MOST_LISTED)).all()
    found = [Refusal(*_opened(vault, row)) for row in rows]
    session.commit()
    return Refusals(found, max(0, total - skip))


def forget_old(session: Session, now: datetime) -> int:
    """Remove those of more than a day ago; returns how many."""
    gone = session.scalars(
        delete(RefusedFile).where(RefusedFile.created <= now - LASTS).returning(RefusedFile.id)
    ).all()
    session.commit()
    return len(gone)


def _opened(vault: Vault, row: RefusedFile) -> tuple[str, str]:
    try:
        return open_(vault, row)
    except NotReadable:
        return "", _("The file was refused.")


def open_(vault: Vault, row: RefusedFile) -> tuple[str, str]:
    """A file's name and why it was refused; NotReadable."""
    name, why = json.loads(vault.open_(_key(vault), _aad(row), row.sealed_refusal))
    return name, why


def _aad(row: RefusedFile) -> str:
    return f"refused_files:{row.id}:{row.session_id}"


def _key(vault: Vault) -> bytes:
    """Derived, not kept: it belongs to no study, and seals only for a day."""
    return bytes.fromhex(vault.lookup("key", _KEY))
