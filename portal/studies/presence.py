"""Which workers are there, have nothing to do, or lack the model; and the queues that stand still.

All of it by the database's clock, as leases: neither this machine's clock nor another portal's
matters. Workers report in `portal.jobs`.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement, exists, false, func, not_, or_, select
from sqlalchemy.orm import Session

from portal import readable_rows
from portal.database import DatabaseTime
from portal.models import Job, JobKind, JobState, MissingModel, ModelState, ModelVersion, Worker
from portal.readable_rows import EVERYTHING, Readable
from worker.contract.job import QUEUE_OF, kinds_of

# A worker reports every 20 seconds; one that missed three is taken as absent.
WORKER_SILENCE: Final = 70.0
# A worker without a job takes one within seconds: what waits longer beside it is stuck.
STALLED: Final = 30.0
# So long a worker that lacked a job's model gets no other one: it may get the model, or be updated.
MODEL_PAUSE: Final = 60.0
# It tries the next job within seconds after that; until then it is still taken as without it.
LACKS_FOR: Final = MODEL_PAUSE + 15.0
# So many names of a token that lack the model pause all of it: a worker that takes another name
# each time gets no more attempts a minute than a token may have workers.
LACKING_NAMES: Final = 100
_ACTIVE: Final = (
    select(ModelVersion.sha256).where(ModelVersion.state == ModelState.ACTIVE).scalar_subquery()
)


@dataclass(frozen=True, slots=True)
class Presence:
    """The queues that a worker is there for, and whether all segment workers lack the model."""

    queues: frozenset[JobKind]
    lacks_model: bool


def is_due(seconds: float = 0.0) -> ColumnElement[bool]:
    """Whether a job may begin, or may for so many seconds: it is not put off until later."""
    return or_(Job.not_before.is_(None), Job.not_before <= DatabaseTime(-seconds))


def is_here() -> ColumnElement[bool]:
    """Whether a worker has reported lately. One that is dated ahead, by a clock that was set back
    since, has not.
    """
    return Worker.last_seen.between(DatabaseTime(-WORKER_SILENCE), DatabaseTime(WORKER_SILENCE))


def lacked_model(worker: Any, token_id: Any, seconds: float) -> ColumnElement[bool]:
    """Whether a worker, by its name and token, has lacked the active model so lately, or so many
    names of its token have.
    """
    of_token = (MissingModel.token_id.is_not_distinct_from(token_id), *just_lacked(seconds))
    names = select(func.count()).select_from(MissingModel).where(*of_token).scalar_subquery()
    return or_(exists().where(MissingModel.worker == worker, *of_token), names >= LACKING_NAMES)


def just_lacked(seconds: float = LACKS_FOR) -> tuple[ColumnElement[bool], ...]:
    """The conditions under which a row of a missing model is new and about the active one."""
    return (
        MissingModel.sha256.is_not_distinct_from(_ACTIVE),
        MissingModel.at.between(DatabaseTime(-seconds), DatabaseTime(seconds)),
    )


def lacks_model() -> ColumnElement[bool]:
    """Whether a worker that is there lacks the active model."""
    return lacked_model(Worker.name, Worker.token_id, LACKS_FOR)


def present(session: Session) -> Presence:
    """Which workers are there now."""
    found = session.execute(select(Worker.queue, lacks_model()).where(is_here()).distinct()).all()
    queues = frozenset(queue for queue, _ in found)
    able = any(queue is JobKind.SEGMENT and not lacks for queue, lacks in found)
    return Presence(queues, JobKind.SEGMENT in queues and not able)


def has_idle_worker(session: Session, kind: JobKind, jobs: Readable = EVERYTHING) -> bool:
    """Whether a worker of the queue that does this kind of job is there that could take one and
    does not: it runs fewer than it can, and does not lack the model. `jobs`: what can be read.
    """
    queue = QUEUE_OF.get(kind, kind)
    with jobs.parts(session) as parts:
        running: Any = sum(
            select(func.count())
            .where(
                Job.state == JobState.RUNNING,
                Job.kind.in_(kinds_of(queue)),
                Job.worker == Worker.name,
                part,
            )
            .scalar_subquery()
            for part in parts
        )
        idle = exists().where(
            Worker.queue == queue, is_here(), running < Worker.slots, not_(lacks_model())
        )
        return bool(session.scalar(select(idle)))


def stalled_queues(session: Session, jobs: Readable = EVERYTHING) -> frozenset[JobKind]:
    """The kinds of jobs of which one has waited for long although a worker could take it. `jobs`:
    those that can be read.
    """
    with jobs.parts(session) as parts:
        late = {
            kind: or_(
                false(),
                *(
                    exists().where(
                        Job.kind == kind,
                        Job.state == JobState.QUEUED,
                        Job.queued_at < DatabaseTime(-STALLED),
                        is_due(STALLED),
                        part,
                    )
                    for part in parts
                ),
            )
            for kind in QUEUE_OF
        }
        found = session.execute(select(*late.values())).one()
    return frozenset(
        kind
        for kind, waits in zip(late, found, strict=True)
        if waits and has_idle_worker(session, kind, jobs)
    )


def stalled_readable(session: Session) -> frozenset[JobKind]:
    """The same of what can be read, beside the caller's transaction: where a job's page is damaged,
    pages about other cases go on.
    """
    engine = session.get_bind().engine
    if engine.dialect.name == "sqlite":  # a transaction that has met damage commits nothing
        with Session(engine.execution_options(pleura_snapshot=True)) as own:
            return readable_rows.around_damage(own, Job, partial(stalled_queues, own))[0]
    find = partial(stalled_queues, session)
    return readable_rows.around_damage(session, Job, find, keep_transaction=True)[0]
