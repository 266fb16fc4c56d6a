"""The table of second reads: which exams go to a second reader, and what became of them."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, checked
from portal.models.vocabulary import Finding, Stratum


class SecondRead(Base):
    """An exam that goes to a second reader: drawn by chance (`probability`), or asked for by a
    reader who has read it (`asked_by`).

    `stratum` and `model_id`: the AI's result when the exam was drawn or asked for. The second
    reader is blind until `second_review_id` is set. Where the findings differ, a third reader's
    review ends it; `consensus` is that finding, or the one in which the first two agree.
    `outline_dice`: between the outlines of the first two readers, the mean over the pictures that
    both have drawn on.
    """

    __tablename__ = "second_reads"
    __table_args__ = (
        # One for an exam; of two that were joined each may have had one.
        Index("uq_second_reads_study", "study_id", unique=True),
        Index(
            "ix_second_reads_open",
            "study_id",
            sqlite_where=text("ended IS NULL"),
            postgresql_where=text("ended IS NULL"),
        ),
        Index("ix_second_reads_created", "created"),
        CheckConstraint("probability > 0 AND probability <= 1", name="probability"),
        CheckConstraint("(probability IS NULL) <> (asked_by IS NULL)", name="why"),
        CheckConstraint("(consensus IS NULL) = (ended IS NULL)", name="end"),
        CheckConstraint("ended IS NULL OR second_review_id IS NOT NULL", name="second"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    first_review_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("reviews.id"))
    probability: Mapped[float | None]
    asked_by: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("users.id"))
    stratum: Mapped[Stratum] = mapped_column(checked(Stratum, "stratum"))
    model_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("model_versions.id"))
    created: Mapped[datetime]
    second_review_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("reviews.id"))
    third_review_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("reviews.id"))
    outline_dice: Mapped[float | None]
    consensus: Mapped[Finding | None] = mapped_column(checked(Finding, "consensus"))
    ended: Mapped[datetime | None]
