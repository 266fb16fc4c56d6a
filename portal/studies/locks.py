"""Row locks on exams, taken in one order everywhere, so that there is no deadlock.

The order: jobs, then studies, then pictures, then a writer of the access log (`audit.append` comes
last); several rows of a kind by ascending id. The end of a job changes its picture before it locks
the study, which fits: whoever locks pictures here has locked their jobs before. The rotation of
keys locks studies and pictures in transactions of their own, by ascending id.
"""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from portal.models import Instance, Job, Study
from portal.studies import exams

# Not the stronger lock, which also keeps new rows from naming the study: two transactions that have
# each added one (a review, a prediction) would wait for each other.
SHARED_KEY: Final = {"key_share": True}


def lock_exams(session: Session, ids: Collection[UUID]) -> dict[UUID, Study]:
    """Lock exams with their jobs, their pictures and the exams that were joined into them.

    Returns these exams as they are now. Call it before anything is written: where a job comes in
    meanwhile it rolls back and begins anew.
    """
    while True:
        of_jobs = select(Job.id).where(Job.study_id.in_(ids)).order_by(Job.id)
        locked = session.scalars(of_jobs.with_for_update()).all()
        rows = session.scalars(
            select(Study)
            .where(exams.is_of(ids))
            .order_by(Study.id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        ).all()
        of_pictures = select(Instance.id).where(Instance.study_id.in_(ids)).order_by(Instance.id)
        session.scalars(of_pictures.with_for_update(key_share=True)).all()
        if session.scalars(of_jobs).all() == locked:
            return {row.id: row for row in rows if row.id in ids}
        session.rollback()


def lock_exam(session: Session, study_id: UUID) -> Study | None:
    """The same for one exam, or the one that it was joined into; None where there is none."""
    while True:
        now_in = exams.survivor_of(session, study_id)
        row = lock_exams(session, [now_in]).get(now_in)
        if row is None or row.joined_into is None:
            return row
        session.rollback()  # it was joined while it was waited for


def lock_named(session: Session, *named: ColumnElement[bool]) -> list[Study]:
    """Lock the exams that rows of `studies` of these conditions are of now; those not purged.

    For what is stored about an exam without being part of it: its purge, which takes that with it,
    comes wholly before or after. Call it before anything is written.
    """
    ids = select(exams.exam_id()).where(*named)
    rows = session.scalars(
        select(Study)
        .where(Study.id.in_(ids))
        .order_by(Study.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return [row for row in rows if row.purged_at is None and row.joined_into is None]
