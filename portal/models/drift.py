"""Table of the drift checks: numbers of many pictures and nothing of one."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base


class DriftCheck(Base):
    """How far a model's recent predictions were from its reference. Added, never changed; removed
    once it is old. `numbers` as `worker.contract.contents.drift` has them: none where there were
    too few.
    """

    __tablename__ = "drift_checks"
    __table_args__ = (Index("ix_drift_checks_model", "model_id", "computed_at"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    model_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("model_versions.id"))
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"), unique=True)
    predictions: Mapped[int]
    refused: Mapped[int]
    first: Mapped[datetime | None]
    last: Mapped[datetime | None]
    numbers: Mapped[list[dict[str, Any]]]
    alarms: Mapped[list[str]]
    computed_at: Mapped[datetime]
