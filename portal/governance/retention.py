"""Retention: studies are purged when their retention period has ended, unless they are held.

Owns the three classes and what is due in each. The time of a reviewed study counts from its last
review, that of the others from the arrival of their last picture. A class without a number of days
is never purged.

A study is announced seven days before: administrators see it listed, and can hold it. The days are
counted by the clock and by the scheduler's running time, so that a jump of the clock skips none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, Literal, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, not_, or_, select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, Permission
from portal.errors import Conflict
from portal.governance import clock
from portal.governance.purges import purge
from portal.models import (
    AnnouncedPurge,
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
ANNOUNCED_BEFORE: Final = timedelta(days=7)
MOST_PURGED: Final = 20
_MOST_ANNOUNCED: Final = 500
_MOST_RIPE: Final = 200
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
    """What a round did: studies purged, and those that could not be. Nothing if the clock is not
    `ok`. `unreadable`: those that were left because rows of them can't be read.
    """

    purged: list[DueStudy]
    left: list[DueStudy]
    clock_state: clock.State = "ok"
    unreadable: list[UUID] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Announced:
    """A study that is going to be purged, not before `earliest`."""

    study_id: UUID
    case_number: str
    kind: Kind
    earliest: datetime


def days_of(settings: Settings) -> dict[Kind, int]:
    """How many days each class is retained; 0: forever."""
    return {
        "reviewed": settings.retention_reviewed_days,
        "unreviewed": settings.retention_unreviewed_days,
        "no_result": settings.retention_no_result_days,
    }


def due(session: Session, settings: Settings, now: datetime) -> list[DueStudy]:
    """The studies that are due and not held, the oldest of each class first, without those whose
    rows can't be read.
    """
    found = list[DueStudy]()
    for kind, days in days_of(settings).items():
        if days:
            query = _ended(kind, now - timedelta(days=days), held=False)
            found += _read(session, kind, query)[0]
    session.commit()
    return found


def held_back(session: Session, settings: Settings, now: datetime) -> int:
    """How many studies would be due but for a legal hold; 0 where damaged rows prevent it."""
    count = 0
    try:
        for kind, days in days_of(settings).items():
            if days:
                ended = _ended(kind, now - timedelta(days=days), held=True).order_by(None)
                query = select(func.count()).select_from(ended.subquery())
                count += session.scalar(query) or 0
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        count = 0
    session.commit()
    return count


def run(session: Session, vault: Vault, settings: Settings, now: datetime) -> Done:
    """Announce what will be due, and purge what was announced seven days ago and is due: at most 20
    studies, one at a time. What fails is left for the next round, and so is what can't be read: it
    keeps no other study waiting.
    """
    purged, left = list[DueStudy](), list[DueStudy]()
    state = clock.look(session, now)
    if state.state != "ok":
        return Done(purged, left, state.state)
    _announce(session, settings, now, state.running)
    ripe, unreadable = _ripe(session, settings, now, state.running)
    for one in ripe:
        if len(purged) + len(left) == MOST_PURGED:
            break
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
        except database.UNREADABLE as error:
            if not database.is_damage(error):
                raise
            session.rollback()
            unreadable.append(one.study_id)
            continue  # it stays announced
        else:
            purged.append(one)
        session.execute(delete(AnnouncedPurge).where(AnnouncedPurge.study_id == one.study_id))
        session.commit()
    return Done(purged, left, unreadable=unreadable)


def announced(session: Session, actor: Actor, *, limit: int = 200) -> tuple[list[Announced], int]:
    """The studies that are going to be purged, the first ones first, and how many there are."""
    actor.require(Permission.DATA_MANAGE)
    order = (AnnouncedPurge.announced_at, AnnouncedPurge.study_id)
    rows = session.scalars(select(AnnouncedPurge).order_by(*order).limit(limit)).all()
    total = session.scalar(select(func.count()).select_from(AnnouncedPurge)) or 0
    session.commit()
    found = [
        Announced(
            study_id=row.study_id,
            case_number=row.study_id.hex[:6].upper(),  # as the study's row may be damaged
            kind=cast("Kind", row.kind),
            earliest=row.announced_at + ANNOUNCED_BEFORE,
        )
        for row in rows
    ]
    return found, total


def _announce(session: Session, settings: Settings, now: datetime, running: timedelta) -> None:
    """List what ends within seven days; what no longer does, or is held, is taken off the list."""
    for kind, days in days_of(settings).items():
        own = AnnouncedPurge.kind == kind
        if not days:
            session.execute(delete(AnnouncedPurge).where(own))
            continue
        ending = _ended(kind, now + ANNOUNCED_BEFORE - timedelta(days=days), held=False)
        ids = ending.with_only_columns(Study.id).order_by(None)
        session.execute(
            delete(AnnouncedPurge).where(own, AnnouncedPurge.study_id.not_in(ids)),
            execution_options={"synchronize_session": False},
        )
        session.commit()
        listed = select(AnnouncedPurge.study_id)
        fresh = ending.with_only_columns(Study.id).where(Study.id.not_in(listed))
        fresh_ids = session.scalars(fresh.limit(_MOST_ANNOUNCED)).all()
        # In the order of ids: two schedulers at once wait for each other, and announce each once.
        for study_id in sorted(fresh_ids):
            is_new = database.insert_if_new(
                *(session, AnnouncedPurge, AnnouncedPurge.study_id),
                study_id=study_id,
                kind=kind,
                announced_at=now,
                announced_running=running.total_seconds(),
            )
            if is_new:
                detail: audit.Detail = {"kind": kind}
                audit.append(session, "purge_announced", now=now, study_id=study_id, detail=detail)
            session.commit()  # whoever waits for a row here holds no writer of the log
        session.commit()


def _ripe(
    session: Session, settings: Settings, now: datetime, running: timedelta
) -> tuple[list[DueStudy], list[UUID]]:
    """The studies whose time has come, more than a round purges, as some may turn out to be
    damaged; and those of them that can't be read.
    """
    found, unreadable = list[DueStudy](), list[UUID]()
    for kind, days in days_of(settings).items():
        if days and len(found) < MOST_PURGED:
            query = (
                _ended(kind, now - timedelta(days=days), held=False)
                .join(AnnouncedPurge, AnnouncedPurge.study_id == Study.id)
                .where(
                    AnnouncedPurge.kind == kind,
                    AnnouncedPurge.announced_at <= now - ANNOUNCED_BEFORE,
                    AnnouncedPurge.announced_running
                    <= (running - ANNOUNCED_BEFORE).total_seconds(),
                )
                .limit(_MOST_RIPE)
            )
            readable, damaged = _read(session, kind, query)
            found, unreadable = found + readable, unreadable + damaged
    session.commit()
    return found, unreadable


def _read(
    session: Session, kind: Kind, query: Select[Any, Any, Any]
) -> tuple[list[DueStudy], list[UUID]]:
    """The studies of a query in its order, and those whose rows can't be read; call it first."""
    ids = session.scalars(query.with_only_columns(Study.id)).all()

    def read(some: Sequence[UUID]) -> dict[UUID, DueStudy]:
        return {
            study_id: DueStudy(study_id, number, kind, since)
            for start in range(0, len(some), _AT_ONCE)
            for study_id, number, since in session.execute(
                query.where(Study.id.in_(some[start : start + _AT_ONCE]))
            )
        }

    found, damaged = database.read_readable(session, ids, read)
    return [found[one] for one in ids if one in found], [one for one in ids if one in damaged]


def _is_still_due(
    session: Session, settings: Settings, now: datetime, one: DueStudy, study_id: UUID
) -> bool:
    """Whether the study, which is locked, is the one that was due, and still is. Whoever has
    confirmed the clock meanwhile has withdrawn its announcement.
    """
    announced = select(AnnouncedPurge.study_id).where(AnnouncedPurge.study_id == one.study_id)
    if session.scalar(announced.with_for_update()) is None:
        return False
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
