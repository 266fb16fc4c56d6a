"""How long results and readings take: from arrival to the first AI result and to the first review.

Percentiles are exact, by nearest rank, and computed by the database. `Study.created` is the arrival
of the exam's first picture; exams from an archive are left out. The AI result is the exam's first
by any model, also one without a result because of the picture; the review is its first, of any
reader.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Float, Integer, case, func, literal, select, union_all
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import FunctionElement

from portal.models import Instance, Prediction, Review, Study
from portal.performance.exam_outcomes import first_review, listed
from portal.performance.months import Month

PERCENTILES: Final = (50, 90, 95)
# From what to what; the last is only of exams that were first read after the result.
STEPS: Final = ("arrival_to_ai", "arrival_to_review", "ai_to_review")


class _Seconds(FunctionElement[float]):
    """The seconds from one time to another."""

    name = "seconds_between"
    inherit_cache = True
    type = Float()


@compiles(_Seconds, "sqlite")
def _on_sqlite(element: _Seconds, compiler: Any, **options: Any) -> str:
    first, last = (compiler.process(one, **options) for one in element.clauses)
    return f"((julianday({last}) - julianday({first})) * 86400.0)"


@compiles(_Seconds, "postgresql")
def _on_postgresql(element: _Seconds, compiler: Any, **options: Any) -> str:
    first, last = (compiler.process(one, **options) for one in element.clauses)
    return f"extract(epoch FROM ({last} - {first}))"


@dataclass(frozen=True, slots=True)
class Times:
    """One step's durations in seconds: how many there are, and percentiles of them by number."""

    count: int
    seconds: Mapping[int, float]


def turnaround(session: Session, month: Month) -> dict[str, Times]:
    """The times of each step, of the exams that arrived in a month; steps without any left out."""
    first_result = (
        select(func.min(Prediction.created))
        .join(Instance, Instance.id == Prediction.instance_id)
        .where(Instance.study_id == Study.id)
        .correlate(Study)
        .scalar_subquery()
    )
    exam = (
        select(
            Study.created.label("arrived"),
            first_result.label("result"),
            Review.created.label("review"),
        )
        .outerjoin(Review, Review.id == first_review())
        .where(*listed(month), Study.is_old.is_(False))  # those wait by intention
        .cte("exam")
    )
    at = exam.c

    def durations(step: str, first: Any, last: Any) -> Any:
        return select(literal(step).label("step"), _Seconds(first, last).label("seconds")).where(
            first.is_not(None), last >= first
        )

    steps = union_all(
        durations(STEPS[0], at.arrived, at.result),
        durations(STEPS[1], at.arrived, at.review),
        durations(STEPS[2], at.result, at.review),
    ).cte("steps")
    ranked = select(
        steps.c.step,
        steps.c.seconds,
        func.row_number().over(partition_by=steps.c.step, order_by=steps.c.seconds).label("rank"),
        func.count().over(partition_by=steps.c.step).label("number"),
    ).subquery()
    one = ranked.c
    chosen = (
        func.max(case((one.rank == _rank(one.number, percent), one.seconds))).label(f"p{percent}")
        for percent in PERCENTILES
    )
    query = select(one.step, func.max(one.number).label("number"), *chosen).group_by(one.step)
    return {
        row.step: Times(
            row.number, {percent: float(getattr(row, f"p{percent}")) for percent in PERCENTILES}
        )
        for row in session.execute(query)
    }


def _rank(count: Any, percent: int) -> Any:
    """The nearest rank of a percentile, counted from 1: the whole number from n·p/100 upwards."""
    return (count * percent + 99) // literal(100, Integer())
