"""How long results and readings take: from arrival to the first AI result, to the first look, the
first review and the first signature.

Percentiles are exact, by nearest rank, and computed by the database. `Study.created` is the arrival
of the exam's first picture; exams from an archive are left out, unless a picture of today came to
one: then its arrival is that picture's, and nothing before counts. The AI result is the exam's
first by any model, also one without a result because of the picture; look, review and signature are
its first ones, of any reader. A look is a picture that was drawn in full on a reader's screen for a
moment, which the access log has; of exams without such a row, as those from a version before, a
case page that a reader has opened.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Float, Integer, and_, case, func, literal, or_, select, union_all
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql import ColumnElement
from sqlalchemy.sql.functions import FunctionElement

from portal.models import AuditEvent, Instance, Prediction, Review, Signature, Study
from portal.models.viewing import PICTURE_SHOWN
from portal.performance.exam_outcomes import first_review, in_lists, within
from portal.performance.months import Month
from portal.studies import exams

PERCENTILES: Final = (50, 90, 95)
# From what to what; of exams in which the one came after the other.
STEPS: Final = (
    "arrival_to_ai",
    "ai_to_look",
    "look_to_signature",
    "arrival_to_look",
    "arrival_to_review",
    "ai_to_review",
    "arrival_to_signature",
)


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
        .where(Instance.study_id == Study.id, _counts(Instance.created))
        .correlate(Study)
        .scalar_subquery()
    )
    exam = (
        select(
            func.coalesce(Study.new_since, Study.created).label("arrived"),
            first_result.label("result"),
            func.coalesce(_event(PICTURE_SHOWN), _event("reading_begun")).label("look"),
            Review.created.label("review"),
            _first(Signature.created, Signature.study_id).label("signature"),
        )
        .outerjoin(Review, Review.id == first_review(_counts(Review.created)))
        .where(*_arrived(month), Study.is_old.is_(False))  # those wait by intention
        .cte("exam")
    )
    at = {
        "arrival": exam.c.arrived,
        "ai": exam.c.result,
        "look": exam.c.look,
        "review": exam.c.review,
        "signature": exam.c.signature,
    }

    def durations(step: str) -> Any:
        first, last = (at[name] for name in step.split("_to_"))
        return select(literal(step).label("step"), _Seconds(first, last).label("seconds")).where(
            first.is_not(None), last >= first
        )

    steps = union_all(*(durations(step) for step in STEPS)).cte("steps")
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


def _arrived(month: Month) -> list[ColumnElement[bool]]:
    """The exams that lists show, of a month; of an old one by its first picture of today."""
    return [
        *in_lists(),
        or_(
            and_(Study.new_since.is_(None), *within(Study.created, month)),
            and_(*within(Study.new_since, month)),
        ),
    ]


def _counts(time: Any) -> ColumnElement[bool]:
    """Not before the exam was one of today, where it was an old one before."""
    return or_(Study.new_since.is_(None), time >= Study.new_since)


def _first(time: Any, of_exam: Any, *conditions: Any) -> Any:
    """The first such time of the exam of the query around it, those joined into it counted."""
    own, is_of_exam = exams.within_outer(of_exam)
    query = select(func.min(time)).where(own, is_of_exam, _counts(time), *conditions)
    return query.correlate(Study).scalar_subquery()


def _event(name: str) -> Any:
    """When the access log first has this event of the exam."""
    return _first(AuditEvent.at, AuditEvent.study_id, AuditEvent.event == name)


def _rank(count: Any, percent: int) -> Any:
    """The nearest rank of a percentile, counted from 1: the whole number from n·p/100 upwards."""
    return (count * percent + 99) // literal(100, Integer())
