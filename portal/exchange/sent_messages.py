"""What became of notifications, for administrators: events and people, nothing of patients."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.errors import Conflict
from portal.languages import _
from portal.models import (
    Channel,
    CriticalFinding,
    Notification,
    NotificationState,
    Study,
    Team,
    User,
)

MOST: Final = 200


@dataclass(frozen=True, slots=True)
class MessageLine:
    """One notification; `to` is empty for the webhook."""

    id: UUID
    created: datetime
    event: str
    case_number: str
    team: str
    channel: Channel
    to: str
    state: NotificationState
    attempts: int
    next_at: datetime | None
    error: str


@dataclass(frozen=True, slots=True)
class Messages:
    """The newest notifications, and how many there are of each state."""

    lines: list[MessageLine]
    counts: dict[NotificationState, int]


def messages(session: Session, actor: Actor) -> Messages:
    """The newest notifications. What was dropped because nothing is set up is left out."""
    actor.require(Permission.JOBS_MANAGE)
    rows = session.execute(
        select(Notification, Study.case_number, Team.name, User.name)
        .join(CriticalFinding, CriticalFinding.id == Notification.finding_id)
        .join(Study, Study.id == CriticalFinding.study_id)
        .join(Team, Team.id == CriticalFinding.team_id)
        .outerjoin(User, User.id == Notification.user_id)
        .where(Notification.error != "not_set_up")
        .order_by(Notification.created.desc(), Notification.id)
        .limit(MOST)
        .execution_options(populate_existing=True)
    )
    lines = [
        MessageLine(
            id=row.id,
            created=row.created,
            event=row.event,
            case_number=number,
            team=team,
            channel=row.channel,
            to=name or "",
            state=row.state,
            attempts=row.attempts,
            next_at=row.next_at if row.state is NotificationState.WAITING else None,
            error=row.error,
        )
        for row, number, team, name in rows
    ]
    counted = session.execute(
        select(Notification.state, func.count()).group_by(Notification.state)
    ).all()
    session.commit()
    return Messages(lines, dict(counted))


def retry(session: Session, actor: Actor, notification_id: UUID, now: datetime) -> None:
    """Try a notification that was given up once more, with one audit row; Conflict for another."""
    actor.require(Permission.JOBS_MANAGE)
    row = session.get(Notification, notification_id, with_for_update=True, populate_existing=True)
    if row is None:
        session.rollback()
        raise Denied("notification")
    if row.state is not NotificationState.FAILED:
        session.rollback()
        raise Conflict("not_failed", _("This notification was not given up."))
    row.state, row.attempts, row.next_at = NotificationState.WAITING, 0, now
    row.claimed_until = None
    audit.append(session, "notification_retried", actor=actor, now=now, subject_id=row.id)
    session.commit()
