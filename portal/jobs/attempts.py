"""One attempt at a job: whether it still is the job's, and the files that it has stored.

`jobs.attempts` is the fencing number: a statement of an earlier attempt finds no row.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import Select, and_, bindparam, delete, or_, select, update
from sqlalchemy.orm import Session

from portal import audit, database
from portal.database import DatabaseTime, rows_changed
from portal.jobs.errors import Lost
from portal.jobs.tickets import Ticket
from portal.models import Base, Blob, Job, JobState
from portal.studies import worklist_order
from portal.vault import Vault
from worker.contract.error_codes import ErrorCode

# How often a job may fail by itself, and how often its attempts may be ended from outside, because
# a worker or the portal was gone: a job that ends its process at each attempt fails soon, and a few
# outages fail no job.
FAILURES: Final = 3
LOSSES: Final = 10
Value = TypeVar("Value")
# Made once, as they run with every result.
_RUNNING: Final = (
    select(Job)
    .where(
        Job.id == bindparam("its_id"),
        Job.state == JobState.RUNNING,
        Job.attempts == bindparam("its_attempt"),
    )
    .execution_options(populate_existing=True)
)
_LOCKED: Final = _RUNNING.with_for_update()


def is_attempt(ticket: Ticket) -> tuple[Any, ...]:
    """The conditions under which the ticket's attempt is the one that runs."""
    return (
        Job.id == ticket.job_id,
        Job.state == JobState.RUNNING,
        Job.attempts == ticket.attempt,
    )


def is_running(job: Job, ticket: Ticket) -> bool:
    """The same about the ticket's job, as it was read."""
    return job.state is JobState.RUNNING and job.attempts == ticket.attempt


def is_expired() -> tuple[Any, ...]:
    """The conditions under which a running attempt no longer belongs to its worker."""
    return Job.state == JobState.RUNNING, Job.lease_until < DatabaseTime()


def attempted(session: Session, ticket: Ticket, *, lock: bool = False) -> Job:
    """The job, while the ticket's attempt is the one that runs; else Lost."""
    query = _LOCKED if lock else _RUNNING
    named = {"its_id": ticket.job_id, "its_attempt": ticket.attempt}
    job = session.scalars(query, named).one_or_none()
    if job is None:
        session.rollback()
        raise Lost
    return job


def end_as_failed(session: Session, job: Job, code: str, now: datetime) -> None:
    """No further attempt is made; the caller logs it."""
    job.state, job.error_code = JobState.FAILED, str(code)
    job.finished_at, job.lease_until = now, None
    place(session, job)


def place(session: Session, job: Job) -> None:
    """Put the job's exam where it now belongs in the worklist, if it is about one."""
    if job.study_id is not None:
        worklist_order.place(session, job.study_id)


def end_unread(session: Session, job_id: UUID, now: datetime) -> None:
    """End a job that waits or was lost and whose records do not open or can't be read; commits.

    By a plain UPDATE: nothing is read of its rows that may be what is damaged, and its exam's place
    in the worklist changes only where that can be read. A job whose own row lies on a damaged page
    can't be ended; it stays, and those who look for jobs pass over it.
    """
    try:
        _end_unread(session, job_id, now)
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()


def _end_unread(session: Session, job_id: UUID, now: datetime) -> None:
    ended = (
        update(Job)
        .where(Job.id == job_id, or_(Job.state == JobState.QUEUED, and_(*is_expired())))
        .values(
            state=JobState.FAILED,
            error_code=ErrorCode.RECORD_DAMAGED,
            attempts=Job.attempts + 1,
            finished_at=now,
            lease_until=None,
        )
    )
    if not changed(session, ended):
        session.rollback()  # another has ended it
        return
    study_id = _if_readable(session, select(Job.study_id).where(Job.id == job_id))
    kind = _if_readable(session, select(Job.kind).where(Job.id == job_id))
    if study_id is not None:
        try:
            with session.begin_nested():
                worklist_order.place(session, study_id)
        except database.UNREADABLE as error:
            if not database.is_damage(error):
                raise
    detail = {"kind": kind.value if kind else None, "code": ErrorCode.RECORD_DAMAGED.value}
    audit.append(
        session, "job_failed", now=now, study_id=study_id, subject_id=job_id, detail=detail
    )
    session.commit()


def _if_readable(session: Session, query: Select[Value]) -> Value | None:
    try:
        return session.scalar(query)
    except (ValueError, LookupError, TypeError):
        return None


def log_end(
    session: Session, event: str, job: Job, now: datetime, made: Sequence[Base] = ()
) -> None:
    """The row of the access log about an attempt's end, bound to the records that it has made."""
    audit.append(
        session,
        event,
        now=now,
        study_id=job.study_id,
        subject_id=job.id,
        detail={"kind": job.kind.value, "attempt": job.attempts, "code": job.error_code},
        bound=made,
    )


def take_blobs(session: Session, job_id: UUID, *conditions: Any) -> list[str]:
    """Remove rows of files that a job has stored; the caller destroys the files afterwards."""
    where = (Blob.job_id == job_id, *conditions)
    names = list(session.scalars(select(Blob.name).where(*where)))
    if names:
        session.execute(delete(Blob).where(*where))
    return names


def destroy_files(vault: Vault, names: list[str]) -> None:
    """Remove files whose rows are gone."""
    for name in names:
        vault.destroy(name)


def changed(session: Session, statement: Any) -> bool:
    """Whether a conditional UPDATE has found its one row."""
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return rows_changed(result) == 1
