"""What is being sent, for administrators: the queue and what failed, with the targets' answers, and
another attempt. Numbers of cases and codes; a target's words are kept without what names a patient.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import case, func, or_, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied
from portal.database import DatabaseTime
from portal.errors import Conflict
from portal.hl7.sending import targets
from portal.languages import _
from portal.models import ReportMoment, ReportSend, ReportTarget, SendState, Study
from portal.studies import sealed_fields
from portal.vault import NotReadable, Vault

MOST: Final = 50
_LASTS: Final = timedelta(days=30)
_CAN_BE_TRIED: Final = (SendState.FAILED, SendState.WAITING)


@dataclass(frozen=True, slots=True)
class SendLine:
    """One send. `next_at`: when it is tried again; None for what is over or is being done."""

    id: UUID
    target: str
    case_number: str
    moment: ReportMoment
    state: SendState
    reason: str
    answer: str
    remark: str = field(repr=False)
    attempts: int
    created: datetime
    next_at: datetime | None
    can_be_tried: bool


@dataclass(frozen=True, slots=True)
class Sends:
    """How many reports of thirty days there are of each state, how many wait for each target, and
    the newest of those that no target has accepted, dropped ones last.
    """

    counts: dict[SendState, int]
    waiting: dict[UUID, int]
    lines: list[SendLine]


def sends(session: Session, vault: Vault, actor: Actor | None, now: datetime) -> Sends:
    """The sends of thirty days and all that are open. Without an actor: the command line."""
    targets.may_manage(actor)
    is_open = ReportSend.finished_at.is_(None)
    recent = or_(ReportSend.created > now - _LASTS, is_open)
    counted = session.execute(
        select(ReportSend.state, func.count()).where(recent).group_by(ReportSend.state)
    )
    counts = dict(counted.all())
    queued = session.execute(
        select(ReportSend.target_id, func.count()).where(is_open).group_by(ReportSend.target_id)
    )
    waiting = dict(queued.all())
    is_dropped = case((ReportSend.state == SendState.DROPPED, 1), else_=0)
    rows = session.execute(
        select(ReportSend, ReportTarget, Study)
        .join(ReportTarget, ReportTarget.id == ReportSend.target_id)
        .join(Study, Study.id == ReportSend.study_id)
        .where(recent, ReportSend.state != SendState.PROVEN)
        # A retraction can drop thousands, which would hide one that failed.
        .order_by(is_dropped, ReportSend.created.desc(), ReportSend.id)
        .limit(MOST)
        .execution_options(populate_existing=True)
    ).all()
    lines = [_line(vault, row, target, study) for row, target, study in rows]
    session.commit()
    return Sends(counts, waiting, lines)


def again(session: Session, actor: Actor | None, send_id: UUID, now: datetime) -> None:
    """Have a report sent again now, with one audit row. Conflict `not_open` for one that is
    accepted, dropped, or is being sent just now, and where its target has ended.
    """
    targets.may_manage(actor)
    row = session.get(ReportSend, send_id, with_for_update=True, populate_existing=True)
    if row is None:
        session.rollback()
        raise Denied("send")
    target = session.get_one(ReportTarget, row.target_id, populate_existing=True)
    if not _can_be_tried(row, target) or row.claimed_until is not None:
        session.rollback()
        raise Conflict("not_open", _("This is accepted, dropped, or is being sent just now."))
    row.state, row.reason, row.finished_at = SendState.WAITING, "again", None
    row.attempts, row.next_at = 0, DatabaseTime()
    audit.append(
        session,
        "report_send_again",
        actor=actor,
        now=now,
        study_id=row.study_id,
        subject_id=row.target_id,
        detail={"send": row.id.hex},
    )
    session.commit()


def _can_be_tried(row: ReportSend, target: ReportTarget) -> bool:
    return row.state in _CAN_BE_TRIED and target.ended_at is None


def _line(vault: Vault, row: ReportSend, target: ReportTarget, study: Study) -> SendLine:
    is_waiting = row.finished_at is None and not row.claimed_until
    return SendLine(
        id=row.id,
        target=target.name,
        case_number=study.case_number,
        moment=row.moment,
        state=row.state,
        reason=row.reason,
        answer=row.answer,
        remark=_remark(vault, study, row),
        attempts=row.attempts,
        created=row.created,
        next_at=row.next_at if is_waiting else None,
        can_be_tried=_can_be_tried(row, target),
    )


def _remark(vault: Vault, study: Study, row: ReportSend) -> str:
    if row.sealed_remark is None:
        return ""
    try:
        return sealed_fields.open_remark(vault, sealed_fields.key_of(vault, study), row)
    except (NotReadable, UnicodeDecodeError):
        return ""
