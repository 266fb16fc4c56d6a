"""The ledger's rows: jobs are added, claimed, prolonged and retried.

A claim is one conditional UPDATE, so that of any number of workers one gets the job.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, cast
from uuid import UUID, uuid4

from sqlalchemy import Uuid, and_, bindparam, case, not_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from portal import audit, readable_rows
from portal.access import Actor, Denied, Permission
from portal.ai_models import known_models
from portal.database import UNREADABLE, DatabaseTime, is_damage
from portal.errors import Conflict
from portal.formats.display_text import clean
from portal.jobs import tickets
from portal.jobs.attempts import (
    LOSSES,
    changed,
    end_unread,
    is_attempt,
    is_expired,
    place,
)
from portal.jobs.results import result_checks
from portal.jobs.tickets import Ticket
from portal.languages import _
from portal.models import (
    Blob,
    BlobKind,
    Instance,
    Job,
    JobKind,
    JobState,
    Outline,
    Report,
    Study,
    Team,
    WorkerToken,
)
from portal.readable_rows import Readable
from portal.settings import Settings
from portal.studies import presence, sealed_fields
from portal.vault import Vault, VaultError, WantedFile
from worker.contract.clock import LEASE_SECONDS
from worker.contract.facts import Facts
from worker.contract.job import ADULT_YEARS, OF_NO_EXAM, WITH_MODEL, Claim, InputFile, kinds_of
from worker.contract.message import InvalidMessage

# Jobs about one file of several of its kind, by their target; and these kinds.
_ABOUT: Final[dict[JobKind, type[Outline] | type[Report]]] = {
    JobKind.MEASURE: Outline,
    JobKind.REPORT: Report,
}
OWN: Final = (BlobKind.REVIEW_MASK, BlobKind.REPORT_CONTENT)
# So many jobs whose records do not open are passed over for one that does.
_TRIES: Final = 10
# Made once, as they run with every job.
# The worker that asks, by its name and token, has not just lacked the model.
_MAY_HAVE_MODEL: Final = or_(
    Job.kind.not_in(WITH_MODEL),
    not_(
        presence.lacked_model(
            bindparam("asks"), bindparam("by_token", type_=Uuid()), presence.MODEL_PAUSE
        )
    ),
)
_BEGIN: Final = (
    update(Job)
    .where(
        Job.id == bindparam("its_id"),
        Job.kind.in_(bindparam("kinds", expanding=True)),
        _MAY_HAVE_MODEL,
        or_(
            and_(Job.state == JobState.QUEUED, presence.is_due()),
            # One that may not be lost again is ended by the sweep.
            and_(*is_expired(), Job.losses < LOSSES - 1),
        ),
    )
    .values(
        state=JobState.RUNNING,
        attempts=Job.attempts + 1,
        losses=case((Job.state == JobState.RUNNING, Job.losses + 1), else_=Job.losses),
        lease_until=DatabaseTime(LEASE_SECONDS),
        worker=bindparam("by"),
        started_at=DatabaseTime(),
        finished_at=None,
        error_code=None,
    )
    .returning(Job)
    .execution_options(synchronize_session=False, populate_existing=True)
)
_OF_QUEUE: Final = Job.kind == bindparam("kind_", type_=Job.kind.type)
_WAITING: Final = (
    select(Job.id)
    .where(_OF_QUEUE, Job.state == JobState.QUEUED, presence.is_due(), _MAY_HAVE_MODEL)
    .order_by(-Job.priority, Job.created)  # in the form of its index
)
_LOST: Final = (
    select(Job.id)
    .where(_OF_QUEUE, *is_expired(), Job.losses < LOSSES - 1, _MAY_HAVE_MODEL)
    .order_by(Job.lease_until)
)
# What comes first in a queue, beside others that ask.
_NEXT: Final = tuple(q.limit(1).with_for_update(skip_locked=True) for q in (_WAITING, _LOST))
# The same with the columns of its order, to compare what comes first in several parts of a table.
_NEXT_OF_PART: Final = (
    _WAITING.with_only_columns(-Job.priority, Job.created, Job.id).limit(1),
    _LOST.with_only_columns(Job.lease_until, Job.id).limit(1),
)
_INPUTS: Final = select(Blob).where(
    Blob.instance_id == bindparam("picture"),
    Blob.current,
    Blob.kind.in_(bindparam("kinds", expanding=True)),
)
_AGE_MIN: Final = (
    select(Team.age_min)
    .join(Study, Study.team_id == Team.id)
    .where(Study.id == bindparam("study_id"))
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """An attempt that has begun: what its worker is sent, and its inputs, by kind, to be read."""

    claim: Claim
    inputs: dict[str, WantedFile]


def enqueue(
    session: Session,
    kind: JobKind,
    now: datetime,
    *,
    instance: Instance | None = None,
    study_id: UUID | None = None,
    target: str | None = None,
    priority: int = 0,
    announced: bool = False,
) -> Job:
    """Add a job about a picture, a whole study, or neither, in the caller's transaction.

    Asked for again, it is the existing job: one of a kind for the same subject and target, whatever
    its state. `announced`: the caller calls `sweeper.announce` after the commit.
    """
    if instance is not None:
        study_id = instance.study_id
    subject = study_id if instance is None else instance.id
    if (subject is None) is not (kind in OF_NO_EXAM):
        raise ValueError("a job is about a picture or a study, unless its kind is about neither")
    key = ":".join((kind.value, *([subject.hex] if subject else []), *([target] if target else [])))
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    added: Job | None = session.scalars(
        dialect.insert(Job)
        .values(
            id=uuid4(),
            kind=kind,
            state=JobState.QUEUED,
            study_id=study_id,
            instance_id=instance.id if instance else None,
            target=target,
            idempotency_key=key,
            attempts=0,
            priority=priority,
            created=now,
            queued_at=DatabaseTime(),
            rung_at=DatabaseTime() if announced else None,
        )
        .on_conflict_do_nothing(index_elements=[Job.idempotency_key])
        .returning(Job)
    ).one_or_none()
    if added is not None:
        return added
    return session.scalars(select(Job).where(Job.idempotency_key == key)).one()


def claim(
    session: Session,
    settings: Settings,
    vault: Vault,
    job_id: UUID,
    worker: str,
    now: datetime,
    token: WorkerToken | None = None,
) -> Claimed | None:
    """Begin an attempt at a job; None where there is nothing to do (done, taken, spent).

    A worker's own token reaches only the jobs of its queue. One that has just lacked the model of a
    job gets none for a minute: they wait for others that have it. A job whose record does not open
    or can't be read has failed: another attempt would fail as well, and the job would stay first.
    """
    reached = kinds_of(token.queue) if token is not None else tuple(JobKind)
    named = {"its_id": job_id, "kinds": reached, "by": clean(worker, 200)}
    try:
        job = session.scalars(_BEGIN, named | _asked_by(worker, token)).one_or_none()
        if job is None:
            session.rollback()
            return None
        data_key, facts = _opened(session, vault, job)
        inputs, age_min = _inputs(session, job), _age_min(session, job)
    except (VaultError, InvalidMessage, *UNREADABLE) as error:
        if isinstance(error, DBAPIError) and not is_damage(error):
            raise
        session.rollback()
        end_unread(session, job_id, now)
        return None
    model = known_models.model_for_jobs(session) if job.kind in WITH_MODEL else None
    job.model_sha256 = model.sha256 if model else None
    job.operating_point = model.operating_point if model else None
    claim = Claim(
        job=job.id,
        kind=job.kind,
        attempt=job.attempts,
        ticket=tickets.issue(
            settings, Ticket(job.id, job.attempts, token.id if token else None), now
        ),
        lease_seconds=LEASE_SECONDS,
        soft_seconds=settings.soft_seconds,
        inputs={
            blob.kind.value: InputFile(bytes=blob.size, media_type=blob.media_type)
            for blob in inputs
        },
        facts=facts,
        model=model,
        age_min=age_min,
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
    files = {b.kind.value: WantedFile(data_key, b.id, b.kind, b.name) for b in inputs}
    return Claimed(claim, files)


def claim_next(
    session: Session,
    settings: Settings,
    vault: Vault,
    queue: JobKind,
    worker: str,
    now: datetime,
    token: WorkerToken | None = None,
    *,
    kinds: Collection[JobKind] | None = None,
) -> Claimed | None:
    """Begin an attempt at the job of a queue that comes first; None where none waits.

    `kinds`: those that the worker does, by default the one of the queue's own name.

    Of several workers that ask at once each gets another job. A job whose attempt was lost comes
    after those that wait, if the sweep has not queued it before. Jobs on damaged pages are passed
    over.
    """
    does = (queue,) if kinds is None else [one for one in kinds_of(queue) if one in kinds]
    asked = [{"kind_": kind} | _asked_by(worker, token) for kind in does]
    for _turn in range(_TRIES):
        job_id, _ = readable_rows.around_damage(session, Job, partial(_first, session, asked))
        if job_id is None:
            break
        claimed = claim(session, settings, vault, job_id, worker, now, token)
        if claimed is not None:
            return claimed
    session.rollback()
    return None


def _first(session: Session, asked: Sequence[dict[str, Any]], jobs: Readable) -> UUID | None:
    """The job that comes first in the first of these queues that has one, by the values of their
    queries.
    """
    job_id: UUID | None
    for named in asked:
        for whole, of_part in zip(_NEXT, _NEXT_OF_PART, strict=True):
            if jobs is readable_rows.EVERYTHING:
                job_id = session.scalar(whole, named)
            else:  # without locks: of several workers that find the same job, one gets it
                with jobs.parts(session) as parts:
                    found = [session.execute(of_part.where(part), named).first() for part in parts]
                rows = [tuple(row) for row in found if row is not None]
                job_id = cast("UUID", min(rows)[-1]) if rows else None
            if job_id is not None:
                return job_id
    return None


def _asked_by(worker: str, token: WorkerToken | None) -> dict[str, Any]:
    """The values of `_MAY_HAVE_MODEL`."""
    return {"asks": clean(worker, 200), "by_token": token.id if token is not None else None}


def _opened(session: Session, vault: Vault, job: Job) -> tuple[bytes, Facts | None]:
    """The picture's key, and what a job needs of the picture beside its pixels; nothing of a job
    that is about none.
    """
    if job.kind in OF_NO_EXAM:
        return b"", None
    instance = session.get_one(Instance, job.instance_id, populate_existing=True)
    data_key = sealed_fields.instance_key_of(vault, instance)
    if job.kind not in WITH_MODEL:
        return data_key, None
    facts = sealed_fields.open_stated_facts(vault, data_key, instance)
    return data_key, Facts.parse(facts) if facts is not None else None


def _inputs(session: Session, job: Job) -> Sequence[Blob]:
    """The files that a job reads, as far as they are there."""
    kinds = [kind for kind in result_checks.INPUTS.get(job.kind, ()) if kind not in OWN]
    found = session.scalars(_INPUTS, {"picture": job.instance_id, "kinds": kinds}).all()
    own = own_file(session, job)
    return [*found, own] if own is not None else found


def own_file(session: Session, job: Job) -> Blob | None:
    """The file that a job is about: an outline, or what a report or its objects are made of."""
    if job.kind is JobKind.ENCODE:  # of the job itself: a report has several pictures
        own = (Blob.job_id == job.id, Blob.kind == BlobKind.REPORT_CONTENT)
        return session.scalars(select(Blob).where(*own)).one_or_none()
    table = _ABOUT.get(job.kind)
    if table is None:
        return None
    about = select(Blob).join(table, table.blob_id == Blob.id)
    return session.scalars(about.where(table.id == UUID(job.target))).one_or_none()


def _age_min(session: Session, job: Job) -> int:
    """From which age on the picture's team has under-18s analysed."""
    if job.kind is not JobKind.SEGMENT:
        return ADULT_YEARS
    chosen = session.scalar(_AGE_MIN, {"study_id": job.study_id})
    return ADULT_YEARS if chosen is None else chosen


def open_ticket(settings: Settings, text: str, job_id: UUID) -> Ticket:
    """The ticket that a worker shows for this job, or BadTicket."""
    return tickets.read(settings, text, job_id)


def heartbeat(session: Session, settings: Settings, ticket: Ticket) -> bool:
    """Prolong the attempt's lease; False when the attempt is lost.

    So it is when it lasts for longer than any job may: a worker that hangs, or whoever has its
    ticket, holds no job for ever. By the database's clock, as the lease.
    """
    prolonged = changed(
        session,
        update(Job)
        .where(*is_attempt(ticket), Job.started_at > DatabaseTime(-settings.visibility_seconds))
        .values(lease_until=DatabaseTime(LEASE_SECONDS)),
    )
    session.commit()
    return prolonged


def retry(session: Session, actor: Actor, job_id: UUID, now: datetime) -> Job:
    """Queue a failed job again, with its counts at 0, for the caller to announce; else Conflict."""
    actor.require(Permission.JOBS_MANAGE)
    job = session.get(Job, job_id, with_for_update=True, populate_existing=True)
    if job is None:
        raise Denied("job")
    study = session.get_one(Study, job.study_id) if job.study_id is not None else None
    if job.state is not JobState.FAILED or (study is not None and study.purged_at is not None):
        session.rollback()
        raise Conflict("not_failed", _("Only a failed job can be tried again."))
    queue_again(session, job)
    audit.append(
        session, "job_retried", actor=actor, now=now, study_id=job.study_id, subject_id=job.id
    )
    session.commit()
    return job


def queue_again(session: Session, job: Job) -> None:
    """Queue a failed job with its counts at 0, in the caller's transaction, which logs it."""
    # Attempts go on counting, so results of an old attempt are still refused.
    job.failures = job.losses = 0
    job.state, job.error_code, job.finished_at, job.rung_at = JobState.QUEUED, None, None, None
    job.queued_at = DatabaseTime()
    place(session, job)
