"""Dice to the machine and reading time of each reader, for admins: without names, unless the
reader's team has set that the board has them.

Each exam counts in the month in which the reader first reviewed it. Dice: of the reader's newest
outline of each picture to the model's. Time: from the opening of the case to that first review.
An exam whose second read has not ended counts for nobody yet; where the team never sees an AI
result, its outlines are not compared with it.

Who a nameless reader is must not follow from the board. So a number stands for LEAST exams or
outlines at least, and only beside those of LEAST_READERS nameless readers at least; how many there
were is a range, since people may know how much a colleague reads; teams are not named; and the
letters follow from the numbers alone, in their order.
"""

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final
from uuid import UUID

from sqlalchemy import and_, exists, func, select
from sqlalchemy.orm import Session, aliased

from portal.models import (
    AiShown,
    AuditEvent,
    Instance,
    Outline,
    Review,
    SecondRead,
    Study,
    TeamChoices,
    User,
)
from portal.performance.intervals import LEAST
from portal.performance.months import Month
from portal.performance.own_reading import LEAST_READERS, LONGEST
from portal.studies import exams
from portal.teams.settings import DEFAULTS

# The least of each range of counts that is shown of nameless readers; the last has no end.
RANGES: Final = (LEAST, 20, 50, 100, 200, 500, 1000)
# Seconds are whole, Dice is rounded to so many digits: counts of equal ones are stored.
_DICE_DIGITS: Final = 3


@dataclass(frozen=True, slots=True)
class Median:
    """The median of some values, of which there are `low` to `high`, or without an end (None): the
    same number twice where they are counted. `value` is None where it is not shown.
    """

    value: float | None = None
    low: int = 0
    high: int | None = 0


NOT_SHOWN: Final = Median()


@dataclass(frozen=True, slots=True)
class ReaderRow:
    """One reader. `key` stands in plots: a letter, or for a reader with a `name` a number."""

    key: str
    name: str | None
    dice: Median = NOT_SHOWN
    seconds: Median = NOT_SHOWN


@dataclass(frozen=True, slots=True)
class ReaderNumbers:
    """The readers of some months: those with a name by it, then those without one.

    `is_left_out`: nameless readers have numbers that are not shown: they would show who it is.
    """

    rows: Sequence[ReaderRow] = ()
    is_left_out: bool = False


def of_month(session: Session, month: Month) -> list[list[Any]]:
    """The numbers of a month as JSON: for each reader the id, and how often each time in seconds
    and each Dice occurs, as pairs of value and count.
    """
    first = _first_reviews(month)
    seconds: dict[UUID, list[float]] = {}
    for reader, begun, created in session.execute(
        select(first.c.reader, first.c.begun, first.c.created)
    ):
        found = seconds.setdefault(reader, [])
        if begun is not None and begun <= created < begun + LONGEST:
            found.append(round((created - begun).total_seconds()))
    dice: dict[UUID, dict[UUID, float]] = {}
    never = exists().where(
        TeamChoices.team_id == Study.team_id, TeamChoices.ai_shown == AiShown.NEVER
    )
    outlines = (
        select(first.c.reader, Outline.instance_id, Outline.dice_model)
        .select_from(first)
        .join(Study, Study.id == first.c.exam)
        .join(Instance, Instance.study_id == first.c.exam)
        .join(
            Outline,
            and_(Outline.instance_id == Instance.id, Outline.author_id == first.c.reader),
        )
        .where(Outline.kept.is_(False), Outline.dice_model.is_not(None), ~never)
        .order_by(Outline.created, Outline.id)
    )
    for reader, picture, value in session.execute(outlines):
        dice.setdefault(reader, {})[picture] = round(value, _DICE_DIGITS)
    return [
        [reader.hex, _counts(times), _counts(dice.get(reader, {}).values())]
        for reader, times in seconds.items()
    ]


def board(session: Session, contents: Iterable[Mapping[str, Any]]) -> ReaderNumbers:
    """The readers of the summaries of some months."""
    seconds: dict[UUID, list[float]] = {}
    dice: dict[UUID, list[float]] = {}
    for content in contents:
        for reader, times, overlaps in content.get("by_reader", ()):
            seconds.setdefault(UUID(reader), []).extend(_values(times))
            dice.setdefault(UUID(reader), []).extend(_values(overlaps))
    names = _names(session, seconds)
    nameless = [reader for reader in seconds if reader not in names]
    named = sorted((name, reader) for reader, name in names.items())
    rows = [
        ReaderRow(str(at), name, _median(dice[reader]), _median(seconds[reader]))
        for at, (name, reader) in enumerate(named, 1)
    ]
    shown_dice = _without_names({reader: dice[reader] for reader in nameless})
    shown_seconds = _without_names({reader: seconds[reader] for reader in nameless})
    without = [
        ReaderRow("", None, shown_dice.get(reader, NOT_SHOWN), shown_seconds.get(reader, NOT_SHOWN))
        for reader in shown_dice.keys() | shown_seconds.keys()
    ]
    without.sort(key=_by_its_numbers)
    return ReaderNumbers(
        [*rows, *(replace(row, key=_letters(at)) for at, row in enumerate(without))],
        is_left_out=len(without) < len(nameless)
        or (bool(nameless) and not (shown_dice and shown_seconds)),
    )


def _without_names(values: Mapping[UUID, list[float]]) -> dict[UUID, Median]:
    """Of those with enough values, the median and the range of their count; none where there are
    too few of them.
    """
    found = {reader: _median(of_one) for reader, of_one in values.items() if len(of_one) >= LEAST}
    if len(found) < LEAST_READERS:
        return {}
    return {reader: Median(one.value, *_range(one.low)) for reader, one in found.items()}


def _median(values: Sequence[float]) -> Median:
    if len(values) < LEAST:
        return NOT_SHOWN
    return Median(statistics.median(values), len(values), len(values))


def _range(count: int) -> tuple[int, int | None]:
    for low, following in pairwise(RANGES):
        if count < following:
            return low, following - 1
    return RANGES[-1], None


def _by_its_numbers(row: ReaderRow) -> tuple[float, ...]:
    """The order of nameless readers: by what is shown of them, so that it adds nothing to it."""
    numbers = ((-1.0 if one.value is None else one.value, one.low) for one in _numbers(row))
    return tuple(float(part) for pair in numbers for part in pair)


def _numbers(row: ReaderRow) -> tuple[Median, Median]:
    return row.seconds, row.dice


def _letters(at: int) -> str:
    """A to Z, then AA, AB and so on, from 0 on."""
    text = ""
    at += 1
    while at:
        at, rest = divmod(at - 1, 26)
        text = chr(ord("A") + rest) + text
    return text


def _names(session: Session, readers: Collection[UUID]) -> dict[UUID, str]:
    """The names of those whose team has set that the board has them."""
    chosen = func.coalesce(TeamChoices.names_on_board, DEFAULTS.names_on_board)
    query = (
        select(User.id, User.name)
        .outerjoin(TeamChoices, TeamChoices.team_id == User.team_id)
        .where(User.id.in_(readers), chosen.is_(True))
    )
    return dict(session.execute(query).all())


def _first_reviews(month: Month) -> Any:
    """Each reader's first review of an exam, of those of the month: `reader`, `exam`, `created`,
    and `begun`, when they had opened it, if they had.
    """
    earlier, as_reviewed, as_waiting = aliased(Review), aliased(Study), aliased(Study)
    begun = (
        select(func.max(AuditEvent.at))
        .where(
            AuditEvent.study_id == Review.study_id,
            AuditEvent.event == "reading_begun",
            AuditEvent.actor_id == Review.reader_id,
            AuditEvent.at <= Review.created,
        )
        .correlate(Review)
        .scalar_subquery()
    )
    waiting = (
        select(exams.exam_id(as_waiting))
        .join(SecondRead, SecondRead.study_id == as_waiting.id)
        .where(SecondRead.ended.is_(None))
    )
    exam = exams.exam_id(as_reviewed)
    return (
        select(
            Review.reader_id.label("reader"),
            exam.label("exam"),
            func.min(Review.created).label("created"),
            func.min(begun).label("begun"),
        )
        .join(as_reviewed, as_reviewed.id == Review.study_id)
        .where(
            Review.created >= month.start,
            Review.created < month.end,
            exam.not_in(waiting),
            ~exists().where(
                earlier.reader_id == Review.reader_id,
                earlier.study_id == Review.study_id,
                earlier.created < Review.created,
            ),
        )
        .group_by(Review.reader_id, exam)
        .cte("first_reviews")
    )


def _counts(values: Iterable[float]) -> list[list[float]]:
    found: dict[float, int] = {}
    for value in values:
        found[value] = found.get(value, 0) + 1
    return [[value, count] for value, count in sorted(found.items())]


def _values(counts: Iterable[Sequence[float]]) -> Iterable[float]:
    for value, count in counts:
        for _at in range(int(count)):
            yield value
