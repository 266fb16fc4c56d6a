"""Notifications of events, added in the event's own transaction; `exchange.outbox` sends them."""

from collections.abc import Collection
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import update
from sqlalchemy.orm import Session

from portal.models import Channel, CriticalFinding, Notification, NotificationState

OPENED: Final = "critical_opened"
PASSED_ON: Final = "critical_passed_on"
UNANSWERED: Final = "critical_unanswered"
CLOSED: Final = "critical_closed"
WITHDRAWN: Final = "critical_withdrawn"


def add(
    session: Session,
    finding: CriticalFinding,
    event: str,
    now: datetime,
    *,
    people: Collection[UUID] = (),
) -> UUID:
    """Add the messages about one event: to each of these people by e-mail, and to the webhook.

    Where neither is set up, the sender drops them. Returns the event's id.
    """
    event_id = uuid4()
    to = [(Channel.WEBHOOK, None), *((Channel.EMAIL, one) for one in dict.fromkeys(people))]
    session.add_all(
        Notification(
            event_id=event_id,
            event=event,
            finding_id=finding.id,
            channel=channel,
            user_id=user_id,
            state=NotificationState.WAITING,
            created=now,
            next_at=now,
        )
        for channel, user_id in to
    )
    return event_id


def drop(session: Session, finding: CriticalFinding) -> None:
    """Send nothing more about a finding that is purged."""
    session.execute(
        update(Notification)
        .where(
            Notification.finding_id == finding.id,
            Notification.state == NotificationState.WAITING,
        )
        .values(state=NotificationState.DROPPED, error="purged")
    )
