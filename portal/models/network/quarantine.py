"""The table of files in quarantine: refused pictures that are kept sealed for a time."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base


class QuarantinedFile(Base):
    """A file that was refused, or that a rule keeps in quarantine: no exam, in no list of readers.

    Its encrypted file is `name`, under a key of its own; row and file go together. `sender_id` and
    `via`: whose account sent it, and how. `code`: why it is here; `rule_id`: by which rule.
    `content_key` and `study_key`: keyed digests of the file and of its StudyInstanceUID, by which
    the same file is kept once, and a purge of the exam finds it. `sealed_stated`: the file's name
    and what its sender typed.
    """

    __tablename__ = "quarantined_files"
    __table_args__ = (
        UniqueConstraint("team_id", "content_key"),
        Index("ix_quarantined_files_created", "created"),
        Index("ix_quarantined_files_study", "team_id", "study_key"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"))
    sender_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    via: Mapped[str] = mapped_column(String(16))
    code: Mapped[str] = mapped_column(String(40))
    rule_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("arrival_rules.id"))
    size: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(80), unique=True)
    wrapped_key: Mapped[bytes]
    key_id: Mapped[str] = mapped_column(String(64), index=True)
    content_key: Mapped[str] = mapped_column(String(64))
    study_key: Mapped[str | None] = mapped_column(String(64))
    sealed_stated: Mapped[bytes]
    created: Mapped[datetime]
