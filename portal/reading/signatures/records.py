"""The signatures of an exam and what was added to it, for the pages and the API; what of an exam
a page names as shown.
"""

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.models import Addendum, ProofMethod, Signature, Study, User
from portal.studies import exams, sealed_fields
from portal.studies.status import StudyState
from portal.vault import Vault

# What may change of an exam between its opening and a signature, in the order of `shown_of`.
PARTS: Final = ("picture", "result", "outline")
_DIGITS: Final = 16


@dataclass(frozen=True, slots=True)
class SignatureView:
    """One signature. `amends`: an earlier one stood until then. `shown`: the pictures that were
    drawn in full on the signer's screen before, None where that is not asked for or not known.
    """

    signature_id: UUID
    review_id: UUID
    signer: str
    signer_id: UUID
    proof: ProofMethod
    proved_at: datetime
    amends: bool
    hashes: dict[str, Any]
    view: dict[str, Any] | None
    created: datetime
    shown: frozenset[UUID] | None = None


@dataclass(frozen=True, slots=True)
class AddendumView:
    """One text that was added to a signed exam."""

    addendum_id: UUID
    author: str
    author_id: UUID
    text: str = field(repr=False)
    created: datetime


def signatures_of(session: Session, study_id: UUID) -> list[SignatureView]:
    """All signatures of an exam and of those joined into it, the oldest first."""
    rows = session.execute(
        select(Signature, User.name)
        .join(User, User.id == Signature.signer_id)
        .join(Study, Study.id == Signature.study_id)
        .where(exams.is_of([study_id]))
        .order_by(Signature.created, Signature.id)
    )
    return [
        SignatureView(
            signature_id=row.id,
            review_id=row.review_id,
            signer=signer,
            signer_id=row.signer_id,
            proof=row.proof,
            proved_at=row.proved_at,
            amends=row.before_id is not None,
            hashes=row.hashes,
            view=row.view,
            created=row.created,
        )
        for row, signer in rows
    ]


def addenda_of(session: Session, vault: Vault, study_id: UUID) -> list[AddendumView]:
    """All addenda of an exam and of those joined into it, the oldest first; NotReadable."""
    rows = session.execute(
        select(Addendum, Study, User.name)
        .join(User, User.id == Addendum.author_id)
        .join(Study, Study.id == Addendum.study_id)
        .where(exams.is_of([study_id]))
        .order_by(Addendum.created, Addendum.id)
    )
    return [
        AddendumView(
            addendum_id=row.id,
            author=author,
            author_id=row.author_id,
            text=sealed_fields.open_addendum(vault, sealed_fields.key_of(vault, written_in), row),
            created=row.created,
        )
        for row, written_in, author in rows
    ]


def shown_of(
    state: StudyState,
    predictions: Collection[UUID],
    outlines: Collection[UUID],
) -> str:
    """What a page names as shown: of each of `PARTS` a short digest, always of the same length.

    `predictions` and `outlines`: the newest ones of all pictures.
    """
    withdrawn = sum(bool(one.result and one.result.retracted) for one in state.pictures)
    parts = (
        sorted(picture.instance_id.hex for picture in state.pictures),
        [state.as_seen, str(withdrawn), *sorted(one.hex for one in predictions)],
        sorted(one.hex for one in outlines),
    )
    return ".".join(_short(part) for part in parts)


def changes(shown: str, now: str) -> list[str]:
    """Which of `PARTS` differ; all of them where `shown` is malformed. A picture that was added has
    a state of its own: the results are not named beside it.
    """
    then = shown.split(".")
    if len(then) != len(PARTS):
        return list(PARTS)
    pairs = zip(PARTS, then, now.split("."), strict=True)
    parts = [name for name, before, after in pairs if before != after]
    return [part for part in parts if part != "result" or "picture" not in parts]


def _short(part: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(part).encode()).hexdigest()[:_DIGITS]
