"""Other exams that a case page names: of the same patient, and with a picture of the same UID."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from uuid import UUID

from sqlalchemy import Row, Select, func, or_, select
from sqlalchemy.orm import Session

from portal import database, readable_rows
from portal.access import Actor, visible_studies
from portal.languages import _, header_day_text
from portal.models import Instance, Study
from portal.readable_rows import Readable
from portal.reading.case_records import Prior
from portal.studies import patients, sealed_fields, status
from portal.studies.sealed_fields import Patient
from portal.studies.status import StudyState
from portal.teams import ai_visibility
from portal.vault import NotReadable, Vault

_Taken = Row[UUID, str, datetime, int | None]
# The most that a page lists, and how many of them at most are not earlier than its exam where
# more earlier ones are known.
MOST = 20
_NOT_EARLIER = 5


@dataclass(frozen=True, slots=True)
class Others:
    """Other exams, and how many there are besides. `may_lack`: rows can't be read, of which some
    may be such exams.
    """

    exams: list[Prior] = field(default_factory=list)
    may_lack: bool = False
    more: int = 0


def of_patient(session: Session, vault: Vault, actor: Actor, study: Study) -> Others:
    """The other exams of the same patient that the actor may see, also under IDs that were
    merged, the last taken first. Of more than `MOST` those taken nearest before this one and some
    after it.

    By when they were taken, as the headers have it: films of years ago may be sent after today's.
    Those whose header states no time come last, by their arrival. One that can't be read hides no
    other, and not the exam itself. Where something is damaged the session is rolled back.
    """
    own, team, key, acquired = study.id, study.team_id, study.patient_key, study.acquired
    if key is None:
        return Others()
    keys, may_lack = frozenset({key}), False
    try:
        keys = patients.keys_of(session, team, key)
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        may_lack = True
    same_patient = visible_studies(actor).where(
        Study.team_id == team, Study.patient_key.in_(keys), Study.id != own
    )
    (found, more), unreadable = readable_rows.around_damage(
        session, Study, partial(_nearest, session, same_patient, acquired)
    )
    exams = _seen(session, vault, actor, found, acquired)
    return Others(exams, may_lack=may_lack or unreadable > 0, more=more)


def of_same_uid(
    session: Session, vault: Vault, actor: Actor, study: Study, rows: Sequence[Instance]
) -> tuple[bool, list[Prior]]:
    """Whether a picture of this exam shares its SOPInstanceUID with another, and the other exams
    with such pictures that the actor may see.
    """
    own, acquired = study.id, study.acquired
    sharing = _sharing(session, rows)
    others = {row.study_id for row in sharing} - {own}
    if not others:
        return bool(sharing), []
    there = visible_studies(actor).where(Study.id.in_(others))
    found, _ = readable_rows.around_damage(session, Study, partial(_last_taken, session, there))
    return True, _seen(session, vault, actor, found, acquired)


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


def _nearest(
    session: Session, studies: Select[Study], acquired: int | None, readable: Readable
) -> tuple[list[_Taken], int]:
    """Of these studies those nearest to an exam taken then, the last taken first, and how many
    there are besides: so that the one to compare with is among them, however many came later.
    """
    total = 0
    with readable.parts(session) as parts:
        for part in parts:
            counted = studies.where(part).with_only_columns(func.count())
            total += session.scalar(counted) or 0
    last = _last_taken(session, studies, readable)
    if acquired is None or total <= MOST:
        return last, total - len(last)
    earlier = _last_taken(session, studies.where(Study.acquired <= acquired), readable)
    others = _first_taken(session, studies.where(Study.acquired > acquired), readable)
    others += _last_taken(session, studies.where(Study.acquired.is_(None)), readable)
    kept = earlier[: MOST - min(_NOT_EARLIER, len(others))]
    kept += others[: MOST - len(kept)]
    return sorted(kept, key=_by_time, reverse=True), total - len(kept)


def _first_taken(session: Session, studies: Select[Study], readable: Readable) -> list[_Taken]:
    """The first taken of these studies, as many as a page lists."""
    wanted = studies.with_only_columns(Study.id, Study.case_number, Study.created, Study.acquired)
    found = list[_Taken]()
    with readable.parts(session) as parts:
        for part in parts:
            order = Study.acquired, Study.created
            found += session.execute(wanted.where(part).order_by(*order).limit(MOST)).all()
    return sorted(found, key=_by_time)[:MOST]


def _by_time(row: _Taken) -> tuple[bool, int, datetime]:
    """By when it was taken, else before all others by its arrival."""
    return row.acquired is not None, row.acquired or 0, row.created


def _last_taken(session: Session, studies: Select[Study], readable: Readable) -> list[_Taken]:
    """The last taken of these studies, as many as a page lists."""
    wanted = studies.with_only_columns(Study.id, Study.case_number, Study.created, Study.acquired)
    order = Study.acquired.is_(None), Study.acquired.desc(), Study.created.desc()
    found = list[_Taken]()
    with readable.parts(session) as parts:
        for part in parts:
            found += session.execute(wanted.where(part).order_by(*order).limit(MOST)).all()
    return sorted(found, key=_by_time, reverse=True)[:MOST]


def _seen(
    session: Session, vault: Vault, actor: Actor, rows: Sequence[_Taken], acquired: int | None
) -> list[Prior]:
    found, _ = database.read_readable(
        session, [row.id for row in rows], partial(_read, session, vault, actor)
    )
    return [
        Prior(
            row.id,
            row.case_number,
            row.created,
            *found.get(row.id, (status.unreadable(row.id), "")),
            is_later=None if row.acquired is None or acquired is None else row.acquired > acquired,
        )
        for row in rows
    ]


def _read(
    session: Session, vault: Vault, actor: Actor, ids: Sequence[UUID]
) -> dict[UUID, tuple[StudyState, str]]:
    """State and date of these exams as the actor sees them."""
    found = status.of_studies(session, ids, ai_visibility.hidden(session, actor, ids))
    reads = ai_visibility.readings(session, ids)
    rows = session.scalars(select(Study).where(Study.id.in_(ids)))
    return {
        row.id: (reads.seen(actor, found[row.id]), exam_date(_patient(vault, row))) for row in rows
    }


def exam_date(patient: Patient) -> str:
    """The date of an exam as its header or who typed it has it, "" without one."""
    is_typed = "study_date" in patient.typed.split(",")
    day = header_day_text(patient.study_date)
    return _("%(day)s (typed)", day=day) if is_typed else day


def _patient(vault: Vault, study: Study) -> Patient:
    """The sealed data of a study; empty where its record is damaged: it hides no other."""
    try:
        return sealed_fields.open_patient(vault, sealed_fields.key_of(vault, study), study)
    except NotReadable:
        return Patient()
