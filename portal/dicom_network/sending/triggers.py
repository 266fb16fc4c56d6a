"""What is to be sent: results, verdicts and signatures that came since a node was looked for.

They are looked for in the tables, not announced where they are stored: nothing is lost with a
process that ends, and storing a result does not wait for what is sent of it.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session

from portal.dicom_network.sending import ledger
from portal.models import (
    DicomDestination,
    DicomNode,
    DicomSend,
    Instance,
    Prediction,
    Review,
    SendMoment,
    Signature,
    Study,
)
from portal.studies import exams

# A row is dated before its transaction is committed, and by the clock of its own machine.
_OVERLAP: Final = timedelta(minutes=15)
_AT_ONCE: Final = 200


def look(session: Session, now: datetime) -> int:
    """Add the sends of what is new, for every node that gets something; how many."""
    rows = session.execute(
        select(DicomDestination, DicomNode)
        .join(DicomNode, DicomNode.id == DicomDestination.node_id)
        .where(DicomNode.receives, DicomNode.disabled_at.is_(None))
    ).all()
    nodes = [(one.node_id, node.team_id) for one, node in rows]
    session.commit()
    return sum(_look(session, node_id, team_id, now) for node_id, team_id in nodes)


def _look(session: Session, node_id: UUID, team_id: UUID, now: datetime) -> int:
    # Two processes that look at the same time would add the same send twice.
    chosen = session.get(DicomDestination, node_id, with_for_update=True, populate_existing=True)
    if chosen is None:
        session.commit()
        return 0
    since = max(chosen.since, chosen.looked_until - _OVERLAP)
    added, is_complete = 0, True
    for moment in (SendMoment(one) for one in chosen.moments):
        found = session.execute(_new(moment, node_id, team_id, since)).all()
        for study_id, trigger_id in found:
            ledger.add(session, node_id, study_id, moment, trigger_id, now)
        added += len(found)
        is_complete = is_complete and len(found) < _AT_ONCE
    # Written once in a while: what is looked through again is known.
    if is_complete and (added or now - chosen.looked_until > _OVERLAP / 3):
        chosen.looked_until = max(now, chosen.looked_until)
    session.commit()
    return added


def _new(moment: SendMoment, node_id: UUID, team_id: UUID, since: datetime) -> Select[UUID, UUID]:
    """What happened to exams of the team that the node has no send for."""
    if moment is SendMoment.RESULT:
        query = (
            select(exams.exam_id(), Prediction.id)
            .join(Instance, Instance.id == Prediction.instance_id)
            .join(Study, Study.id == Instance.study_id)
        )
        created, trigger = Prediction.created, Prediction.id
    elif moment is SendMoment.VERDICT:
        query = select(exams.exam_id(), Review.id).join(Study, Study.id == Review.study_id)
        created, trigger = Review.created, Review.id
    else:
        query = select(exams.exam_id(), Signature.id).join(Study, Study.id == Signature.study_id)
        created, trigger = Signature.created, Signature.id
    known = exists().where(
        DicomSend.node_id == node_id, DicomSend.moment == moment, DicomSend.trigger_id == trigger
    )
    return (
        query.where(created >= since, Study.team_id == team_id, Study.purged_at.is_(None), ~known)
        .order_by(created, trigger)
        .limit(_AT_ONCE)
    )
