"""Which pictures a reader has had before them: drawn in full on their screen for a moment at least,
as the page states once that was so. It is a row of the access log, the first time alone.
"""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit, database, readable_rows
from portal.access import Actor, Denied, Permission
from portal.models import AuditEvent
from portal.models.viewing import PICTURE_SHOWN
from portal.reading.case import load
from portal.studies import exams


def note(
    session: Session, actor: Actor, study_id: UUID, picture: UUID | None, now: datetime
) -> None:
    """The reader has had this picture of the exam before them. Denied where they may not review
    the exam, or it has no such picture.
    """
    actor.require(Permission.REVIEW_WRITE)
    study = load(session, actor, study_id)
    pictures = exams.pictures(session, [study.id])[study.id]
    if picture not in {row.id for row in pictures}:
        raise Denied("picture")
    if picture not in by_reader(session, actor.user_id, [picture]):
        audit.append(
            session,
            PICTURE_SHOWN,
            actor=actor,
            now=now,
            study_id=study.id,
            subject_id=picture,
        )
    session.commit()


def by_reader(
    session: Session, reader_id: UUID, pictures: Collection[UUID], until: datetime | None = None
) -> frozenset[UUID]:
    """Those of these pictures that the reader has had before them, at this time or before. Where
    the log can't be read none is known.
    """
    query = select(AuditEvent.subject_id).where(
        AuditEvent.subject_id.in_(pictures),
        AuditEvent.event == PICTURE_SHOWN,
        AuditEvent.actor_id == reader_id,
    )
    if until is not None:
        query = query.where(AuditEvent.at <= until)
    try:
        found = readable_rows.beside(session, lambda own: own.scalars(query).all())
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        return frozenset()
    return frozenset(one for one in found if one is not None)
