"""Two patient IDs that turn out to be one patient: their exams become each other's priors.

A merge is a row that names two exams, by whom and why, and can be undone; no exam and no patient
data are changed. It holds for all exams with these IDs. Where one of the two is purged, the row
names another exam with the same patient ID instead, as long as there is one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, aliased

from portal import audit
from portal.access import Actor, Denied, Permission, visible_studies
from portal.errors import Conflict, Invalid
from portal.languages import _, lazy
from portal.models import MergeReason, PatientMerge, Study, User
from portal.studies import exams, patients, sealed_fields
from portal.studies.sealed_fields import Patient
from portal.vault import Vault

_NO_ID: Final = lazy("One of these cases has no patient ID, so nothing could follow from a merge.")


@dataclass(frozen=True, slots=True)
class Named:
    """An exam and whose it is."""

    study_id: UUID
    case_number: str
    patient: Patient


@dataclass(frozen=True, slots=True)
class Merge:
    """A merge that holds: the two cases by number, by whom, when and why."""

    id: UUID
    case_numbers: tuple[str, str]
    reason: MergeReason
    author: str
    created: datetime


@dataclass(frozen=True, slots=True)
class PatientView:
    """A case's patient, the merges that hold for them, and the other case that was asked for."""

    case: Named
    other: Named | None
    merges: Sequence[Merge]


def view(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    now: datetime,
    *,
    other: str = "",
) -> PatientView:
    """Whose the case is, with one audit row; `other`: the number or id of another case to compare
    it with. Denied where the actor may not review the case, Conflict for no such other case.
    """
    actor.require(Permission.REVIEW_WRITE)
    study = _load(session, actor, study_id)
    compared = _find(session, actor, other) if other.strip() else None
    named = [] if compared is None else [compared.id.hex]
    found = PatientView(
        _named(vault, study),
        None if compared is None else _named(vault, compared),
        _merges(session, study),
    )
    detail = {"studies": named} if named else None
    audit.append(session, "patient_opened", actor=actor, now=now, study_id=study.id, detail=detail)
    session.commit()
    return found


def merge(
    session: Session, actor: Actor, study_id: UUID, other_id: UUID, reason: str, now: datetime
) -> PatientMerge:
    """The patients of these two cases are one, with one audit row.

    Raises Denied for the first case, Conflict (`no_such_case`, also of another team, `same_case`,
    `no_patient_id`, `already_merged`) or Invalid for an unknown reason.
    """
    actor.require(Permission.REVIEW_WRITE)
    try:
        why = MergeReason(reason)
    except ValueError:
        raise Invalid("reason", _("Choose one of the reasons.")) from None
    one, other = _load(session, actor, study_id), _find(session, actor, str(other_id))
    row = add(session, actor, one, other, why, now)
    session.commit()
    return row


def add(
    session: Session, actor: Actor, one: Study, other: Study, why: MergeReason, now: datetime
) -> PatientMerge:
    """The same within the caller's transaction, for two exams that were loaded, whoever the actor
    is: a system of the hospital's may merge what it can't read.
    """
    if one.id == other.id:
        raise Conflict("same_case", _("These are one case. Name a case of the other patient ID."))
    # Locked: a purge or a merge of the same two that goes on beside it waits.
    ids = sorted((one.id, other.id))
    query = select(Study).where(Study.id.in_(ids)).order_by(Study.id)
    session.scalars(
        query.with_for_update(key_share=True), execution_options={"populate_existing": True}
    ).all()
    if one.patient_key is None or other.patient_key is None:
        raise Conflict("no_patient_id", _NO_ID)
    if other.patient_key in patients.keys_of(session, one.team_id, one.patient_key):
        raise Conflict("already_merged", _("These cases are of the same patient already."))
    row = PatientMerge(
        id=uuid4(),
        team_id=one.team_id,
        one_id=one.id,
        other_id=other.id,
        reason=why,
        author_id=actor.user_id,
        created=now,
    )
    session.add(row)
    audit.append(
        session,
        "patients_merged",
        actor=actor,
        now=now,
        study_id=one.id,
        subject_id=row.id,
        detail={"studies": [other.id.hex], "reason": why.value},
    )
    return row


def undo(session: Session, actor: Actor, merge_id: UUID, now: datetime) -> None:
    """The two patients are apart again, with one audit row; Denied for another team's merge,
    Conflict where it was undone before.
    """
    actor.require(Permission.REVIEW_WRITE)
    row = session.get(PatientMerge, merge_id, with_for_update=True, populate_existing=True)
    if row is None or row.team_id != actor.team_id:
        raise Denied("merge")
    if row.undone_at is not None:
        raise Conflict("undone", _("This merge was undone before."))
    row.undone_by, row.undone_at = actor.user_id, now
    audit.append(
        session,
        "merge_undone",
        actor=actor,
        now=now,
        study_id=row.one_id,
        subject_id=row.id,
        detail={"studies": [row.other_id.hex]},
    )
    session.commit()


def go_on_without(session: Session, gone: Sequence[Study], now: datetime) -> None:
    """The merges that name exams which are about to be purged name others with the same patient ID,
    with one audit row each; within the purge's transaction, in which these have their lookups yet.
    """
    leaving = {study.id: study for study in gone if study.patient_key is not None}
    query = select(PatientMerge).where(
        PatientMerge.undone_at.is_(None),
        or_(PatientMerge.one_id.in_(leaving), PatientMerge.other_id.in_(leaving)),
    )
    for row in session.scalars(query.order_by(PatientMerge.created, PatientMerge.id)).all():
        for mine, other in (("one_id", "other_id"), ("other_id", "one_id")):
            study = leaving.get(getattr(row, mine))
            instead = None if study is None else _instead(session, study, leaving)
            if instead is None:
                continue
            setattr(row, mine, instead)
            audit.append(
                session,
                "merge_goes_on",
                now=now,
                study_id=instead,
                subject_id=row.id,
                detail={"studies": [getattr(row, other).hex]},
            )


def _instead(session: Session, study: Study, leaving: Collection[UUID]) -> UUID | None:
    return session.scalar(
        select(Study.id)
        .where(
            Study.team_id == study.team_id,
            Study.patient_key == study.patient_key,
            Study.id.not_in(leaving),
            Study.purged_at.is_(None),
            Study.joined_into.is_(None),
        )
        .order_by(Study.created, Study.id)
        .limit(1)
    )


def _load(session: Session, actor: Actor, study_id: UUID) -> Study:
    now_in = exams.survivor_of(session, study_id)
    study = session.scalars(visible_studies(actor).where(Study.id == now_in)).first()
    if study is None:
        raise Denied("study")
    return study


def _find(session: Session, actor: Actor, text: str) -> Study:
    """The one case of the actor's list with this number or id."""
    ids = exams.ids_of_case(session, text)
    survivors = select(exams.exam_id()).where(Study.id.in_(ids))
    found = session.scalars(visible_studies(actor).where(Study.id.in_(survivors))).all()
    if len(found) > 1:
        raise Conflict(
            "several_cases", _("Several cases have this number. Give the case's whole id.")
        )
    if not found:
        raise Conflict("no_such_case", _("There is no such case in your team."))
    return found[0]


def _named(vault: Vault, study: Study) -> Named:
    data_key = sealed_fields.key_of(vault, study)
    return Named(study.id, study.case_number, sealed_fields.open_patient(vault, data_key, study))


def _merges(session: Session, study: Study) -> list[Merge]:
    if study.patient_key is None:
        return []
    keys = patients.keys_of(session, study.team_id, study.patient_key)
    one, other = aliased(Study), aliased(Study)
    rows = session.execute(
        select(PatientMerge, one.case_number, other.case_number, User.name)
        .join(one, one.id == PatientMerge.one_id)
        .join(other, other.id == PatientMerge.other_id)
        .join(User, User.id == PatientMerge.author_id)
        .where(
            PatientMerge.team_id == study.team_id,
            PatientMerge.undone_at.is_(None),
            or_(one.patient_key.in_(keys), other.patient_key.in_(keys)),
        )
        .order_by(PatientMerge.created.desc())
    ).all()
    return [
        Merge(row.id, (first, second), row.reason, name, row.created)
        for row, first, second, name in rows
    ]
