"""Tables of what is retrieved from DICOM nodes: which may be queried, back-fills by date, the
queue, and the objects that are asked for just now.
"""

import uuid
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, SmallInteger, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, checked


class RetrieveKind(StrEnum):
    """How a node hands out what it has: on our association, or by calling our listener."""

    GET = "get"
    MOVE = "move"


class RetrievalState(StrEnum):
    """How far a retrieval is. `done`: all that was found is here or was refused. `dropped`: it is
    not done any more.
    """

    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    DROPPED = "dropped"


class BackfillState(StrEnum):
    """Whether a back-fill goes on in the off-peak hours. `ended`: somebody has ended it."""

    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"
    DONE = "done"


class AskedState(StrEnum):
    """How far one object is that a node was asked for."""

    WAITING = "waiting"
    STORED = "stored"
    REFUSED = "refused"
    FAILED = "failed"


class DicomSource(Base):
    """A node that may be queried, and how it hands out objects. `priors`: it is asked for earlier
    X-rays when an exam of its team arrives, of exams that came after `since`; exams were looked
    through up to `looked_until`. `at_once`: how many retrievals from it may go on together.
    """

    __tablename__ = "dicom_sources"
    __table_args__ = (CheckConstraint("at_once BETWEEN 1 AND 4", name="at_once"),)
    node_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("dicom_nodes.id"), primary_key=True)
    kind: Mapped[RetrieveKind] = mapped_column(checked(RetrieveKind, "retrieve_kind"))
    priors: Mapped[bool]
    at_once: Mapped[int] = mapped_column(SmallInteger)
    since: Mapped[datetime]
    looked_until: Mapped[datetime]


class DicomBackfill(Base):
    """The X-rays of a node from one day to another, the newest day first. `modality`: CR or DX;
    empty: both. `next_day`: the day that is being retrieved, or is next.
    """

    __tablename__ = "dicom_backfills"
    __table_args__ = (
        CheckConstraint("first_day <= last_day", name="days"),
        Index("ix_dicom_backfills_node", "node_id", "state"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    node_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("dicom_nodes.id"))
    asked_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    modality: Mapped[str] = mapped_column(String(2))
    first_day: Mapped[date]
    last_day: Mapped[date]
    next_day: Mapped[date]
    state: Mapped[BackfillState] = mapped_column(checked(BackfillState, "backfill_state"))
    created: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class DicomRetrieval(Base):
    """The earlier X-rays of the patient of one exam, or those of one day of a back-fill, to be
    retrieved from one node.

    `asked_by`: who asked for it; None: the exam's arrival. `reason`: a code, why it failed, was
    dropped or waits. The counts are of objects: `known` were here already. `next_at` and
    `claimed_until` are by the database's clock.
    """

    __tablename__ = "dicom_retrievals"
    __table_args__ = (
        CheckConstraint("(study_id IS NULL) <> (backfill_id IS NULL)", name="one_purpose"),
        CheckConstraint("(day IS NULL) = (backfill_id IS NULL)", name="day"),
        UniqueConstraint("backfill_id", "day"),
        Index("ix_dicom_retrievals_due", "state", "next_at"),
        Index("ix_dicom_retrievals_study", "study_id", "node_id"),
        Index("ix_dicom_retrievals_node", "node_id", "claimed_until"),
        Index("ix_dicom_retrievals_created", "created"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    node_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("dicom_nodes.id"))
    study_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("studies.id"))
    backfill_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("dicom_backfills.id"))
    day: Mapped[date | None]
    asked_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    state: Mapped[RetrievalState] = mapped_column(checked(RetrievalState, "retrieval_state"))
    reason: Mapped[str] = mapped_column(String(40), default="")
    attempts: Mapped[int] = mapped_column(default=0)
    found: Mapped[int] = mapped_column(default=0)
    known: Mapped[int] = mapped_column(default=0)
    retrieved: Mapped[int] = mapped_column(default=0)
    refused: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime]
    claimed_until: Mapped[datetime | None]
    created: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class DicomAskedObject(Base):
    """An object that a node was asked for; the row goes when its retrieval ends.

    `asked_key` is a keyed digest of its SOPInstanceUID, `patient_key` one of the patient ID that
    its header must have, empty for any. It is taken from the node while it waits, until `until` by
    the database's clock. `code`: why it was refused or did not come.
    """

    __tablename__ = "dicom_asked_objects"
    __table_args__ = (Index("ix_dicom_asked_objects_node", "node_id", "asked_key"),)
    retrieval_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("dicom_retrievals.id"), primary_key=True
    )
    asked_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    node_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("dicom_nodes.id"))
    patient_key: Mapped[str] = mapped_column(String(64))
    state: Mapped[AskedState] = mapped_column(checked(AskedState, "asked_state"))
    code: Mapped[str] = mapped_column(String(40), default="")
    until: Mapped[datetime]
