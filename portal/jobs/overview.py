"""The board of jobs and workers, for the people who keep the portal running. No patient data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import database
from portal.models import Job, JobKind, JobState, MissingModel, Study, Worker
from portal.studies import presence
from worker.contract.error_codes import ErrorCode
from worker.contract.job import WITH_MODEL

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
    slots: int
    last_seen: datetime
    is_present: bool
    lacks_model: bool


@dataclass(frozen=True, slots=True)
class Board:
    """Everything on one page."""

    queues: list[QueueView]
    failed: list[StuckJob]
    workers: list[WorkerView]
    # Queues of which jobs wait although a worker could take them.
    stalled: frozenset[JobKind]
    # How many jobs wait for a worker that has the active model, and the workers without it.
    waiting_for_model: int
    without_model: list[str]
    # Failed jobs whose rows can't be read.
    unreadable: list[UUID]


def board(session: Session) -> Board:
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
    failed, unreadable = _failed(session)
    workers = session.execute(
        select(Worker, presence.is_here(), presence.lacks_model())
        .order_by(Worker.last_seen.desc())
        .limit(200)
    ).all()
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
            for kind in (JobKind.RENDER, JobKind.SEGMENT, JobKind.MEASURE, JobKind.REPORT)
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
                slots=row.slots,
                last_seen=row.last_seen,
                is_present=is_here,
                lacks_model=is_here and lacks_model,
            )
            for row, is_here, lacks_model in workers
        ],
        stalled=presence.stalled_queues(session),
        waiting_for_model=_waiting_for_model(session),
        without_model=sorted(
            session.scalars(select(MissingModel.worker).where(*presence.just_lacked()).distinct())
        ),
        unreadable=unreadable,
    )
    session.commit()
    return found


def _failed(session: Session) -> tuple[list[tuple[Job, str]], list[UUID]]:
    """The failed jobs with their cases' numbers, newest first, and those that can't be read."""
    ids = session.scalars(
        select(Job.id)
        .join(Study, Study.id == Job.study_id)
        .where(Job.state == JobState.FAILED, Study.purged_at.is_(None))
        .order_by(Job.finished_at.desc())
        .limit(_MOST_FAILED)
    ).all()

    def read(some: Sequence[UUID]) -> dict[UUID, tuple[Job, str]]:
        rows = select(Job, Study.case_number).join(Study, Study.id == Job.study_id)
        found = session.execute(rows.where(Job.id.in_(some)))
        return {job.id: (job, number) for job, number in found}

    found, damaged = database.read_readable(session, ids, read)
    return [found[one] for one in ids if one in found], [one for one in ids if one in damaged]


def trouble(session: Session) -> Literal["", "stalled", "waiting_for_model"]:
    """What keeps jobs waiting, for readiness: a worker could take them and does not, or all workers
    lack the model; "" where nothing does.
    """
    stalled = presence.stalled_queues(session)
    lacks = not stalled and presence.present(session).lacks_model
    waits = lacks and _waiting_for_model(session) > 0
    session.commit()
    return "stalled" if stalled else "waiting_for_model" if waits else ""


def _waiting_for_model(session: Session) -> int:
    """How many jobs wait for a worker that has the model: all where nobody has it, else those that
    were passed back.
    """
    waiting = select(func.count()).where(Job.kind.in_(WITH_MODEL), Job.state == JobState.QUEUED)
    if not presence.present(session).lacks_model:
        waiting = waiting.where(Job.error_code == ErrorCode.MODEL_MISSING)
    return session.scalar(waiting) or 0
