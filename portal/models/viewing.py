"""Tables of what pages remember: how a reader looks at pictures, unfinished work, refused files."""

import uuid
from datetime import datetime
from typing import Final

from sqlalchemy import ForeignKey, Index, String, false, text, true
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
    # The diameter of the brush: in mm where the spacing is known, else in pixels of the picture.
    brush_mm: Mapped[float] = mapped_column(default=8.0, server_default=text("8"))
    brush_px: Mapped[int] = mapped_column(default=40, server_default=text("40"))
    # Whether the latest prior hangs beside by itself, and what of the view goes with it.
    beside: Mapped[bool] = mapped_column(default=True, server_default=true())
    link_place: Mapped[bool] = mapped_column(default=True, server_default=true())
    link_window: Mapped[bool] = mapped_column(default=False, server_default=false())


# The event of the access log that a reader has had a picture before them (`viewing.shown`).
PICTURE_SHOWN: Final = "picture_shown"


class ReviewDraft(Base):
    """What a reader has drawn on a picture and not yet removed, sealed under the picture's key:
    rulers, and arrows as well.
    """

    __tablename__ = "review_drafts"
    __table_args__ = (Index("ix_review_drafts_instance", "instance_id"),)
    reader_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"), primary_key=True)
    instance_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("instances.id"), primary_key=True)
    sealed_rulers: Mapped[bytes]
    # A new one with each save, made by the page; those of a version before have none.
    version: Mapped[str | None] = mapped_column(String(32))
    updated: Mapped[datetime]


class ScreenCheck(Base):
    """What a person saw of the test pattern on a screen. Rows are only ever added.

    `screen` is the digest of a random number that their browser keeps. `dark` and `light`: whether
    the square in the field of 5 % and of 95 % was found where it was; `lines`: whether all lines
    were apart and straight.
    """

    __tablename__ = "screen_checks"
    __table_args__ = (Index("ix_screen_checks_user", "user_id", "screen", "created"),)
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    user_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    screen: Mapped[str] = mapped_column(String(64))
    dark: Mapped[bool]
    light: Mapped[bool]
    lines: Mapped[bool]
    width: Mapped[int]  # of the screen, in its own pixels
    height: Mapped[int]
    created: Mapped[datetime]


class ReadingClaim(Base):
    """Who has an exam open to read it. It counts until `until`, which the page moves on."""

    __tablename__ = "reading_claims"
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"), primary_key=True)
    reader_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    since: Mapped[datetime]
    until: Mapped[datetime]


class OutlineDraft(Base):
    """A picture's outline that is being edited: by whom, and what is drawn so far.

    One at a time: `lock` names the opening of the editor that may write, as long as it gives a sign
    (`seen_at`). `sealed_runs` is empty until something was drawn; `number` rises with each save.
    """

    __tablename__ = "outline_drafts"
    instance_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("instances.id"), primary_key=True)
    editor_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    lock: Mapped[uuid.UUID]
    number: Mapped[int] = mapped_column(default=0)
    sealed_runs: Mapped[bytes | None]
    since: Mapped[datetime]
    seen_at: Mapped[datetime]


class RefusedFile(Base):
    """A file that was refused, for the upload page of the session that sent it: sealed, because a
    file's name may be a patient's. Removed after a day.
    """

    __tablename__ = "refused_files"
    __table_args__ = (
        Index("ix_refused_files_session", "session_id", "created"),
        Index("ix_refused_files_created", "created"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    session_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("login_sessions.id"))
    sealed_refusal: Mapped[bytes]
    created: Mapped[datetime]
