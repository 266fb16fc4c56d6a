"""The ledger of what is sent to DICOM nodes: sends are added, settled by their objects, and ended
with one row in the access log. Claims and pauses are the queue's.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import select
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
from portal.sends import queue
from portal.sends.queue import Queue

QUEUE: Final = Queue(
    DicomSend,
    DicomSend.node_id,
    DicomNode,
    (DicomNode.disabled_at.is_(None), DicomNode.receives.is_(True), DicomNode.host.is_not(None)),
)


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


def objects_of(session: Session, send_id: UUID) -> list[DicomSentObject]:
    """The objects of a send, by kind."""
    query = select(DicomSentObject).where(DicomSentObject.send_id == send_id)
    query = query.order_by(DicomSentObject.kind, DicomSentObject.sop_key)
    return list(session.scalars(query.execution_options(populate_existing=True)))


def drop(session: Session, row: DicomSend, reason: str, now: datetime) -> None:
    """End a send that is not sent; commits."""
    _end(session, row, SendState.DROPPED, reason, now)


def fail(session: Session, row: DicomSend, reason: str, now: datetime) -> None:
    """End a send that failed for good; commits."""
    _end(session, row, SendState.FAILED, reason, now)


def try_later(session: Session, row: DicomSend, reason: str, now: datetime) -> None:
    """After an attempt that failed: again after a pause, or never; commits."""
    if row.attempts >= queue.MOST_ATTEMPTS:
        fail(session, row, reason, now)
    else:
        QUEUE.wait(session, row, SendState.WAITING, queue.pause_after(row.attempts), reason)


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
        QUEUE.wait(session, row, SendState.PROVING, proof_seconds)
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
