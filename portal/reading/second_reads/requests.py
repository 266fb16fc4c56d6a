"""A reader asks for a second reader of an exam that they have read."""

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.database import DatabaseTime
from portal.models import SecondRead
from portal.reading.case import load
from portal.studies.second_reads import progress


def ask(session: Session, actor: Actor, study_id: UUID, now: datetime) -> SecondRead:
    """The exam goes to a blind second reader, with one audit row. Denied where the actor may not
    review it; Conflict `not_read`, or `asked_before` where it goes to one already.
    """
    actor.require(Permission.REVIEW_WRITE)
    study = load(session, actor, study_id)
    # Locked: a finding that another reader states meanwhile comes before it or after.
    session.refresh(study, with_for_update={"key_share": True})
    if study.joined_into is not None or study.purged_at is not None:
        raise Denied("study")
    row = progress.ask(session, actor, study, now)
    study.changed = DatabaseTime()
    audit.append(
        session,
        "second_read_asked",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=row.id,
        bound=[row],
    )
    session.commit()
    return row
