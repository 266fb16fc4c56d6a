"""Which picture can hang beside one: another of the exam, or one of the patient's other exams."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.models import Blob, BlobKind, Instance, Study, View
from portal.reading import other_exams
from portal.reading.case import load, open_study
from portal.reading.case_records import StudyView
from portal.studies import exams
from portal.vault import Vault
from worker.contract.error_codes import ErrorCode


@dataclass(frozen=True, slots=True)
class Choice:
    """A prepared picture that can hang beside. `number`: its place in its exam, from 1, where that
    has several. `seconds`: how long before the open exam it was taken, negative for later; None
    where a header states no time, and 0 for another picture of the same exam.
    """

    study_id: UUID
    picture: UUID
    case_number: str
    number: int | None
    view: View
    exam_date: str = field(repr=False)
    seconds: int | None
    is_same_exam: bool
    is_comparable: bool  # a frontal chest, taken before


@dataclass(frozen=True, slots=True)
class Beside:
    """What hangs beside the open picture, if anything, and what else could."""

    shown: Choice | None
    view: StudyView | None
    choices: list[Choice]


def open_beside(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    shown: UUID | None,
    wanted: UUID | None,
    now: datetime,
) -> Beside:
    """Open the picture `wanted` beside the picture `shown` of an exam, or without one the latest
    comparable prior: a frontal, prepared picture of the same patient, taken before. One audit row:
    that of the exam that is opened, or that the choices were listed.

    Raises Denied where the actor may not see the exam, or the wanted picture is no choice.
    """
    actor.require(Permission.STUDY_READ)
    study = load(session, actor, study_id)
    choices = _choices(session, vault, actor, study, shown)
    if wanted is None:
        chosen = next((one for one in choices if one.is_comparable), None)
    else:
        chosen = next((one for one in choices if one.picture == wanted), None)
        if chosen is None:
            raise Denied("picture")
    if chosen is not None:
        view = open_study(session, vault, actor, chosen.study_id, now, picture=chosen.picture)
        return Beside(chosen, view, choices)
    named = sorted({one.study_id.hex for one in choices})
    audit.append(
        session,
        "priors_listed",
        actor=actor,
        now=now,
        study_id=study.id,
        detail={"studies": named} if named else None,
    )
    session.commit()
    return Beside(None, None, choices)


def _choices(
    session: Session, vault: Vault, actor: Actor, study: Study, shown: UUID | None
) -> list[Choice]:
    """The other pictures of the exam first, then the other exams, the last taken first."""
    others = other_exams.of_patient(session, vault, actor, study).exams
    priors = [one for one in others if one.state.error_code != ErrorCode.RECORD_DAMAGED]
    pictures = exams.pictures(session, [study.id, *(prior.study_id for prior in priors)])
    prepared = _prepared(session, [row.id for rows in pictures.values() for row in rows])
    analysed = {
        picture.instance_id
        for prior in priors
        for picture in prior.state.pictures
        if picture.result and picture.result.band
    }
    own = pictures[study.id]
    current = shown if shown is not None else exams.leading(own).id
    found = [
        _choice(study, row, own, exam_date="", seconds=0, same=True, comparable=False)
        for row in own
        if row.id in prepared and row.id != current
    ]
    for prior in priors:
        rows = pictures[prior.study_id]
        other = session.get_one(Study, prior.study_id)
        seconds = (
            None
            if other.acquired is None or study.acquired is None
            else study.acquired - other.acquired
        )
        for row in sorted(rows, key=lambda row: not _is_frontal(row, analysed)):
            if row.id in prepared:
                comparable = bool(seconds and seconds > 0) and _is_frontal(row, analysed)
                found.append(
                    _choice(
                        *(other, row, rows),
                        exam_date=prior.exam_date,
                        seconds=seconds,
                        same=False,
                        comparable=comparable,
                    )
                )
    return found


def _choice(
    study: Study,
    row: Instance,
    rows: list[Instance],
    *,
    exam_date: str,
    seconds: int | None,
    same: bool,
    comparable: bool,
) -> Choice:
    return Choice(
        study_id=study.id,
        picture=row.id,
        case_number=study.case_number,
        number=rows.index(row) + 1 if len(rows) > 1 else None,
        view=row.view,
        exam_date=exam_date,
        seconds=seconds,
        is_same_exam=same,
        is_comparable=comparable,
    )


def _is_frontal(row: Instance, analysed: Collection[UUID]) -> bool:
    """By the header; where it names no view, by the quality gate, which passed the picture."""
    return row.view.is_frontal or (row.view is View.UNKNOWN and row.id in analysed)


def _prepared(session: Session, ids: Collection[UUID]) -> set[UUID]:
    return set(
        session.scalars(
            select(Blob.instance_id).where(
                Blob.instance_id.in_(ids), Blob.current, Blob.kind == BlobKind.PIXELS
            )
        )
    )
