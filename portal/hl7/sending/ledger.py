"""The ledger of reports that are sent: each is added, tried again after pauses, and ended with one
row in the access log. Claims and pauses are the queue's.
"""

from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.database import DatabaseTime
from portal.models import ReportMoment, ReportSend, ReportTarget, SendState
from portal.sends import queue
from portal.sends.queue import Queue

QUEUE: Final = Queue(
    ReportSend,
    ReportSend.target_id,
    ReportTarget,
    (ReportTarget.disabled_at.is_(None), ReportTarget.ended_at.is_(None)),
)


def add(
    session: Session,
    target_id: UUID,
    study_id: UUID,
    moment: ReportMoment,
    trigger_id: UUID,
    now: datetime,
) -> None:
    """Add a send in the caller's transaction; it is due at once. Where what it follows has happened
    before, as a retraction, the send of then is done again.
    """
    known = session.scalars(
        select(ReportSend)
        .where(
            ReportSend.target_id == target_id,
            ReportSend.moment == moment,
            ReportSend.trigger_id == trigger_id,
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    ).first()
    if known is not None:
        if known.finished_at is not None:  # else it is found again once it has ended
            known.state, known.reason, known.finished_at = SendState.WAITING, "", None
            known.study_id, known.attempts = study_id, 0
            known.created, known.next_at = now, DatabaseTime()
        return
    session.add(
        ReportSend(
            id=uuid4(),
            target_id=target_id,
            study_id=study_id,
            moment=moment,
            trigger_id=trigger_id,
            state=SendState.WAITING,
            reason="",
            answer="",
            attempts=0,
            next_at=DatabaseTime(),
            created=now,
        )
    )


def begin(session: Session, row: ReportSend, target: ReportTarget, now: datetime) -> None:
    """Count an attempt, which the access log has before it begins, in the caller's transaction."""
    row.attempts += 1
    audit.append(
        session,
        "report_send_begun",
        now=now,
        study_id=row.study_id,
        subject_id=target.id,
        detail={
            "send": row.id.hex,
            "attempt": row.attempts,
            "because": row.moment.value,
            "called_at": f"{target.host}:{target.port}",
        },
    )


def accept(session: Session, row: ReportSend, now: datetime) -> None:
    """End a send that the target has accepted; commits."""
    _end(session, row, SendState.PROVEN, "", now)
    session.commit()


def drop(session: Session, row: ReportSend, reason: str, now: datetime) -> None:
    """End a send that is not sent; commits."""
    settle_dropped(session, row, reason, now)
    session.commit()


def settle_dropped(session: Session, row: ReportSend, reason: str, now: datetime) -> None:
    """The same in the caller's transaction."""
    _end(session, row, SendState.DROPPED, reason, now)


def fail(session: Session, row: ReportSend, reason: str, now: datetime) -> None:
    """End a send that failed for good; commits."""
    _end(session, row, SendState.FAILED, reason, now)
    session.commit()


def try_later(session: Session, row: ReportSend, reason: str, now: datetime) -> None:
    """After an attempt that failed: again after a pause, or never; commits."""
    if row.attempts >= queue.MOST_ATTEMPTS:
        fail(session, row, reason, now)
    else:
        QUEUE.wait(session, row, SendState.WAITING, queue.pause_after(row.attempts), reason)


def _end(session: Session, row: ReportSend, state: SendState, reason: str, now: datetime) -> None:
    row.state, row.reason = state, reason
    row.claimed_until, row.finished_at = None, now
    audit.append(
        session,
        f"report_send_{'accepted' if state is SendState.PROVEN else state.value}",
        now=now,
        study_id=row.study_id,
        subject_id=row.target_id,
        detail={"send": row.id.hex, "reason": reason, "answer": row.answer},
    )
