"""The ledger of what is retrieved: retrievals are added, claimed, prolonged, settled and tried
again as sends are (`sends.queue`), so many of a node at once as it may have.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, func, or_, select, update
from sqlalchemy.orm import Session

from portal import audit
from portal.database import DatabaseTime
from portal.dicom_network.retrieving import asking
from portal.models import AskedState, DicomNode, DicomRetrieval, DicomSource, RetrievalState
from portal.sends.queue import Lapsed, pause_after

# Longer than one object may take, or one search.
CLAIM_SECONDS: Final = 900.0
MOST_ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Claim:
    """A retrieval that this process has for a while."""

    retrieval_id: UUID
    node_id: UUID
    until: datetime


def add(
    session: Session,
    node_id: UUID,
    study_id: UUID | None,
    asked_by: UUID | None,
    now: datetime,
    *,
    of_day: tuple[UUID, date] | None = None,
) -> DicomRetrieval:
    """Add a retrieval about an exam, or of a day of a back-fill, in the caller's transaction; it is
    due at once.
    """
    backfill_id, day = of_day if of_day is not None else (None, None)
    added = DicomRetrieval(
        id=uuid4(),
        node_id=node_id,
        study_id=study_id,
        backfill_id=backfill_id,
        day=day,
        asked_by=asked_by,
        state=RetrievalState.WAITING,
        reason="",
        attempts=0,
        found=0,
        known=0,
        retrieved=0,
        refused=0,
        failed=0,
        next_at=DatabaseTime(),
        created=now,
    )
    session.add(added)
    return added


def nodes_with_due(session: Session) -> dict[UUID, int]:
    """The nodes that something is due for, and how many retrievals each may have at once."""
    rows = session.execute(
        select(DicomSource.node_id, DicomSource.at_once)
        .join(DicomNode, DicomNode.id == DicomSource.node_id)
        .where(
            select(DicomRetrieval.id)
            .where(DicomRetrieval.node_id == DicomSource.node_id, *_is_due())
            .exists(),
            *may_be_asked(),
        )
    )
    found = dict(rows.all())
    session.commit()
    return found


def claim(session: Session, node_id: UUID, seconds: float = CLAIM_SECONDS) -> Claim | None:
    """The next retrieval that is due for a node, for this process alone; None where none is, or
    the node has as many as it may.
    """
    source = session.execute(
        select(DicomSource)
        .join(DicomNode, DicomNode.id == DicomSource.node_id)
        .where(DicomSource.node_id == node_id, *may_be_asked())
        .with_for_update(of=DicomSource)
        .execution_options(populate_existing=True)
    ).scalar_one_or_none()
    busy = session.scalar(
        select(func.count())
        .select_from(DicomRetrieval)
        .where(DicomRetrieval.node_id == node_id, DicomRetrieval.claimed_until > DatabaseTime())
    )
    found = None
    if source is not None and (busy or 0) < source.at_once:
        found = session.execute(
            select(DicomRetrieval.id)
            .where(DicomRetrieval.node_id == node_id, *_is_due())
            .order_by(
                DicomRetrieval.backfill_id.is_not(None),  # somebody may wait for the others
                DicomRetrieval.next_at,
                DicomRetrieval.created,
                DicomRetrieval.id,
            )
            .limit(1)
            .with_for_update(of=DicomRetrieval, skip_locked=True)
        ).scalar_one_or_none()
    if found is None:
        session.commit()
        return None
    until = _prolonged(session, (DicomRetrieval.id == found,), seconds)
    session.commit()
    assert until is not None
    return Claim(found, node_id, until)


def prolong(session: Session, claimed: Claim, seconds: float = CLAIM_SECONDS) -> Claim:
    """The same claim for longer; commits. Raises Lapsed."""
    mine = (
        DicomRetrieval.id == claimed.retrieval_id,
        DicomRetrieval.claimed_until == claimed.until,
        DicomRetrieval.finished_at.is_(None),
    )
    until = _prolonged(session, mine, seconds)
    session.commit()
    if until is None:
        raise Lapsed
    return Claim(claimed.retrieval_id, claimed.node_id, until)


def of(session: Session, claimed: Claim) -> DicomRetrieval:
    """The row of a claim, locked until the caller's commit. Raises Lapsed."""
    row = session.get(
        DicomRetrieval, claimed.retrieval_id, with_for_update=True, populate_existing=True
    )
    if row is None or row.claimed_until != claimed.until or row.finished_at is not None:
        session.rollback()
        raise Lapsed
    return row


def wait(session: Session, row: DicomRetrieval, seconds: float, reason: str) -> None:
    """Let go of a retrieval that is due again after so many seconds; commits."""
    row.reason, row.claimed_until = reason, None
    row.next_at = DatabaseTime(seconds)
    session.commit()


def settle(session: Session, row: DicomRetrieval, code: str, now: datetime) -> None:
    """What becomes of a retrieval after an attempt: its end, or again after a pause where `code`
    ended it or an object did not come; commits.
    """
    count(session, row)
    reason = code or asking.why_failed(session, row.id)
    if not reason:
        _end(session, row, RetrievalState.DONE, "", now)
    elif row.attempts >= MOST_ATTEMPTS:
        _end(session, row, RetrievalState.FAILED, reason, now)
    else:
        wait(session, row, pause_after(row.attempts), reason)


def fail(session: Session, row: DicomRetrieval, reason: str, now: datetime) -> None:
    """End a retrieval that failed for good; commits."""
    count(session, row)
    _end(session, row, RetrievalState.FAILED, reason, now)


def drop(session: Session, row: DicomRetrieval, reason: str, now: datetime) -> None:
    """End a retrieval that is not done any more; commits."""
    _end(session, row, RetrievalState.DROPPED, reason, now)


def count(session: Session, row: DicomRetrieval) -> None:
    """Write what became of the objects into the row, in the caller's transaction."""
    states = asking.counts(session, row.id)
    row.retrieved, row.refused = states[AskedState.STORED], states[AskedState.REFUSED]
    row.failed = states[AskedState.FAILED] + states[AskedState.WAITING]


def _end(
    session: Session, row: DicomRetrieval, state: RetrievalState, reason: str, now: datetime
) -> None:
    row.state, row.reason = state, reason
    row.claimed_until, row.finished_at = None, now
    asking.forget(session, row.id)
    audit.append(
        session,
        f"dicom_retrieval_{state.value}",
        now=now,
        study_id=row.study_id,
        subject_id=row.node_id,
        detail={
            "retrieval": row.id.hex,
            "reason": reason,
            "found": row.found,
            "known": row.known,
            "retrieved": row.retrieved,
            "refused": row.refused,
            "failed": row.failed,
        },
    )
    session.commit()


def _prolonged(
    session: Session, which: tuple[ColumnElement[bool], ...], seconds: float
) -> datetime | None:
    return session.execute(
        update(DicomRetrieval)
        .where(*which)
        .values(claimed_until=DatabaseTime(seconds))
        .returning(DicomRetrieval.claimed_until),
        execution_options={"synchronize_session": False},
    ).scalar_one_or_none()


def _is_due() -> tuple[ColumnElement[bool], ...]:
    return (
        DicomRetrieval.state == RetrievalState.WAITING,
        DicomRetrieval.finished_at.is_(None),
        DicomRetrieval.next_at <= DatabaseTime(),
        or_(
            DicomRetrieval.claimed_until.is_(None),
            DicomRetrieval.claimed_until <= DatabaseTime(),
        ),
    )


def team_of(session: Session, node_id: UUID) -> UUID | None:
    """The team of a node, in the caller's transaction; None for one that may not be asked now."""
    teams = select(DicomNode.team_id).join(DicomSource, DicomSource.node_id == DicomNode.id)
    return session.scalar(teams.where(DicomNode.id == node_id, *may_be_asked()))


def may_be_asked() -> tuple[ColumnElement[bool], ...]:
    """Of nodes that are switched on and can be called."""
    return DicomNode.disabled_at.is_(None), DicomNode.host.is_not(None)
