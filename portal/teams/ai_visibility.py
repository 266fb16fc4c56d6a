"""Whether a person may see what the AI found in an exam: decided here, for every place that shows,
sends, orders or counts by it.

The policy is that of the exam's team. `with_picture`: everybody who sees the exam. `after_verdict`:
a reader once they have saved a verdict on it themselves, a technologist once any reader has.
`never`: nobody, whatever they have saved. An exam that waits for a second reader is hidden from
who may become it, whatever the policy (`second_reads.blindness`). Who opens an exam by emergency
access gives no verdict, so under the latter two they do not see it. Admins and auditors see no exam
at all; boards and log give them numbers and ids.

Where it may not be seen, an exam is shown as one that has not been analysed (`status.without_ai`)
and stands in lists by its arrival.
"""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    String,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    or_,
    select,
    true,
)
from sqlalchemy.orm import Session

from portal.access import Actor
from portal.models import AiShown, Review, Role, Study, TeamChoices
from portal.studies import exams
from portal.studies.second_reads import blindness
from portal.teams.settings import DEFAULTS


@dataclass(frozen=True, slots=True)
class Visibility:
    """The policy for an exam, and whether one person may see the AI result of it now."""

    policy: AiShown
    is_visible: bool


def of_exam(session: Session, actor: Actor, study: Study) -> Visibility:
    """What holds for one exam that the actor sees."""
    query = select(_policy(), is_hidden(actor)).where(Study.id == study.id)
    policy, is_hidden_here = session.execute(query).one()
    return Visibility(AiShown(policy), not is_hidden_here)


def may_see_ai(session: Session, actor: Actor, study_id: UUID) -> bool:
    """Whether the actor may see what the AI found in an exam that they may see."""
    return not hidden(session, actor, [study_id])


def hidden(session: Session, actor: Actor, ids: Collection[UUID]) -> frozenset[UUID]:
    """Of these exams, those of which the actor may not see what the AI found."""
    if not ids:
        return frozenset()
    query = select(Study.id).where(Study.id.in_(ids), is_hidden(actor))
    return frozenset(session.scalars(query))


def is_hidden(actor: Actor) -> ColumnElement[bool]:
    """The same as a condition on rows of `studies`, for filters and counts."""
    return or_(
        _policy() == AiShown.NEVER.value,
        and_(_policy() == AiShown.AFTER_VERDICT.value, ~_has_verdict(actor)),
        # Where none waits its tables are not searched: a damaged page would hide every exam.
        case((blindness.any_waits(), blindness.may_become_second(actor)), else_=false()),
    )


def visible_in_lists(session: Session, actor: Actor) -> ColumnElement[bool] | None:
    """Of which exams in the actor's lists they may see what the AI found, as a condition; None
    where it is all of them, but for those that wait for them as a second reader. Otherwise lists
    are by arrival, whatever it says.
    """
    query = select(TeamChoices.ai_shown).where(TeamChoices.team_id == actor.team_id)
    policy = session.scalar(query) or DEFAULTS.ai_shown
    return None if policy is AiShown.WITH_PICTURE else ~is_hidden(actor)


def _has_verdict(actor: Actor) -> ColumnElement[bool]:
    """Whether the verdict is there after which the actor sees the result of an exam."""
    by = true() if actor.role is Role.TECHNOLOGIST else Review.reader_id == actor.user_id
    return exists().where(*exams.within_outer(Review.study_id), by).correlate(Study)


def _policy() -> ColumnElement[str]:
    """The policy of the team of a row of `studies`."""
    chosen = select(cast(TeamChoices.ai_shown, String)).where(TeamChoices.team_id == Study.team_id)
    return func.coalesce(chosen.correlate(Study).scalar_subquery(), DEFAULTS.ai_shown.value)
