"""What became of each exam of a month: each model's result and the readers' verdict on it, in SQL.

One row for each exam and each model that analysed a picture of it. `alarm`: in one picture at least
it found a pneumothorax ("likely" or "possible"); `answered`: one picture at least has a result.
The reference is the signed verdict that stands, final or amended; of an exam that nobody has signed
the first review, by whoever. It counts with what stood beside the pictures then (`review_seen`): an
exam that was read before the model's result came, or beside another model's, has no verdict here.
Purged exams have none of their rows left; an exam joined into another counts once.
"""

from typing import Any, Final

from sqlalchemy import CTE, Select, String, and_, case, cast, func, literal, or_, select, union_all
from sqlalchemy.sql import ColumnElement

from portal.models import (
    Band,
    Finding,
    Instance,
    Prediction,
    Review,
    ReviewSeen,
    Signature,
    Study,
    Verdict,
    View,
)
from portal.performance.months import Month
from portal.studies import exams

FOUND: Final = (Band.LIKELY, Band.POSSIBLE)
PRESENT: Final = (Finding.RIGHT, Finding.LEFT, Finding.BOTH)
# The model's own size of what it found, from the smallest; its place here is its number in SQL.
SIZES: Final = ("unknown", "small", "moderate", "large")
# Each dimension by which exams are grouped; "all" is one group.
DIMENSIONS: Final = ("all", "view", "age", "sex", "size")
COUNTS: Final = (
    "exams",
    "alarms",
    "unanswered",
    "read",
    "confirmed",
    "rejected",
    "agreed",
    "disagreed",
    "unsure",
)


def in_lists() -> tuple[ColumnElement[bool], ...]:
    """The exams that lists show."""
    return Study.purged_at.is_(None), Study.joined_into.is_(None)


def within(time: Any, month: Month) -> tuple[ColumnElement[bool], ...]:
    """That a time is of the month."""
    return time >= month.start, time < month.end


def listed(month: Month) -> tuple[ColumnElement[bool], ...]:
    """The exams of the month that lists show."""
    return *in_lists(), *within(Study.created, month)


def first_review(*conditions: ColumnElement[bool]) -> Any:
    """The id of the first review of the exam of the query around it, of any reader, of those that
    fulfil the conditions.
    """
    own, of_exam = exams.within_outer(Review.study_id)
    return (
        select(Review.id)
        .where(own, of_exam, *conditions)
        .order_by(Review.created, Review.id)
        .limit(1)
        .correlate(Study)
        .scalar_subquery()
    )


def reference_review() -> Any:
    """The id of the review that the results of the exam of the query around it are compared with:
    the one whose signature stands, else the first one.
    """
    own, of_exam = exams.within_outer(Signature.study_id)
    signed = (
        select(Signature.review_id)
        .where(own, of_exam)
        .order_by(Signature.created.desc(), Signature.id)
        .limit(1)
        .correlate(Study)
        .scalar_subquery()
    )
    return func.coalesce(signed, first_review())


def per_exam(month: Month) -> CTE:
    """One row for each exam and model: view, age, sex, size, and 0 or 1 for each of COUNTS."""
    found = Prediction.band.in_(FOUND)
    seen = ReviewSeen.prediction_id.is_not(None)
    severity = Prediction.measurements["severity"].as_string()
    size = case(*((severity == name, at) for at, name in enumerate(SIZES)), else_=0)
    compared = (
        select(
            Study.id,
            Study.sex,
            Study.age_band,
            Prediction.model_id,
            Review.id.label("review"),
            Review.finding,
            Review.verdict,
            _most(Instance.view == View.PA).label("pa"),
            _most(Instance.view == View.AP).label("ap"),
            _most(found).label("alarm"),
            _most(Prediction.band.is_not(None)).label("answered"),
            func.max(case((found, size), else_=-1)).label("size"),
            _most(and_(seen, found)).label("alarm_seen"),
            _most(and_(seen, Prediction.band.is_not(None))).label("answer_seen"),
        )
        .join(Instance, Instance.study_id == Study.id)
        .join(Prediction, Prediction.instance_id == Instance.id)
        .outerjoin(Review, Review.id == reference_review())
        .outerjoin(
            ReviewSeen,
            and_(
                ReviewSeen.review_id == Review.id,
                ReviewSeen.instance_id == Instance.id,
                ReviewSeen.prediction_id == Prediction.id,
            ),
        )
        .where(*listed(month))
        .group_by(Study.id, Prediction.model_id, Review.id)
        .cte("compared")
    )
    row = compared.c
    # Reviews of a version before have a verdict alone.
    says_there = or_(
        row.finding.in_(PRESENT), and_(row.finding.is_(None), row.verdict == Verdict.AGREE)
    )
    says_not = or_(
        row.finding == Finding.NONE, and_(row.finding.is_(None), row.verdict == Verdict.DISAGREE)
    )
    return select(
        row.model_id,
        case(
            (and_(row.pa == 1, row.ap == 1), "PA and AP"),
            (row.pa == 1, "PA"),
            (row.ap == 1, "AP"),
            else_="other",
        ).label("view"),
        func.coalesce(cast(row.age_band, String), "unknown").label("age"),
        cast(row.sex, String).label("sex"),
        case(*((row.size == at, name) for at, name in enumerate(SIZES)), else_="").label("size"),
        literal(1).label("exams"),
        row.alarm.label("alarms"),
        (1 - row.answered).label("unanswered"),
        row.answer_seen.label("read"),
        _flag(and_(row.alarm_seen == 1, says_there)).label("confirmed"),
        _flag(and_(row.alarm_seen == 1, says_not)).label("rejected"),
        _flag(and_(row.answer_seen == 1, row.verdict == Verdict.AGREE)).label("agreed"),
        _flag(and_(row.answer_seen == 1, row.verdict == Verdict.DISAGREE)).label("disagreed"),
        _flag(and_(row.answer_seen == 1, row.verdict == Verdict.UNSURE)).label("unsure"),
    ).cte("outcomes")


def grouped(month: Month) -> Select[Any]:
    """The counts of every group of every dimension: `model_id`, `dimension`, `name`, COUNTS."""
    outcome = per_exam(month).c

    def counts(dimension: str, name: Any) -> Select[Any]:
        sums = (func.sum(outcome[count]).label(count) for count in COUNTS)
        of_model = select(
            outcome.model_id, literal(dimension).label("dimension"), name.label("name"), *sums
        )
        by = (outcome.model_id,) if dimension == "all" else (outcome.model_id, name)
        return of_model.group_by(*by)

    everything = union_all(
        counts("all", literal("")),
        *(counts(name, outcome[name]) for name in DIMENSIONS[1:-1]),
        counts("size", outcome["size"]).where(outcome["size"] != ""),
    ).subquery()
    return select(everything)


def _flag(condition: ColumnElement[bool]) -> Any:
    return case((condition, 1), else_=0)


def _most(condition: ColumnElement[bool]) -> Any:
    """1 where the condition holds for one picture at least."""
    return func.max(_flag(condition))
