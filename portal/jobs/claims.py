"""The ledger's rows: jobs are added, claimed, prolonged and retried.

A claim is one conditional UPDATE, so that of any number of workers one gets the job.
"""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import and_, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.ai_models import registry
from portal.errors import Conflict
from portal.formats.display_text import clean
from portal.jobs import result_checks, tickets
from portal.jobs.attempts import changed, is_attempt
from portal.jobs.errors import BadResult
from portal.jobs.tickets import Ticket
from portal.models import Blob, Instance, Job, JobKind, JobState, Study, Worker, WorkerToken
from portal.settings import Settings
from portal.studies import sealed_fields, worklist_order
from portal.vault import Vault, VaultError
from worker.contract.error_codes import ErrorCode
from worker.contract.facts import Facts
from worker.contract.job import Claim, Hello, InputFile
from worker.contract.message import InvalidMessage

ATTEMPTS: Final = 3


def enqueue(
    session: Session,
    kind: JobKind,
    now: datetime,
    *,
    instance: Instance | None = None,
    study_id: UUID | None = None,
    target: str | None = None,
    priority: int = 0,
) -> Job:
    """Add a job about a picture, or about a whole study, in the caller's transaction.

    Asked for again, it is the existing job: one of a kind for the same subject and target, whatever
    its state.
    """
    if instance is not None:
        study_id = instance.study_id
    if study_id is None:
        raise ValueError("a job is about a picture or a study")
    subject = study_id if instance is None else instance.id
    key = ":".join((kind.value, subject.hex, *([target] if target else [])))
    same = select(Job).where(Job.idempotency_key == key)
    known = session.scalars(same).first()
    if known is not None:
        return known
    job = Job(
        id=uuid4(),
        kind=kind,
        state=JobState.QUEUED,
        study_id=study_id,
        instance_id=instance.id if instance else None,
        target=target,
        idempotency_key=key,
        attempts=0,
        attempt_limit=ATTEMPTS,
        priority=priority,
        created=now,
    )
    try:
        with session.begin_nested():
            session.add(job)
    except IntegrityError:  # asked for twice at once
        return session.scalars(same).one()
    return job


def hello(session: Session, sent: Hello, now: datetime) -> None:
    """Note that a worker runs. Name and queue identify it: a token opens one queue."""
    name, queue = clean(sent.name, 200), sent.queue
    if not name:
        raise BadResult("name must be a text")
    values = {
        "last_seen": now,
        "engine": clean(sent.engine, 100),
        "model": clean(sent.model, 200),
    }
    known = update(Worker).where(Worker.name == name, Worker.queue == queue).values(**values)
    if not changed(session, known):
        try:
            with session.begin_nested():
                session.execute(insert(Worker).values(name=name, queue=queue, **values))
        except IntegrityError:  # two reports of it at once
            changed(session, known)
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

    A worker's own token reaches only the jobs of its queue. A job whose record does not open has
    failed: another attempt would fail as well.
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
    except (VaultError, InvalidMessage):
        _fail_damaged(session, job, now)
        return None
    model = registry.model_for_jobs(session) if job.kind is JobKind.SEGMENT else None
    job.model_sha256 = model.sha256 if model else None
    job.operating_point = model.operating_point if model else None
    inputs = session.scalars(
        select(Blob).where(
            Blob.instance_id == job.instance_id,
            Blob.current,
            Blob.kind.in_(result_checks.INPUTS.get(job.kind, ())),
        )
    )
    claimed = Claim(
        job=job.id,
        kind=job.kind,
        attempt=job.attempts,
        ticket=tickets.issue(
            settings, Ticket(job.id, job.attempts, token.id if token else None), now
        ),
        lease_seconds=settings.lease_seconds,
        soft_seconds=settings.soft_seconds,
        inputs={
            blob.kind.value: InputFile(bytes=blob.size, media_type=blob.media_type)
            for blob in inputs
        },
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


def _facts_for(session: Session, vault: Vault, job: Job) -> Facts | None:
    """What a segment job needs of the picture beside its pixels."""
    if job.kind is not JobKind.SEGMENT:
        return None
    instance = session.get_one(Instance, job.instance_id, populate_existing=True)
    data_key = sealed_fields.instance_key_of(vault, instance)
    facts = sealed_fields.open_facts(vault, data_key, instance)
    return Facts.parse(facts) if facts is not None else None


def _fail_damaged(session: Session, job: Job, now: datetime) -> None:
    job.state, job.error_code = JobState.FAILED, ErrorCode.RECORD_DAMAGED
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
    prolonged = changed(
        session,
        update(Job)
        .where(*is_attempt(ticket))
        .values(lease_until=now + timedelta(seconds=settings.lease_seconds)),
    )
    session.commit()
    return prolonged


def retry(session: Session, actor: Actor, job_id: UUID, now: datetime) -> Job:
    """Give a failed job three more attempts, for the caller to announce; Conflict for others."""
    actor.require(Permission.JOBS_MANAGE)
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None:
        raise Denied("job")
    study = session.get_one(Study, job.study_id)
    if job.state is not JobState.FAILED or study.purged_at is not None:
        session.rollback()
        raise Conflict("not_failed", "Only a failed job can be tried again.")
    # Attempts go on counting, so results of an old attempt are still refused.
    job.attempt_limit = job.attempts + ATTEMPTS
    job.state, job.error_code, job.finished_at, job.rung_at = JobState.QUEUED, None, None, None
    worklist_order.place(session, job.study_id)
    audit.append(
        session, "job_retried", actor=actor, now=now, study_id=job.study_id, subject_id=job.id
    )
    session.commit()
    return job
