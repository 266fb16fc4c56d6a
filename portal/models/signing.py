"""Tables of signatures and of what is added to a signed exam. Rows are only ever added."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from portal.models.base import Base, checked
from portal.models.vocabulary import ProofMethod


class Signature(Base):
    """That a reader has signed a review of their own, with what lay before them.

    `before_id`: the signature that stood until then, None for the first one of an exam. `proof` and
    `proved_at`: how and when the signer last showed who they are. `hashes`: SHA-256 by name, of the
    rows (`reviews/…`, `predictions/…`, `outlines/…`) as the access log binds them and of the files
    (`pixels/…`, `mask/…`, `probability/…`) as they are stored, encrypted. `view`: how the picture
    was shown then, see `reading.signatures.view`; nothing in it is about the patient.
    """

    __tablename__ = "signatures"
    __table_args__ = (
        Index("ix_signatures_study", "study_id", "created"),
        Index("ix_signatures_created", "created"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    review_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("reviews.id"), unique=True)
    signer_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    before_id: Mapped[uuid.UUID | None]  # no foreign key: a backup's rows come back by their ids
    proof: Mapped[ProofMethod] = mapped_column(checked(ProofMethod, "proof"))
    proved_at: Mapped[datetime]
    hashes: Mapped[dict[str, Any]]
    view: Mapped[dict[str, Any] | None]
    created: Mapped[datetime]


class Addendum(Base):
    """A text on a signed exam, sealed under the key of the exam `study_id`."""

    __tablename__ = "addenda"
    __table_args__ = (
        Index("ix_addenda_study", "study_id", "created"),
        Index("ix_addenda_created", "created"),
    )
    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    study_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("studies.id"))
    signature_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("signatures.id"))
    author_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("users.id"))
    sealed_text: Mapped[bytes]
    created: Mapped[datetime]
