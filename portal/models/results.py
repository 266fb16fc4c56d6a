"""Tables of the models' results and of the readers' reviews."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.models.base import Base, checked
from portal.models.people import User
from portal.models.vocabulary import (
    AiShown,
    Finding,
    ModelState,
    OperatingPoint,
    Reason,
    RetractionReason,
    SizeClass,
    Verdict,
)
from worker.contract.prediction import Band, QualityVerdict


class ModelVersion(Base):
    """A model that was added or has made a prediction here. `sha256` is that of its weights."""

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
        checked(ModelState, "model_state"), default=ModelState.CANDIDATE
    )
    operating_point: Mapped[OperatingPoint] = mapped_column(
        checked(OperatingPoint, "model_operating_point"), default=OperatingPoint.BALANCED
    )
    card: Mapped[dict[str, Any] | None]
    source: Mapped[str] = mapped_column(String(500), default="")
    archive_sha256: Mapped[str | None] = mapped_column(String(64))
    # Why it was promoted although its card is worse than that of the active model then.
    override_reason: Mapped[str | None] = mapped_column(String(500))
    promoted_at: Mapped[datetime | None]
    retired_at: Mapped[datetime | None]
    # Its results are withdrawn: they stay visible, marked, and nobody agrees with them.
    retracted_at: Mapped[datetime | None]
    retracted_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    retraction_reason: Mapped[RetractionReason | None] = mapped_column(
        checked(RetractionReason, "retraction_reason")
    )
    created: Mapped[datetime]


class Prediction(Base):
    """A model's prediction, never changed. `band` is empty where the picture was refused."""

    __tablename__ = "predictions"
    __table_args__ = (
        UniqueConstraint("instance_id", "model_id"),
        # The newest of a model.
        Index("ix_predictions_model", "model_id", "created"),
        # The newest of all: what is to be sent to other systems.
        Index("ix_predictions_created", "created"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    instance_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("instances.id"))
    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("model_versions.id"))
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"))
    attempt: Mapped[int]
    probability: Mapped[float | None]
    band: Mapped[Band | None] = mapped_column(checked(Band, "band"))
    threshold: Mapped[float | None]  # of a pixel: the outline's
    image_threshold: Mapped[float | None]  # of the operating point
    likely_threshold: Mapped[float | None]
    operating_point: Mapped[str | None] = mapped_column(String(50))
    map_rows: Mapped[int | None]
    map_columns: Mapped[int | None]
    side: Mapped[str | None] = mapped_column(String(20))
    distance_mm: Mapped[float | None]
    measurements: Mapped[dict[str, Any] | None]
    uncertainty: Mapped[dict[str, Any] | None]
    region: Mapped[dict[str, Any] | None]
    other_findings: Mapped[list[dict[str, Any]] | None]
    quality_verdict: Mapped[QualityVerdict] = mapped_column(
        checked(QualityVerdict, "quality_verdict")
    )
    quality: Mapped[dict[str, Any]]
    statistics: Mapped[dict[str, Any]]
    seconds: Mapped[float | None]
    created: Mapped[datetime]
    model: Mapped[ModelVersion] = relationship()


class Review(Base):
    """A reader's finding, and how it compares with the model's result. Rows are only ever added.

    Rows of a version before have a verdict alone: their `finding` is null.
    """

    __tablename__ = "reviews"
    __table_args__ = (
        Index("ix_reviews_study", "study_id", "created"),
        # A reader's own reviews, without reading their rows.
        Index("ix_reviews_reader", "reader_id", "created", "study_id"),
        Index("ix_reviews_created", "created"),
        CheckConstraint(
            "size IS NULL OR finding IN ('right', 'left', 'both')", name="size_of_finding"
        ),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    reader_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    finding: Mapped[Finding | None] = mapped_column(checked(Finding, "finding"))
    size: Mapped[SizeClass | None] = mapped_column(checked(SizeClass, "size"))
    verdict: Mapped[Verdict] = mapped_column(checked(Verdict, "verdict"))
    reason: Mapped[Reason | None] = mapped_column(checked(Reason, "reason"))
    # Where there are several, those after the first, in the order of `Reason`.
    further_reasons: Mapped[list[str] | None]
    sealed_comment: Mapped[bytes | None]
    # The reader's last check of the screen before it: `screen_checks`; null where there is none. No
    # foreign key, which SQLite could add by a copy of the table alone.
    screen_check_id: Mapped[uuid.UUID | None]
    signed_at: Mapped[datetime | None]
    # The team's policy then, and whether the reader could see what the AI found.
    ai_policy: Mapped[AiShown | None] = mapped_column(checked(AiShown, "ai_policy"))
    ai_visible: Mapped[bool | None]
    created: Mapped[datetime]
    reader: Mapped[User] = relationship()

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """All its reasons, in the order of `Reason`."""
        first = (self.reason,) if self.reason is not None else ()
        return (*first, *(Reason(code) for code in self.further_reasons or ()))


class ReviewSeen(Base):
    """A picture that a review was about, and the prediction and the reader's outline that stood
    beside it, if any.

    Rows are only ever added, with their review.
    """

    __tablename__ = "review_seen"
    review_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("reviews.id"), primary_key=True)
    instance_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("instances.id"), primary_key=True, index=True
    )
    prediction_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("predictions.id"))
    # Of `outlines`; no foreign key, which SQLite could add by a copy of the table alone.
    outline_id: Mapped[uuid.UUID | None]


class ReviewAnnotations(Base):
    """What a review keeps of its reader's rulers and arrows on a picture, sealed under the
    picture's key. Rows are only ever added, with their review.
    """

    __tablename__ = "review_annotations"
    review_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("reviews.id"), primary_key=True)
    instance_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("instances.id"), primary_key=True, index=True
    )
    sealed_annotations: Mapped[bytes]


class Outline(Base):
    """A version of a picture's outline by a reader. Rows are only ever added.

    Its mask is the file `blob_id`, as `worker.contract.outline_runs`, of which no pixel may be
    inside. `dice_model`: to the outline of the prediction that was there then, `dice_before`: to
    the version before; None where there was none. `kept`: it is the draft of a reader from whom
    another one took over. `file_sha256` is of the file as it is stored, encrypted, so that the row
    binds the mask and says nothing about it once the key is gone.
    """

    __tablename__ = "outlines"
    __table_args__ = (Index("ix_outlines_instance", "instance_id", "created"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    instance_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("instances.id"))
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    # No foreign key: a backup's rows come back in the order of their ids.
    before_id: Mapped[uuid.UUID | None]
    prediction_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("predictions.id"))
    blob_id: Mapped[uuid.UUID]  # no foreign key: a purge removes the file alone
    file_sha256: Mapped[str] = mapped_column(String(64))
    rows: Mapped[int]
    columns: Mapped[int]
    pixels: Mapped[int]
    dice_model: Mapped[float | None]
    dice_before: Mapped[float | None]
    kept: Mapped[bool]
    created: Mapped[datetime]


class OutlineMeasurement(Base):
    """What a measure job found on a reader's outline. Rows are only ever added, at most one each.

    `measurements` as those of a prediction.
    """

    __tablename__ = "outline_measurements"
    outline_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("outlines.id"), primary_key=True)
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"))
    measurements: Mapped[dict[str, Any]]
    created: Mapped[datetime]


class Report(Base):
    """A report of an exam that was asked for. Rows are only ever added.

    Its files are under the key of `instance_id`, the exam's leading picture then. `blob_id` is the
    file with all that it holds, which is removed once the PDF is made. `basis` is a digest of the
    ids of what it is about: what has the same basis holds the same. `signature_id` is empty while
    the exam is not signed; `with_ai`: it holds what the AI found.
    """

    __tablename__ = "reports"
    __table_args__ = (Index("ix_reports_study", "study_id", "created"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    instance_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("instances.id"))
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    # No foreign keys: a purge removes the file alone, and a backup's rows come back by their ids.
    signature_id: Mapped[uuid.UUID | None]
    blob_id: Mapped[uuid.UUID]
    basis: Mapped[str] = mapped_column(String(64))
    with_ai: Mapped[bool]
    created: Mapped[datetime]


class ReportFile(Base):
    """The PDF of a report: which file it is, and its SHA-256. Rows are only ever added, one each.

    The file holds a random number that stands nowhere else, so nobody can guess its digest from
    what they know of the patient once it is purged.
    """

    __tablename__ = "report_files"
    report_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("reports.id"), primary_key=True)
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"))
    blob_id: Mapped[uuid.UUID]  # no foreign key: a purge removes the file alone
    sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int]
    pages: Mapped[int]
    created: Mapped[datetime]


class Cohort(Base):
    """A frozen data set. Rows are only ever added.

    `manifest_sha256` is of the manifest, which holds the digest of every file. `picture_names` are
    the names of its pictures, keyed digests of their ids: so a later purge is known to concern it.
    """

    __tablename__ = "cohorts"
    __table_args__ = (UniqueConstraint("name", "version"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    name: Mapped[str] = mapped_column(String(60))
    version: Mapped[int]
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    manifest_sha256: Mapped[str] = mapped_column(String(64))
    picture_names: Mapped[list[str]]
    created: Mapped[datetime]
