"""Other exams that a case page names: of the same patient, and with a picture of the same UID."""

from collections.abc import Sequence

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from portal.access import Actor, visible_studies
from portal.models import Instance, Study
from portal.reading.case_records import Prior
from portal.studies import patients, sealed_fields, status
from portal.studies.sealed_fields import Patient
from portal.teams import ai_visibility
from portal.vault import NotReadable, Vault

# The most that a page lists.
MOST = 20


def of_patient(session: Session, vault: Vault, actor: Actor, study: Study) -> list[Prior]:
    """The other exams of the same patient that the actor may see, also under IDs that were
    merged, the last taken first.

    By when they were taken, as the headers have it: films of years ago may be sent after today's.
    Those whose header states no time come last, by their arrival.
    """
    if study.patient_key is None:
        return []
    keys = patients.keys_of(session, study.team_id, study.patient_key)
    same_patient = visible_studies(actor).where(
        Study.team_id == study.team_id,
        Study.patient_key.in_(keys),
        Study.id != study.id,
    )
    return _seen(session, vault, actor, same_patient, study.acquired)


def of_same_uid(
    session: Session, vault: Vault, actor: Actor, study: Study, rows: Sequence[Instance]
) -> tuple[bool, list[Prior]]:
    """Whether a picture of this exam shares its SOPInstanceUID with another, and the other exams
    with such pictures that the actor may see.
    """
    sharing = _sharing(session, rows)
    others = {row.study_id for row in sharing} - {study.id}
    if not others:
        return bool(sharing), []
    found = visible_studies(actor).where(Study.id.in_(others))
    return True, _seen(session, vault, actor, found, study.acquired)


def _sharing(session: Session, rows: Sequence[Instance]) -> list[Instance]:
    """The other pictures that share a SOPInstanceUID with one of these."""
    firsts = {row.same_uid_as or row.id for row in rows}
    sharing = session.scalars(select(Instance).where(Instance.same_uid_as.in_(firsts))).all()
    shared = {row.same_uid_as for row in sharing}
    if not shared:
        return []
    of_uids = session.scalars(
        select(Instance).where(or_(Instance.id.in_(shared), Instance.same_uid_as.in_(shared)))
    )
    own = {row.id for row in rows}
    others = [row for row in of_uids if row.id not in own]
    return others or [row for row in rows if row.same_uid_as in own]


def _seen(
    session: Session, vault: Vault, actor: Actor, studies: Select[Study], acquired: int | None
) -> list[Prior]:
    rows = session.scalars(
        studies.order_by(
            Study.acquired.is_(None), Study.acquired.desc(), Study.created.desc()
        ).limit(MOST)
    ).all()
    ids = [row.id for row in rows]
    found = status.of_studies(session, ids, ai_visibility.hidden(session, actor, ids))
    return [
        Prior(
            row.id,
            row.case_number,
            row.created,
            found[row.id],
            exam_date=_exam_date(_patient(vault, row)),
            is_later=None if row.acquired is None or acquired is None else row.acquired > acquired,
        )
        for row in rows
    ]


def _exam_date(patient: Patient) -> str:
    is_typed = "study_date" in patient.typed.split(",")
    return f"{patient.study_date} (typed)" if is_typed else patient.study_date


def _patient(vault: Vault, study: Study) -> Patient:
    """The sealed data of a study; empty where its record is damaged: it hides no other."""
    try:
        return sealed_fields.open_patient(vault, sealed_fields.key_of(vault, study), study)
    except NotReadable:
        return Patient()
