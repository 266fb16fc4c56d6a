"""Whether a person may see what the AI found in an exam, and what colleagues found: decided here,
for every place that shows, sends, orders or counts by it.

The policy is that of the exam's team. `with_picture`: everybody who sees the exam. `after_verdict`:
a reader once they have saved a verdict on it themselves, a technologist once any reader has.
`never`: nobody, whatever they have saved. An exam that waits for a second reader is hidden from
who may become it, whatever the policy (`second_reads.blindness`). Who opens an exam by emergency
access gives no verdict, so under the latter two they do not see it. Admins and auditors see no exam
at all; boards and log give them numbers and ids.

What colleagues found is hidden with it: under `after_verdict` a reader sees findings, outlines,
measurements, comments and reports of others, and critical findings, once they have saved a verdict
of their own, since a colleague may have stated theirs with the AI before them. That an exam was
read, by whom and how firmly, stays visible: the list is shared work. Who was asked to see to a
critical finding sees it, and so does who may decide as a third reader. Technologists, who state
nothing, and emergency access see what was found. `readings` adds to it what second reads hide.

Where it may not be seen, an exam is shown as one that has not been analysed (`status.without_ai`)
and stands in lists by its arrival.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
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
from portal.studies.second_reads.blindness import Readings, Waiting
from portal.teams.settings import DEFAULTS


@dataclass(frozen=True, slots=True)
class Visibility:
    """The policy for an exam, and whether one person may see the AI result of it now."""

    policy: AiShown
    is_visible: bool


def of_exam(session: Session, actor: Actor, study: Study) -> Visibility:
    """What holds for one exam that the actor sees."""
    policy = session.execute(select(_policy()).where(Study.id == study.id)).scalar_one()
    return Visibility(AiShown(policy), may_see_ai(session, actor, study.id))


def may_see_ai(session: Session, actor: Actor, study_id: UUID) -> bool:
    """Whether the actor may see what the AI found in an exam that they may see."""
    return not hidden(session, actor, [study_id])


def hidden(session: Session, actor: Actor, ids: Collection[UUID]) -> frozenset[UUID]:
    """Of these exams, those of which the actor may not see what the AI found."""
    if not ids:
        return frozenset()
    by_policy = select(Study.id).where(Study.id.in_(ids), _is_hidden_by_policy(actor))
    reads = blindness.of(session, ids)
    blind = {i for i in reads.exams if reads.is_blind(actor, i)}
    return frozenset(session.scalars(by_policy)) | blind


@dataclass(frozen=True, slots=True)
class HiddenResults:
    """What decides for any person whether they may see the AI result of some exams: the policy, who
    has stated a finding, and which wait for a second reader.
    """

    policies: Mapping[UUID, AiShown] = field(default_factory=dict)
    readers: Mapping[UUID, Collection[UUID]] = field(default_factory=dict)
    reads: Readings = field(default_factory=lambda: Readings({}))

    def of(self, actor: Actor, ids: Collection[UUID]) -> frozenset[UUID]:
        """Of these exams, those of which the actor may not see what the AI found: `hidden` without
        a statement.
        """
        return frozenset(i for i in ids if self._hides(actor, i))

    def _hides(self, actor: Actor, study_id: UUID) -> bool:
        policy = self.policies.get(study_id, AiShown.NEVER)
        if policy is AiShown.NEVER:
            return True
        if policy is AiShown.AFTER_VERDICT:
            readers = self.readers.get(study_id, ())
            if not (readers if actor.role is Role.TECHNOLOGIST else actor.user_id in readers):
                return True
        return self.reads.is_blind(actor, study_id)


def hidden_results(session: Session, ids: Collection[UUID]) -> HiddenResults:
    """What `hidden` rests on, read once for many people."""
    if not ids:
        return HiddenResults()
    query = select(Study.id, _policy()).where(Study.id.in_(ids))
    policies = {study_id: AiShown(policy) for study_id, policy in session.execute(query)}
    return HiddenResults(policies, _readers_of(session, ids), blindness.of(session, ids))


def is_ever_shown() -> ColumnElement[bool]:
    """The condition that the team of a row of `studies` shows the AI result to anybody."""
    return _policy() != AiShown.NEVER.value


def is_hidden(actor: Actor, blind: ColumnElement[bool] | None = None) -> ColumnElement[bool]:
    """The same as a condition on rows of `studies`, for filters and counts. `blind`: which exams
    the actor may become the second reader of, see `blindness.readable_second`.
    """
    blind = blindness.may_become_second(actor) if blind is None else blind
    return or_(
        _is_hidden_by_policy(actor),
        # Where none waits its tables are not searched: a damaged page would hide every exam.
        case((blindness.any_waits(), blind), else_=false()),
    )


def _is_hidden_by_policy(actor: Actor) -> ColumnElement[bool]:
    return or_(
        _policy() == AiShown.NEVER.value,
        and_(_policy() == AiShown.AFTER_VERDICT.value, ~_has_verdict(actor)),
    )


def visible_in_lists(session: Session, actor: Actor) -> ColumnElement[bool] | None:
    """Of which exams in the actor's lists they may see what the AI found, as a condition; None
    where it is all of them, but for those that wait for them as a second reader. Otherwise lists
    are by arrival, whatever it says.
    """
    query = select(TeamChoices.ai_shown).where(TeamChoices.team_id == actor.team_id)
    policy = session.scalar(query) or DEFAULTS.ai_shown
    if policy is AiShown.WITH_PICTURE:
        return None
    return ~is_hidden(actor, blindness.readable_second(session, actor))


def readings(session: Session, ids: Collection[UUID]) -> Readings:
    """Who may not see yet what others found in these exams, by second reads and by policy."""
    return replace(blindness.of(session, ids), after_own=_after_own(session, ids))


def _after_own(session: Session, ids: Collection[UUID]) -> dict[UUID, Waiting]:
    """Those of teams that show a colleague's finding only after one's own."""
    if not ids or not _is_chosen(session, AiShown.AFTER_VERDICT):
        return {}
    query = select(Study.id, Study.team_id).where(
        Study.id.in_(ids), _policy() == AiShown.AFTER_VERDICT.value
    )
    teams = dict(session.execute(query).all())
    for decided in blindness.wait_for_third(session, teams) if teams else ():
        teams.pop(decided, None)
    if not teams:
        return {}
    readers = _readers_of(session, teams)
    asked = blindness.informed(session, teams)
    return {
        i: Waiting(team, frozenset(readers.get(i, ())), frozenset(asked.get(i, ())))
        for i, team in teams.items()
    }


def _readers_of(session: Session, ids: Collection[UUID]) -> dict[UUID, set[UUID]]:
    """Who has stated a finding of these exams."""
    readers: dict[UUID, set[UUID]] = {}
    rows = session.execute(
        select(exams.exam_id(), Review.reader_id)
        .join(Review, Review.study_id == Study.id)
        .where(exams.is_of(ids))
    )
    for study_id, reader_id in rows:
        readers.setdefault(study_id, set()).add(reader_id)
    return readers


def _is_chosen(session: Session, policy: AiShown) -> bool:
    """Whether any team has this policy."""
    chosen = select(exists().where(TeamChoices.ai_shown == policy))
    return DEFAULTS.ai_shown is policy or bool(session.scalar(chosen))


def _has_verdict(actor: Actor) -> ColumnElement[bool]:
    """Whether the verdict is there after which the actor sees the result of an exam."""
    by = true() if actor.role is Role.TECHNOLOGIST else Review.reader_id == actor.user_id
    return exams.has_outer(Review.study_id, by)


def _policy() -> ColumnElement[str]:
    """The policy of the team of a row of `studies`."""
    chosen = select(cast(TeamChoices.ai_shown, String)).where(TeamChoices.team_id == Study.team_id)
    return func.coalesce(chosen.correlate(Study).scalar_subquery(), DEFAULTS.ai_shown.value)
