"""A reader's own numbers, for that reader alone, and how much is read here, without names."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from portal import database
from portal.access import Actor, Permission
from portal.models import AiShown, Review, Study, Verdict
from portal.performance.months import Month
from portal.studies import exams
from portal.teams.settings import settings_of

DAYS: Final = 30
# Beside fewer readers, one who knows their own number would know the other's.
LEAST_READERS: Final = 3


@dataclass(frozen=True, slots=True)
class OwnReading:
    """Exams that one reader has reviewed in the last DAYS days, by their newest review of each."""

    exams: int
    agreed: int
    disagreed: int
    unsure: int
    unaided: int


def own(session: Session, actor: Actor, now: datetime) -> OwnReading | None:
    """The actor's own numbers; nobody sees another person's. None where rows can't be read: the
    page that shows them has more to show; and where the team never sees an AI result, which one
    number more after each verdict would state.
    """
    actor.require(Permission.REVIEW_WRITE)
    try:
        if settings_of(session, actor.team_id).ai_shown is AiShown.NEVER:
            session.commit()
            return None
        found = of_reader(session, actor.user_id, now)
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        return None
    session.commit()
    return found


def of_reader(session: Session, reader_id: UUID, now: datetime) -> OwnReading:
    """The same for any reader, by id."""
    newest = (
        select(
            Review.verdict,
            func.row_number()
            .over(partition_by=exams.exam_id(), order_by=(Review.created.desc(), Review.id.desc()))
            .label("place"),
        )
        .join(Study, Study.id == Review.study_id)
        .where(Review.reader_id == reader_id, Review.created >= now - timedelta(days=DAYS))
        .subquery()
    )
    counts: dict[Any, int] = dict(
        session.execute(
            select(newest.c.verdict, func.count())
            .where(newest.c.place == 1)
            .group_by(newest.c.verdict)
        ).all()
    )
    return OwnReading(
        exams=sum(counts.values()),
        agreed=counts.get(Verdict.AGREE, 0),
        disagreed=counts.get(Verdict.DISAGREE, 0),
        unsure=counts.get(Verdict.UNSURE, 0),
        unaided=counts.get(Verdict.UNAIDED, 0),
    )


def without_names(session: Session, month: Month) -> list[int]:
    """How many exams each reader has reviewed in a month, the fewest first; empty where there are
    fewer than LEAST_READERS.
    """
    counts = list(
        session.scalars(
            select(func.count(exams.exam_id().distinct()).label("number"))
            .select_from(Review)
            .join(Study, Study.id == Review.study_id)
            .where(Review.created >= month.start, Review.created < month.end)
            .group_by(Review.reader_id)
            .order_by("number")
        )
    )
    return counts if len(counts) >= LEAST_READERS else []
