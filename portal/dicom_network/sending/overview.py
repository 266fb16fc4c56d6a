"""What is being sent, for administrators: the queue and what failed, with the nodes' answers, and
another attempt. Numbers of cases and codes; a node's comment is kept without what names a patient.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import case, func, or_, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.database import DatabaseTime
from portal.dicom_network.sending import ledger, preparation
from portal.errors import Conflict
from portal.languages import _
from portal.models import (
    DicomNode,
    DicomSend,
    DicomSentObject,
    Instance,
    SendMoment,
    SendProof,
    SendState,
    SentState,
    Study,
)
from portal.studies import sealed_fields
from portal.vault import NotReadable, Vault

MOST: Final = 50
_LASTS: Final = timedelta(days=30)
# What may be tried again, and what is only waiting for its time.
_CAN_BE_TRIED: Final = (SendState.FAILED, SendState.UNPROVEN, SendState.WAITING, SendState.PROVING)


@dataclass(frozen=True, slots=True)
class ObjectLine:
    """One object of a send, and what its node has answered."""

    kind: str
    sop_class: str
    state: SentState
    proof: SendProof | None
    status: int | None
    code: str
    comment: str
    attempts: int


@dataclass(frozen=True, slots=True)
class SendLine:
    """One send. `next_at`: when it is tried again; None for what is over or is being done."""

    id: UUID
    node: str
    case_number: str
    moment: SendMoment
    state: SendState
    reason: str
    attempts: int
    created: datetime
    next_at: datetime | None
    objects: list[ObjectLine]

    @property
    def can_be_tried(self) -> bool:
        """Whether an administrator may have it tried again."""
        return self.state in _CAN_BE_TRIED


@dataclass(frozen=True, slots=True)
class Sends:
    """How many sends of thirty days there are of each state, and the newest of those that are not
    stored with proof.
    """

    counts: dict[SendState, int]
    lines: list[SendLine]


def sends(session: Session, vault: Vault, actor: Actor | None, now: datetime) -> Sends:
    """The sends of thirty days and all that are open. Without an actor: the command line."""
    _may_manage(actor)
    recent = or_(DicomSend.created > now - _LASTS, DicomSend.finished_at.is_(None))
    counted = session.execute(
        select(DicomSend.state, func.count()).where(recent).group_by(DicomSend.state)
    )
    counts = dict(counted.all())
    is_dropped = case((DicomSend.state == SendState.DROPPED, 1), else_=0)
    rows = session.execute(
        select(DicomSend, DicomNode.ae_title, Study.case_number)
        .join(DicomNode, DicomNode.id == DicomSend.node_id)
        .join(Study, Study.id == DicomSend.study_id)
        .where(recent, DicomSend.state != SendState.PROVEN)
        # A purge or another choice can drop thousands, which would hide one that failed.
        .order_by(is_dropped, DicomSend.created.desc(), DicomSend.id)
        .limit(MOST)
        .execution_options(populate_existing=True)
    ).all()
    objects = _objects(session, vault, [row.id for row, _title, _number in rows])
    lines = [
        SendLine(
            id=row.id,
            node=title,
            case_number=number,
            moment=row.moment,
            state=row.state,
            reason=row.reason,
            attempts=row.attempts,
            created=row.created,
            next_at=row.next_at if row.finished_at is None and not row.claimed_until else None,
            objects=objects.get(row.id, []),
        )
        for row, title, number in rows
    ]
    session.commit()
    return Sends(counts, lines)


def again(session: Session, actor: Actor | None, send_id: UUID, now: datetime) -> None:
    """Have a send tried again now, with one audit row. Conflict `not_open` for one that is stored,
    dropped, or is being made or sent just now.
    """
    _may_manage(actor)
    row = session.get(DicomSend, send_id, with_for_update=True, populate_existing=True)
    if row is None:
        session.rollback()
        raise Denied("send")
    if row.state not in _CAN_BE_TRIED or row.claimed_until is not None:
        session.rollback()
        raise Conflict("not_open", _("This is stored, dropped, or is being sent just now."))
    found = ledger.objects_of(session, row.id)
    if row.finished_at is not None:
        for one in found:
            if one.state in (SentState.FAILED, SentState.UNPROVEN):
                one.state, one.changed = SentState.WAITING, now
        is_complete = bool(found) and row.reason != "some_not_made"
        row.state = SendState.WAITING if is_complete else SendState.PREPARING
        row.reason = preparation.AGAIN
        row.finished_at = None
    row.attempts, row.next_at = 0, DatabaseTime()
    audit.append(
        session,
        "dicom_send_again",
        actor=actor,
        now=now,
        study_id=row.study_id,
        subject_id=row.node_id,
        detail={"send": row.id.hex},
    )
    session.commit()


def _objects(session: Session, vault: Vault, ids: Sequence[UUID]) -> dict[UUID, list[ObjectLine]]:
    found: dict[UUID, list[ObjectLine]] = {}
    rows = session.execute(
        select(DicomSentObject, Instance)
        .join(Instance, Instance.id == DicomSentObject.instance_id)
        .where(DicomSentObject.send_id.in_(ids))
        .order_by(DicomSentObject.kind, DicomSentObject.sop_key)
    )
    for one, instance in rows:
        found.setdefault(one.send_id, []).append(
            ObjectLine(
                kind=one.kind,
                sop_class=one.sop_class,
                state=one.state,
                proof=one.proof,
                status=one.status,
                code=one.code,
                comment=_comment(vault, instance, one),
                attempts=one.attempts,
            )
        )
    return found


def _comment(vault: Vault, instance: Instance, one: DicomSentObject) -> str:
    if one.sealed_comment is None:
        return ""
    try:
        return sealed_fields.open_answer(vault, sealed_fields.instance_key_of(vault, instance), one)
    except (NotReadable, UnicodeDecodeError):
        return ""


def _may_manage(actor: Actor | None) -> None:
    if actor is not None:
        actor.require(Permission.PEOPLE_MANAGE)
