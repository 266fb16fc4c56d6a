"""The table of keys with which other systems sign links into exams."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base


class ExamLinkKey(Base):
    """A key of a team, sealed. Links that were signed with it open nothing once it has ended."""

    __tablename__ = "exam_link_keys"
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"), index=True)
    sealed_secret: Mapped[bytes]
    made_by: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    created: Mapped[datetime]
    ended_at: Mapped[datetime | None]
