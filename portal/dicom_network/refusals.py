"""Data sets that were refused: which, from whom and why, for thirty days.

Of the data set nothing is kept: its sender has it still, because it got no 0x0000. Which one it was
is sealed; the reason is a code, and what the sender gets is a comment without patient data.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.models import DicomNode, DicomRefusal, User
from portal.studies import sealed_fields
from portal.vault import NotReadable, Vault

LASTS: Final = timedelta(days=30)
MOST_LISTED: Final = 100
# From one sender; who sends thousands of bad files would fill the table.
_MOST_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused data set. `sender`: the node, or, `by_web`, whose token it was by DICOMweb.
    `sop_uid`: its SOPInstanceUID, by which the sender finds it.
    """

    sender: str
    by_web: bool
    code: str
    status: int
    size: int
    created: datetime
    sop_uid: str = field(repr=False)


def note(
    session: Session,
    vault: Vault,
    actor: Actor,
    node: DicomNode | None,
    *,
    sop_uid: str,
    code: str,
    status: int,
    size: int,
    now: datetime,
) -> None:
    """Keep one of a node's, or, without one, of the actor's by DICOMweb; with an audit row."""
    row = DicomRefusal(
        id=uuid4(),
        node_id=node.id if node is not None else None,
        sender_id=actor.user_id if node is None else None,
        code=code,
        status=status,
        size=size,
        created=now,
    )
    row.sealed_sop_uid = sealed_fields.seal_refused_uid(vault, row, sop_uid)
    session.add(row)
    session.flush()
    newest = select(DicomRefusal.id).where(
        DicomRefusal.node_id == row.node_id
        if node is not None
        else DicomRefusal.sender_id == row.sender_id
    )
    newest = newest.order_by(DicomRefusal.created.desc(), DicomRefusal.id)
    oldest = session.scalars(newest.offset(_MOST_KEPT)).all()
    if oldest:
        session.execute(delete(DicomRefusal).where(DicomRefusal.id.in_(oldest)))
    audit.append(
        session,
        "dicom_object_refused",
        actor=actor,
        now=now,
        subject_id=row.node_id,
        detail={"reason": code, "status": f"{status:04X}"},
    )
    session.commit()


def newest(session: Session, vault: Vault, actor: Actor | None, now: datetime) -> list[Refusal]:
    """The newest ones, the newest first. Without an actor: the command line."""
    if actor is not None:
        actor.require(Permission.PEOPLE_MANAGE)
    rows = session.execute(
        select(DicomRefusal, DicomNode.name, User.name)
        .outerjoin(DicomNode, DicomNode.id == DicomRefusal.node_id)
        .outerjoin(User, User.id == DicomRefusal.sender_id)
        .where(DicomRefusal.created > now - LASTS)
        .order_by(DicomRefusal.created.desc(), DicomRefusal.id)
        .limit(MOST_LISTED)
    ).all()
    found = [
        Refusal(
            node or person or "",
            row.node_id is None,
            row.code,
            row.status,
            row.size,
            row.created,
            _opened(vault, row),
        )
        for row, node, person in rows
    ]
    session.commit()
    return found


def forget_old(session: Session, now: datetime) -> int:
    """Remove those of more than thirty days ago; returns how many."""
    gone = session.scalars(
        delete(DicomRefusal).where(DicomRefusal.created <= now - LASTS).returning(DicomRefusal.id)
    ).all()
    session.commit()
    return len(gone)


def _opened(vault: Vault, row: DicomRefusal) -> str:
    try:
        return sealed_fields.open_refused_uid(vault, row)
    except (NotReadable, UnicodeDecodeError):
        return ""
