"""What is to be sent: signatures and addenda that came since a target was looked for, and models
that were retracted after a target has accepted a report with their results.

They are looked for in the tables, as for DICOM nodes: nothing is lost with a process that ends.
"""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from portal.hl7.sending import ledger
from portal.models import (
    Addendum,
    Instance,
    ModelVersion,
    Prediction,
    ReportMoment,
    ReportSend,
    ReportTarget,
    SendState,
    Signature,
    Study,
)
from portal.studies import exams

# A row is dated before its transaction is committed, and by the clock of its own machine.
_OVERLAP: Final = timedelta(minutes=15)
_AT_ONCE: Final = 200


def look(session: Session, now: datetime) -> int:
    """Add the sends of what is new, for every target that is switched on; how many."""
    switched_on = (ReportTarget.disabled_at.is_(None), ReportTarget.ended_at.is_(None))
    found = list(session.scalars(select(ReportTarget.id).where(*switched_on)))
    session.commit()
    return sum(_look(session, target_id, now) for target_id in found)


def _look(session: Session, target_id: UUID, now: datetime) -> int:
    # Two processes that look at the same time would add the same send twice.
    target = session.get(ReportTarget, target_id, with_for_update=True, populate_existing=True)
    if target is None or target.disabled_at is not None:
        session.commit()
        return 0
    since = max(target.since, target.looked_until - _OVERLAP)
    added, is_complete = 0, True
    for moment in ReportMoment:
        found = session.execute(_new(moment, target, since)).all()
        for study_id, trigger_id, at in found:
            # Not before what it follows, also where the machine that wrote that is ahead.
            ledger.add(session, target_id, study_id, moment, trigger_id, max(now, at))
        session.flush()
        added += len(found)
        is_complete = is_complete and len(found) < _AT_ONCE
    # Written once in a while: what is looked through again is known.
    if is_complete and (added or now - target.looked_until > _OVERLAP / 3):
        target.looked_until = max(now, target.looked_until)
    session.commit()
    return added


def _new(
    moment: ReportMoment, target: ReportTarget, since: datetime
) -> Select[UUID, UUID, datetime]:
    """What happened to exams of the team that the target has no send for, and when."""
    query: Select[UUID, UUID]
    again: ColumnElement[bool] = true()
    created: InstrumentedAttribute[Any]
    trigger: InstrumentedAttribute[UUID]
    if moment is ReportMoment.SIGNATURE:
        created, trigger = Signature.created, Signature.id
        query = select(exams.exam_id(), trigger).join(Study, Study.id == Signature.study_id)
    elif moment is ReportMoment.ADDENDUM:
        created, trigger = Addendum.created, Addendum.id
        query = select(exams.exam_id(), trigger).join(Study, Study.id == Addendum.study_id)
    else:
        created, trigger = ModelVersion.retracted_at, Prediction.id
        # Results can be restored and retracted again.
        again = ReportSend.created >= created
        query = (
            select(exams.exam_id(), trigger)
            .join(ModelVersion, ModelVersion.id == Prediction.model_id)
            .join(Instance, Instance.id == Prediction.instance_id)
            .join(Study, Study.id == Instance.study_id)
            .where(_has_report(target.id))
        )
    known = exists().where(
        ReportSend.target_id == target.id,
        ReportSend.moment == moment,
        ReportSend.trigger_id == trigger,
        again,
    )
    return (
        query.add_columns(created)
        .where(created >= since, Study.team_id == target.team_id, Study.purged_at.is_(None), ~known)
        .order_by(created, trigger)
        .limit(_AT_ONCE)
    )


def _has_report(target_id: UUID) -> ColumnElement[bool]:
    """Whether the target has accepted a report of the exam."""
    return exams.has_outer(
        ReportSend.study_id, ReportSend.target_id == target_id, ReportSend.state == SendState.PROVEN
    )
