"""Tables of HL7: who may send, which messages were taken, and what they stated by accession."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, checked
from portal.models.vocabulary import HospitalReportState, OrderPriority


class Hl7Node(Base):
    """A system that sends HL7, by the application and facility of its messages (MSH-3, MSH-4).

    `user_id`: the account in whose name it sends, which nobody can sign in with. `networks`: the
    addresses that it may call from. `fingerprint`: SHA-256 of its TLS certificate, in hexadecimal
    digits; None: it speaks without TLS. `authority`: whose patient IDs count (PID-3.4); empty: the
    first one that a message has. `accession_field`: where its messages have the accession number.
    `charset`: that of messages that name none (MSH-18).
    """

    __tablename__ = "hl7_nodes"
    __table_args__ = (UniqueConstraint("application", "facility"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), unique=True)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    application: Mapped[str] = mapped_column(String(180))
    facility: Mapped[str] = mapped_column(String(180))
    authority: Mapped[str] = mapped_column(String(180))
    accession_field: Mapped[str] = mapped_column(String(10))
    charset: Mapped[str] = mapped_column(String(20))
    networks: Mapped[list[str]]
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    created: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class Hl7Message(Base):
    """A message that was applied, by keyed digests of its control ID (MSH-10) and of the whole: one
    that comes again is answered and not applied again.
    """

    __tablename__ = "hl7_messages"
    __table_args__ = (Index("ix_hl7_messages_created", "created"),)
    node_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("hl7_nodes.id"), primary_key=True)
    control_key: Mapped[str] = mapped_column(String(64), primary_key=True)
    content_key: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime]


class Hl7Merge(Base):
    """Two patient IDs that a message has merged, as keyed digests, of which no exams were here yet:
    a row of `patient_merges` follows once there are.
    """

    __tablename__ = "hl7_merges"
    __table_args__ = (
        UniqueConstraint("team_id", "one_key", "other_key"),
        Index("ix_hl7_merges_created", "created"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    node_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("hl7_nodes.id"))
    one_key: Mapped[str] = mapped_column(String(64))
    other_key: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime]


class HospitalOrder(Base):
    """What the hospital's systems state of an order, by accession number, whether its exam is here
    or not. The location is sealed under the row's own key, which the key ring wraps.
    `patient_id_key`: of whose patient ID the message was, as `studies.patient_id_key`. `stated_at`:
    when the sender made it (MSH-7), by its clock: an older message changes nothing.
    """

    __tablename__ = "hospital_orders"
    __table_args__ = (
        UniqueConstraint("team_id", "accession_key"),
        Index("ix_hospital_orders_created", "created"),
        Index("ix_hospital_orders_key_id", "key_id"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    node_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("hl7_nodes.id"))
    accession_key: Mapped[str] = mapped_column(String(64))
    patient_id_key: Mapped[str] = mapped_column(String(64))
    priority: Mapped[OrderPriority | None] = mapped_column(checked(OrderPriority, "order_priority"))
    is_cancelled: Mapped[bool]
    wrapped_key: Mapped[bytes]
    key_id: Mapped[str] = mapped_column(String(64))
    sealed_location: Mapped[bytes]
    stated_at: Mapped[str] = mapped_column(String(26))
    created: Mapped[datetime]
    changed: Mapped[datetime]


class HospitalReport(Base):
    """A report that the hospital's systems have sent, by accession number; its text is sealed as
    an order's location is. A corrected one is a row beside the first.
    """

    __tablename__ = "hospital_reports"
    __table_args__ = (
        Index("ix_hospital_reports_accession", "team_id", "accession_key", "created"),
        Index("ix_hospital_reports_created", "created"),
        Index("ix_hospital_reports_key_id", "key_id"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    node_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("hl7_nodes.id"))
    accession_key: Mapped[str] = mapped_column(String(64))
    patient_id_key: Mapped[str] = mapped_column(String(64))
    state: Mapped[HospitalReportState] = mapped_column(
        checked(HospitalReportState, "hospital_report_state")
    )
    wrapped_key: Mapped[bytes]
    key_id: Mapped[str] = mapped_column(String(64))
    sealed_text: Mapped[bytes]
    created: Mapped[datetime]
