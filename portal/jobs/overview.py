"""The board of jobs and workers, for the people who keep the portal running. No patient data."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import database, readable_rows
from portal.models import Job, JobKind, JobState, MissingModel, Study, Worker
from portal.readable_rows import Readable
from portal.studies import presence
from worker.contract.error_codes import ErrorCode
from worker.contract.job import QUEUE_OF, WITH_MODEL

_MOST_FAILED: Final = 200
Trouble = Literal["", "stalled", "waiting_for_model"]


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
    """A failed job and why, with its case's number, if it has one, but nothing of the case."""

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
    """Queues, failed jobs (newest first) and workers, without jobs on damaged pages."""
    return readable_rows.around_damage(session, Job, partial(_board, session))[0]


def _board(session: Session, jobs: Readable) -> Board:
    counts, oldest = Counter[tuple[JobKind, JobState]](), dict[JobKind, datetime]()
    by_state = select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state)
    waits_since = func.coalesce(Job.not_before, Job.queued_at)
    since = select(Job.kind, func.min(waits_since)).where(
        Job.state == JobState.QUEUED, presence.is_due()
    )
    with jobs.parts(session) as parts:
        for part in parts:
            for kind, state, number in session.execute(by_state.where(part)).all():
                counts[kind, state] += number
            for kind, first in session.execute(since.where(part).group_by(Job.kind)).all():
                oldest[kind] = min(first, oldest.get(kind, first))
    failed, unreadable = _failed(session, jobs)
    workers = session.execute(
        select(Worker, presence.is_here(), presence.lacks_model())
        .order_by(Worker.last_seen.desc())
        .limit(200)
    ).all()
    found = Board(
        queues=[
            QueueView(
                kind=kind,
                queued=counts[kind, JobState.QUEUED],
                running=counts[kind, JobState.RUNNING],
                done=counts[kind, JobState.DONE],
                failed=counts[kind, JobState.FAILED],
                oldest=oldest.get(kind),
            )
            for kind in JobKind
            if kind in QUEUE_OF
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
        stalled=presence.stalled_queues(session, jobs),
        waiting_for_model=_waiting_for_model(session, jobs),
        without_model=sorted(
            session.scalars(select(MissingModel.worker).where(*presence.just_lacked()).distinct())
        ),
        unreadable=unreadable,
    )
    session.commit()
    return found


def _failed(session: Session, jobs: Readable) -> tuple[list[tuple[Job, str]], list[UUID]]:
    """The failed jobs with their cases' numbers, newest first, and those that can't be read."""
    query = (
        select(Job.finished_at, Job.id)
        .outerjoin(Study, Study.id == Job.study_id)
        .where(Job.state == JobState.FAILED, Study.purged_at.is_(None))
        .order_by(Job.finished_at.desc())
        .limit(_MOST_FAILED)
    )
    ended = list[Any]()
    with jobs.parts(session) as parts:
        for part in parts:
            ended += session.execute(query.where(part)).all()
    if len(parts) > 1:
        ended.sort(key=lambda one: one[0].timestamp() if one[0] else 0.0, reverse=True)
    ids = [job_id for _at, job_id in ended[:_MOST_FAILED]]

    def read(some: Sequence[UUID]) -> dict[UUID, tuple[Job, str]]:
        rows = select(Job, Study.case_number).outerjoin(Study, Study.id == Job.study_id)
        found = session.execute(rows.where(Job.id.in_(some)))
        return {job.id: (job, number or "—") for job, number in found}

    found, damaged = database.read_readable(session, ids, read)
    return [found[one] for one in ids if one in found], [one for one in ids if one in damaged]


def trouble(session: Session) -> Trouble:
    """What keeps jobs waiting, for readiness: a worker could take them and does not, or all workers
    lack the model; "" where nothing does.
    """
    found, _ = readable_rows.around_damage(session, Job, partial(_trouble, session))
    session.commit()
    return found


def _trouble(session: Session, jobs: Readable) -> Trouble:
    if presence.stalled_queues(session, jobs):
        return "stalled"
    lacks = presence.present(session).lacks_model
    return "waiting_for_model" if lacks and _waiting_for_model(session, jobs) else ""


def _waiting_for_model(session: Session, jobs: Readable) -> int:
    """How many jobs wait for a worker that has the model: all where nobody has it, else those that
    were passed back.
    """
    waiting = select(func.count()).where(
        Job.kind.in_(WITH_MODEL), Job.state == JobState.QUEUED, presence.is_due()
    )
    if not presence.present(session).lacks_model:
        waiting = waiting.where(Job.error_code == ErrorCode.MODEL_MISSING)
    with jobs.parts(session) as parts:
        return sum(session.scalar(waiting.where(part)) or 0 for part in parts)
