"""A reader's own numbers, for that reader alone, and how much is read here, without names."""

import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from portal import database
from portal.access import Actor, Permission
from portal.models import (
    AiShown,
    AuditEvent,
    Instance,
    Outline,
    Review,
    SecondRead,
    Signature,
    Study,
    Verdict,
)
from portal.performance.months import Month
from portal.studies import exams
from portal.teams.settings import settings_of

DAYS: Final = 30
# Beside fewer readers, one who knows their own number would know the other's.
LEAST_READERS: Final = 3


# Times and outlines are those of so many exams, the last ones: a page waits for them.
LATEST: Final = 200
# Who is away from an open case for longer does not read it.
LONGEST: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Middle:
    """The median of some numbers; None where there are none."""

    value: float | None = None
    count: int = 0

    @classmethod
    def of(cls, numbers: Iterable[float]) -> "Middle":
        """That of these."""
        found = list(numbers)
        return cls(statistics.median(found), len(found)) if found else NO_NUMBER


NO_NUMBER: Final = Middle()


@dataclass(frozen=True, slots=True)
class OwnReading:
    """Exams that one reader has reviewed in the last DAYS days, by their signed review of each,
    the newest one where they have signed none.

    Of the last LATEST of them: `seconds` from the opening of the case to the reader's first
    finding, and the Dice of the outlines that they drew to the model's and to those of the other
    one of two readers (`second_reads`). `is_named`: whether the board has the reader's name.
    `without_ai`: the team never sees an AI result, so nothing that compares with one is in it.
    """

    exams: int
    agreed: int
    disagreed: int
    unsure: int
    unaided: int
    seconds: Middle = NO_NUMBER
    dice_ai: Middle = NO_NUMBER
    dice_reader: Middle = NO_NUMBER
    is_named: bool = False
    without_ai: bool = False


def own(session: Session, actor: Actor, now: datetime) -> OwnReading | None:
    """The actor's own numbers; nobody sees another person's. None where rows can't be read: the
    page that shows them has more to show. Where the team never sees an AI result, without what is
    compared with one: a number more after each verdict would state it.
    """
    actor.require(Permission.REVIEW_WRITE)
    try:
        settings = settings_of(session, actor.team_id)
        found = of_reader(session, actor.user_id, now)
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        return None
    session.commit()
    if settings.ai_shown is AiShown.NEVER:
        found = OwnReading(
            *(found.exams, 0, 0, 0, 0),
            seconds=found.seconds,
            dice_reader=found.dice_reader,
            without_ai=True,
        )
    return replace(found, is_named=settings.names_on_board)


def of_reader(session: Session, reader_id: UUID, now: datetime) -> OwnReading:
    """The same for any reader, by id."""
    newest = (
        select(
            Review.verdict,
            func.row_number()
            .over(
                partition_by=exams.exam_id(),
                order_by=(Signature.id.is_(None), Review.created.desc(), Review.id.desc()),
            )
            .label("place"),
        )
        .join(Study, Study.id == Review.study_id)
        .outerjoin(Signature, Signature.review_id == Review.id)
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
    first = _first_reviews(session, reader_id, now)
    ids = [row.exam for row in first]
    return OwnReading(
        exams=sum(counts.values()),
        agreed=counts.get(Verdict.AGREE, 0),
        disagreed=counts.get(Verdict.DISAGREE, 0),
        unsure=counts.get(Verdict.UNSURE, 0),
        unaided=counts.get(Verdict.UNAIDED, 0),
        seconds=Middle.of(
            (row.created - row.begun).total_seconds()
            for row in first
            if row.begun is not None and row.created - row.begun < LONGEST
        ),
        dice_ai=_dice_to_model(session, reader_id, ids),
        dice_reader=_dice_to_reader(session, [row.id for row in first], ids),
    )


def _first_reviews(session: Session, reader_id: UUID, now: datetime) -> Sequence[Any]:
    """The reader's first review of each exam, the latest first, and when they had opened it."""
    earlier = aliased(Review)
    begun = (
        select(func.max(AuditEvent.at))
        .where(
            AuditEvent.study_id == Review.study_id,
            AuditEvent.event == "reading_begun",
            AuditEvent.actor_id == reader_id,
            AuditEvent.at <= Review.created,
        )
        .correlate(Review)
        .scalar_subquery()
    )
    return session.execute(
        select(Review.id, Review.created, exams.exam_id().label("exam"), begun.label("begun"))
        .join(Study, Study.id == Review.study_id)
        .where(
            Review.reader_id == reader_id,
            Review.created >= now - timedelta(days=DAYS),
            ~exists().where(
                earlier.reader_id == reader_id,
                earlier.study_id == Review.study_id,
                earlier.created < Review.created,
            ),
        )
        .order_by(Review.created.desc())
        .limit(LATEST)
    ).all()


def _dice_to_model(session: Session, reader_id: UUID, ids: Collection[UUID]) -> Middle:
    """Of the reader's newest outline of each picture; those of a draft that was taken over do not
    count.
    """
    rows = session.execute(
        select(Outline.instance_id, Outline.dice_model)
        .join(Instance, Instance.id == Outline.instance_id)
        .where(
            Instance.study_id.in_(ids),
            Outline.author_id == reader_id,
            Outline.kept.is_(False),
            Outline.dice_model.is_not(None),
        )
        .order_by(Outline.created, Outline.id)
    )
    newest = {picture: dice for picture, dice in rows if dice is not None}
    return Middle.of(newest.values())


def _dice_to_reader(session: Session, reviews: Collection[UUID], ids: Collection[UUID]) -> Middle:
    """Of these exams, where one of the reviews is one of the two that were blind to each other."""
    rows = session.scalars(
        select(SecondRead.outline_dice).where(
            SecondRead.study_id.in_(ids),
            or_(SecondRead.first_review_id.in_(reviews), SecondRead.second_review_id.in_(reviews)),
        )
    )
    return Middle.of(dice for dice in rows if dice is not None)


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
