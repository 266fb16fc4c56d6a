"""Who reads an exam just now: a mark that lasts as long as the reader's page renews it.

It keeps nobody out: a second reader sees who reads and reads on. The next case of a list is one
that nobody else reads, marked before its page is opened.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, Denied, Permission
from portal.database import DatabaseTime
from portal.models import ReadingClaim, Study, User
from portal.reading.case import load
from portal.teams import ai_visibility

# A page renews its mark every 20 seconds; one that misses three has gone.
LASTS: Final = timedelta(seconds=60)
# So often the next case is looked for anew because a colleague was given it in between.
_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class Claim:
    """Who reads an exam, and since when."""

    reader_id: UUID
    reader: str
    since: datetime


def claim(session: Session, actor: Actor, study_id: UUID, now: datetime) -> Claim:
    """Mark the exam as read by the actor, or renew their mark, unless a colleague reads it; returns
    who does. One audit row when a mark begins. Denied where the actor may not review the exam.
    """
    actor.require(Permission.REVIEW_WRITE)
    study = load(session, actor, study_id)
    # Locked: two who open it at once have one mark.
    session.refresh(study, with_for_update={"key_share": True})
    if study.joined_into is not None or study.purged_at is not None:
        raise Denied("study")
    row = session.get(ReadingClaim, study.id, populate_existing=True)
    is_held = row is not None and row.until > now
    reads = ai_visibility.readings(session, [study.id])
    if row is not None and reads.hides(actor, study.id, row.reader_id):
        is_held = False  # who reads as the second does not see the first, and need not wait
    if row is None:
        row = ReadingClaim(study_id=study.id, reader_id=actor.user_id, since=now, until=now)
        session.add(row)
    if not is_held:
        row.reader_id, row.since = actor.user_id, now
    if row.reader_id == actor.user_id:
        row.until = now + LASTS
    if not is_held:
        study.changed = DatabaseTime()
        audit.append(session, "reading_begun", actor=actor, now=now, study_id=study.id)
    found = Claim(row.reader_id, session.get_one(User, row.reader_id).name, row.since)
    session.commit()
    return found


def take_next(
    session: Session, actor: Actor, now: datetime, find: Callable[[], UUID | None]
) -> UUID | None:
    """The exam that `find` returns, marked as read by the actor before anybody is sent to it: of
    two who ask at once the second is given another. `find` passes over what colleagues read and
    ends its transaction; None where it finds nothing. Who may not review is given it unmarked, as
    is everybody where damage keeps the mark from being set.
    """
    found = find()
    if not actor.may(Permission.REVIEW_WRITE):
        return found
    for _ in range(_TRIES):
        if found is None:
            return None
        try:
            if claim(session, actor, found, now).reader_id == actor.user_id:
                return found
        except Denied:  # purged or joined in the meantime
            session.rollback()
        except database.UNREADABLE as error:
            if not database.is_damage(error):
                raise
            session.rollback()
            return found
        found = find()
    return found


def release(session: Session, actor: Actor, study_id: UUID, now: datetime) -> None:
    """End the actor's mark, with one audit row; without one nothing happens."""
    actor.require(Permission.REVIEW_WRITE)
    study = load(session, actor, study_id)
    session.refresh(study, with_for_update={"key_share": True})
    row = session.get(ReadingClaim, study.id, populate_existing=True)
    if row is not None and row.reader_id == actor.user_id:
        session.delete(row)
        study.changed = DatabaseTime()
        audit.append(session, "reading_ended", actor=actor, now=now, study_id=study.id)
    session.commit()


def of_studies(session: Session, ids: Collection[UUID], now: datetime) -> dict[UUID, Claim]:
    """Who reads these exams; the caller has checked that they may be seen."""
    rows = session.execute(
        select(ReadingClaim, User.name)
        .join(User, User.id == ReadingClaim.reader_id)
        .where(ReadingClaim.study_id.in_(ids), ReadingClaim.until > now)
        .execution_options(populate_existing=True)
    ).all()
    return {row.study_id: Claim(row.reader_id, name, row.since) for row, name in rows}


def read_by_others(actor: Actor, now: datetime) -> ColumnElement[bool]:
    """The condition that a colleague reads an exam of `studies` just now."""
    return exists().where(
        and_(
            ReadingClaim.study_id == Study.id,
            ReadingClaim.until > now,
            ReadingClaim.reader_id != actor.user_id,
        )
    )
