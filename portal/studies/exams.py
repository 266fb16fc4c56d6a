"""What belongs to an exam: its pictures in their order, and the exams that were joined into it.

An exam that was joined into another stays as a row, for its reviews; its id leads to the other.
"""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from portal.models import Instance, Prediction, Study


def await_upgrade(session: Session) -> bool:
    """Whether studies of a version before still wait for `upgrade`."""
    return bool(session.scalar(select(exists().where(Study.needs_upgrade))))


def survivor_of(session: Session, study_id: UUID) -> UUID:
    """The exam that holds the pictures of this one now: itself, if it was joined into none."""
    joined = session.scalar(select(Study.joined_into).where(Study.id == study_id))
    return joined or study_id


def with_joined(session: Session, study_id: UUID) -> list[UUID]:
    """The exam's id and those of the exams that were joined into it, by ascending id."""
    return list(session.scalars(select(Study.id).where(is_of([study_id])).order_by(Study.id)))


def is_of(ids: Collection[UUID]) -> ColumnElement[bool]:
    """The condition that a row of `studies` is one of these exams, or was joined into one."""
    return or_(Study.id.in_(ids), Study.joined_into.in_(ids))


def exam_id() -> ColumnElement[UUID]:
    """Of a row of `studies`, the exam that it is now."""
    return func.coalesce(Study.joined_into, Study.id)


def within(column: InstrumentedAttribute[UUID], exam: Any) -> ColumnElement[bool]:
    """The condition that a column names this exam (an id or a column) or one joined into it."""
    return or_(
        column == exam,
        column.in_(select(_JOINED.c.id).where(_JOINED.c.joined_into == exam)),
    )


_JOINED = Study.__table__.alias("joined")


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
    rows = session.scalars(
        select(Prediction)
        .join(Instance, Instance.id == Prediction.instance_id)
        .where(Instance.study_id.in_(ids))
        .order_by(Prediction.created)
    )
    return {row.instance_id: row for row in rows}
