"""Tables of the job ledger and of the workers."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, checked
from portal.models.vocabulary import JobState
from worker.contract.job import JobKind


def _created(row: Any) -> Any:
    return row.get_current_parameters()["created"]


class Job(Base):
    """The ledger. `attempts` is the fencing number.

    Trying ends after so many `failures` (attempts that failed by themselves or ended their process)
    or, later, `losses` (attempts that were ended from outside: the worker or the portal was gone).

    A job is about an instance, or about a whole exam where `instance_id` is empty, or about neither
    (OF_NO_EXAM of the contract). `target` is where its outcome goes, such as another DICOM node, or
    which thing of its kind it is about. What has the same `idempotency_key` is the
    same job, however often it is asked for.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("idempotency_key"),
        CheckConstraint("(study_id IS NULL) = (kind = 'drift')", name="about"),
        Index("ix_jobs_study", "study_id", "kind", "state"),
        Index("ix_jobs_instance", "instance_id", "kind"),
        # With what lists filter by, so that no row is read.
        Index("ix_jobs_state", "state", "kind", "lease_until", "study_id"),
        # What waits, in the order in which it is announced and given to workers.
        Index("ix_jobs_waiting", "kind", "state", text("(-priority)"), "created"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    kind: Mapped[JobKind] = mapped_column(checked(JobKind, "kind"))
    state: Mapped[JobState] = mapped_column(checked(JobState, "state"), default=JobState.QUEUED)
    study_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("studies.id"))
    instance_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("instances.id"))
    target: Mapped[str | None] = mapped_column(String(200))
    idempotency_key: Mapped[str] = mapped_column(String(300))
    attempts: Mapped[int] = mapped_column(default=0)
    failures: Mapped[int] = mapped_column(default=0)
    losses: Mapped[int] = mapped_column(default=0)
    priority: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(200))
    # By the database's clock, as `queued_at`, `rung_at` and `started_at`.
    lease_until: Mapped[datetime | None]
    # Since when it waits (again; a worker that lacked its model has only passed it back), and when
    # a worker was last notified of it.
    queued_at: Mapped[datetime] = mapped_column(default=_created)
    rung_at: Mapped[datetime | None]
    # No worker gets it before: a rule has put it off until the team's off-peak hours.
    not_before: Mapped[datetime | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    # The model that the claim required of the running attempt; empty where the worker chooses.
    model_sha256: Mapped[str | None] = mapped_column(String(64))
    operating_point: Mapped[str | None] = mapped_column(String(50))
    created: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Worker(Base):
    """A worker that has reported, so that a page can show whether one is running."""

    __tablename__ = "workers"
    # A token is for one queue: its worker can't report as one of the other queue.
    __table_args__ = (
        UniqueConstraint("name", "queue"),
        Index("ix_workers_token", "token_id", "last_seen"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(200))
    queue: Mapped[JobKind] = mapped_column(checked(JobKind, "queue"))
    engine: Mapped[str] = mapped_column(String(100), default="")
    model: Mapped[str] = mapped_column(String(200), default="")
    last_seen: Mapped[datetime]  # by the database's clock
    # How many jobs it can do at once.
    slots: Mapped[int] = mapped_column(default=1)
    # The worker's own token; empty for the one that all workers share.
    token_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("worker_tokens.id"))


class MissingModel(Base):
    """A worker, by name and token, that lacked the model which a job required, and when.

    `sha256` is empty where the worker lacked its own; `at` is by the database's clock.
    """

    __tablename__ = "missing_models"
    __table_args__ = (Index("ix_missing_models_worker", "worker"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    worker: Mapped[str] = mapped_column(String(200))
    token_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("worker_tokens.id"))
    sha256: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[datetime]


class WorkerToken(Base):
    """The token of one worker: hashed, for one queue, expiring, revocable."""

    __tablename__ = "worker_tokens"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    queue: Mapped[JobKind] = mapped_column(checked(JobKind, "queue"))
    created: Mapped[datetime]
    expires: Mapped[datetime]
    last_seen: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
