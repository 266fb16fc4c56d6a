"""The tables and enums of the clinical record.

Ids are UUIDs made in Python, times are UTC and aware, enums are CHECKed strings. What can name
a patient is in sealed columns (`sealed_*`) or in blobs and nowhere else. A study's status is not
stored: it follows from its jobs, its prediction and its reviews.
"""

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Enum,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator


class Role(StrEnum):
    """What a person is in the department; rights follow from it in `access`."""

    TECHNOLOGIST = "technologist"
    READER = "reader"
    ADMIN = "admin"
    AUDITOR = "auditor"


class JobKind(StrEnum):
    """What a worker is asked to do."""

    RENDER = "render"
    SEGMENT = "segment"
    EXPORT = "export"
    SEND = "send"


class JobState(StrEnum):
    """The one state that is stored."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class BlobKind(StrEnum):
    """What an encrypted file holds."""

    SOURCE = "source"
    PIXELS = "pixels"
    PREVIEW = "preview"
    THUMB = "thumb"
    PROBABILITY = "probability"
    MASK = "mask"
    OVERLAY = "overlay"
    REVIEW_MASK = "review_mask"


class Verdict(StrEnum):
    """The reader's word on the model's result."""

    AGREE = "agree"
    DISAGREE = "disagree"
    UNSURE = "unsure"


class Reason(StrEnum):
    """Why a reader does not agree, coded."""

    MISSED = "missed"
    FALSE_ALARM = "false_alarm"
    OUTLINE_TOO_LARGE = "outline_too_large"
    OUTLINE_TOO_SMALL = "outline_too_small"
    WRONG_SIDE = "wrong_side"
    SKIN_FOLD = "skin_fold"
    POOR_IMAGE = "poor_image"
    OTHER = "other"


class GlassReason(StrEnum):
    """Why somebody opens a case that is not theirs, coded."""

    EMERGENCY = "emergency"
    SECOND_OPINION = "second_opinion"
    INCIDENT = "incident"
    FAULT = "fault"


class Band(StrEnum):
    """The model's result in words. There is no band that says "no pneumothorax"."""

    LIKELY = "likely"
    POSSIBLE = "possible"
    NONE_FOUND = "none_found"


class QualityVerdict(StrEnum):
    """Whether the picture is what the model was made for."""

    FIT = "fit"
    LIMITED = "limited"
    REFUSED = "refused"


class ModelState(StrEnum):
    """Where a model stands: not yet promoted, speaking, or spoken for the last time so far."""

    CANDIDATE = "candidate"
    ACTIVE = "active"
    RETIRED = "retired"


class OperatingPoint(StrEnum):
    """Which of its thresholds a model calls a picture at, from the lowest to the highest."""

    HIGH_SENSITIVITY = "high_sensitivity"
    BALANCED = "balanced"
    HIGH_PRECISION = "high_precision"


class InvitationPurpose(StrEnum):
    """Why a one-time link was made."""

    INVITE = "invite"
    RESET = "reset"


# The worklist's three groups, in their order.
POSITIVE, UNAIDED, REST = 0, 1, 2


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC time in, an aware UTC time out, on SQLite too."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time: nobody could say which hour it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("times must carry their zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give the zone back that SQLite cannot store."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The declarative base, with names for every constraint so that migrations can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_N_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        uuid.UUID: Uuid(),
        bytes: LargeBinary(),
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
    }


db = SQLAlchemy(metadata=Base.metadata, session_options={"expire_on_commit": False})


def _checked(kind: type[StrEnum], name: str) -> Enum:
    """A string column that the database itself keeps to the values of the enum."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=True,
        validate_strings=True,
        length=32,
        name=name,
        values_callable=lambda members: [member.value for member in members],
    )


class Team(Base):
    """A group of people who share a worklist."""

    __tablename__ = "teams"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created: Mapped[datetime]


class User(Base):
    """A person. The address is kept in small letters; the TOTP secret is sealed."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("email = lower(email)", name="email_lower"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(254), unique=True)
    role: Mapped[Role] = mapped_column(_checked(Role, "role"))
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"), index=True)
    password_hash: Mapped[str | None] = mapped_column(String(255))
    sealed_totp: Mapped[bytes | None]
    sealed_totp_pending: Mapped[bytes | None]  # counts only once a code made with it was shown
    last_totp_step: Mapped[int | None] = mapped_column(BigInteger)
    sso_key: Mapped[str | None] = mapped_column(String(64), index=True, unique=True)
    # Made by the command line: may sign in by password even where others need single sign-on.
    local_sign_in: Mapped[bool] = mapped_column(default=False, server_default=false())
    disabled_at: Mapped[datetime | None]
    enrolled_at: Mapped[datetime | None]
    created: Mapped[datetime]
    team: Mapped[Team] = relationship()


class Invitation(Base):
    """A one-time link: for a newcomer, or for a person whose factor was reset."""

    __tablename__ = "invitations"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    purpose: Mapped[InvitationPurpose] = mapped_column(_checked(InvitationPurpose, "purpose"))
    email: Mapped[str] = mapped_column(String(254), index=True)
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[Role] = mapped_column(_checked(Role, "role"))
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    user_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    invited_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    created: Mapped[datetime]
    expires: Mapped[datetime]
    used_at: Mapped[datetime | None]

    @property
    def for_single_sign_on(self) -> bool:
        """Whether the account is one for the issuer, where there is one: made by somebody here.

        Those made at the command line sign in with a password whatever becomes of the issuer.
        """
        return self.purpose is InvitationPurpose.INVITE and self.invited_by is not None


class RecoveryCode(Base):
    """One of ten codes that stand in for a lost second factor, once each."""

    __tablename__ = "recovery_codes"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    code_hash: Mapped[str] = mapped_column(String(255))
    used_at: Mapped[datetime | None]


class Passkey(Base):
    """A WebAuthn credential that stands in for the code. `credential_key` is its id's SHA-256."""

    __tablename__ = "passkeys"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    credential_key: Mapped[str] = mapped_column(String(64), unique=True)
    credential_id: Mapped[bytes]
    public_key: Mapped[bytes]
    sign_count: Mapped[int] = mapped_column(BigInteger)
    transports: Mapped[list[str]]
    name: Mapped[str] = mapped_column(String(100))
    created: Mapped[datetime]
    last_used_at: Mapped[datetime | None]


class LoginSession(Base):
    """A signed-in browser, so that it can be listed and ended."""

    __tablename__ = "login_sessions"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    created: Mapped[datetime]
    last_seen: Mapped[datetime]
    expires: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    address: Mapped[str] = mapped_column(String(64), default="")
    agent: Mapped[str] = mapped_column(String(300), default="")
    step_up_at: Mapped[datetime | None]
    challenge: Mapped[str | None] = mapped_column(String(120))  # what a passkey has to sign, once
    challenge_at: Mapped[datetime | None]
    user: Mapped[User] = relationship()


class ApiToken(Base):
    """A key for a program: hashed, scoped, expiring."""

    __tablename__ = "api_tokens"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    scopes: Mapped[list[str]]
    created: Mapped[datetime]
    expires: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    user: Mapped[User] = relationship()


def _worklist_index(name: str, owner: str) -> Index:
    """Everything that filters, orders and counts the worklist, so that no row has to be read."""
    return Index(
        name,
        owner,
        "rank",
        "weight",
        "id",
        "is_read",
        "is_without_result",
        "band",
        "side",
        sqlite_where=text("purged_at IS NULL"),
        postgresql_where=text("purged_at IS NULL"),
    )


class Study(Base):
    """One case. `wrapped_key` is the study's own key under the ring: without it all is noise.

    The last columns are the worklist's index and nothing else reads them: `ranking.place` derives
    them from jobs, prediction and reviews in the transaction that changes one of these.
    """

    __tablename__ = "studies"
    __table_args__ = (
        _worklist_index("ix_studies_team", "team_id"),
        _worklist_index("ix_studies_uploader", "uploaded_by"),
        Index("ix_studies_arrival", "uploaded_by", "created"),
        Index("ix_studies_case_number", "case_number"),
        Index("ix_studies_patient", "team_id", "patient_key"),
        Index("ix_studies_accession", "team_id", "accession_key"),
        Index("ix_studies_key_id", "key_id"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    uploaded_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    created: Mapped[datetime]
    case_number: Mapped[str] = mapped_column(String(6))
    wrapped_key: Mapped[bytes | None]
    key_id: Mapped[str | None] = mapped_column(String(64))
    sealed_phi: Mapped[bytes | None]
    patient_key: Mapped[str | None] = mapped_column(String(64))
    accession_key: Mapped[str | None] = mapped_column(String(64))
    study_uid_key: Mapped[str | None] = mapped_column(String(64))
    purged_at: Mapped[datetime | None]
    rank: Mapped[int] = mapped_column(SmallInteger, default=REST)
    weight: Mapped[float]
    is_read: Mapped[bool] = mapped_column(default=False)
    is_without_result: Mapped[bool] = mapped_column(default=False)
    band: Mapped[Band | None] = mapped_column(_checked(Band, "study_band"))
    side: Mapped[str | None] = mapped_column(String(20))


class Instance(Base):
    """The one picture of a study. Its facts carry age and sex, so they are sealed.

    `same_uid_as`: the study whose other picture came under the same SOPInstanceUID before. The
    `sop_key` of such a one is of the UID and its pixels together.
    """

    __tablename__ = "instances"
    __table_args__ = (
        UniqueConstraint("team_id", "content_key"),
        UniqueConstraint("team_id", "sop_key"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"), unique=True)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    sop_key: Mapped[str | None] = mapped_column(String(64))
    content_key: Mapped[str | None] = mapped_column(String(64))
    media_type: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int | None]
    columns: Mapped[int | None]
    sealed_facts: Mapped[bytes | None]
    same_uid_as: Mapped[uuid.UUID | None] = mapped_column(index=True)
    created: Mapped[datetime]


class Job(Base):
    """The ledger. `attempts` is the fencing number; `attempt_limit` is where trying ends."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("instance_id", "kind"),
        Index("ix_jobs_study", "study_id", "kind", "state"),
        Index("ix_jobs_state", "state", "kind", "lease_until"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    kind: Mapped[JobKind] = mapped_column(_checked(JobKind, "kind"))
    state: Mapped[JobState] = mapped_column(_checked(JobState, "state"), default=JobState.QUEUED)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    instance_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("instances.id"))
    attempts: Mapped[int] = mapped_column(default=0)
    attempt_limit: Mapped[int] = mapped_column(default=3)
    priority: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None] = mapped_column(String(200))
    lease_until: Mapped[datetime | None]
    rung_at: Mapped[datetime | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    # What the running attempt was told to use; empty where the worker chooses.
    model_sha256: Mapped[str | None] = mapped_column(String(64))
    operating_point: Mapped[str | None] = mapped_column(String(50))
    created: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class Blob(Base):
    """Where an encrypted file lies. `current` marks the one that readers see."""

    __tablename__ = "blobs"
    __table_args__ = (
        Index("ix_blobs_instance_kind", "instance_id", "kind"),
        Index(
            "uq_blobs_current",
            "instance_id",
            "kind",
            unique=True,
            sqlite_where=text("current = 1 AND kind <> 'review_mask'"),
            postgresql_where=text("current AND kind <> 'review_mask'"),
        ),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"), index=True)
    instance_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("instances.id"))
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    attempt: Mapped[int] = mapped_column(default=0)
    kind: Mapped[BlobKind] = mapped_column(_checked(BlobKind, "kind"))
    name: Mapped[str] = mapped_column(String(80), unique=True)
    size: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str] = mapped_column(String(64))
    current: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime]


class ModelVersion(Base):
    """A model that was added or has spoken here. `sha256` is that of its weights."""

    __tablename__ = "model_versions"
    __table_args__ = (
        UniqueConstraint("name", "version", "sha256"),
        Index(
            "uq_model_versions_active",
            "state",
            unique=True,
            sqlite_where=text("state = 'active'"),
            postgresql_where=text("state = 'active'"),
        ),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(100))
    version: Mapped[str] = mapped_column(String(50))
    sha256: Mapped[str] = mapped_column(String(64))
    state: Mapped[ModelState] = mapped_column(
        _checked(ModelState, "model_state"), default=ModelState.CANDIDATE
    )
    operating_point: Mapped[OperatingPoint] = mapped_column(
        _checked(OperatingPoint, "model_operating_point"), default=OperatingPoint.BALANCED
    )
    card: Mapped[dict[str, Any] | None]
    source: Mapped[str] = mapped_column(String(500), default="")
    archive_sha256: Mapped[str | None] = mapped_column(String(64))
    promoted_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    created: Mapped[datetime]


class Prediction(Base):
    """The model's word, never changed. `band` is empty where the picture was refused."""

    __tablename__ = "predictions"
    __table_args__ = (
        UniqueConstraint("instance_id", "model_id"),
        Index("ix_predictions_study", "study_id"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    instance_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("instances.id"))
    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("model_versions.id"))
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"))
    attempt: Mapped[int]
    probability: Mapped[float | None]
    band: Mapped[Band | None] = mapped_column(_checked(Band, "band"))
    threshold: Mapped[float | None]
    operating_point: Mapped[str | None] = mapped_column(String(50))
    map_rows: Mapped[int | None]
    map_columns: Mapped[int | None]
    side: Mapped[str | None] = mapped_column(String(20))
    distance_mm: Mapped[float | None]
    measurements: Mapped[dict[str, Any] | None]
    uncertainty: Mapped[dict[str, Any] | None]
    region: Mapped[dict[str, Any] | None]
    quality_verdict: Mapped[QualityVerdict] = mapped_column(
        _checked(QualityVerdict, "quality_verdict")
    )
    quality: Mapped[dict[str, Any]]
    statistics: Mapped[dict[str, Any]]
    seconds: Mapped[float | None]
    created: Mapped[datetime]
    model: Mapped[ModelVersion] = relationship()


class Review(Base):
    """The reader's word beside the model's. Rows are only ever added."""

    __tablename__ = "reviews"
    __table_args__ = (Index("ix_reviews_study", "study_id", "created"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    reader_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), index=True)
    verdict: Mapped[Verdict] = mapped_column(_checked(Verdict, "verdict"))
    reason: Mapped[Reason | None] = mapped_column(_checked(Reason, "reason"))
    sealed_comment: Mapped[bytes | None]
    mask_blob_id: Mapped[uuid.UUID | None]  # no foreign key: a purge removes the file alone
    signed_at: Mapped[datetime | None]
    created: Mapped[datetime]
    reader: Mapped[User] = relationship()


class BreakGlass(Base):
    """One case opened for a while to somebody whose it is not. The words are under its key."""

    __tablename__ = "break_glass"
    __table_args__ = (Index("ix_break_glass_person", "user_id", "study_id", "expires"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"), index=True)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    reason: Mapped[GlassReason] = mapped_column(_checked(GlassReason, "glass_reason"))
    sealed_words: Mapped[bytes]
    created: Mapped[datetime]
    expires: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))


class Worker(Base):
    """A worker that has said hello, so that a page can say that none is running."""

    __tablename__ = "workers"
    # A token opens one queue: whoever holds it says nothing about workers of the other.
    __table_args__ = (UniqueConstraint("name", "queue"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(200))
    queue: Mapped[JobKind] = mapped_column(_checked(JobKind, "queue"))
    engine: Mapped[str] = mapped_column(String(100), default="")
    model: Mapped[str] = mapped_column(String(200), default="")
    last_seen: Mapped[datetime]


class WorkerToken(Base):
    """What one worker shows at the door: hashed, for one queue, expiring, revocable."""

    __tablename__ = "worker_tokens"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    queue: Mapped[JobKind] = mapped_column(_checked(JobKind, "queue"))
    created: Mapped[datetime]
    expires: Mapped[datetime]
    last_seen: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class AuditEvent(Base):
    """One link of the access log: ids only, append-only, each MAC covers the one before."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_study", "study_id"),
        Index("ix_audit_events_actor", "actor_id"),
        Index("ix_audit_events_at", "at"),
        Index("ix_audit_events_event", "event", "seq"),
    )
    # Not BigInteger on SQLite: only INTEGER PRIMARY KEY is the row id there.
    seq: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False
    )
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


class AuditHead(Base):
    """How long the log is and where it ends, sealed, so that a cut tail shows."""

    __tablename__ = "audit_head"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[int] = mapped_column(BigInteger)
    mac: Mapped[str] = mapped_column(String(64))
    seal: Mapped[str] = mapped_column(String(64))


class PurgeReason(StrEnum):
    """Why a study was destroyed, coded: a free text could name a patient."""

    PATIENT_REQUEST = "patient_request"
    SENT_BY_MISTAKE = "sent_by_mistake"
    WRONG_PATIENT = "wrong_patient"
    TEST_DATA = "test_data"
    RETENTION_ENDED = "retention_ended"
    OTHER = "other"


class HoldReason(StrEnum):
    """Why a study has to be kept, coded."""

    LEGAL_DISPUTE = "legal_dispute"
    INCIDENT = "incident"
    AUTHORITY = "authority"
    OTHER = "other"


class Hold(Base):
    """A legal hold: as long as it is not lifted, nobody and nothing purges the study."""

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
    reason: Mapped[HoldReason] = mapped_column(_checked(HoldReason, "hold_reason"))
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
    reason: Mapped[PurgeReason] = mapped_column(_checked(PurgeReason, "purge_reason"))
    reference: Mapped[str] = mapped_column(String(40), default="")
    proof: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))
