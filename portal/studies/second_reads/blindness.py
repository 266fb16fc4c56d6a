"""Who may not see yet what another reader stated: the one place that decides it.

An exam that waits for a second reader is blind for every reader of its team who has not read it:
any of them may become the second. To them it shows no review, outline or draft of another person,
nor who has read it or has it open, nor anything of the AI (`teams.ai_visibility`), wherever it
appears; their own finding ends that. Who was asked to see to a critical finding of the exam knows
the first one, sees everything, and becomes no second reader. The other way
round nobody sees what a blind reader draws before that finding.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy import ColumnElement, String, cast, exists, false, func, or_, select
from sqlalchemy.orm import Session, aliased

from portal.access import Actor
from portal.models import CriticalFinding, Review, Role, SecondRead, Study
from portal.studies import status, verdicts
from portal.studies.status import StudyState

_EXAM = aliased(Study, name="second_read_of")
_REVIEWED = aliased(Study, name="reviewed_as")
_IS_NOW = func.coalesce(_EXAM.joined_into, _EXAM.id)
_REVIEWED_IS_NOW = func.coalesce(_REVIEWED.joined_into, _REVIEWED.id)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An exam that waits for a second reader: its team, who has reviewed it, and who knows of it
    because they were asked to see to a critical finding.
    """

    team_id: UUID
    readers: frozenset[UUID]
    informed: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class Sight:
    """Whose outlines a reader sees (None: everybody's), and whether they are blind: then the AI's
    outline is not shown to them either.
    """

    authors: frozenset[UUID] | None = None
    is_blind: bool = False

    def shows(self, author: UUID) -> bool:
        """Whether the reader sees what this person draws."""
        return self.authors is None or author in self.authors


@dataclass(frozen=True, slots=True)
class WaitingReads:
    """Of some exams those that wait for a second reader, and what a person sees of them."""

    exams: Mapping[UUID, Waiting]

    def is_blind(self, actor: Actor, study_id: UUID) -> bool:
        """Whether the actor may become the exam's second reader, so is blind to the first."""
        found = self.exams.get(study_id)
        return (
            found is not None
            and actor.role is Role.READER
            and actor.team_id == found.team_id
            and actor.user_id not in found.readers | found.informed
        )

    def authors(self, actor: Actor, study_id: UUID) -> frozenset[UUID] | None:
        """Whose outlines and drafts of the exam the actor sees; None: everybody's."""
        found = self.exams.get(study_id)
        if found is None or self.is_blind(actor, study_id):
            return self.sight(actor.user_id, study_id).authors
        return found.readers | {actor.user_id}

    def sight(self, reader_id: UUID, study_id: UUID) -> Sight:
        """What a reader of the exam's team, who may draw on its pictures, sees of the others."""
        found = self.exams.get(study_id)
        if found is None:
            return Sight()
        if reader_id in found.readers | found.informed:
            return Sight(found.readers | {reader_id})
        return Sight(frozenset({reader_id}), is_blind=True)

    def hides(self, actor: Actor, study_id: UUID, person: UUID) -> bool:
        """Whether the actor may not see that this person has the exam open."""
        found = self.exams.get(study_id)
        return found is not None and person in found.readers and self.is_blind(actor, study_id)

    def seen(self, actor: Actor, state: StudyState) -> StudyState:
        """The state of an exam as the actor sees it."""
        if not self.is_blind(actor, state.study_id):
            return state
        unread = replace(
            state, reviewed=None, finding=None, standing=verdicts.NOT_READ, new_pictures=0
        )
        return status.without_ai(unread)


def any_waits() -> ColumnElement[bool]:
    """The condition that some exam waits for a second reader."""
    waits = (SecondRead.ended.is_(None), SecondRead.second_review_id.is_(None))
    return select(SecondRead.study_id).where(*waits).limit(1).scalar_subquery().is_not(None)


def of(session: Session, ids: Collection[UUID]) -> WaitingReads:
    """Those of these exams that wait for a second reader."""
    if not ids:
        return WaitingReads({})
    # Where none waits no row of an exam is read: one in a damaged page would hide all others.
    if not session.scalar(select(any_waits())):
        return WaitingReads({})
    rows = session.execute(
        select(_IS_NOW.label("exam"), _EXAM.team_id, Review.reader_id)
        .select_from(SecondRead)
        .join(_EXAM, _EXAM.id == SecondRead.study_id)
        .join(_REVIEWED, _REVIEWED_IS_NOW == _IS_NOW)
        .join(Review, Review.study_id == _REVIEWED.id)
        .where(SecondRead.ended.is_(None), SecondRead.second_review_id.is_(None), _IS_NOW.in_(ids))
    ).all()
    readers: dict[UUID, set[UUID]] = {}
    for row in rows:
        readers.setdefault(row.exam, set()).add(row.reader_id)
    teams = {row.exam: row.team_id for row in rows}
    asked = _informed(session, readers)
    return WaitingReads(
        {
            i: Waiting(teams[i], frozenset(found), frozenset(asked.get(i, ())))
            for i, found in readers.items()
        }
    )


def _informed(session: Session, ids: Collection[UUID]) -> dict[UUID, set[UUID]]:
    """Who was asked to see to a critical finding of these exams."""
    found: dict[UUID, set[UUID]] = {}
    if not ids:
        return found
    rows = session.execute(
        select(_IS_NOW, CriticalFinding.asked, CriticalFinding.acknowledged_by)
        .join(_EXAM, _EXAM.id == CriticalFinding.study_id)
        .where(_IS_NOW.in_(ids))
    )
    for exam, asked, acknowledged_by in rows:
        people = found.setdefault(exam, set())
        people.update(UUID(one["person"]) for one in asked)
        people.update({acknowledged_by} - {None})
    return found


def may_become_second(actor: Actor) -> ColumnElement[bool]:
    """The condition that an exam of `studies` waits for a second reader, who may be the actor."""
    return _open_to(actor, SecondRead.second_review_id.is_(None))


def may_become_third(actor: Actor) -> ColumnElement[bool]:
    """The condition that an exam of `studies` waits for a third reader, who may be the actor."""
    return _open_to(actor, SecondRead.second_review_id.is_not(None))


def _open_to(actor: Actor, step: ColumnElement[bool]) -> ColumnElement[bool]:
    if actor.role is not Role.READER:
        return false()
    has_read = exists().where(
        Review.reader_id == actor.user_id,
        Review.study_id == _REVIEWED.id,
        _REVIEWED_IS_NOW == _IS_NOW,
    )
    was_asked = exists().where(
        CriticalFinding.study_id == _REVIEWED.id,
        _REVIEWED_IS_NOW == _IS_NOW,
        or_(
            cast(CriticalFinding.asked, String).contains(actor.user_id.hex),
            CriticalFinding.acknowledged_by == actor.user_id,
        ),
    )
    # Few exams wait, so these are looked up first.
    waiting = (
        select(_IS_NOW)
        .select_from(SecondRead)
        .join(_EXAM, _EXAM.id == SecondRead.study_id)
        .where(SecondRead.ended.is_(None), step, _EXAM.team_id == actor.team_id)
        .where(~has_read, ~was_asked)
    )
    return Study.id.in_(waiting)
