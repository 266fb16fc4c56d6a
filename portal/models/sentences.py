"""The table of a team's own wording of the findings sentence."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, checked
from portal.models.vocabulary import Language


class SentenceTemplate(Base):
    """A team's template of one kind in one language; without a row it has the default."""

    __tablename__ = "sentence_templates"
    team_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("teams.id"), primary_key=True)
    language: Mapped[Language] = mapped_column(
        checked(Language, "sentence_language"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(String(16), primary_key=True)  # `sentences.templates.Kind`
    text: Mapped[str] = mapped_column(String(400))
    changed: Mapped[datetime]
