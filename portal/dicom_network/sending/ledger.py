"""The ledger of what is sent: sends are added, claimed, prolonged, settled and tried again.

A claim holds for one process until it lapses, by the database's clock; what a process writes after
another has taken over is refused. A send that ends has one row in the access log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.database import DatabaseTime
from portal.models import (
    DicomNode,
    DicomSend,
    DicomSentObject,
    Job,
    JobKind,
    JobState,
    SendMoment,
    SendProof,
    SendState,
    SentState,
)

CLAIM_SECONDS: Final = 300.0
# After each attempt that failed: minutes, then hours. So the last one is after about two days.
PAUSES: Final = (60.0, 300.0, 1800.0, 7200.0)
LONGEST_PAUSE: Final = 21600.0
MOST_ATTEMPTS: Final = 12
OPEN: Final = (SendState.PREPARING, SendState.WAITING, SendState.PROVING)


class Lapsed(Exception):
    """Another process has taken the send over, or it ended meanwhile."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A send that this process has for a while."""

    send_id: UUID
    node_id: UUID
    until: datetime


def add(
    session: Session,
    node_id: UUID,
    study_id: UUID,
    moment: SendMoment,
    trigger_id: UUID,
    now: datetime,
) -> None:
    """Add a send in the caller's transaction; it is due at once."""
    session.add(
        DicomSend(
            id=uuid4(),
            node_id=node_id,
            study_id=study_id,
            moment=moment,
            trigger_id=trigger_id,
            report_id=None,
            state=SendState.PREPARING,
            reason="",
            attempts=0,
            next_at=DatabaseTime(),
            created=now,
        )
    )


def nodes_with_due(session: Session) -> list[UUID]:
    """The nodes that something is due for, in no order."""
    found = session.scalars(select(DicomSend.node_id).join(DicomNode).where(*_is_due()).distinct())
    nodes = list(found)
    session.commit()
    return nodes


def claim(session: Session, node_id: UUID, seconds: float = CLAIM_SECONDS) -> Claim | None:
    """The next send that is due for a node, for this process alone; None where none is."""
    found = session.execute(
        select(DicomSend.id)
        .join(DicomNode)
        .where(DicomSend.node_id == node_id, *_is_due())
        .order_by(DicomSend.next_at, DicomSend.created, DicomSend.id)
        .limit(1)
        .with_for_update(of=DicomSend, skip_locked=True)
    ).scalar_one_or_none()
    if found is None:
        session.commit()
        return None
    until = session.execute(
        update(DicomSend)
        .where(DicomSend.id == found)
        .values(claimed_until=DatabaseTime(seconds))
        .returning(DicomSend.claimed_until),
        execution_options={"synchronize_session": False},
    ).scalar_one()
    session.commit()
    assert until is not None
    return Claim(found, node_id, until)


def prolong(session: Session, claimed: Claim, seconds: float = CLAIM_SECONDS) -> Claim:
    """The same claim for longer; commits. Raises Lapsed."""
    until = session.execute(
        update(DicomSend)
        .where(DicomSend.id == claimed.send_id, DicomSend.claimed_until == claimed.until)
        .values(claimed_until=DatabaseTime(seconds))
        .returning(DicomSend.claimed_until),
        execution_options={"synchronize_session": False},
    ).scalar_one_or_none()
    session.commit()
    if until is None:
        raise Lapsed
    return Claim(claimed.send_id, claimed.node_id, until)


def of(session: Session, claimed: Claim) -> DicomSend:
    """The row of a claim, locked until the caller's commit. Raises Lapsed."""
    row = session.get(DicomSend, claimed.send_id, with_for_update=True, populate_existing=True)
    if row is None or row.claimed_until != claimed.until or row.finished_at is not None:
        session.rollback()
        raise Lapsed
    return row


def objects_of(session: Session, send_id: UUID) -> list[DicomSentObject]:
    """The objects of a send, by kind."""
    query = select(DicomSentObject).where(DicomSentObject.send_id == send_id)
    query = query.order_by(DicomSentObject.kind, DicomSentObject.sop_key)
    return list(session.scalars(query.execution_options(populate_existing=True)))


def wait(
    session: Session, row: DicomSend, state: SendState, seconds: float, reason: str = ""
) -> None:
    """Let go of a send that is due again after so many seconds; commits."""
    row.state, row.reason = state, reason
    row.claimed_until = None
    row.next_at = DatabaseTime(seconds)
    session.commit()


def drop(session: Session, row: DicomSend, reason: str, now: datetime) -> None:
    """End a send that is not sent; commits."""
    _end(session, row, SendState.DROPPED, reason, now)


def fail(session: Session, row: DicomSend, reason: str, now: datetime) -> None:
    """End a send that failed for good; commits."""
    _end(session, row, SendState.FAILED, reason, now)


def try_later(session: Session, row: DicomSend, reason: str, now: datetime) -> None:
    """After an attempt that failed: again after a pause, or never; commits."""
    if row.attempts >= MOST_ATTEMPTS:
        fail(session, row, reason, now)
    else:
        wait(session, row, SendState.WAITING, pause_after(row.attempts), reason)


def pause_after(attempts: int) -> float:
    """How many seconds a send waits after so many attempts."""
    return PAUSES[attempts - 1] if 0 < attempts <= len(PAUSES) else LONGEST_PAUSE


def settle(
    session: Session,
    row: DicomSend,
    now: datetime,
    *,
    proof_seconds: float,
) -> None:
    """What becomes of a send by its objects: again, waiting for a proof, or its end; commits."""
    found = objects_of(session, row.id)
    states = {one.state for one in found}
    if SentState.WAITING in states:
        code = next((one.code for one in found if one.state is SentState.WAITING), "")
        try_later(session, row, code or "no_answer", now)
    elif SentState.TAKEN in states:
        wait(session, row, SendState.PROVING, proof_seconds)
    elif SentState.FAILED in states:
        code = next(one.code for one in found if one.state is SentState.FAILED)
        fail(session, row, code, now)
    elif _some_were_not_made(session, row):
        fail(session, row, "some_not_made", now)
    elif SentState.UNPROVEN in states:
        _end(session, row, SendState.UNPROVEN, "", now)
    else:
        _end(session, row, SendState.PROVEN, "", now)


def _some_were_not_made(session: Session, row: DicomSend) -> bool:
    """Whether the objects of a picture could not be made, beside those that the node has."""
    if row.report_id is None:
        return False
    failed = select(Job.id).where(
        Job.kind == JobKind.ENCODE, Job.target == row.report_id.hex, Job.state == JobState.FAILED
    )
    return session.scalar(failed.limit(1)) is not None


def prove(one: DicomSentObject, proof: SendProof, now: datetime) -> None:
    """Note that a node has stored an object."""
    one.state, one.proof, one.code, one.changed = SentState.PROVEN, proof, "", now


def _end(session: Session, row: DicomSend, state: SendState, reason: str, now: datetime) -> None:
    row.state, row.reason = state, reason
    row.claimed_until, row.finished_at = None, now
    found = objects_of(session, row.id)
    audit.append(
        session,
        f"dicom_send_{state.value}",
        now=now,
        study_id=row.study_id,
        subject_id=row.node_id,
        detail={
            "send": row.id.hex,
            "reason": reason,
            "proof": sorted({one.proof.value for one in found if one.proof is not None}),
            **_counts(found),
        },
    )
    session.commit()


def _counts(found: Sequence[DicomSentObject]) -> dict[str, int]:
    return {
        state.value: sum(one.state is state for one in found)
        for state in (SentState.PROVEN, SentState.UNPROVEN, SentState.FAILED)
    }


def _is_due() -> tuple[ColumnElement[bool], ...]:
    """What is to be done now, for nodes that are switched on and may receive."""
    return (
        DicomSend.state.in_(OPEN),
        DicomSend.finished_at.is_(None),
        DicomSend.next_at <= DatabaseTime(),
        or_(DicomSend.claimed_until.is_(None), DicomSend.claimed_until <= DatabaseTime()),
        DicomNode.disabled_at.is_(None),
        DicomNode.receives.is_(True),
        DicomNode.host.is_not(None),
    )
