"""The worklist's order.

Order: unread studies in which the model found something, the likely ones before the possible ones;
then unread ones without a result, which need unaided reading; then the other unread ones; each of
these the oldest first. Last come those that were read, the newest first. Where a study stands in it
is derived by `place` from the rows that count (jobs, predictions, reviews) and stored beside the
study as an index, so that a page of a hundred thousand studies is read off one index.

The order in which rows are locked is that of `locks`.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, bindparam, exists, func, not_, select, tuple_
from sqlalchemy.orm import Session

from portal.models import (
    POSITIVE,
    READ,
    REST,
    UNAIDED,
    Band,
    Instance,
    Job,
    JobState,
    ReviewSeen,
    Study,
)
from portal.studies import exams, late_results, status
from portal.studies.locks import SHARED_KEY

ORDER: Final = (Study.rank, Study.weight, Study.id)
# Puts the weight of every possible finding behind that of every likely one.
_BEHIND: Final = 1e10
_MOST_PER_PAGE: Final = 200
# Made once, for these run with every result: a study's pictures, whether one of them was not seen
# in a review, and whether one of its jobs failed.
_OF_STUDY: Final = bindparam("study_id", type_=Study.id.type)
_SEEN: Final = exists().where(ReviewSeen.instance_id == Instance.id)
_MARKS: Final = select(
    select(func.count())
    .select_from(Instance)
    .where(Instance.study_id == _OF_STUDY)
    .scalar_subquery(),
    exists().where(Instance.study_id == _OF_STUDY, not_(_SEEN)),
    exists().where(
        Job.study_id == _OF_STUDY,
        Job.kind.in_(status.RESULT_JOBS),
        Job.state == JobState.FAILED,
    ),
)


def place(session: Session, study_id: UUID) -> Study:
    """Put a study where it belongs in the worklist, in the caller's transaction.

    Its place is that of its most suspicious picture. It is read once each of its pictures was seen
    in a review: one that comes later makes it unread again, and so does a pneumothorax that the
    model finds in a picture that was read without it. It is among those without a result, to be
    read unaided, if one of its pictures failed or none of them has a result.
    The study's row is locked before anything is read: of two that place it at the same time, the
    later sees what the earlier has changed.
    """
    session.flush()
    study = session.get_one(Study, study_id, with_for_update=SHARED_KEY, populate_existing=True)
    pictures, has_unseen, has_failed = session.execute(_MARKS, {"study_id": study_id}).one()
    predictions = exams.last_predictions(session, [study_id])
    foremost = min(predictions.values(), key=status.suspicion, default=None)
    study.is_read = (
        pictures > 0
        and not has_unseen
        and not late_results.found_after_reading(session, predictions)
    )
    study.band = foremost.band if foremost else None
    study.side = foremost.side if foremost else None
    is_finished = foremost is not None and len(predictions) == pictures
    study.is_without_result = bool(has_failed) or (is_finished and study.band is None)
    study.rank, study.weight = _unread_place(study)
    if study.is_read:
        study.rank, study.weight = READ, -by_arrival(study.created)
    return study


def _unread_place(study: Study) -> tuple[int, float]:
    """Rank and weight of a study as long as it is unread; smaller comes first."""
    arrived = by_arrival(study.created)
    if study.band in (Band.LIKELY, Band.POSSIBLE):
        return POSITIVE, arrived + (_BEHIND if study.band is Band.POSSIBLE else 0.0)
    return (UNAIDED if study.is_without_result else REST), arrived


def by_arrival(created: datetime) -> float:
    """The weight that puts older studies first."""
    return created.timestamp()


def following(base: Select[Study], study: Study, *, as_unread: bool = False) -> Select[Study]:
    """Those of the studies that come after this one; `as_unread`: after the place that it had
    before it was read.
    """
    rank, weight = _unread_place(study) if as_unread else (study.rank, study.weight)
    here = tuple_(
        bindparam(None, rank, Study.rank.type),
        bindparam(None, weight, Study.weight.type),
        bindparam(None, study.id, Study.id.type),
    )
    return base.where(tuple_(*ORDER) > here)


def first(session: Session, base: Select[Study]) -> UUID | None:
    """The first of the studies in the worklist's order."""
    return session.scalars(base.with_only_columns(Study.id).order_by(*ORDER).limit(1)).first()


def count(session: Session, base: Select[Study]) -> int:
    """How many studies there are."""
    return session.scalar(base.with_only_columns(func.count())) or 0


def page_of(
    session: Session, base: Select[Study], total: int, page: int, per_page: int, *order: Any
) -> tuple[list[UUID], int, int]:
    """The ids of a page, and its number and size as they are after clamping to `total` studies."""
    number, size = place_of_page(total, page, per_page)
    ids = session.scalars(
        base.with_only_columns(Study.id)
        .order_by(*(order or ORDER))
        .limit(size)
        .offset((number - 1) * size)
    )
    return list(ids), number, size


def place_of_page(total: int, page: int, per_page: int) -> tuple[int, int]:
    """A page's number and size as they are after clamping to `total` studies."""
    size = min(max(per_page, 1), _MOST_PER_PAGE)
    return min(max(page, 1), max(1, -(-total // size))), size
