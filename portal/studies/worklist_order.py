"""The worklist's order.

Order: unread studies in which the model found something, the likely ones before the possible ones;
then unread ones without a result, which need unaided reading; then the other unread ones; each of
these the oldest first. Exams from an archive are among the other ones, whatever the model finds.
Last come those that were read, the newest first. Where a study stands in it is derived by `place`
from the rows that count (jobs, predictions, reviews) and stored beside the study as an index, so
that a page of a hundred thousand studies is read off one index.

The order in which rows are locked is that of `locks`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, bindparam, exists, func, not_, select, tuple_
from sqlalchemy.orm import Session, aliased

from portal.database import DatabaseTime
from portal.models import (
    POSITIVE,
    READ,
    REST,
    UNAIDED,
    Band,
    Instance,
    Job,
    JobKind,
    JobState,
    Prediction,
    Review,
    ReviewSeen,
    Signature,
    SizeClass,
    Study,
    VerdictState,
)
from portal.studies import exams, status, stored_results, verdicts
from portal.studies.locks import SHARED_KEY


@dataclass(frozen=True, slots=True)
class Order:
    """An order by these columns, the last of which is the id; all of them rise, or fall."""

    columns: tuple[Any, ...]
    falls: bool = False


# As stored beside each study; and for who may not see what the AI found, by arrival.
ORDER: Final = Order((Study.rank, Study.weight, Study.id))
OLDEST_FIRST: Final = Order((Study.created, Study.id))
NEWEST_FIRST: Final = Order((Study.created, Study.id), falls=True)
_ARRIVAL: Final = READ + 1  # stands for the rank in a place by arrival
# Puts the weight of every possible finding behind that of every likely one.
_BEHIND: Final = 1e10
MOST_PER_PAGE: Final = 200
_FARTHEST: Final = 1e11  # weights lie within it
# Made once, for these run with every result: a study's pictures, whether one of them was not seen
# in a review, how many are prepared and kept without analysis, whether one of its jobs failed, and
# who wrote the last review.
_OF_STUDY: Final = bindparam("study_id", type_=Study.id.type)
_RENDER: Final = aliased(Job, name="render")
_SEEN: Final = exists().where(ReviewSeen.instance_id == Instance.id)
_LAST_READER: Final = (
    select(Review.reader_id)
    .where(exams.within(Review.study_id, _OF_STUDY))
    .order_by(Review.created.desc())
    .limit(1)
    .scalar_subquery()
)
_SIGNED: Final = exams.within(Signature.study_id, _OF_STUDY)
_MARKS: Final = select(
    select(func.count())
    .select_from(Instance)
    .where(Instance.study_id == _OF_STUDY)
    .scalar_subquery(),
    exists().where(Instance.study_id == _OF_STUDY, not_(_SEEN)),
    select(func.count())
    .select_from(_RENDER)
    .where(
        _RENDER.study_id == _OF_STUDY,
        _RENDER.kind == JobKind.RENDER,
        _RENDER.state == JobState.DONE,
        not_(exists().where(Job.instance_id == _RENDER.instance_id, Job.kind == JobKind.SEGMENT)),
    )
    .scalar_subquery(),
    exists().where(
        Job.study_id == _OF_STUDY,
        Job.kind.in_(status.RESULT_JOBS),
        Job.state == JobState.FAILED,
    ),
    _LAST_READER,
    exists().where(_SIGNED),
    exists().where(_SIGNED, Signature.before_id.is_not(None)),
)


def place(session: Session, study_id: UUID) -> Study:
    """Put a study where it belongs in the worklist, in the caller's transaction.

    Its place is that of its most suspicious picture. It is read once each of its pictures was seen
    in a review: one that comes later makes it unread again, and so does a pneumothorax that the
    model finds in a picture that was read without it. It is among those without a result, to be
    read unaided, if one of its pictures failed or none of those that are analysed has a result; not
    so where a rule keeps all of them without analysis.
    The study's row is locked before anything is read: of two that place it at the same time, the
    later sees what the earlier has changed.
    """
    session.flush()
    study = session.get_one(Study, study_id, with_for_update=SHARED_KEY, populate_existing=True)
    marks = session.execute(_MARKS, {"study_id": study_id}).one()
    pictures, has_unseen, skipped, has_failed, reader_id, is_signed, is_amended = marks
    predictions = exams.last_predictions(session, [study_id])
    foremost = min(predictions.values(), key=status.suspicion, default=None)
    size = _size(session, foremost)  # all is read before anything is set: one UPDATE
    study.is_seen = pictures > 0 and not has_unseen
    study.is_read = study.is_seen and not verdicts.found_after_reading(session, predictions)
    study.band = foremost.band if foremost else None
    study.side = foremost.side if foremost else None
    study.size, study.reader_id = size, reader_id
    study.model_id = foremost.model_id if foremost else None
    study.verdict = _verdict(
        is_read=reader_id is not None, is_signed=is_signed, is_amended=is_amended
    )
    is_finished = foremost is not None and len(predictions) + skipped == pictures
    study.is_without_result = bool(has_failed) or (is_finished and study.band is None)
    study.changed = DatabaseTime()
    study.rank, study.weight = _unread_place(study)
    if study.is_read:
        study.rank, study.weight = READ, -by_arrival(study.created)
    return study


def _verdict(*, is_read: bool, is_signed: bool, is_amended: bool) -> VerdictState:
    """As `verdicts.standings` has it: what was signed once stays signed, and what was signed again
    amended.
    """
    if is_signed:
        return VerdictState.AMENDED if is_amended else VerdictState.FINAL
    return VerdictState.PRELIMINARY if is_read else VerdictState.AI_ONLY


def _size(session: Session, found: Prediction | None) -> SizeClass | None:
    """The size class of the model's finding."""
    if found is None or found.band not in (Band.LIKELY, Band.POSSIBLE):
        return None
    picture = session.get_one(Instance, found.instance_id)
    return stored_results.size_class(stored_results.measurements(found, picture))


def _unread_place(study: Study) -> tuple[int, float]:
    """Rank and weight of a study as long as it is unread; smaller comes first."""
    arrived = by_arrival(study.created)
    if study.is_old:  # neither raised nor pressing, whatever is found
        return REST, arrived
    if study.band in (Band.LIKELY, Band.POSSIBLE):
        return POSITIVE, arrived + (_BEHIND if study.band is Band.POSSIBLE else 0.0)
    return (UNAIDED if study.is_without_result else REST), arrived


def by_arrival(created: datetime) -> float:
    """The weight that puts older studies first."""
    return created.timestamp()


def following(
    base: Select[Study], study: Study, order: Order = ORDER, *, as_unread: bool = False
) -> Select[Study]:
    """Those of the studies that come after this one; `as_unread`: after the place that it had
    before it was read.
    """
    rank, weight = _unread_place(study) if as_unread else (study.rank, study.weight)
    if order is not ORDER:
        rank, weight = _ARRIVAL, by_arrival(study.created)
    return base.where(_beyond(order, Place(rank, weight, study.id)))


def first(session: Session, base: Select[Study], order: Order = ORDER) -> UUID | None:
    """The first of the studies in an order."""
    found = base.with_only_columns(Study.id).order_by(*_ordered(order)).limit(1)
    return session.scalars(found).first()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of a list begins or ends: the order's own values of a study, and its id. By
    arrival `weight` is the time in seconds.

    As text it stands in addresses, so that the next page goes on from there whatever has come in
    or gone meanwhile; it says nothing about a patient.
    """

    rank: int
    weight: float
    study_id: UUID

    def __str__(self) -> str:
        return f"{self.rank}_{self.weight!r}_{self.study_id.hex}"

    @classmethod
    def of(cls, text: str) -> "Place | None":
        """The place that a text names; None for any other text."""
        try:
            rank, weight, study_id = text.split("_")
            found = cls(int(rank), float(weight), UUID(study_id))
        except ValueError:
            return None
        # A time of arrival is none before 1970, which is a date in any case.
        least = 0.0 if found.rank == _ARRIVAL else -_FARTHEST
        is_known = POSITIVE <= found.rank <= _ARRIVAL and least <= found.weight < _FARTHEST
        return found if is_known else None

    @classmethod
    def by_arrival(cls, created: datetime, study_id: UUID) -> "Place":
        """That of a study in a list by arrival."""
        return cls(_ARRIVAL, by_arrival(created), study_id)

    def lies_before(self, other: "Place", order: Order) -> bool:
        """Whether it comes first of the two, in an order by arrival."""
        own, its = (self.weight, self.study_id), (other.weight, other.study_id)
        return its < own if order.falls else own < its


@dataclass(frozen=True, slots=True)
class Slice:
    """The ids of one page, and the places from which the pages before and after it go on."""

    ids: list[UUID]
    before: str = ""  # empty: nothing comes before
    after: str = ""


def count(
    session: Session,
    base: Select[Study],
    most: int | None = None,
    along: Sequence[Any] = ORDER.columns,
) -> int:
    """How many studies there are; `most`: counted no further than that, in the order `along`."""
    if most is None:
        return session.scalar(base.with_only_columns(func.count())) or 0
    # Along the list's own index, which holds all that filters ask for: no row is read.
    some = base.with_only_columns(Study.id).order_by(*along).limit(most).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def slice_of(
    session: Session,
    base: Select[Study],
    per_page: int,
    after: str = "",
    before: str = "",
    order: Order = ORDER,
) -> Slice:
    """The page that follows the place `after`, or the one that ends at the place `before`; the
    first one without either. Read off the order's index from there on, however many come before.
    """
    size = size_of(per_page)
    start, end = of_order(order, after), of_order(order, before)
    if end is not None:
        backwards = base.where(_beyond(order, end, backwards=True))
        rows = _rows(session, backwards, size, order, backwards=True)
        if len(rows) > size:
            shown = rows[:size][::-1]
            return Slice([row.id for row in shown], _place(shown[0]), _place(shown[-1]))
        start = None  # the first page is a whole one
    rows = _rows(session, base if start is None else base.where(_beyond(order, start)), size, order)
    if not rows and start is not None:
        return slice_of(session, base, per_page, order=order)  # what came there has gone
    shown = rows[:size]
    return Slice(
        [row.id for row in shown],
        _place(shown[0]) if start is not None else "",
        _place(shown[-1]) if len(rows) > size else "",
    )


def place_of(session: Session, study_id: UUID, order: Order = ORDER) -> str:
    """The place of a study, from which the page after it goes on."""
    row = session.execute(select(*order.columns).where(Study.id == study_id)).one()
    return _place(row)


def _rows(
    session: Session, base: Select[Study], size: int, order: Order, *, backwards: bool = False
) -> list[Any]:
    """Ids with their places, one more than the page holds."""
    found = base.with_only_columns(*order.columns).order_by(*_ordered(order, backwards=backwards))
    return list(session.execute(found.limit(size + 1)).all())


def _place(row: Any) -> str:
    if len(row) == 2:
        return str(Place.by_arrival(row.created, row.id))
    return str(Place(row.rank, row.weight, row.id))


def of_order(order: Order, text: str) -> Place | None:
    """The place that a text names, unless it is one of another order."""
    found = Place.of(text)
    is_of_it = found is not None and (found.rank == _ARRIVAL) is (order is not ORDER)
    return found if is_of_it else None


def _ordered(order: Order, *, backwards: bool = False) -> list[Any]:
    falls = order.falls is not backwards
    return [column.desc() if falls else column for column in order.columns]


def _beyond(order: Order, place: Place, *, backwards: bool = False) -> ColumnElement[bool]:
    """The condition that a study comes after a place; `backwards`: before it."""
    values: tuple[Any, ...] = (place.rank, place.weight, place.study_id)
    if order is not ORDER:
        values = (datetime.fromtimestamp(place.weight, UTC), place.study_id)
    pairs = zip(values, order.columns, strict=True)
    here = tuple_(*(bindparam(None, value, column.type) for value, column in pairs))
    row = tuple_(*order.columns)
    return row < here if order.falls is not backwards else row > here


def numbered_page(
    session: Session,
    base: Select[Study],
    total: int,
    page: int,
    per_page: int,
    order: Order = ORDER,
) -> tuple[list[UUID], int, int]:
    """The ids of a page by its number, for programs that ask so, and its number and size as they
    are after clamping to `total` studies. It takes the longer the more come before it.
    """
    size = size_of(per_page)
    number = page_of(page, total, size)
    ids = session.scalars(
        base.with_only_columns(Study.id)
        .order_by(*_ordered(order))
        .limit(size)
        .offset((number - 1) * size)
    )
    return list(ids), number, size


def size_of(per_page: int) -> int:
    """How many studies a page holds where so many are asked for."""
    return min(max(per_page, 1), MOST_PER_PAGE)


def page_of(page: int, total: int, size: int) -> int:
    """The number of a page of `total` studies where this one is asked for."""
    return min(max(page, 1), max(1, -(-total // size)))
