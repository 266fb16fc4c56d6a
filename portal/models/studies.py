"""Tables of exams: their pictures and their encrypted files."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, SmallInteger, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, checked
from portal.models.vocabulary import Band, BlobKind

# The worklist's three groups, in their order.
POSITIVE, UNAIDED, REST = 0, 1, 2


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
    band: Mapped[Band | None] = mapped_column(checked(Band, "study_band"))
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
        # The few that the sweep asks for each minute; in its words, or SQLite would not use it.
        Index(
            "ix_blobs_not_current",
            "job_id",
            sqlite_where=text("current IS 0"),
            postgresql_where=text("current IS false"),
        ),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"), index=True)
    instance_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("instances.id"))
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    attempt: Mapped[int] = mapped_column(default=0)
    kind: Mapped[BlobKind] = mapped_column(checked(BlobKind, "kind"))
    name: Mapped[str] = mapped_column(String(80), unique=True)
    size: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str] = mapped_column(String(64))
    current: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime]
