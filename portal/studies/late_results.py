"""What the model found in pictures only after they were read: such a case is to be read again."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.models import Band, Prediction, ReviewSeen

_FOUND: Final = (Band.LIKELY, Band.POSSIBLE)


def found_after_reading(session: Session, newest: Mapping[UUID, Prediction]) -> frozenset[UUID]:
    """Of these pictures, each with its newest prediction, those that were read before the model
    had found anything in them and in which it has found something now.

    A picture that nobody has read yet is none of them, nor is one of which a reader has seen an
    earlier positive result.
    """
    positive = [picture for picture, found in newest.items() if found.band in _FOUND]
    if not positive:
        return frozenset()
    seen: dict[UUID, set[Band | None]] = {}
    for picture, band in session.execute(
        select(ReviewSeen.instance_id, Prediction.band)
        .outerjoin(Prediction, Prediction.id == ReviewSeen.prediction_id)
        .where(ReviewSeen.instance_id.in_(positive))
    ):
        seen.setdefault(picture, set()).add(band)
    return frozenset(picture for picture, bands in seen.items() if bands.isdisjoint(_FOUND))
