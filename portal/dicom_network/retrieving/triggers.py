"""What is to be looked for: earlier X-rays of the patient of each exam that arrives, and of an exam
about which somebody asks.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission, visible_studies
from portal.dicom_network.retrieving import ledger
from portal.errors import Conflict
from portal.languages import _
from portal.models import DicomNode, DicomRetrieval, DicomSource, RetrievalState, Study
from portal.studies import exams

# A row is dated before its transaction is committed, and by the clock of its own machine.
_OVERLAP: Final = timedelta(minutes=15)
_AT_ONCE: Final = 200


def look(session: Session, now: datetime) -> int:
    """Add the retrievals of exams that are new, for every node that is asked by itself; how many.

    Old exams, and so those that were retrieved, lead to none.
    """
    rows = session.execute(
        select(DicomSource.node_id, DicomNode.team_id)
        .join(DicomNode, DicomNode.id == DicomSource.node_id)
        .where(DicomSource.priors, DicomNode.disabled_at.is_(None))
    ).all()
    nodes = [(node_id, team_id) for node_id, team_id in rows]
    session.commit()
    return sum(_look(session, node_id, team_id, now) for node_id, team_id in nodes)


def _look(session: Session, node_id: UUID, team_id: UUID, now: datetime) -> int:
    # Two processes that look at the same time would add the same retrieval twice.
    source = session.get(DicomSource, node_id, with_for_update=True, populate_existing=True)
    if source is None or not source.priors:
        session.commit()
        return 0
    since = max(source.since, source.looked_until - _OVERLAP)
    known = exists().where(DicomRetrieval.node_id == node_id, DicomRetrieval.study_id == Study.id)
    found = session.scalars(
        select(Study.id)
        .where(
            Study.team_id == team_id,
            Study.created >= since,
            Study.purged_at.is_(None),
            Study.joined_into.is_(None),
            Study.is_old.is_(False),
            Study.patient_id_key.is_not(None),
            ~known,
        )
        .order_by(Study.created, Study.id)
        .limit(_AT_ONCE)
    ).all()
    for study_id in found:
        ledger.add(session, node_id, study_id, None, now)
    # Written once in a while: what is looked through again is known.
    if len(found) < _AT_ONCE and (found or now - source.looked_until > _OVERLAP / 3):
        source.looked_until = max(now, source.looked_until)
    session.commit()
    return len(found)


def may_ask(session: Session, team_id: UUID) -> bool:
    """Whether a node of the team may be queried."""
    found = session.scalar(_sources(team_id).limit(1))
    session.commit()
    return found is not None


def ask(session: Session, actor: Actor, study_id: UUID, now: datetime) -> int:
    """Look for earlier X-rays of an exam's patient at each node of its team; how many nodes.

    Denied where the actor may not see the exam; Conflict `no_patient_id`, `no_source`, or
    `looked_for` where all of them are being asked already.
    """
    actor.require(Permission.STUDY_SUBMIT)
    study = session.scalars(
        visible_studies(actor).where(Study.id == exams.survivor_of(session, study_id))
    ).first()
    if study is None or study.purged_at is not None:
        session.rollback()
        raise Denied("study")
    why = None
    asked = list[UUID]()
    if study.patient_id_key is None:
        why = Conflict("no_patient_id", _("The header has no patient ID to look for."))
    else:
        # Locked: a second click waits, and finds the retrievals of the first.
        nodes = session.scalars(_sources(study.team_id).with_for_update(of=DicomSource)).all()
        asked = [one for one in nodes if not _is_open(session, one, study.id)]
        if not nodes:
            why = Conflict("no_source", _("No DICOM node of the team may be queried."))
        elif not asked:
            why = Conflict("looked_for", _("Earlier X-rays are being looked for already."))
    if why is not None:
        session.rollback()
        raise why
    for node_id in asked:
        ledger.add(session, node_id, study.id, actor.user_id, now)
        audit.append(
            *(session, "dicom_priors_asked_for"),
            actor=actor,
            now=now,
            study_id=study.id,
            subject_id=node_id,
        )
    session.commit()
    return len(asked)


def _sources(team_id: UUID) -> Select[UUID]:
    return (
        select(DicomSource.node_id)
        .join(DicomNode, DicomNode.id == DicomSource.node_id)
        .where(
            DicomNode.team_id == team_id,
            DicomNode.disabled_at.is_(None),
            DicomNode.host.is_not(None),
        )
        .order_by(DicomNode.ae_title)
    )


def _is_open(session: Session, node_id: UUID, study_id: UUID) -> bool:
    return (
        session.scalar(
            select(
                exists().where(
                    DicomRetrieval.node_id == node_id,
                    DicomRetrieval.study_id == study_id,
                    DicomRetrieval.state == RetrievalState.WAITING,
                )
            )
        )
        is True
    )
