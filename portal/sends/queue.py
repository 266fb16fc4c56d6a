"""A queue of sends in a table: which are due, claimed by one process each, put off and let go.

A claim holds for one process until it lapses, by the database's clock, so that a process whose own
clock is wrong takes nothing from another; what is written after another has taken over is refused.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Generic, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from portal.database import DatabaseTime
from portal.models import DicomNode, DicomSend, ReportSend, ReportTarget, SendState

CLAIM_SECONDS: Final = 300.0
# After each attempt that failed: minutes, then hours. So the last one is after about two days.
PAUSES: Final = (60.0, 300.0, 1800.0, 7200.0)
LONGEST_PAUSE: Final = 21600.0
MOST_ATTEMPTS: Final = 12
# How soon it is looked again whether a case may be sent: the more seldom the longer it waits.
_HELD_SECONDS: Final = 60.0
_HELD_SHARE: Final = 0.1
_LONGEST_HELD: Final = 3600.0
OPEN: Final = (SendState.PREPARING, SendState.WAITING, SendState.PROVING)

Row = TypeVar("Row", DicomSend, ReportSend)


class Lapsed(Exception):
    """Another process has taken the send over, or it ended meanwhile."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A send that this process has for a while, and the system that it goes to."""

    send_id: UUID
    receiver_id: UUID
    until: datetime


@dataclass(frozen=True)
class Queue(Generic[Row]):
    """The queue of one table. `to`: its column of the receiver, a row of `receivers`, to which
    something may be sent where `may_receive` holds.
    """

    table: type[Row]
    to: InstrumentedAttribute[UUID]
    receivers: type[DicomNode] | type[ReportTarget]
    may_receive: tuple[ColumnElement[bool], ...]

    def receivers_with_due(self, session: Session) -> list[UUID]:
        """The receivers that something is due for, in no order."""
        joined = select(self.to).join(self.receivers, self.receivers.id == self.to)
        found = list(session.scalars(joined.where(*self._is_due()).distinct()))
        session.commit()
        return found

    def claim(
        self, session: Session, receiver_id: UUID, seconds: float = CLAIM_SECONDS
    ) -> Claim | None:
        """The next send that is due for a receiver, for this process alone; None where none is."""
        table = self.table
        found = session.execute(
            select(table.id)
            .join(self.receivers, self.receivers.id == self.to)
            .where(self.to == receiver_id, *self._is_due())
            .order_by(table.next_at, table.created, table.id)
            .limit(1)
            .with_for_update(of=table, skip_locked=True)
        ).scalar_one_or_none()
        if found is None:
            session.commit()
            return None
        until = self._claimed_until(session, seconds, table.id == found)
        assert until is not None
        return Claim(found, receiver_id, until)

    def prolong(self, session: Session, claimed: Claim, seconds: float = CLAIM_SECONDS) -> Claim:
        """The same claim for longer; commits. Raises Lapsed."""
        table = self.table
        until = self._claimed_until(
            session, seconds, table.id == claimed.send_id, table.claimed_until == claimed.until
        )
        if until is None:
            raise Lapsed
        return Claim(claimed.send_id, claimed.receiver_id, until)

    def of(self, session: Session, claimed: Claim) -> Row:
        """The row of a claim, locked until the caller's commit. Raises Lapsed."""
        row = session.get(self.table, claimed.send_id, with_for_update=True, populate_existing=True)
        if row is None or row.claimed_until != claimed.until or row.finished_at is not None:
            session.rollback()
            raise Lapsed
        return row

    def wait(
        self, session: Session, row: Row, state: SendState, seconds: float, reason: str = ""
    ) -> None:
        """Let go of a send that is due again after so many seconds; commits."""
        row.state, row.reason = state, reason
        row.claimed_until = None
        row.next_at = DatabaseTime(seconds)
        session.commit()

    def _claimed_until(
        self, session: Session, seconds: float, *conditions: ColumnElement[bool]
    ) -> datetime | None:
        table = self.table
        until = session.execute(
            update(table)
            .where(*conditions)
            .values(claimed_until=DatabaseTime(seconds))
            .returning(table.claimed_until),
            execution_options={"synchronize_session": False},
        ).scalar_one_or_none()
        session.commit()
        return until

    def _is_due(self) -> tuple[ColumnElement[bool], ...]:
        """What is to be done now, for receivers that may receive."""
        table = self.table
        return (
            table.state.in_(OPEN),
            table.finished_at.is_(None),
            table.next_at <= DatabaseTime(),
            or_(table.claimed_until.is_(None), table.claimed_until <= DatabaseTime()),
            *self.may_receive,
        )


def pause_after(attempts: int) -> float:
    """How many seconds a send waits after so many attempts."""
    return PAUSES[attempts - 1] if 0 < attempts <= len(PAUSES) else LONGEST_PAUSE


def held_for(waits: float) -> float:
    """How many seconds a send waits that may not be sent yet and has waited so many already."""
    return min(_LONGEST_HELD, max(_HELD_SECONDS, _HELD_SHARE * waits))
