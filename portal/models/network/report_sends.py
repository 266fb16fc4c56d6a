"""Tables of reports that are sent to the hospital's systems: where to, and each that is sent."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, checked
from portal.models.network.sends import SendState


class ReportMoment(StrEnum):
    """Why a report is sent: an exam was signed, a text was added to a signed one, or the model of a
    signed one was retracted.
    """

    SIGNATURE = "signature"
    ADDENDUM = "addendum"
    RETRACTION = "retraction"


class ReportTarget(Base):
    """A system that gets the reports of a team's signed exams as ORU^R01, by MLLP.

    `application` and `facility`: its own (MSH-5, MSH-6). `authority`: whose patient IDs it knows
    (PID-3.4). `accession_field`: where it looks for the accession number, beside OBR-18. `charset`:
    that of its messages (MSH-18). `fingerprint`: SHA-256 of its TLS certificate, in hexadecimal
    digits; None: it is called without TLS. `certificate_ends`: of the one that it showed last.
    It gets what happened after `since`; that was looked through up to `looked_until`.
    """

    __tablename__ = "report_targets"
    __table_args__ = (CheckConstraint("port BETWEEN 1 AND 65535", name="port"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    host: Mapped[str] = mapped_column(String(253))
    port: Mapped[int]
    application: Mapped[str] = mapped_column(String(180))
    facility: Mapped[str] = mapped_column(String(180))
    authority: Mapped[str] = mapped_column(String(180))
    accession_field: Mapped[str] = mapped_column(String(10))
    charset: Mapped[str] = mapped_column(String(20))
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    certificate_ends: Mapped[datetime | None]
    since: Mapped[datetime]
    looked_until: Mapped[datetime]
    created: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class ReportSend(Base):
    """A report of one exam for one target, because of one signature, addendum or prediction
    (`trigger_id`). Nothing of the report is kept: it is made when it is sent.

    `state`: `waiting`, `proven` (the target has accepted it), `failed` or `dropped`. `content_key`:
    a keyed digest of what was sent last. `answer`: how the target answered, as codes;
    `sealed_remark`: in its words, under the exam's key. `next_at` and `claimed_until` are by the
    database's clock.
    """

    __tablename__ = "report_sends"
    __table_args__ = (
        UniqueConstraint("target_id", "moment", "trigger_id"),
        Index("ix_report_sends_due", "state", "next_at"),
        Index("ix_report_sends_study", "study_id", "target_id"),
        Index("ix_report_sends_created", "created"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    target_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("report_targets.id"))
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    moment: Mapped[ReportMoment] = mapped_column(checked(ReportMoment, "report_moment"))
    trigger_id: Mapped[uuid.UUID]
    state: Mapped[SendState] = mapped_column(checked(SendState, "send_state"))
    reason: Mapped[str] = mapped_column(String(40), default="")
    attempts: Mapped[int] = mapped_column(default=0)
    content_key: Mapped[str | None] = mapped_column(String(64))
    answer: Mapped[str] = mapped_column(String(40), default="")
    sealed_remark: Mapped[bytes | None]
    next_at: Mapped[datetime]
    claimed_until: Mapped[datetime | None]
    created: Mapped[datetime]
    finished_at: Mapped[datetime | None]
