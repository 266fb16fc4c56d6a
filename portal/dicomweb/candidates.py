"""Which exams a search may find, by the columns that have an index, and which of their instances.

Numbers and UIDs are found by their keyed digests, days by the order of acquisition, which is as
close to the sealed StudyDate as `_DAYS_APART`. What is found so is compared with the header's own
values once they are open: they decide.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, aliased

from portal import database
from portal.access import Actor, visible_studies
from portal.dicomweb.queries import Query
from portal.dicomweb.records import Served
from portal.models import Instance, Study
from portal.studies import exams
from portal.studies.worklist_filters import spellings
from portal.vault import Vault

# How far an exam's StudyDate may be from when its earliest picture was taken.
_DAYS_APART: Final = timedelta(days=31)
MOST_EXAMS: Final = 5000


def ids(session: Session, vault: Vault, actor: Actor, query: Query) -> list[UUID]:
    """The exams that may match, the newest first; one more than MOST_EXAMS where there are more.

    Without keys they are read off an index, so that a damaged row hides none but its own exam.
    Where one is met in a search by days, all exams are candidates.
    """
    found = (
        visible_studies(actor)
        .with_only_columns(Study.id)
        .order_by(Study.created.desc(), Study.id)
        .limit(MOST_EXAMS + 1)
    )
    named = found.where(*_named(vault, actor.team_id, query))
    days = _days(vault, query)
    if days:
        try:
            return list(session.scalars(named.where(*days)))
        except database.UNREADABLE as error:
            if not database.is_damage(error):
                raise
            session.rollback()
    return list(session.scalars(named))


def matches(one: Served, query: Query) -> bool:
    """Whether the study of an instance is what is asked for, by its picture's own header."""
    if query.study_uids and one.study_uid not in query.study_uids:
        return False
    if query.patient_id and one.patient.patient_id != query.patient_id:
        return False
    if query.accession and one.patient.accession != query.accession:
        return False
    if not query.has_days:
        return True
    try:
        day = date.fromisoformat(one.patient.study_date)
    except ValueError:
        return False
    return (query.first_day or day) <= day <= (query.last_day or day)


def _named(vault: Vault, team_id: UUID, query: Query) -> list[ColumnElement[bool]]:
    row = aliased(Study)
    here = select(exams.exam_id(row)).where(row.team_id == team_id)
    found = list[ColumnElement[bool]]()
    if query.study_uids:
        keys = _digests(vault, "study_uid", sorted(query.study_uids))
        found.append(Study.id.in_(here.where(row.study_uid_key.in_(keys))))
    if query.patient_id:
        keys = _digests(vault, "patient_id", sorted(spellings(query.patient_id)))
        found.append(Study.id.in_(here.where(row.patient_id_key.in_(keys))))
    if query.accession:
        keys = _digests(vault, "accession", sorted(spellings(query.accession)))
        found.append(Study.id.in_(here.where(row.accession_key.in_(keys))))
    if not query.study_uids:
        # Those of results are in no column: they are found within a study that is named.
        pictures = select(Instance.study_id).where(Instance.team_id == team_id)
        if query.series_uids:
            keys = _digests(vault, "series_uid", sorted(query.series_uids))
            found.append(Study.id.in_(pictures.where(Instance.series_uid_key.in_(keys))))
        if query.sop_uids:
            keys = _digests(vault, "sop_uid", sorted(query.sop_uids))
            found.append(Study.id.in_(pictures.where(Instance.sop_key.in_(keys))))
    return found


def _days(vault: Vault, query: Query) -> list[ColumnElement[bool]]:
    found = list[ColumnElement[bool]]()
    if query.first_day:
        found.append(Study.acquired >= vault.acquired(_seconds(query.first_day) - _apart()))
    if query.last_day:
        found.append(Study.acquired <= vault.acquired(_seconds(query.last_day) + _apart()))
    return found


def _digests(vault: Vault, purpose: str, values: Sequence[str]) -> list[str]:
    return [vault.lookup(purpose, value) for value in values]


def _seconds(day: date) -> int:
    return int(datetime.combine(day, datetime.min.time(), UTC).timestamp())


def _apart() -> int:
    return int(_DAYS_APART.total_seconds())
