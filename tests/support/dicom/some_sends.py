"""Sends of every kind that the nodes' page lists, for pictures of it."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.models import (
    DicomSend,
    DicomSentObject,
    Instance,
    SendMoment,
    SendProof,
    SendState,
    SentState,
)

_SENDS = (
    (SendState.PREPARING, SendMoment.RESULT, "being_made", 0, ()),
    (SendState.WAITING, SendMoment.SIGNATURE, "no_association", 3, ()),
    (
        SendState.FAILED,
        SendMoment.RESULT,
        "context_refused",
        1,
        (
            ("sr", SentState.PROVEN, SendProof.COMMITMENT, 0, ""),
            ("seg", SentState.FAILED, None, None, "context_refused"),
            ("sc", SentState.FAILED, None, 0xC123, "refused"),
        ),
    ),
    (
        SendState.UNPROVEN,
        SendMoment.SIGNATURE,
        "",
        1,
        (("sr", SentState.UNPROVEN, None, 0, ""), ("pdf", SentState.UNPROVEN, None, 0, "")),
    ),
    (SendState.DROPPED, SendMoment.RESULT, "retracted", 0, ()),
    (SendState.PROVEN, SendMoment.RESULT, "", 1, ()),
)


def add_some(session: Session, node_id: UUID, study_id: UUID, now: datetime) -> None:
    """One send of each state, about one exam."""
    picture = session.scalars(select(Instance.id).where(Instance.study_id == study_id)).first()
    assert picture is not None
    is_open = (SendState.PREPARING, SendState.WAITING)
    for number, (state, moment, reason, attempts, objects) in enumerate(_SENDS):
        send = DicomSend(
            id=uuid4(),
            node_id=node_id,
            study_id=study_id,
            moment=moment,
            trigger_id=uuid4(),
            state=state,
            reason=reason,
            attempts=attempts,
            next_at=now + timedelta(minutes=30),
            created=now - timedelta(hours=number),
            finished_at=None if state in is_open else now,
        )
        session.add(send)
        session.flush()
        for kind, own, proof, status, code in objects:
            session.add(
                DicomSentObject(
                    send_id=send.id,
                    sop_key=f"{number}{kind}".ljust(64, "0"),
                    instance_id=picture,
                    kind=kind,
                    sop_class="1.2.840.10008.5.1.4.1.1.88.34",
                    state=own,
                    proof=proof,
                    status=status,
                    code=code,
                    attempts=1,
                    changed=now,
                )
            )
    session.commit()
