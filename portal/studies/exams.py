"""What belongs to an exam: its pictures in their order, and the exams that were joined into it.

An exam that was joined into another stays as a row, for its reviews; its id leads to the other.
"""

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, exists, func, not_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased, joinedload

from portal.models import (
    Arrival,
    ArrivalEnd,
    Instance,
    Job,
    JobKind,
    JobState,
    ModelVersion,
    Prediction,
    Study,
)

_NUMBER: Final = re.compile(r"[0-9A-Fa-f]{6}")
_BEGINNING: Final = re.compile(r"[0-9a-f]{7,31}")
# Made once, as it runs with every result.
_PREDICTIONS: Final = (
    select(Prediction)
    .join(Instance, Instance.id == Prediction.instance_id)
    .where(Instance.study_id.in_(bindparam("study_ids", expanding=True)))
    .options(
        joinedload(Prediction.model, innerjoin=True).load_only(
            ModelVersion.name,
            ModelVersion.version,
            ModelVersion.sha256,
            ModelVersion.retracted_at,
            ModelVersion.retraction_reason,
        )
    )
    .order_by(Prediction.created)
)


def await_upgrade(session: Session) -> bool:
    """Whether studies of a version before still wait for `upgrade`."""
    return bool(session.scalar(select(exists().where(Study.needs_upgrade))))


def survivor_of(session: Session, study_id: UUID) -> UUID:
    """The exam that holds the pictures of this one now: itself, if it was joined into none."""
    joined = session.scalar(select(Study.joined_into).where(Study.id == study_id))
    return joined or study_id


def ids_of_case(session: Session, text: str) -> tuple[UUID, ...]:
    """The ids of the exams with this number or id, and of all that were joined with them.

    Seven characters of an id or more are enough. An id that no exam has stands for itself; empty
    where the text is no id and no exam's number.
    """
    text = text.strip().lstrip("#")
    named = select(exam_id())
    own: tuple[UUID, ...] = ()
    digits = text.replace("-", "").lower()
    if _NUMBER.fullmatch(text):
        named = named.where(Study.case_number == text.upper())
    elif _BEGINNING.fullmatch(digits):
        first, last = UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))
        named = named.where(Study.id.between(first, last))
    else:
        try:
            own = (UUID(text),)
        except ValueError:
            return ()
        named = named.where(Study.id.in_(own))
    found = session.scalars(select(Study.id).where(exam_id().in_(named)).order_by(Study.id)).all()
    session.commit()
    return tuple(found) or own


def is_of(ids: Collection[UUID]) -> ColumnElement[bool]:
    """The condition that a row of `studies` is one of these exams, or was joined into one."""
    return or_(Study.id.in_(ids), Study.joined_into.in_(ids))


def exam_id(row: type[Study] = Study) -> ColumnElement[UUID]:
    """Of a row of `studies`, the exam that it is now. An index has this very expression."""
    return func.coalesce(row.joined_into, row.id)


def within(
    column: InstrumentedAttribute[UUID], study_id: UUID | ColumnElement[UUID]
) -> ColumnElement[bool]:
    """The condition that a column names this exam or one joined into it."""
    return column.in_(select(_ROW.id).where(exam_id(_ROW) == study_id))


def within_outer(column: InstrumentedAttribute[UUID]) -> tuple[ColumnElement[bool], ...]:
    """The same for a subquery about each row of `studies` of the query around it.

    As a join, which databases turn into one with the outer query; an IN or OR would be done again
    for each row. With the same expression on both sides, because SQLite would not use its index for
    a comparison with a column.
    """
    return column == _ROW.id, exam_id(_ROW) == exam_id()


def has_outer(
    column: InstrumentedAttribute[UUID], *conditions: ColumnElement[bool]
) -> ColumnElement[bool]:
    """Whether there is a row for which the conditions hold and whose column names the exam of a row
    of `studies` of the query around it.

    From the exam to its rows, one subquery in the other: from a join SQLite might go through all
    rows of the conditions for each exam, and read the exams of those as well, so that one of a
    damaged page would hide every other.
    """
    named = exists().where(column == _ROW.id, *conditions).correlate(_ROW)
    return exists().where(exam_id(_ROW) == exam_id(), named).correlate(Study)


_ROW = aliased(Study, name="of_exam")


def pictures(session: Session, ids: Collection[UUID]) -> dict[UUID, list[Instance]]:
    """The pictures of these exams in the order of their arrival."""
    found: dict[UUID, list[Instance]] = {study_id: [] for study_id in ids}
    rows = session.scalars(
        select(Instance)
        .where(Instance.study_id.in_(ids))
        .order_by(Instance.created, Instance.id)
        .execution_options(populate_existing=True)
    )
    for row in rows:
        found[row.study_id].append(row)
    return found


def leading(pictures: Sequence[Instance], asked: UUID | None = None) -> Instance:
    """The exam's leading picture: the first frontal one, else the first.

    `asked`: the id by which the exam was asked for. That of an exam which was joined into this one
    still means the pictures that came as that exam.
    """
    own = [row for row in pictures if row.arrived_in == asked and row.study_id != asked]
    candidates = own or pictures
    return next((row for row in candidates if row.view.is_frontal), candidates[0])


def last_predictions(session: Session, ids: Collection[UUID]) -> dict[UUID, Prediction]:
    """The newest prediction of each picture of these exams that has one, by the picture's id."""
    rows = session.scalars(_PREDICTIONS, {"study_ids": list(ids)})
    return {row.instance_id: row for row in rows}


def make_new(session: Session, study: Study, since: datetime | None) -> None:
    """An old exam is none any more, since a picture of today came to it: what waits of its other
    pictures waits behind nobody, but for what a rule has put off. In the caller's transaction,
    which holds the exam's lock: a job that another one holds is left as it is, so that neither
    waits for the other.
    """
    study.is_old, study.new_since = False, since
    is_put_off = exists().where(
        Arrival.instance_id == Job.instance_id,
        Arrival.end == ArrivalEnd.OFF_PEAK,
        Arrival.asked_at.is_(None),
    )
    waiting = session.scalars(
        select(Job)
        .where(
            Job.study_id == study.id,
            Job.kind.in_((JobKind.RENDER, JobKind.SEGMENT)),
            Job.state == JobState.QUEUED,
            Job.priority < 0,
            or_(Job.kind == JobKind.RENDER, not_(is_put_off)),
        )
        .with_for_update(skip_locked=True, of=Job)
        .execution_options(populate_existing=True)
    )
    for job in waiting:
        job.priority = 0
