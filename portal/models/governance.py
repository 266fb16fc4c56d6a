"""Tables about the record itself: access log, legal holds, purges."""

import uuid
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ForeignKey,
    Index,
    Integer,
    Sequence,
    SmallInteger,
    String,
    Text,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, checked
from portal.models.vocabulary import HoldReason, PurgeReason

# Drawn without waiting, also by a transaction that ends in nothing: numbers can be left out.
# Whether a row is missing is known from the numbers of its writer.
AUDIT_NUMBERS: Final = Sequence("audit_events_numbers")


class AuditEvent(Base):
    """One row of the access log: ids only, append-only.

    Its MAC covers the row before it by the same writer. `writer` and `writer_seq` are empty in rows
    of versions before them: each of these covers the one before it in the whole log.
    """

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_study", "study_id", "seq"),
        Index("ix_audit_events_actor", "actor_id", "seq"),
        Index("ix_audit_events_at", "at"),
        Index("ix_audit_events_event", "event", "seq"),
        Index("ix_audit_events_subject", "subject_id", "seq"),
        Index("uq_audit_events_writer", "writer", "writer_seq", unique=True),
    )
    # Not BigInteger on SQLite: only INTEGER PRIMARY KEY is the row id there.
    seq: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False
    )
    writer: Mapped[int | None] = mapped_column(SmallInteger)
    writer_seq: Mapped[int | None] = mapped_column(BigInteger)
    at: Mapped[datetime]
    event: Mapped[str] = mapped_column(String(64))
    actor_id: Mapped[uuid.UUID | None]
    session_id: Mapped[uuid.UUID | None]
    via: Mapped[str] = mapped_column(String(16))
    address: Mapped[str] = mapped_column(String(64), default="")
    study_id: Mapped[uuid.UUID | None]
    subject_id: Mapped[uuid.UUID | None]
    detail: Mapped[str] = mapped_column(Text, default="{}")
    mac: Mapped[str] = mapped_column(String(64))


class AuditWriter(Base):
    """How many rows one of the log's writers has written and where they end, sealed.

    A transaction that writes to the log holds one of them, so that no two wait for each other.
    Which row belongs to which writer has no other meaning.
    """

    __tablename__ = "audit_writers"
    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    count: Mapped[int] = mapped_column(BigInteger)
    mac: Mapped[str] = mapped_column(String(64))
    seal: Mapped[str] = mapped_column(String(64))


class AuditLink(Base):
    """One link of the chain over all rows: append-only, without gaps, each MAC covers the last."""

    __tablename__ = "audit_links"
    position: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False
    )
    seq: Mapped[int] = mapped_column(BigInteger, unique=True)
    mac: Mapped[str] = mapped_column(String(64))


class AuditSubject(Base):
    """That a row of the log names a case in its detail, as lists name many: append-only."""

    __tablename__ = "audit_subjects"
    study_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)


class AuditHead(Base):
    """How long the chain is, where it ends, and how many rows of each writer are in it, sealed."""

    __tablename__ = "audit_head"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[int] = mapped_column(BigInteger)
    mac: Mapped[str] = mapped_column(String(64))
    seal: Mapped[str] = mapped_column(String(64))
    linked: Mapped[str] = mapped_column(Text, default="{}", server_default="{}")


class Hold(Base):
    """A legal hold: until it is lifted, the study can't be purged."""

    __tablename__ = "holds"
    __table_args__ = (
        Index("ix_holds_study", "study_id"),
        Index(
            "uq_holds_in_force",
            "study_id",
            unique=True,
            sqlite_where=text("lifted_at IS NULL"),
            postgresql_where=text("lifted_at IS NULL"),
        ),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    reason: Mapped[HoldReason] = mapped_column(checked(HoldReason, "hold_reason"))
    reference: Mapped[str] = mapped_column(String(40), default="")
    set_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    set_at: Mapped[datetime]
    lifted_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    lifted_at: Mapped[datetime | None]
    lift_reference: Mapped[str] = mapped_column(String(40), default="")


class Purge(Base):
    """The written proof of a purge: ids, counts and sizes. Rows are only ever added."""

    __tablename__ = "purges"
    __table_args__ = (Index("ix_purges_at", "purged_at"),)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    case_number: Mapped[str] = mapped_column(String(6))
    purged_at: Mapped[datetime]
    purged_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    reason: Mapped[PurgeReason] = mapped_column(checked(PurgeReason, "purge_reason"))
    reference: Mapped[str] = mapped_column(String(40), default="")
    proof: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))


class StartedPurge(Base):
    """A purge whose keys and values are destroyed and whose proof is not written yet.

    `statement` is the proof's text as far as it is known; `marks` are the nonces of the destroyed
    values, in hexadecimal: what the database's files are searched for.
    """

    __tablename__ = "started_purges"
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    started_at: Mapped[datetime]
    started_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    statement: Mapped[dict[str, Any]]
    marks: Mapped[list[str]]


class IntegrityCheck(Base):
    """The last check of stored data in the background: one row, its problems named by ids only."""

    __tablename__ = "integrity_checks"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    checked_at: Mapped[datetime]
    problems: Mapped[list[str]]


class SchedulerSign(Base):
    """When a loop of the scheduler last did its work, by the database's clock."""

    __tablename__ = "scheduler_signs"
    loop: Mapped[str] = mapped_column(String(16), primary_key=True)
    at: Mapped[datetime]


class ClockState(Base):
    """What the clock is measured by: one row. Rows of the log up to `after_seq` do not count.

    `running_seconds`: how long the scheduler has run altogether, by a clock that nobody sets.
    """

    __tablename__ = "clock_states"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    trusted_at: Mapped[datetime | None]
    after_seq: Mapped[int] = mapped_column(BigInteger)
    running_seconds: Mapped[float]


class AnnouncedPurge(Base):
    """A study that retention will purge, listed for administrators for seven days at least.

    `announced_running`: the scheduler's running time at the announcement.
    """

    __tablename__ = "announced_purges"
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    announced_at: Mapped[datetime]
    announced_running: Mapped[float]
