"""Tables of how a reader looks at pictures: what the viewer remembers, and unfinished work."""

import uuid
from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, checked
from portal.models.vocabulary import OverlayMode, OverlayShown


class ViewerPreferences(Base):
    """What a person chose last in the viewer; `preset`: see `reading.viewer_preferences`."""

    __tablename__ = "viewer_preferences"
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    overlay: Mapped[OverlayShown] = mapped_column(checked(OverlayShown, "overlay"))
    mode: Mapped[OverlayMode] = mapped_column(checked(OverlayMode, "mode"))
    inverted: Mapped[bool]
    preset: Mapped[str] = mapped_column(String(16))


class ReviewDraft(Base):
    """What a reader has drawn on a picture and not yet removed, sealed under the picture's key."""

    __tablename__ = "review_drafts"
    __table_args__ = (Index("ix_review_drafts_instance", "instance_id"),)
    reader_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    instance_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("instances.id"), primary_key=True)
    sealed_rulers: Mapped[bytes]
    updated: Mapped[datetime]
