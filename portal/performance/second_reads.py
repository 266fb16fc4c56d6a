"""What second reads of a month's exams have found, in sums that a board adds up.

Of exams that were drawn alone: how likely it was that a reader asks for a second one, nobody knows.
Of each stratum those whose second read has ended with a pneumothorax or with none; "unsure" is left
out, as everywhere on the board. Pairs of findings are each reader's first, before they saw another.
"""

from typing import Any, Final

from sqlalchemy import Float, and_, case, cast, func, select
from sqlalchemy.orm import Session, aliased

from portal.models import Finding, Review, SecondRead, Study
from portal.performance.exam_outcomes import PRESENT, listed
from portal.performance.months import Month
from portal.studies import exams

_WEIGHT: Final = 1.0 / cast(SecondRead.probability, Float)
_SUMS: Final = (func.count(), func.sum(_WEIGHT), func.sum(_WEIGHT * _WEIGHT))
_COUNTED: Final = (*PRESENT, Finding.NONE)


def of_month(session: Session, month: Month) -> dict[str, Any]:
    """The sums of a month, as JSON: `strata` by model and stratum, `pairs` of findings by whether
    the first reader saw the AI result, how many wait for a second and a third reader and how many
    ended unsure, and the Dice of the outlines of the first two readers.
    """
    return {
        "strata": _strata(session, month),
        "pairs": _pairs(session, month),
        "open": _open(session, month),
        "dice": _dice(session, month),
    }


def _of(month: Month, *columns: Any) -> Any:
    exam = aliased(Study)
    return (
        select(*columns)
        .select_from(SecondRead)
        .join(exam, exam.id == SecondRead.study_id)
        .join(Study, Study.id == exams.exam_id(exam))
        .where(*listed(month), SecondRead.probability.is_not(None))
    )


def _strata(session: Session, month: Month) -> list[list[Any]]:
    there = SecondRead.consensus.in_(PRESENT)
    positive = (
        func.sum(case((there, 1), else_=0)),
        func.sum(case((there, _WEIGHT), else_=0.0)),
        func.sum(case((there, _WEIGHT * _WEIGHT), else_=0.0)),
    )
    by = SecondRead.model_id, SecondRead.stratum
    query = _of(month, *by, *_SUMS, *positive)
    rows = session.execute(query.where(SecondRead.consensus.in_(_COUNTED)).group_by(*by))
    return [
        [model.hex if model else "", stratum.value, *_numbers(sums)]
        for model, stratum, *sums in rows
    ]


def _pairs(session: Session, month: Month) -> list[list[Any]]:
    first, second = aliased(Review), aliased(Review)
    by = first.ai_visible, first.finding, second.finding
    query = (
        _of(month, *by, *_SUMS)
        .join(first, first.id == SecondRead.first_review_id)
        .join(second, second.id == SecondRead.second_review_id)
        .group_by(*by)
    )
    return [
        [shown is not False, one.value, other.value, *_numbers(sums)]
        for shown, one, other, *sums in session.execute(query)
    ]


def _open(session: Session, month: Month) -> dict[str, int]:
    is_open = SecondRead.ended.is_(None)
    counts = {
        "second": and_(is_open, SecondRead.second_review_id.is_(None)),
        "third": and_(is_open, SecondRead.second_review_id.is_not(None)),
        "unsure": SecondRead.consensus == Finding.UNSURE,
    }
    sums = (func.sum(case((one, 1), else_=0)) for one in counts.values())
    row = session.execute(_of(month, *sums)).one()
    return {name: int(value or 0) for name, value in zip(counts, row, strict=True)}


def _dice(session: Session, month: Month) -> list[float]:
    query = _of(month, SecondRead.outline_dice).where(SecondRead.outline_dice.is_not(None))
    return sorted(round(value, 3) for value in session.scalars(query))


def _numbers(sums: list[Any]) -> list[float]:
    """Counts stay whole, sums of weights are rounded to what means something."""
    return [round(float(value), 6) if at % 3 else int(value) for at, value in enumerate(sums)]
