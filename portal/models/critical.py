"""Tables of critical findings: who was informed, who is asked next, and what is sent out."""

import uuid
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ForeignKey, Index, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, checked
from portal.models.vocabulary import (
    Channel,
    CriticalState,
    Finding,
    Means,
    NotificationState,
)

INFORMED_KEY: Final = "told"
"""In `critical_findings.asked`: who was informed at once. The log binds rows that have it so."""


class CriticalFinding(Base):
    """A reader's finding of a new pneumothorax, open until somebody was informed of it.

    `stated_by` is the reader of `review_id`. `asked`: who was asked to see to it, in their order,
    each with id and time; the last of them has it until `due`. The first, its reader, has as
    `told` (INFORMED_KEY) who on the rota was informed at once. No `due` in one that is not open,
    or of which everybody was asked (`exhausted_at`). Each change stands in the access log.
    """

    __tablename__ = "critical_findings"
    __table_args__ = (
        Index("ix_critical_findings_study", "study_id", "created"),
        Index("ix_critical_findings_team", "team_id", "state", "created"),
        Index("ix_critical_findings_due", "due"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    review_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("reviews.id"))
    stated_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    finding: Mapped[Finding] = mapped_column(checked(Finding, "critical_finding"))
    state: Mapped[CriticalState] = mapped_column(checked(CriticalState, "critical_state"))
    created: Mapped[datetime]
    asked: Mapped[list[dict[str, Any]]]
    due: Mapped[datetime | None]
    acknowledged_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    acknowledged_at: Mapped[datetime | None]
    exhausted_at: Mapped[datetime | None]
    ended_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    ended_at: Mapped[datetime | None]


class Communication(Base):
    """That somebody was informed of a critical finding. Rows are only ever added.

    `sealed_person`, who it was, is sealed under the key of `study_id`; `informed_by` did it and
    `author_id` recorded it.
    """

    __tablename__ = "communications"
    __table_args__ = (Index("ix_communications_finding", "finding_id", "created"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    finding_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("critical_findings.id"))
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    sealed_person: Mapped[bytes]
    informed_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    informed_at: Mapped[datetime]
    means: Mapped[Means] = mapped_column(checked(Means, "means"))
    read_back: Mapped[bool]
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    created: Mapped[datetime]


class RotaPlace(Base):
    """Who of a team is asked to see to a critical finding, in the order of `position`."""

    __tablename__ = "rota_places"
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"), primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    position: Mapped[int] = mapped_column(SmallInteger)


class Notification(Base):
    """One message about an event of a critical finding, to one person or to the webhook.

    Added in the transaction of the event and sent afterwards, by another process. `event_id` is the
    same in all messages about one event: who receives one twice knows it by that. Until
    `claimed_until` one process tries to send it.
    """

    __tablename__ = "notifications"
    __table_args__ = (
        Index("ix_notifications_state", "state", "next_at"),
        Index("ix_notifications_created", "created"),
        Index("ix_notifications_finding", "finding_id"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    event_id: Mapped[uuid.UUID]
    event: Mapped[str] = mapped_column(String(32))
    finding_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("critical_findings.id"))
    channel: Mapped[Channel] = mapped_column(checked(Channel, "channel"))
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    state: Mapped[NotificationState] = mapped_column(
        checked(NotificationState, "notification_state")
    )
    created: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0)
    next_at: Mapped[datetime]
    claimed_until: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    error: Mapped[str] = mapped_column(String(40), default="")
