"""The steps of a second read: drawn or asked for, the second finding, and a third one where the
first two differ. Called with the exam locked; the caller writes to the log and commits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import Actor, Permission
from portal.errors import Conflict
from portal.languages import _
from portal.models import Review, SecondRead, Stratum, Study, User
from portal.studies import exams, status
from portal.studies.second_reads import sampling
from portal.studies.second_reads.blindness import Readings

Step = Literal["blind", "waiting", "disagreed", "agreed", "decided"]


@dataclass(frozen=True, slots=True)
class SecondReadView:
    """Where the second read of an exam stands, for one person.

    blind: they may become the second reader, and see nothing else. waiting: for a second reader.
    disagreed: the two findings differ, a third reader decides; `may_decide`: this person may.
    agreed: the first two do. decided: by the third. `reviews`: the ids of those that count, in
    their order. `is_drawn` and `asked_by` (why) are left out where the AI result may not be seen:
    exams in which the AI has found something are drawn more often.
    """

    step: Step
    is_drawn: bool = False
    asked_by: str = ""
    may_decide: bool = False
    reviews: Sequence[UUID] = ()
    outline_dice: float | None = None


def draw(
    session: Session,
    study: Study,
    first: Review,
    percent: float,
    now: datetime,
) -> SecondRead | None:
    """Decide by chance whether an exam whose first review was just added is read twice.

    At this moment, once, and in the review's own transaction: before, the AI's result, by which
    exams are drawn, may not be there, and a first reader who knows that a colleague will read the
    exam too reads it otherwise; afterwards others may have seen the finding, and whoever starts the
    draw could let it depend on it. The finding has no influence on it.
    """
    foremost, model_id = _result(session, study)
    chance = sampling.probability(session, study.team_id, percent, foremost)
    if not sampling.is_drawn(chance):
        return None
    return _add(session, study, first, (foremost, model_id), now, probability=chance)


def ask(session: Session, actor: Actor, study: Study, now: datetime) -> SecondRead:
    """A reader who has read the exam asks for a second reader; Conflict where they have not, or
    where it has or had one.
    """
    reviews = _reviews(session, study.id)
    if not any(one.reader_id == actor.user_id for one in reviews):
        raise Conflict("not_read", _("State your own finding first, then ask for a second reader."))
    if _rows(session, study.id):
        raise Conflict("asked_before", _("This exam goes to a second reader already, or was read."))
    result = _result(session, study)
    return _add(session, study, reviews[0], result, now, asked_by=actor.user_id)


def go_on(
    session: Session,
    study: Study,
    review: Review,
    reads: Readings,
    actor: Actor,
    now: datetime,
    dice: Callable[[UUID, UUID], float | None],
) -> list[SecondRead]:
    """What a further review changes: it is the second finding where the actor was blind (`reads`),
    or the third, which decides. `dice`: between the outlines of two readers. The changed rows.
    """
    changed = list[SecondRead]()
    for row in _rows(session, study.id):
        if row.ended is not None:
            continue
        first = session.get_one(Review, row.first_review_id)
        if row.second_review_id is None:
            if not reads.is_blind(actor, study.id):
                continue
            row.second_review_id = review.id
            row.outline_dice = dice(first.reader_id, actor.user_id)
            if _newest_finding(session, study.id, first.reader_id) is review.finding:
                row.consensus, row.ended = review.finding, now
        else:
            second = session.get_one(Review, row.second_review_id)
            if actor.user_id in (first.reader_id, second.reader_id):
                continue
            row.third_review_id = review.id
            row.consensus, row.ended = review.finding, now
        changed.append(row)
    session.flush()
    return changed


def view(
    session: Session, actor: Actor, study_id: UUID, reads: Readings, *, sees_ai: bool
) -> SecondReadView | None:
    """Where the exam's second read stands, the newest one of two; None where there is none.
    `sees_ai`: whether the actor may see what the AI found in it.
    """
    rows = _rows(session, study_id)
    if reads.is_blind(actor, study_id):
        return SecondReadView("blind")
    if not rows:
        return None
    row = next((one for one in rows if one.ended is None), rows[-1])
    asked_by = session.get_one(User, row.asked_by).name if row.asked_by and sees_ai else ""
    named = (row.first_review_id, row.second_review_id, row.third_review_id)
    step: Step = "waiting" if row.second_review_id is None else "disagreed"
    if row.ended is not None:
        step = "agreed" if row.third_review_id is None else "decided"
    first_two = (row.first_review_id, row.second_review_id)
    by = session.scalars(select(Review.reader_id).where(Review.id.in_(first_two))).all()
    may_review = actor.may(Permission.REVIEW_WRITE)
    return SecondReadView(
        step=step,
        is_drawn=sees_ai and row.probability is not None,
        asked_by=asked_by,
        may_decide=step == "disagreed" and may_review and actor.user_id not in by,
        reviews=[one for one in named if one is not None],
        outline_dice=row.outline_dice,
    )


def differs(session: Session, study_id: UUID, actor: Actor) -> bool:
    """Whether the exam waits for a third reader because the actor and another one differ."""
    for row in _rows(session, study_id):
        if row.ended is None and row.second_review_id is not None:
            two = (row.first_review_id, row.second_review_id)
            if (
                actor.user_id
                in session.scalars(select(Review.reader_id).where(Review.id.in_(two))).all()
            ):
                return True
    return False


def _add(
    session: Session,
    study: Study,
    first: Review,
    result: tuple[Stratum, UUID | None],
    now: datetime,
    *,
    probability: float | None = None,
    asked_by: UUID | None = None,
) -> SecondRead:
    row = SecondRead(
        id=uuid4(),
        study_id=study.id,
        first_review_id=first.id,
        probability=probability,
        asked_by=asked_by,
        stratum=result[0],
        model_id=result[1],
        created=now,
    )
    session.add(row)
    session.flush()
    return row


def _result(session: Session, study: Study) -> tuple[Stratum, UUID | None]:
    """The stratum of the exam's most suspicious result, and the model that it is of."""
    predictions = exams.last_predictions(session, [study.id])
    foremost = min(predictions.values(), key=status.suspicion, default=None)
    if foremost is None:
        return Stratum.NO_RESULT, None
    stratum = Stratum(foremost.band.value) if foremost.band else Stratum.NO_RESULT
    return stratum, foremost.model_id


def _rows(session: Session, study_id: UUID) -> Sequence[SecondRead]:
    """The second reads of an exam and of those that were joined into it, the oldest first."""
    return session.scalars(
        select(SecondRead)
        .where(exams.within(SecondRead.study_id, study_id))
        .order_by(SecondRead.created)
        .execution_options(populate_existing=True)
    ).all()


def _reviews(session: Session, study_id: UUID) -> Sequence[Review]:
    return session.scalars(
        select(Review).where(exams.within(Review.study_id, study_id)).order_by(Review.created)
    ).all()


def _newest_finding(session: Session, study_id: UUID, reader_id: UUID) -> object:
    """What a reader has stated last; they may have corrected themselves while the exam waited."""
    own = [one for one in _reviews(session, study_id) if one.reader_id == reader_id]
    return own[-1].finding if own else None
