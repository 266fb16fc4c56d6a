"""The board of jobs and workers, for the people who keep the portal running. No patient data."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal.models import Job, JobKind, JobState, Study, Worker
from portal.studies import status
from worker.contract.error_codes import ErrorCode

_MOST_FAILED: Final = 200


@dataclass(frozen=True, slots=True)
class QueueView:
    """One kind of job: how many wait, run and have failed, and since when the oldest waits."""

    kind: JobKind
    queued: int
    running: int
    done: int
    failed: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class StuckJob:
    """A failed job and why, with the case's number but nothing of the case."""

    job_id: UUID
    kind: JobKind
    case_number: str
    attempts: int
    error_code: str | None
    worker: str | None
    created: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker that has reported at some time."""

    name: str
    queue: JobKind
    engine: str
    model: str
    last_seen: datetime
    is_present: bool


@dataclass(frozen=True, slots=True)
class Board:
    """Everything on one page."""

    queues: list[QueueView]
    failed: list[StuckJob]
    workers: list[WorkerView]
    # Queues of which jobs wait although a worker has nothing to do.
    stalled: frozenset[JobKind]
    # How many jobs wait for the active model, and the workers that were found without it.
    waiting_for_model: int
    without_model: list[str]


def board(session: Session, now: datetime) -> Board:
    """Queues, failed jobs (newest first) and workers."""
    counts = {
        (kind, state): number
        for kind, state, number in session.execute(
            select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state)
        )
    }
    oldest = dict(
        session.execute(
            select(Job.kind, func.min(Job.queued_at))
            .where(Job.state == JobState.QUEUED)
            .group_by(Job.kind)
        ).all()
    )
    failed = session.execute(
        select(Job, Study.case_number)
        .join(Study, Study.id == Job.study_id)
        .where(Job.state == JobState.FAILED, Study.purged_at.is_(None))
        .order_by(Job.finished_at.desc())
        .limit(_MOST_FAILED)
    ).all()
    lacking = dict(
        session.execute(
            select(Job.worker, func.count())
            .where(Job.state == JobState.QUEUED, Job.error_code == ErrorCode.MODEL_MISSING)
            .group_by(Job.worker)
        ).all()
    )
    workers = session.scalars(select(Worker).order_by(Worker.last_seen.desc()).limit(200)).all()
    found = Board(
        queues=[
            QueueView(
                kind=kind,
                queued=counts.get((kind, JobState.QUEUED), 0),
                running=counts.get((kind, JobState.RUNNING), 0),
                done=counts.get((kind, JobState.DONE), 0),
                failed=counts.get((kind, JobState.FAILED), 0),
                oldest=oldest.get(kind),
            )
            for kind in (JobKind.RENDER, JobKind.SEGMENT)
        ],
        failed=[
            StuckJob(
                job_id=job.id,
                kind=job.kind,
                case_number=case_number,
                attempts=job.attempts,
                error_code=job.error_code,
                worker=job.worker,
                created=job.created,
                finished_at=job.finished_at,
            )
            for job, case_number in failed
        ],
        workers=[
            WorkerView(
                name=row.name,
                queue=row.queue,
                engine=row.engine,
                model=row.model,
                last_seen=row.last_seen,
                is_present=row.last_seen > now - status.WORKER_SILENCE,
            )
            for row in workers
        ],
        stalled=status.stalled_queues(session, now),
        waiting_for_model=sum(lacking.values()),
        without_model=sorted(name for name in lacking if name),
    )
    session.commit()
    return found


def stalled(session: Session, now: datetime) -> frozenset[JobKind]:
    """The queues of which jobs wait although a worker has nothing to do, for readiness."""
    found = status.stalled_queues(session, now)
    session.commit()
    return found
