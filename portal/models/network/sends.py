"""Tables of what is sent to DICOM nodes: what each gets, what is to be sent, each object of it."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, checked


class SendMoment(StrEnum):
    """When a node gets objects: with each result, not reviewed yet; with each verdict; with each
    signature.
    """

    RESULT = "result"
    VERDICT = "verdict"
    SIGNATURE = "signature"


class SendState(StrEnum):
    """How far a send is. `preparing`: its objects are being made. `waiting`: to be sent, or sent
    again. `proving`: the node has taken all, and nothing proves yet that it has stored them.
    `unproven`: the node has taken all and offers no proof. `dropped`: it is not sent any more.
    """

    PREPARING = "preparing"
    WAITING = "waiting"
    PROVING = "proving"
    PROVEN = "proven"
    UNPROVEN = "unproven"
    FAILED = "failed"
    DROPPED = "dropped"


class SentState(StrEnum):
    """How far one object of a send is. `taken`: the node answered its C-STORE with a success."""

    WAITING = "waiting"
    TAKEN = "taken"
    PROVEN = "proven"
    UNPROVEN = "unproven"
    FAILED = "failed"


class SendProof(StrEnum):
    """What shows that a node has stored an object: its storage commitment, or C-FIND."""

    COMMITMENT = "commitment"
    FOUND = "found"


class DicomDestination(Base):
    """What a node gets: which objects (kinds of `worker.contract`) and when. Exams of which that
    came after `since`; the table was looked through for such up to `looked_until`.
    """

    __tablename__ = "dicom_destinations"
    node_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("dicom_nodes.id"), primary_key=True)
    objects: Mapped[list[str]]
    moments: Mapped[list[str]]
    since: Mapped[datetime]
    looked_until: Mapped[datetime]


class DicomSend(Base):
    """The objects of one exam for one node, because of one result, verdict or signature
    (`trigger_id`).

    `report_id`: the report whose objects they are; no foreign key, a backup's rows come back by
    their ids. `reason`: a code, why it failed, was dropped or waits. `commitment_id`: the number of
    its storage commitment's UID. `next_at` and `claimed_until` are by the database's clock.
    """

    __tablename__ = "dicom_sends"
    __table_args__ = (
        UniqueConstraint("node_id", "moment", "trigger_id"),
        Index("ix_dicom_sends_due", "state", "next_at"),
        Index("ix_dicom_sends_study", "study_id", "node_id"),
        Index("ix_dicom_sends_created", "created"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    node_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("dicom_nodes.id"))
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    moment: Mapped[SendMoment] = mapped_column(checked(SendMoment, "send_moment"))
    trigger_id: Mapped[uuid.UUID]
    report_id: Mapped[uuid.UUID | None]
    state: Mapped[SendState] = mapped_column(checked(SendState, "send_state"))
    reason: Mapped[str] = mapped_column(String(40), default="")
    attempts: Mapped[int] = mapped_column(default=0)
    commitment_id: Mapped[uuid.UUID | None] = mapped_column(unique=True)
    next_at: Mapped[datetime]
    claimed_until: Mapped[datetime | None]
    created: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class DicomSentObject(Base):
    """One object of a send. `sop_key`: a keyed digest of its SOPInstanceUID. `instance_id`: the
    picture that it is about, under whose key the node's comment is sealed. `status`: of the last
    C-STORE, or the failure reason of the storage commitment; `code`: what went wrong.
    """

    __tablename__ = "dicom_sent_objects"
    __table_args__ = (Index("ix_dicom_sent_objects_instance", "instance_id"),)
    send_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("dicom_sends.id"), primary_key=True)
    sop_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    instance_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("instances.id"))
    kind: Mapped[str] = mapped_column(String(8))
    sop_class: Mapped[str] = mapped_column(String(64))
    state: Mapped[SentState] = mapped_column(checked(SentState, "sent_state"))
    proof: Mapped[SendProof | None] = mapped_column(checked(SendProof, "send_proof"))
    status: Mapped[int | None]
    code: Mapped[str] = mapped_column(String(40), default="")
    sealed_comment: Mapped[bytes | None]
    attempts: Mapped[int] = mapped_column(default=0)
    changed: Mapped[datetime]
