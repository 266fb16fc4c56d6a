"""The ledger's rows: jobs are added, claimed, kept alive and given another chance.

A claim is one conditional UPDATE, so that of any number of workers one gets the job.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import and_, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.ai_models import registry
from portal.errors import Conflict
from portal.formats.display_text import clean
from portal.formats.json_checks import BadResult
from portal.jobs import result_checks, tickets
from portal.jobs.attempts import changed, is_attempt
from portal.jobs.tickets import Ticket
from portal.models import Blob, Instance, Job, JobKind, JobState, Study, Worker, WorkerToken
from portal.settings import Settings
from portal.studies import sealed_fields, worklist_order
from portal.vault import Vault, VaultError

ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Claim:
    """What a worker gets for a job: a ticket for this attempt, and what there is to read."""

    job_id: UUID
    kind: JobKind
    attempt: int
    ticket: str
    lease_seconds: float
    soft_seconds: float
    inputs: dict[str, dict[str, int | str]]
    facts: dict[str, Any] | None
    model: registry.JobModel | None = None

    def as_json(self) -> dict[str, Any]:
        """The answer of the worker's HTTP interface."""
        return {
            "job": str(self.job_id),
            "kind": self.kind.value,
            "attempt": self.attempt,
            "ticket": self.ticket,
            "lease_seconds": self.lease_seconds,
            "soft_seconds": self.soft_seconds,
            "inputs": self.inputs,
            "facts": self.facts,
            "model": self.model.as_json() if self.model else None,
        }


def enqueue(session: Session, kind: JobKind, instance_id: UUID, now: datetime) -> Job:
    """Add a job for an instance in the caller's transaction; one of each kind at most."""
    instance = session.get_one(Instance, instance_id)
    job = Job(
        id=uuid4(),
        kind=kind,
        state=JobState.QUEUED,
        study_id=instance.study_id,
        instance_id=instance.id,
        attempts=0,
        attempt_limit=ATTEMPTS,
        created=now,
    )
    session.add(job)
    session.flush()
    return job


def hello(
    session: Session, *, name: str, queue: str, engine: str, model: str, now: datetime
) -> None:
    """Note that a worker is there. It is one by its name and queue: a token opens one queue."""
    if queue not in (JobKind.RENDER.value, JobKind.SEGMENT.value):
        raise BadResult("queue must be render or segment")
    known, kind = clean(name, 200), JobKind(queue)
    if not known:
        raise BadResult("name must be a text")
    what = {
        "last_seen": now,
        "engine": clean(engine, 100),
        "model": clean(model, 200),
    }
    here = update(Worker).where(Worker.name == known, Worker.queue == kind).values(**what)
    if not changed(session, here):
        try:
            with session.begin_nested():
                session.execute(insert(Worker).values(name=known, queue=kind, **what))
        except IntegrityError:  # it has said hello twice at once
            changed(session, here)
    session.commit()


def claim(
    session: Session,
    settings: Settings,
    vault: Vault,
    job_id: UUID,
    worker: str,
    now: datetime,
    token: WorkerToken | None = None,
) -> Claim | None:
    """Begin an attempt at a job; None where there is nothing to do (done, taken, spent).

    A worker's own token reaches the jobs of its queue alone: others are not there for it. A job
    whose record does not open has failed: another attempt would find nothing else.
    """
    won = changed(
        session,
        update(Job)
        .where(
            Job.id == job_id,
            *((Job.kind == token.queue,) if token is not None else ()),
            Job.attempts < Job.attempt_limit,
            or_(
                Job.state == JobState.QUEUED,
                and_(Job.state == JobState.RUNNING, Job.lease_until < now),
            ),
        )
        .values(
            state=JobState.RUNNING,
            attempts=Job.attempts + 1,
            lease_until=now + timedelta(seconds=settings.lease_seconds),
            worker=clean(worker, 200),
            started_at=now,
            finished_at=None,
            error_code=None,
        ),
    )
    if not won:
        session.rollback()
        return None
    job = session.get_one(Job, job_id, populate_existing=True)
    try:
        facts = _facts_for(session, vault, job)
    except VaultError:
        _fail_damaged(session, job, now)
        return None
    model = registry.model_for_jobs(session) if job.kind is JobKind.SEGMENT else None
    job.model_sha256 = model.sha256 if model else None
    job.operating_point = model.operating_point.value if model else None
    inputs = session.scalars(
        select(Blob).where(
            Blob.instance_id == job.instance_id,
            Blob.current,
            Blob.kind.in_(result_checks.INPUTS.get(job.kind, ())),
        )
    )
    claimed = Claim(
        job_id=job.id,
        kind=job.kind,
        attempt=job.attempts,
        ticket=tickets.issue(
            settings, Ticket(job.id, job.attempts, token.id if token else None), now
        ),
        lease_seconds=settings.lease_seconds,
        soft_seconds=settings.soft_seconds,
        inputs={b.kind.value: {"bytes": b.size, "media_type": b.media_type} for b in inputs},
        facts=facts,
        model=model,
    )
    audit.append(
        session,
        "job_claimed",
        now=now,
        study_id=job.study_id,
        subject_id=job.id,
        detail={"kind": job.kind.value, "attempt": job.attempts},
    )
    session.commit()
    return claimed


def _facts_for(session: Session, vault: Vault, job: Job) -> dict[str, Any] | None:
    """What a job's worker has to know of the picture beside its pixels."""
    if job.kind is not JobKind.SEGMENT:
        return None
    study, instance = (
        session.get_one(Study, job.study_id),
        session.get_one(Instance, job.instance_id),
    )
    return sealed_fields.open_facts(vault, sealed_fields.key_of(vault, study), instance)


def _fail_damaged(session: Session, job: Job, now: datetime) -> None:
    job.state, job.error_code = JobState.FAILED, "record_damaged"
    job.finished_at, job.lease_until = now, None
    worklist_order.place(session, job.study_id)
    audit.append(
        session,
        "job_failed",
        now=now,
        study_id=job.study_id,
        subject_id=job.id,
        detail={"kind": job.kind.value, "attempt": job.attempts, "code": job.error_code},
    )
    session.commit()


def open_ticket(settings: Settings, text: str, job_id: UUID, now: datetime) -> Ticket:
    """The ticket that a worker shows for this job, or BadTicket."""
    return tickets.read(settings, text, job_id, now)


def heartbeat(session: Session, settings: Settings, ticket: Ticket, now: datetime) -> bool:
    """Prolong the attempt's lease; False when the attempt is lost."""
    kept = changed(
        session,
        update(Job)
        .where(*is_attempt(ticket))
        .values(lease_until=now + timedelta(seconds=settings.lease_seconds)),
    )
    session.commit()
    return kept


def retry(session: Session, actor: Actor, job_id: UUID, now: datetime) -> Job:
    """Give a failed job three more attempts; the caller rings. Conflict if it has not failed."""
    actor.require(Permission.JOBS_MANAGE)
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None:
        raise Denied("job")
    study = session.get_one(Study, job.study_id)
    if job.state is not JobState.FAILED or study.purged_at is not None:
        session.rollback()
        raise Conflict("not_failed", "Only a failed job can be tried again.")
    # Attempts go on counting: what an old attempt still hands in stays fenced off.
    job.attempt_limit = job.attempts + ATTEMPTS
    job.state, job.error_code, job.finished_at, job.rung_at = JobState.QUEUED, None, None, None
    worklist_order.place(session, job.study_id)
    audit.append(
        session, "job_retried", actor=actor, now=now, study_id=job.study_id, subject_id=job.id
    )
    session.commit()
    return job
