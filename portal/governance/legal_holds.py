"""Looking after cases without seeing a patient: found by number or id, held, released.

A legal hold prevents every purge of a study, by hand or by retention, until it is lifted. Studies
that were joined have their holds together: one on either holds all, and each is lifted by itself.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Permission
from portal.errors import Conflict
from portal.languages import _
from portal.models import Blob, Hold, HoldReason, Instance, Purge, Study, Team
from portal.studies import exams, status
from portal.studies.locks import SHARED_KEY

# The number of a letter or a file. It needs a digit and takes no blank: a name has no place here.
_REFERENCE: Final = re.compile(r"(?=[^0-9]*[0-9])[A-Za-z0-9][A-Za-z0-9./_-]{0,39}")
_NUMBER: Final = re.compile(r"[0-9A-Fa-f]{6}")
_MOST: Final = 20


@dataclass(frozen=True, slots=True)
class Case:
    """A study as an administrator sees it: ids, times, counts, nothing about the patient."""

    study_id: UUID
    case_number: str
    team: str
    created: datetime
    purged_at: datetime | None
    state: str
    reviewed: bool
    files: int
    size: int
    hold: Hold | None
    is_proved: bool  # whether it was purged and the proof is written


def find_cases(session: Session, actor: Actor | None, text: str) -> list[Case]:
    """The cases with this number or id, for administrators and the command line; none is empty.

    Several teams' cases may share a number. That of a case which was joined into another finds the
    other.
    """
    if actor is not None:
        actor.require(Permission.DATA_MANAGE)
    text = text.strip()
    named = select(exams.exam_id())
    if _NUMBER.fullmatch(text):
        named = named.where(Study.case_number == text.upper())
    else:
        try:
            named = named.where(Study.id == UUID(text))
        except ValueError:
            return []
    query = select(Study, Team.name).join(Team, Team.id == Study.team_id)
    query = query.where(Study.id.in_(session.scalars(named).all()))
    rows = session.execute(query.order_by(Study.created, Study.id).limit(_MOST)).all()
    ids = [study.id for study, _ in rows]
    states = status.of_studies(session, ids)
    held_now = {
        study_id: hold
        for hold, study_id in session.execute(
            select(Hold, exams.exam_id())
            .join(Study, Study.id == Hold.study_id)
            .where(exams.is_of(ids), Hold.lifted_at.is_(None))
            .order_by(Hold.set_at.desc(), Hold.id.desc())  # the oldest is the last, and stays
        )
    }
    files = {
        study_id: (count, int(size))
        for study_id, count, size in session.execute(
            select(Instance.study_id, func.count(), func.sum(Blob.size))
            .join(Instance, Instance.id == Blob.instance_id)
            .where(Instance.study_id.in_(ids))
            .group_by(Instance.study_id)
        )
    }
    proved = set(session.scalars(select(Purge.study_id).where(Purge.study_id.in_(ids))))
    session.commit()
    return [
        Case(
            study_id=study.id,
            case_number=study.case_number,
            team=team,
            created=study.created,
            purged_at=study.purged_at,
            state=states[study.id].state.value,
            reviewed=states[study.id].reviewed is not None,
            files=files.get(study.id, (0, 0))[0],
            size=files.get(study.id, (0, 0))[1],
            hold=held_now.get(study.id),
            is_proved=study.id in proved,
        )
        for study, team in rows
    ]


def held(session: Session, study_id: UUID) -> Hold | None:
    """The oldest hold in force on a study or one that was joined into it.

    The caller has locked the study if it goes by it.
    """
    return session.scalars(
        select(Hold)
        .where(exams.within(Hold.study_id, study_id), Hold.lifted_at.is_(None))
        .order_by(Hold.set_at, Hold.id)
    ).first()


def hold(
    session: Session,
    actor: Actor,
    study_id: UUID,
    *,
    reason: HoldReason,
    reference: str = "",
    now: datetime,
) -> Hold:
    """Put a study under a legal hold. Conflict where it is purged or held already."""
    actor.require(Permission.DATA_MANAGE)
    reference = check_reference(reference)
    study = locked(session, study_id)
    study_id = study.id
    if study.purged_at is not None:
        raise Conflict("already_purged", _("This case was purged before."))
    if held(session, study_id) is not None:
        raise Conflict("held", _("This case is under a legal hold already."))
    row = Hold(
        study_id=study_id, reason=reason, reference=reference, set_by=actor.user_id, set_at=now
    )
    session.add(row)
    session.flush()
    detail = {"reason": reason.value, "reference": reference}
    audit.append(
        session,
        "hold_set",
        actor=actor,
        now=now,
        study_id=study_id,
        subject_id=row.id,
        detail=detail,
        bound=[row],
    )
    session.commit()
    return row


def lift(
    session: Session, actor: Actor, study_id: UUID, *, reference: str = "", now: datetime
) -> Hold:
    """Lift a study's legal hold, the oldest of several. Conflict `not_held` where there is none."""
    actor.require(Permission.DATA_MANAGE)
    reference = check_reference(reference)
    study_id = locked(session, study_id).id
    row = held(session, study_id)
    if row is None:
        raise Conflict("not_held", _("This case is under no legal hold."))
    row.lifted_at, row.lifted_by, row.lift_reference = now, actor.user_id, reference
    audit.append(
        session,
        "hold_lifted",
        actor=actor,
        now=now,
        study_id=study_id,
        subject_id=row.id,
        detail={"reference": reference},
        bound=[row],
    )
    session.commit()
    return row


def holds(session: Session, actor: Actor) -> list[tuple[Hold, str]]:
    """All holds in force, the oldest first, each with the number of its case."""
    actor.require(Permission.DATA_MANAGE)
    rows = session.execute(
        select(Hold, Study.case_number)
        .join(Study, Study.id == Hold.study_id)
        .where(Hold.lifted_at.is_(None))
        .order_by(Hold.set_at, Hold.id)
    )
    return [(row, number) for row, number in rows]


def check_reference(text: str) -> str:
    """A reference as it is stored, or Conflict `bad_reference`."""
    text = text.strip()
    if text and not _REFERENCE.fullmatch(text):
        raise Conflict(
            "bad_reference",
            _(
                "A reference is a number like DS-2026/14: letters, digits and . / _ - without "
                "blanks, at most 40. Enter no name."
            ),
        )
    return text


def locked(session: Session, study_id: UUID) -> Study:
    """The study's row, or that of the one that it was joined into, locked; Conflict if none."""
    while True:
        now_in = exams.survivor_of(session, study_id)
        study = session.get(Study, now_in, with_for_update=SHARED_KEY, populate_existing=True)
        if study is None:
            raise Conflict("no_such_case", _("There is no such case."))
        if study.joined_into is None:
            return study
        session.rollback()  # it was joined while it was waited for
