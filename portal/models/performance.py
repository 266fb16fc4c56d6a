"""Tables of the boards: summaries that hold numbers of many exams and nothing of one;
of readers under their ids."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base


class PerformanceMonth(Base):
    """The numbers of one month ("2026-03"): those of a model, or, without one, of all exams.

    Computed again and again from the exams themselves; a row replaces the one before.
    """

    __tablename__ = "performance_months"
    __table_args__ = (
        UniqueConstraint("month", "model_id"),
        Index(
            "uq_performance_months_all",
            "month",
            unique=True,
            sqlite_where=text("model_id IS NULL"),
            postgresql_where=text("model_id IS NULL"),
        ),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    month: Mapped[str] = mapped_column(String(7))
    model_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("model_versions.id"))
    content: Mapped[dict[str, Any]]
    computed_at: Mapped[datetime]
