"""Whether a pneumothorax is new: the patient's last earlier exam that a reader has read shows none,
or only one of the other side. One that had gone and has come back is new, too.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from portal import database, readable_rows
from portal.access import Actor
from portal.models import Finding, Review, Study
from portal.studies import exams, patients
from portal.teams import ai_visibility

_MOST: Final = 200  # earlier exams that are looked at, the newest
RECENT: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier exam of the patient in which a reader found a pneumothorax."""

    study_id: UUID
    case_number: str
    finding: Finding

    def shows(self, finding: Finding) -> bool:
        """Whether it had a pneumothorax on every side on which this finding states one."""
        return self.finding in (finding, Finding.BOTH)


def earlier_finding(session: Session, actor: Actor, study: Study) -> Earlier | None:
    """The last earlier exam of the patient, in the team, that was read, if its newest review states
    a pneumothorax. Exams that nobody has read yet, or whose reader is unsure, are passed over, and
    those whose findings the actor may not see yet (`teams.ai_visibility`): what is new would
    otherwise state what a colleague found in an exam that waits for the actor.

    Earlier by when the exams were taken; where one of them states no time, by their arrival. None
    where there is no such exam, where it is so long ago that a pneumothorax is another one
    (`RECENT`), where the exam has no patient ID to find others by, and where one of them can't be
    read: a finding that may be new counts as new.
    """
    if study.patient_key is None:
        return None
    try:
        return readable_rows.beside(session, lambda own: _last_known(own, actor, study))
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        return None


def _last_known(session: Session, actor: Actor, study: Study) -> Earlier | None:
    keys = patients.keys_of(session, study.team_id, study.patient_key or "")
    before = Study.created < study.created
    if study.acquired is not None:
        before = or_(Study.acquired < study.acquired, Study.acquired.is_(None) & before)
    rows = session.execute(
        select(Study.id, Study.case_number, Study.acquired, Study.created)
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
    reads = ai_visibility.readings(session, [row.id for row in rows])
    rows = [row for row in rows if not reads.hides_findings(actor, row.id)]
    found = _newest_findings(session, [row.id for row in rows])
    for row in rows:
        finding = found.get(row.id)
        if finding is None or finding is Finding.UNSURE:
            continue
        since = study.created - row.created
        if study.acquired is not None and row.acquired is not None:
            since = timedelta(seconds=study.acquired - row.acquired)
        is_known = finding.is_positive and since <= RECENT
        return Earlier(row.id, row.case_number, finding) if is_known else None
    return None


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
