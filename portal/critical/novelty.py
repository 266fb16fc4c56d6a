"""Whether a pneumothorax is new: no earlier exam of the patient has a reader's finding of one."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from portal.models import Finding, Review, Study
from portal.studies import exams, patients

_MOST: Final = 200  # earlier exams that are looked at, the newest


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier exam of the patient in which a reader found a pneumothorax."""

    study_id: UUID
    case_number: str
    finding: Finding


def earlier_finding(session: Session, study: Study) -> Earlier | None:
    """The last earlier exam of the patient, in the team, whose newest review states a pneumothorax.

    Earlier by when the exams were taken; where one of them states no time, by their arrival. None
    where there is no such exam, and where the exam has no patient ID to find others by.
    """
    if study.patient_key is None:
        return None
    keys = patients.keys_of(session, study.team_id, study.patient_key)
    before = Study.created < study.created
    if study.acquired is not None:
        before = or_(Study.acquired < study.acquired, Study.acquired.is_(None) & before)
    rows = session.execute(
        select(Study.id, Study.case_number)
        .where(
            Study.team_id == study.team_id,
            Study.patient_key.in_(keys),
            Study.id != study.id,
            Study.purged_at.is_(None),
            Study.joined_into.is_(None),
            before,
        )
        .order_by(func.coalesce(Study.acquired, 0).desc(), Study.created.desc())
        .limit(_MOST)
    ).all()
    found = _newest_findings(session, [study_id for study_id, _ in rows])
    return next(
        (
            Earlier(study_id, number, finding)
            for study_id, number in rows
            if (finding := found.get(study_id)) is not None and finding.is_positive
        ),
        None,
    )


def _newest_findings(session: Session, ids: list[UUID]) -> dict[UUID, Finding | None]:
    """What the newest review of each of these exams states, those joined into them included."""
    if not ids:
        return {}
    rows = session.execute(
        select(exams.exam_id(), Review.finding)
        .join(Review, Review.study_id == Study.id)
        .where(exams.is_of(ids))
        .order_by(Review.created)
    )
    return dict(rows.all())
