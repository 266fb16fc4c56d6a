"""Tables of exams: their pictures and their encrypted files."""

import uuid
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    SmallInteger,
    String,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, checked
from portal.models.vocabulary import BlobKind, MergeReason, Sex, SizeClass, VerdictState, View
from worker.contract.prediction import Band

# The worklist's groups, in their order.
POSITIVE, UNAIDED, REST, READ = 0, 1, 2, 3
# The exams that lists show: neither purged nor joined into another.
LISTED = "purged_at IS NULL AND joined_into IS NULL"
# The kinds of files of which a picture may have several that count.
_SEVERAL = "'review_mask', 'report_content', 'report', 'filed_object'"


class Study(Base):
    """One exam. `wrapped_key` is its own key, wrapped by the key ring; it seals the columns.

    `joined_into`: the exam that holds the pictures now, where two turned out to be one. The row
    stays for its reviews, which are sealed under its key; lists leave it out. `patient_key` is a
    keyed digest of issuer and patient ID together, `patient_id_key` of the ID alone, for the
    search. `acquired`: when the earliest picture was taken, see `Vault.acquired`. `needs_upgrade`:
    the row is from a version with fewer columns; `upgrade` fills the rest. The last columns are the
    worklist's index and nothing else reads them: `worklist_order.place` derives them from jobs,
    predictions and reviews in the transaction that changes one of these.
    """

    __tablename__ = "studies"
    __table_args__ = (
        # Everything that filters, orders and counts the worklist, so that no row has to be read.
        Index(
            "ix_studies_team",
            "team_id",
            "rank",
            "weight",
            "id",
            "is_read",
            "is_without_result",
            "band",
            "side",
            "size",
            "reader_id",
            "verdict",
            "model_id",
            "created",
            sqlite_where=text(LISTED),
            postgresql_where=text(LISTED),
        ),
        # One exam of a team for a StudyInstanceUID, also where it was joined into another: else the
        # next picture would become a second exam. Old rows are joined by `upgrade`.
        Index(
            "uq_studies_uid",
            "team_id",
            "study_uid_key",
            unique=True,
            sqlite_where=text("needs_upgrade = 0"),
            postgresql_where=text("NOT needs_upgrade"),
        ),
        Index("ix_studies_uid", "team_id", "study_uid_key"),
        # SQLite would take it for all rows that were not joined.
        Index("ix_studies_joined", "joined_into", sqlite_where=text("joined_into IS NOT NULL")),
        # Which exam a row is now (`exams.exam_id`).
        Index("ix_studies_exam", text("coalesce(joined_into, id)")),
        # What is sent is listed by arrival, and what has come to its end is looked for.
        Index(
            "ix_studies_created",
            "created",
            "team_id",
            "id",
            sqlite_where=text(LISTED),
            postgresql_where=text(LISTED),
        ),
        Index("ix_studies_upgrade", "needs_upgrade", "created", "id"),
        Index("ix_studies_case_number", "case_number"),
        Index("ix_studies_patient", "team_id", "patient_key", "acquired"),
        Index("ix_studies_patient_id", "team_id", "patient_id_key"),
        Index("ix_studies_accession", "team_id", "accession_key"),
        Index("ix_studies_key_id", "key_id"),
        CheckConstraint("age_band IN (0, 10, 20, 30, 40, 50, 60, 70, 80, 90)", name="age_band"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    uploaded_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    created: Mapped[datetime]
    case_number: Mapped[str] = mapped_column(String(6))
    # Deferred: a restore inserts rows in the order of their ids.
    joined_into: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("studies.id", deferrable=True, initially="DEFERRED")
    )
    wrapped_key: Mapped[bytes | None]
    key_id: Mapped[str | None] = mapped_column(String(64))
    sealed_phi: Mapped[bytes | None]
    patient_key: Mapped[str | None] = mapped_column(String(64))
    patient_id_key: Mapped[str | None] = mapped_column(String(64))
    accession_key: Mapped[str | None] = mapped_column(String(64))
    study_uid_key: Mapped[str | None] = mapped_column(String(64))
    acquired: Mapped[int | None] = mapped_column(BigInteger)
    sex: Mapped[Sex] = mapped_column(
        checked(Sex, "sex"), default=Sex.UNKNOWN, server_default=Sex.UNKNOWN.value
    )
    age_band: Mapped[int | None] = mapped_column(SmallInteger)  # 60: from 60 to 69; 90: and above
    purged_at: Mapped[datetime | None]
    needs_upgrade: Mapped[bool] = mapped_column(default=False, server_default=false())
    rank: Mapped[int] = mapped_column(SmallInteger, default=REST)
    weight: Mapped[float]
    # From an archive, or taken long before it arrived: it waits behind others and is no alarm.
    is_old: Mapped[bool] = mapped_column(default=False, server_default=false())
    # Of an exam that was an old one: when the picture arrived that made it one of today.
    new_since: Mapped[datetime | None] = mapped_column(index=True)
    # When what a list shows of it changed last, by the database's clock.
    changed: Mapped[datetime | None] = mapped_column(index=True)
    is_read: Mapped[bool] = mapped_column(default=False)
    # Each picture was seen in a review, whatever the model has found since.
    is_seen: Mapped[bool] = mapped_column(default=False, server_default=false())
    is_without_result: Mapped[bool] = mapped_column(default=False)
    band: Mapped[Band | None] = mapped_column(checked(Band, "study_band"))
    side: Mapped[str | None] = mapped_column(String(20))
    size: Mapped[SizeClass | None] = mapped_column(checked(SizeClass, "study_size"))
    reader_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))  # the last one
    verdict: Mapped[VerdictState] = mapped_column(
        checked(VerdictState, "study_verdict"),
        default=VerdictState.AI_ONLY,
        server_default=VerdictState.AI_ONLY.value,
    )
    model_id: Mapped[uuid.UUID | None]  # of the result that stands for the exam


class StudyName(Base):
    """A keyed digest of an exam's family name or one of its words, see `studies.patient_names`."""

    __tablename__ = "study_names"
    __table_args__ = (Index("ix_study_names_key", "key", "study_id"),)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)


class PatientMerge(Base):
    """That the patients of two exams are one, until it is undone. Nothing else of a row changes,
    but for an exam that is purged: another one with the same patient ID stands for it.
    """

    __tablename__ = "patient_merges"
    __table_args__ = (Index("ix_patient_merges_team", "team_id", "undone_at"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    one_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    other_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    reason: Mapped[MergeReason] = mapped_column(checked(MergeReason, "merge_reason"))
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    created: Mapped[datetime]
    undone_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    undone_at: Mapped[datetime | None]


class Instance(Base):
    """One picture of an exam, with a key of its own: its files and sealed values open by it alone.

    The key is wrapped for this instance in this exam; a picture that moves to another exam gets
    the same key wrapped anew, and no file is touched. `arrived_in` is the exam that it came as.
    `same_uid_as`: the first picture that came under the same SOPInstanceUID. The `sop_key` of a
    later one is of the UID and its pixels together. Facts and header carry age and sex, so they
    are sealed.
    """

    __tablename__ = "instances"
    __table_args__ = (
        UniqueConstraint("team_id", "content_key"),
        UniqueConstraint("team_id", "sop_key"),
        Index("ix_instances_study", "study_id", "created", "id"),
        Index("ix_instances_sender", "uploaded_by", "study_id", "created"),
        Index("ix_instances_sent", "uploaded_by", "created", "study_id"),
        Index("ix_instances_series", "team_id", "series_uid_key"),
        Index("ix_instances_key_id", "key_id"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    arrived_in: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    uploaded_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    wrapped_key: Mapped[bytes | None]
    key_id: Mapped[str | None] = mapped_column(String(64))
    sop_key: Mapped[str | None] = mapped_column(String(64))
    series_uid_key: Mapped[str | None] = mapped_column(String(64))
    content_key: Mapped[str | None] = mapped_column(String(64))
    media_type: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    rows: Mapped[int | None]
    columns: Mapped[int | None]
    view: Mapped[View] = mapped_column(
        checked(View, "view"), default=View.UNKNOWN, server_default=View.UNKNOWN.value
    )
    acquired: Mapped[int | None] = mapped_column(BigInteger)
    sealed_phi: Mapped[bytes | None]
    sealed_facts: Mapped[bytes | None]
    same_uid_as: Mapped[uuid.UUID | None] = mapped_column(index=True)
    created: Mapped[datetime]


class Blob(Base):
    """An encrypted file of a picture. `current` marks the one that readers see."""

    __tablename__ = "blobs"
    __table_args__ = (
        Index("ix_blobs_instance_kind", "instance_id", "kind"),
        Index(
            "uq_blobs_current",
            "instance_id",
            "kind",
            unique=True,
            sqlite_where=text(f"current = 1 AND kind NOT IN ({_SEVERAL})"),
            postgresql_where=text(f"current AND kind NOT IN ({_SEVERAL})"),
        ),
        # For the sweep's query of each minute, in its form: else SQLite would not use it.
        Index(
            "ix_blobs_not_current",
            "job_id",
            sqlite_where=text("current IS 0"),
            postgresql_where=text("current IS false"),
        ),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    instance_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("instances.id"))
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    attempt: Mapped[int] = mapped_column(default=0)
    kind: Mapped[BlobKind] = mapped_column(checked(BlobKind, "kind"))
    name: Mapped[str] = mapped_column(String(80), unique=True)
    size: Mapped[int] = mapped_column(BigInteger)
    media_type: Mapped[str] = mapped_column(String(64))
    current: Mapped[bool] = mapped_column(default=False)
    created: Mapped[datetime]
