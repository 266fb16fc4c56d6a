"""What is being retrieved, for administrators and on the case page: the queue, what became of it
and another attempt. Numbers of cases, counts and codes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import case, or_, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.database import DatabaseTime
from portal.dicom_network.retrieving import ledger
from portal.errors import Conflict
from portal.languages import _
from portal.models import DicomNode, DicomRetrieval, DicomSource, RetrievalState, Study, User

MOST: Final = 50
_LASTS: Final = timedelta(days=30)
_NOT_ASKED: Final = (RetrievalState.FAILED, RetrievalState.DROPPED)
_CAN_BE_TRIED: Final = (RetrievalState.FAILED, RetrievalState.WAITING)


@dataclass(frozen=True, slots=True)
class RetrievalLine:
    """One retrieval, about a case or of a day. `asked_by`: a person's name; empty: the exam's
    arrival. `next_at`: when it is tried again; None for what is over or is being done.
    """

    id: UUID
    node: str
    case_number: str
    day: date | None
    asked_by: str
    state: RetrievalState
    reason: str
    attempts: int
    found: int
    known: int
    retrieved: int
    refused: int
    failed: int
    created: datetime
    next_at: datetime | None

    @property
    def can_be_tried(self) -> bool:
        """Whether an administrator may have it tried again."""
        return self.state in _CAN_BE_TRIED


@dataclass(frozen=True, slots=True)
class OfCase:
    """What was looked for about one case: whether it goes on, and how many pictures came.
    `has_failed`: a node was not asked to the end, or may not be asked any more.
    """

    is_open: bool
    retrieved: int
    refused: int
    has_failed: bool


def retrievals(session: Session, actor: Actor | None, now: datetime) -> list[RetrievalLine]:
    """Those of thirty days and all that are open, the newest first; of more than `MOST`, those
    that have failed and then those that are open go before. Without an actor: the command line.
    """
    if actor is not None:
        actor.require(Permission.PEOPLE_MANAGE)
    recent = or_(DicomRetrieval.created > now - _LASTS, DicomRetrieval.finished_at.is_(None))
    rows = session.execute(
        select(DicomRetrieval, DicomNode.ae_title, Study.case_number, User.name)
        .join(DicomNode, DicomNode.id == DicomRetrieval.node_id)
        .outerjoin(Study, Study.id == DicomRetrieval.study_id)
        .outerjoin(User, User.id == DicomRetrieval.asked_by)
        .where(recent)
        .order_by(
            case(
                (DicomRetrieval.state == RetrievalState.FAILED, 0),
                (DicomRetrieval.state == RetrievalState.WAITING, 1),
                else_=2,
            ),
            DicomRetrieval.created.desc(),
            DicomRetrieval.id,
        )
        .limit(MOST)
        .execution_options(populate_existing=True)
    ).all()
    lines = [
        RetrievalLine(
            id=row.id,
            node=title,
            case_number=number or "",
            day=row.day,
            asked_by=name or "",
            state=row.state,
            reason=row.reason,
            attempts=row.attempts,
            found=row.found,
            known=row.known,
            retrieved=row.retrieved,
            refused=row.refused,
            failed=row.failed,
            created=row.created,
            next_at=row.next_at if row.finished_at is None and not row.claimed_until else None,
        )
        for row, title, number, name in rows
    ]
    session.commit()
    lines.sort(key=lambda one: one.created, reverse=True)
    return lines


def of_case(session: Session, study_id: UUID) -> OfCase | None:
    """The last retrieval from each node about a case that the caller may see; None for none."""
    found: Sequence[DicomRetrieval] = session.scalars(
        select(DicomRetrieval)
        .where(DicomRetrieval.study_id == study_id)
        .order_by(DicomRetrieval.created, DicomRetrieval.id)
        .execution_options(populate_existing=True)
    ).all()
    sources = select(DicomSource.node_id).join(DicomNode, DicomNode.id == DicomSource.node_id)
    askable = set(session.scalars(sources.where(*ledger.may_be_asked())))
    session.commit()
    newest = {one.node_id: one for one in found}.values()
    if not newest:
        return None
    waiting = {one.node_id for one in newest if one.state is RetrievalState.WAITING}
    return OfCase(
        is_open=bool(waiting & askable),
        retrieved=sum(one.retrieved for one in newest),
        refused=sum(one.refused for one in newest),
        has_failed=bool(waiting - askable) or any(one.state in _NOT_ASKED for one in newest),
    )


def again(session: Session, actor: Actor | None, retrieval_id: UUID, now: datetime) -> None:
    """Have a retrieval tried again now, with one audit row. Conflict `not_open` for one that is
    done, dropped, or goes on just now.
    """
    if actor is not None:
        actor.require(Permission.PEOPLE_MANAGE)
    row = session.get(DicomRetrieval, retrieval_id, with_for_update=True, populate_existing=True)
    if row is None:
        session.rollback()
        raise Denied("retrieval")
    if row.state not in _CAN_BE_TRIED or row.claimed_until is not None:
        session.rollback()
        raise Conflict("not_open", _("This is done, dropped, or goes on just now."))
    row.state, row.reason, row.finished_at = RetrievalState.WAITING, "", None
    row.attempts, row.next_at = 0, DatabaseTime()
    audit.append(
        session,
        "dicom_retrieval_again",
        actor=actor,
        now=now,
        study_id=row.study_id,
        subject_id=row.node_id,
        detail={"retrieval": row.id.hex},
    )
    session.commit()
