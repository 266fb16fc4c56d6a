"""The sweep: the one retry mechanism, and the removal of files that belong to nothing.

It gives expired attempts back to the queue, ends jobs that were lost too often, announces those of
which no worker was notified, and again those that wait beside an idle worker. Everything here may
run twice at the same time, or be killed half-way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from portal import database, readable_rows
from portal.database import DatabaseTime, rows_changed
from portal.governance import clock, integrity_state
from portal.jobs.attempts import LOSSES, end_as_failed, end_unread, is_expired, log_end
from portal.jobs.broker import TASKS, Broker
from portal.models import Blob, Job, JobKind, JobState, MissingModel
from portal.readable_rows import Readable
from portal.studies import presence, stored_files
from portal.vault import Vault
from worker.contract.error_codes import ErrorCode

# A message that an idle worker has not taken for so long may be lost.
NOTIFY_AGAIN: Final = 10.0
# So many jobs of a queue are announced again at once: enough to wake workers, and nothing piles up.
_AGAIN_AT_ONCE: Final = 10
_MESSAGES_MAX: Final = 1000
# Files younger than this may belong to something that is being written right now.
STALE: Final = timedelta(hours=1)
_AT_ONCE: Final = 500
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What one sweep did. `redis`: whether jobs could be announced.

    `stalled`: the queues of which jobs wait although a worker could take them; none while the clock
    is not trusted.
    """

    requeued: int
    gave_up: int
    notified: int
    redis: bool
    stalled: frozenset[JobKind] = frozenset()


def notify(session: Session, broker: Broker, job_id: UUID) -> bool:
    """Announce a queued job after its commit; False when Redis is down: the sweep does it later.

    It is marked first, which a portal that ends in between leaves as if the message were lost.
    """
    queued = (Job.id == job_id, Job.state == JobState.QUEUED, presence.is_due())
    mark = update(Job).where(*queued).values(rung_at=DatabaseTime())
    marked = session.execute(
        mark.returning(Job.kind, Job.rung_at), execution_options={"synchronize_session": False}
    ).one_or_none()
    session.commit()
    if marked is None or broker.notify(marked.kind, job_id):
        return marked is not None
    _execute(
        session, update(Job).where(*queued, Job.rung_at == marked.rung_at).values(rung_at=None)
    )
    session.commit()
    return False


def announce(session: Session, broker: Broker, kind: JobKind, job_id: UUID) -> bool:
    """The same for a job that was marked when it was added, where there is a Redis
    (`claims.enqueue`): it takes one transaction less.
    """
    if broker.notify(kind, job_id):
        return True
    if not broker.has_address:
        return False
    queued = (Job.id == job_id, Job.state == JobState.QUEUED)
    _execute(session, update(Job).where(*queued).values(rung_at=None))
    session.commit()
    return False


def sweep(session: Session, broker: Broker, now: datetime) -> SweepResult:
    """Requeue expired attempts, end jobs that were lost too often, announce those that wait.

    Jobs on damaged pages are passed over, and found as a problem of stored data.
    """
    passed_over = 0

    def around(step: Callable[[Readable], Value]) -> Value:
        nonlocal passed_over
        found, unreadable = readable_rows.around_damage(session, Job, step)
        passed_over = max(passed_over, unreadable)
        return found

    requeued = around(partial(_requeue, session))
    gave_up = around(partial(_give_up, session, now))
    notified, redis = 0, True
    for kind in TASKS:
        count = around(partial(_notify_waiting, session, broker, kind))
        redis = redis and count is not None
        notified += count or 0
    # Jobs wait by the database's clock. Where that is this machine's own and has jumped, every one
    # seems to wait, or none.
    trusted = clock.look(session, now).state == "ok"
    stalled = frozenset[JobKind]()
    if trusted:
        stalled = around(partial(presence.stalled_queues, session))
    session.commit()
    if passed_over:
        integrity_state.note(session, f"unreadable: rows of jobs ({passed_over} places)", now)
    return SweepResult(requeued, gave_up, notified, redis, stalled)


def _requeue(session: Session, jobs: Readable) -> int:
    requeue = (
        update(Job)
        .where(*is_expired(), Job.losses < LOSSES - 1)
        .values(
            state=JobState.QUEUED,
            losses=Job.losses + 1,
            queued_at=DatabaseTime(),
            lease_until=None,
            rung_at=None,
            error_code=ErrorCode.LEASE_EXPIRED,
        )
    )
    with jobs.parts(session) as parts:
        requeued = sum(_execute(session, requeue.where(part)) for part in parts)
    old = MissingModel.at < DatabaseTime(-presence.LACKS_FOR)
    _execute(session, delete(MissingModel).where(old))
    session.commit()
    return requeued


def tidy(session: Session, vault: Vault, now: datetime) -> int:
    """Remove files that no reader will ever see; once a minute is often enough.

    These are temporary files of killed processes, outputs of lost attempts, and files without a
    row: of the last, one of 256 folders a minute is looked through.
    """
    removed = vault.remove_stale(now - STALE)
    lost = session.scalars(
        select(Blob)
        .join(Job, Job.id == Blob.job_id)
        .where(
            Blob.current.is_(False),
            or_(Job.attempts > Blob.attempt, Job.state.in_((JobState.DONE, JobState.FAILED))),
        )
        .limit(_AT_ONCE)
    ).all()
    if lost:
        session.execute(delete(Blob).where(Blob.id.in_([blob.id for blob in lost])))
    names = [blob.name for blob in lost]
    session.commit()
    names += _orphans(session, vault, now)
    for name in names:
        vault.destroy(name)
    return removed + len(names)


def _give_up(session: Session, now: datetime, jobs: Readable) -> int:
    query = (
        select(Job.study_id, Job.id)
        .where(*is_expired(), Job.losses >= LOSSES - 1)
        .order_by(Job.study_id)  # in which their studies are locked
        .limit(_AT_ONCE)
        .with_for_update(skip_locked=True, of=Job)
    )
    found = list[Any]()
    with jobs.parts(session) as parts:
        for part in parts:
            found += session.execute(query.where(part)).all()
    if len(parts) > 1:
        found.sort(key=lambda one: str(one[0] or ""))
    spent = [job_id for _study, job_id in found]
    ended, unread = list[Job](), list[UUID]()
    for job_id in spent:
        try:
            with session.begin_nested():
                job = session.get_one(Job, job_id, populate_existing=True)
                job.losses += 1
                end_as_failed(session, job, ErrorCode.GAVE_UP, now)
                ended.append(job)
        except database.UNREADABLE as error:
            if not database.is_damage(error):
                raise
            unread.append(job_id)
    for job in ended:
        log_end(session, "job_failed", job, now)
    session.commit()
    for job_id in unread:  # they would stop the sweep for all others
        end_unread(session, job_id, now)
    return len(spent)


def _notify_waiting(session: Session, broker: Broker, kind: JobKind, jobs: Readable) -> int | None:
    """Announce jobs that never were, and again those that wait beside an idle worker.

    An idle worker's message may be lost, or its connection to Redis be gone without its notice; how
    many messages wait in Redis proves nothing. While all workers are busy, nothing is sent again.
    None when Redis is down.
    """
    waits = (
        select(Job.id)
        .where(Job.kind == kind, Job.state == JobState.QUEUED, presence.is_due())
        .order_by(-Job.priority, Job.created)  # in the form of their index
    )
    new = waits.where(Job.rung_at.is_(None)).limit(_AT_ONCE)
    again = waits.where(Job.rung_at < DatabaseTime(-NOTIFY_AGAIN)).limit(_AGAIN_AT_ONCE)
    has_idle = presence.has_idle_worker(session, kind, jobs)
    found, repeated = list[UUID](), list[UUID]()
    with jobs.parts(session) as parts:
        for part in parts:
            found += session.scalars(new.where(part)).all()
            repeated += session.scalars(again.where(part)).all() if has_idle else []
    session.commit()
    if repeated:
        waiting = broker.waiting(kind)
        if waiting is None:
            return None
        found += repeated[:_AGAIN_AT_ONCE] if waiting < _MESSAGES_MAX else []
    for job_id in found:
        if not broker.notify(kind, job_id):
            return None
        _execute(session, update(Job).where(Job.id == job_id).values(rung_at=DatabaseTime()))
        session.commit()
    return len(found)


def _orphans(session: Session, vault: Vault, now: datetime) -> list[str]:
    """Files in one folder that no row names: their transaction never came to its end."""
    names = list(vault.names(int(now.timestamp()) // 60, now - STALE))
    known: set[str] = set()
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        known |= stored_files.named(session, some)
    session.commit()
    return [name for name in names if name not in known]


def _execute(session: Session, statement: Any) -> int:
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return rows_changed(result)
