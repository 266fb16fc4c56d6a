"""What readers have stated of exams: how firmly it stands, and what came only after it was read.

A saved review is preliminary until its reader signs it. A signed one stands until another is
signed: a later review that nobody has signed, a picture or a result that comes in afterwards
changes nothing of it. Of reviews that nobody has signed the newest stands; but what a second
reader stated does not before the second read has ended, by agreement or a third reader.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from portal.models import (
    Band,
    Finding,
    Prediction,
    Review,
    ReviewSeen,
    SecondRead,
    Signature,
    Study,
    User,
    Verdict,
    VerdictState,
)
from portal.studies import exams

_FOUND: Final = (Band.LIKELY, Band.POSSIBLE)


@dataclass(frozen=True, slots=True)
class Standing:
    """The verdict that stands on an exam, with its author and the time of it.

    Without a review all but the state is empty. `at` is when it was signed, of a preliminary one
    when it was saved. `is_newest`: no review was saved since, by anyone. `is_hidden`: who asks may
    not see yet what was found, so finding and verdict are left out.
    """

    state: VerdictState = VerdictState.AI_ONLY
    author_id: UUID | None = None
    author: str = ""
    at: datetime | None = None
    review_id: UUID | None = None
    signature_id: UUID | None = None
    finding: Finding | None = None  # those of a version before have none
    verdict: Verdict | None = None
    is_newest: bool = True
    is_hidden: bool = False

    @property
    def is_signed(self) -> bool:
        """Whether it is final or amended."""
        return self.signature_id is not None


NOT_READ: Final = Standing()


def standings(session: Session, ids: Collection[UUID]) -> dict[UUID, Standing]:
    """The verdict of each exam that has a review, those of exams joined into it counted as its own.

    The caller has checked that the exams may be seen.
    """
    rows = session.execute(
        select(Review, User.name, Signature, exams.exam_id())
        .options(defer(Signature.hashes), defer(Signature.view))  # lists need neither
        .join(Study, Study.id == Review.study_id)
        .join(User, User.id == Review.reader_id)
        .outerjoin(Signature, Signature.review_id == Review.id)
        .where(exams.is_of(ids))
        .order_by(Review.created)
    ).all()
    second = _open_second_reads(session, rows)
    found: dict[UUID, Standing] = {}
    newest: dict[UUID, UUID] = {}
    for review, author, signature, study_id in rows:
        newest[study_id] = review.id
        if signature is None and (study_id, review.reader_id) in second and study_id in found:
            continue
        before = found.get(study_id)
        if signature is not None or before is None or not before.is_signed:
            found[study_id] = _standing(review, author, signature)
    return {
        study_id: replace(one, is_newest=newest[study_id] == one.review_id)
        for study_id, one in found.items()
    }


def _open_second_reads(session: Session, rows: Sequence[Any]) -> frozenset[tuple[UUID, UUID]]:
    """Of these reviews, each with its exam: the exams whose second read has not ended though the
    second finding is there, each with the second reader.
    """
    readers: dict[UUID, set[UUID]] = {}
    of_review: dict[UUID, tuple[UUID, UUID]] = {}
    for review, _author, _signature, study_id in rows:
        readers.setdefault(study_id, set()).add(review.reader_id)
        of_review[review.id] = study_id, review.reader_id
    # Rows of no other exam are read: one in a damaged page would hide all others.
    by_two = {i for i, found in readers.items() if len(found) > 1}
    by_two |= {review.study_id for review, *_, study_id in rows if study_id in by_two}
    if not by_two:
        return frozenset()
    query = select(SecondRead.second_review_id).where(
        SecondRead.study_id.in_(by_two),
        SecondRead.ended.is_(None),
        SecondRead.second_review_id.is_not(None),
    )
    return frozenset(of_review[one] for one in session.scalars(query) if one in of_review)


def _standing(review: Review, author: str, signature: Signature | None) -> Standing:
    state = VerdictState.PRELIMINARY
    if signature is not None:
        state = VerdictState.AMENDED if signature.before_id else VerdictState.FINAL
    return Standing(
        state=state,
        author_id=review.reader_id,
        author=author,
        at=signature.created if signature else review.created,
        review_id=review.id,
        signature_id=signature.id if signature else None,
        finding=review.finding,
        verdict=review.verdict,
    )


@dataclass(frozen=True, slots=True)
class Unread:
    """Of an exam's pictures that were looked at together: what came after it was read."""

    found_later: frozenset[UUID]  # read before the model had found anything in them
    new: frozenset[UUID]  # seen in no review


NOTHING: Final = Unread(frozenset(), frozenset())


def unread(session: Session, newest: Mapping[UUID, Prediction | None]) -> Unread:
    """Of these pictures of exams with a review, each with its newest prediction, those in which
    the model found something only after they were read, and those that nobody has read.

    A picture of which a reader has seen an earlier positive result is none of the first.
    """
    seen: dict[UUID, set[Band | None]] = {}
    for picture, band in session.execute(
        select(ReviewSeen.instance_id, Prediction.band)
        .outerjoin(Prediction, Prediction.id == ReviewSeen.prediction_id)
        .where(ReviewSeen.instance_id.in_(newest))
    ):
        seen.setdefault(picture, set()).add(band)
    return Unread(
        frozenset(
            picture
            for picture, found in newest.items()
            if found is not None
            and found.band in _FOUND
            and picture in seen
            and seen[picture].isdisjoint(_FOUND)
        ),
        frozenset(newest) - frozenset(seen),
    )


def found_after_reading(session: Session, newest: Mapping[UUID, Prediction]) -> frozenset[UUID]:
    """The first of these alone, also of exams without a review."""
    positive = {picture: found for picture, found in newest.items() if found.band in _FOUND}
    if not positive:
        return frozenset()
    return unread(session, positive).found_later
