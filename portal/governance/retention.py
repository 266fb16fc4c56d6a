"""Retention: studies are purged when their retention period has ended, unless they are held.

Owns the three classes and what is due in each. The time of a reviewed study counts from its last
review, that of the others from the arrival of their last picture. A class without a number of days
is never purged.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, not_, or_, select
from sqlalchemy.orm import Session

from portal.errors import Conflict
from portal.governance.purges import purge
from portal.models import (
    Hold,
    Instance,
    Job,
    JobState,
    Prediction,
    PurgeReason,
    Review,
    Study,
)
from portal.settings import Settings
from portal.studies import exams, status
from portal.vault import Vault

Kind = Literal["reviewed", "unreviewed", "no_result"]
KINDS: Final[tuple[Kind, ...]] = ("reviewed", "unreviewed", "no_result")
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class DueStudy:
    """A study whose retention period has ended: ids and times only."""

    study_id: UUID
    case_number: str
    kind: Kind
    since: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """What a round did: studies purged, and those that could not be."""

    purged: list[DueStudy]
    left: list[DueStudy]


def days_of(settings: Settings) -> dict[Kind, int]:
    """How many days each class is retained; 0: forever."""
    return {
        "reviewed": settings.retention_reviewed_days,
        "unreviewed": settings.retention_unreviewed_days,
        "no_result": settings.retention_no_result_days,
    }


def due(
    session: Session, settings: Settings, now: datetime, *, limit: int | None = None
) -> list[DueStudy]:
    """The studies that are due and not held, the oldest of each class first."""
    found = list[DueStudy]()
    for kind, days in days_of(settings).items():
        if days:
            query = _ended(kind, now - timedelta(days=days), held=False)
            rows = session.execute(query.limit(limit)) if limit else session.execute(query)
            found += [DueStudy(study_id, number, kind, since) for study_id, number, since in rows]
    session.commit()
    return found


def held_back(session: Session, settings: Settings, now: datetime) -> int:
    """How many studies would be due but for a legal hold."""
    count = 0
    for kind, days in days_of(settings).items():
        if days:
            ended = _ended(kind, now - timedelta(days=days), held=True).order_by(None).subquery()
            count += session.scalar(select(func.count()).select_from(ended)) or 0
    session.commit()
    return count


def run(session: Session, vault: Vault, settings: Settings, now: datetime) -> Done:
    """Purge what is due, a study at a time; what fails is left for the next round."""
    purged, left = list[DueStudy](), list[DueStudy]()
    while True:
        batch = due(session, settings, now, limit=_AT_ONCE + len(left))
        batch = [one for one in batch if one not in left]
        if not batch:
            return Done(purged, left)
        for one in batch:
            try:
                purge(
                    session,
                    vault,
                    None,
                    one.study_id,
                    now,
                    reason=PurgeReason.RETENTION_ENDED,
                    only_if=partial(_is_still_due, session, settings, now, one),
                )
            except Conflict:  # held, purged, joined, or something came to it just now
                session.rollback()
                left.append(one)
            else:
                purged.append(one)


def _is_still_due(
    session: Session, settings: Settings, now: datetime, one: DueStudy, study_id: UUID
) -> bool:
    """Whether the study, which is locked, is the one that was due, and still is."""
    before = now - timedelta(days=days_of(settings)[one.kind])
    query = _ended(one.kind, before, held=False).where(Study.id == one.study_id)
    return study_id == one.study_id and session.execute(query).first() is not None


def _ended(kind: Kind, before: datetime, *, held: bool) -> Select[Any, Any, Any]:
    """Id, number and time of the studies of a class that ended before then."""
    review = select(func.max(Review.created)).where(*exams.within_outer(Review.study_id))
    arrival = select(func.max(Instance.created)).where(Instance.study_id == Study.id)
    since = (review if kind == "reviewed" else arrival).scalar_subquery()
    on_hold = exists().where(*exams.within_outer(Hold.study_id), Hold.lifted_at.is_(None))
    return (
        select(Study.id, Study.case_number, since)
        .where(
            Study.purged_at.is_(None),
            Study.joined_into.is_(None),
            Study.created < before,  # of every class; it spares the look at reviews and pictures
            since < before,
            _is(kind),
            on_hold if held else not_(on_hold),
        )
        .order_by(since, Study.id)
    )


def _is(kind: Kind) -> ColumnElement[bool]:
    reviewed = exists().where(*exams.within_outer(Review.study_id))
    if kind == "reviewed":
        return reviewed
    # A result is what one of the pictures has; a study is without one once all have come to an end.
    waiting = exists().where(
        Job.study_id == Study.id,
        Job.kind.in_(status.RESULT_JOBS),
        Job.state.in_((JobState.QUEUED, JobState.RUNNING)),
    )
    with_band = exists().where(
        Prediction.instance_id == Instance.id,
        Instance.study_id == Study.id,
        Prediction.band.is_not(None),
    )
    without = not_(or_(waiting, with_band))
    return and_(not_(reviewed), without if kind == "no_result" else not_(without))
