"""Who may not see yet what another reader stated, as far as it follows from second reads.

`teams.ai_visibility.readings` adds what follows from a team's policy; rooms ask there.

An exam that waits for a second reader is blind for every reader of its team who has not read it:
any of them may become the second. To them it shows no review, outline or draft of another person,
nor who has read it or has it open, nor anything of the AI (`teams.ai_visibility`), wherever it
appears; their own finding ends that. Who had opened the exam before it was drawn or asked for has
seen the AI result or the first finding then, and becomes no second reader either, unless their team
shows both only after one's own finding. Who was asked to see to a critical finding of the exam
knows the first one, sees everything, and becomes no second reader. The other way round nobody
sees what a blind reader draws before that finding.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, String, cast, exists, false, func, or_, select
from sqlalchemy.orm import Session, aliased

from portal import database, readable_rows
from portal.access import Actor
from portal.models import (
    AiShown,
    AuditEvent,
    CriticalFinding,
    Review,
    Role,
    SecondRead,
    Study,
    TeamChoices,
)
from portal.models.critical import INFORMED_KEY
from portal.studies import status, verdicts
from portal.studies.status import StudyState

_EXAM = aliased(Study, name="second_read_of")
_REVIEWED = aliased(Study, name="reviewed_as")
_IS_NOW = func.coalesce(_EXAM.joined_into, _EXAM.id)
_REVIEWED_IS_NOW = func.coalesce(_REVIEWED.joined_into, _REVIEWED.id)


@dataclass(frozen=True, slots=True)
class Waiting:
    """An exam whose readings are not shown to every reader of its team: who has reviewed it, who
    knows of it because they were asked to see to a critical finding, and who had `opened` it.
    """

    team_id: UUID
    readers: frozenset[UUID]
    informed: frozenset[UUID] = frozenset()
    opened: frozenset[UUID] = frozenset()

    def is_open_to(self, reader_id: UUID) -> bool:
        """Whether a reader of its team has not read it yet, and knows nothing of it."""
        return reader_id not in self.readers | self.informed | self.opened

    def is_hidden_from(self, actor: Actor) -> bool:
        """The same for anybody: it is hidden from readers of its team alone."""
        is_of_team = actor.role is Role.READER and actor.team_id == self.team_id
        return is_of_team and self.is_open_to(actor.user_id)


@dataclass(frozen=True, slots=True)
class Sight:
    """Whose outlines a reader sees (None: everybody's), of whom they may know that they draw
    (`editors`), and whether they are blind: then the AI's outline is not shown to them either.
    """

    authors: frozenset[UUID] | None = None
    editors: frozenset[UUID] | None = None
    is_blind: bool = False

    def knows(self, editor: UUID) -> bool:
        """Whether the reader may know that this person draws."""
        return self.editors is None or editor in self.editors


@dataclass(frozen=True, slots=True)
class Readings:
    """Of some exams those that wait for a second reader (`exams`), those whose team shows a
    colleague's finding only after one's own (`after_own`), and what a person sees of them.
    """

    exams: Mapping[UUID, Waiting]
    after_own: Mapping[UUID, Waiting] = field(default_factory=dict)

    def is_blind(self, actor: Actor, study_id: UUID) -> bool:
        """Whether the actor may become the exam's second reader: to them nobody has read it."""
        found = self.exams.get(study_id)
        return found is not None and found.is_hidden_from(actor)

    def hides_findings(self, actor: Actor, study_id: UUID) -> bool:
        """Whether the actor may not see yet what colleagues found in the exam."""
        found = self.after_own.get(study_id)
        is_before_own = found is not None and found.is_hidden_from(actor)
        return is_before_own or self.is_blind(actor, study_id)

    def authors(self, actor: Actor, study_id: UUID) -> frozenset[UUID] | None:
        """Whose outlines and drafts of the exam the actor sees; None: everybody's."""
        if self.hides_findings(actor, study_id):
            return frozenset({actor.user_id})
        found = self.exams.get(study_id)
        return None if found is None else found.readers | {actor.user_id}

    def sight(self, reader_id: UUID, study_id: UUID) -> Sight:
        """What a reader of the exam's team, who may draw on its pictures, sees of the others."""
        own = frozenset({reader_id})
        waiting, before = self.exams.get(study_id), self.after_own.get(study_id)
        if waiting is not None and waiting.is_open_to(reader_id):
            return Sight(own, own, is_blind=True)
        editors = None if waiting is None else waiting.readers | own
        is_before_own = before is not None and before.is_open_to(reader_id)
        return Sight(own if is_before_own else editors, editors)

    def hides(self, actor: Actor, study_id: UUID, person: UUID) -> bool:
        """Whether the actor may not see that this person has the exam open."""
        found = self.exams.get(study_id)
        return found is not None and person in found.readers and self.is_blind(actor, study_id)

    def seen(self, actor: Actor, state: StudyState) -> StudyState:
        """The state of an exam as the actor sees it."""
        if self.is_blind(actor, state.study_id):
            unread = replace(
                state, reviewed=None, finding=None, standing=verdicts.NOT_READ, new_pictures=0
            )
            return status.without_ai(unread)
        if state.standing.review_id is None or not self.hides_findings(actor, state.study_id):
            return state
        standing = replace(state.standing, finding=None, verdict=None, is_hidden=True)
        return replace(state, reviewed=None, finding=None, standing=standing)


def any_waits() -> ColumnElement[bool]:
    """The condition that some exam waits for a second reader."""
    waits = (SecondRead.ended.is_(None), SecondRead.second_review_id.is_(None))
    return select(SecondRead.study_id).where(*waits).limit(1).scalar_subquery().is_not(None)


def of(session: Session, ids: Collection[UUID]) -> Readings:
    """Those of these exams that wait for a second reader."""
    came_as = _waiting(session, ids, SecondRead.second_review_id.is_(None))
    if not came_as:
        return Readings({})
    readers: dict[UUID, set[UUID]] = {row.exam: set() for row in came_as.values()}
    reviews = select(Review.study_id, Review.reader_id).where(Review.study_id.in_(came_as))
    for study_id, reader_id in session.execute(reviews):
        readers[came_as[study_id].exam].add(reader_id)
    teams = {row.exam: row.team for row in came_as.values()}
    asked, opened = informed(session, readers), _opened(session, came_as)
    return Readings(
        {
            i: Waiting(teams[i], *map(frozenset, (found, asked.get(i, ()), opened.get(i, ()))))
            for i, found in readers.items()
        }
    )


def _opened(
    session: Session, came_as: Mapping[UUID, Row[UUID, UUID, UUID]]
) -> dict[UUID, set[UUID]]:
    """Who had opened these exams before a second reader was drawn or asked for."""
    waits = (SecondRead.ended.is_(None), SecondRead.second_review_id.is_(None))
    began = dict[UUID, datetime]()
    query = select(SecondRead.study_id, SecondRead.created)
    for study_id, created in session.execute(query.where(SecondRead.study_id.in_(came_as), *waits)):
        exam = came_as[study_id].exam
        began[exam] = max(created, began.get(exam, created))
    hiding = select(TeamChoices.team_id).where(TeamChoices.ai_shown == AiShown.AFTER_VERDICT)
    teams = {row.team for row in came_as.values()}
    hides = set(session.scalars(hiding.where(TeamChoices.team_id.in_(teams))))
    found: dict[UUID, set[UUID]] = {}
    ids = [i for i, row in came_as.items() if row.team not in hides]
    for opened_id, actor_id, at in _openings(session, ids) if ids else ():
        if opened_id is None or actor_id is None:
            continue
        exam = came_as[opened_id].exam
        if exam in began and at < began[exam]:  # one that has just ended is waited for no more
            found.setdefault(exam, set()).add(actor_id)
    return found


def _openings(
    session: Session, ids: Sequence[UUID]
) -> Sequence[Row[UUID | None, UUID | None, datetime]]:
    """Who has opened these exams, and when, by the log. Of an exam about which a row of it can't be
    read nobody counts as one who had opened it: what is hidden from a second reader stays hidden.
    """
    rows = select(AuditEvent.study_id, AuditEvent.actor_id, AuditEvent.at)

    def read(some: Sequence[UUID]) -> Sequence[Row[UUID | None, UUID | None, datetime]]:
        opened = rows.where(AuditEvent.study_id.in_(some), AuditEvent.event == _OPENED)
        return readable_rows.beside(session, lambda own: own.execute(opened).all())

    try:
        return read(ids)
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
    found = list[Row[UUID | None, UUID | None, datetime]]()
    for one in ids:
        try:
            found += read([one])
        except database.UNREADABLE as error:
            if not database.is_damage(error):
                raise
    return found


def wait_for_third(session: Session, ids: Collection[UUID]) -> frozenset[UUID]:
    """Those of these exams that wait for a third reader, who sees what both before found."""
    found = _waiting(session, ids, SecondRead.second_review_id.is_not(None))
    return frozenset(row.exam for row in found.values())


def not_ended(session: Session, ids: Collection[UUID]) -> frozenset[UUID]:
    """Those of these exams that wait for a second or a third reader."""
    return frozenset(row.exam for row in _waiting(session, ids).values())


def _waiting(
    session: Session, ids: Collection[UUID], *step: ColumnElement[bool]
) -> dict[UUID, Row[UUID, UUID, UUID]]:
    """Those of these exams whose second read has not ended and is at this step: their own rows and
    those of exams joined into them, by id, each with the `exam` that it is now and its `team`.

    No row of another exam is read: one in a damaged page would hide all others.
    """
    is_open = SecondRead.ended.is_(None), *step
    if not ids or not session.scalar(select(exists().where(*is_open))):
        return {}
    came_as = _came_as(session, ids)
    of_these = select(SecondRead.study_id).where(SecondRead.study_id.in_(came_as), *is_open)
    waiting = {came_as[study_id].exam for study_id in session.scalars(of_these)}
    return {i: row for i, row in came_as.items() if row.exam in waiting}


def _came_as(session: Session, ids: Collection[UUID]) -> dict[UUID, Row[UUID, UUID, UUID]]:
    columns = _EXAM.id, _IS_NOW.label("exam"), _EXAM.team_id.label("team")
    return {row.id: row for row in session.execute(select(*columns).where(_IS_NOW.in_(ids)))}


def informed(session: Session, ids: Collection[UUID]) -> dict[UUID, set[UUID]]:
    """Who was asked to see to a critical finding of these exams, or informed of it at once."""
    found: dict[UUID, set[UUID]] = {}
    if not ids:
        return found
    came_as = _came_as(session, ids)
    finding = CriticalFinding
    query = select(finding.study_id, finding.asked, finding.acknowledged_by)
    rows = session.execute(query.where(finding.study_id.in_(came_as)))
    for study_id, asked, acknowledged_by in rows:
        people = found.setdefault(came_as[study_id].exam, set())
        people.update(UUID(one[k]) for one in asked for k in ("person", INFORMED_KEY) if k in one)
        people.update({acknowledged_by} - {None})
    return found


_OPENED: Final = "study_opened"  # the event of the access log
_FOR_SECOND: Final = SecondRead.second_review_id.is_(None)
_FOR_THIRD: Final = SecondRead.second_review_id.is_not(None)


def may_become_second(actor: Actor) -> ColumnElement[bool]:
    """The condition that an exam of `studies` waits for a second reader, who may be the actor."""
    return _open_to(actor, _FOR_SECOND)


def may_become_third(actor: Actor) -> ColumnElement[bool]:
    """The condition that an exam of `studies` waits for a third reader, who may be the actor."""
    return _open_to(actor, _FOR_THIRD)


def readable_second(session: Session, actor: Actor) -> ColumnElement[bool]:
    """`may_become_second` for lists that go on where rows are damaged: an exam of which that can't
    be read counts as one that waits, so that nobody chooses it by what it hides. Where something is
    damaged the session is rolled back.
    """
    found = second_of(session, actor)
    return false() if found is None else found


def second_of(session: Session, actor: Actor) -> ColumnElement[bool] | None:
    """The same; None where no exam waits for the actor as its second reader."""
    return _readable(session, actor, _FOR_SECOND, may_become_second(actor))


def readable_third(session: Session, actor: Actor) -> ColumnElement[bool]:
    """The same of `may_become_third`."""
    found = _readable(session, actor, _FOR_THIRD, may_become_third(actor))
    return false() if found is None else found


def _readable(
    session: Session, actor: Actor, step: ColumnElement[bool], condition: ColumnElement[bool]
) -> ColumnElement[bool] | None:
    # Where none waits no exam's row is read: a damaged one would count as one that waits.
    some = select(exists().where(SecondRead.ended.is_(None), step))
    if actor.role is not Role.READER or not session.scalar(some):
        return None
    waiting = _waiting_for(actor, step)
    try:
        found = session.execute(waiting).all()
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
    else:
        return condition if found else None

    def read(ids: Collection[UUID]) -> dict[UUID, UUID]:
        found = session.execute(
            waiting.where(SecondRead.study_id.in_(ids)).add_columns(SecondRead.study_id)
        )
        return {study_id: exam for exam, study_id in found}

    ids = session.scalars(select(SecondRead.study_id).where(SecondRead.ended.is_(None), step)).all()
    open_to, damaged = database.read_readable(session, ids, read)
    return Study.id.in_({*open_to.values(), *damaged})


def _open_to(actor: Actor, step: ColumnElement[bool]) -> ColumnElement[bool]:
    if actor.role is not Role.READER:
        return false()
    # Few exams wait, so these are looked up first.
    return Study.id.in_(_waiting_for(actor, step))


def _waiting_for(actor: Actor, step: ColumnElement[bool]) -> Select[UUID]:
    """The exams that wait at this step for a reader who may be the actor."""
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
    found = (
        select(_IS_NOW)
        .select_from(SecondRead)
        .join(_EXAM, _EXAM.id == SecondRead.study_id)
        .where(SecondRead.ended.is_(None), step, _EXAM.team_id == actor.team_id)
        .where(~has_read, ~was_asked)
    )
    if step is not _FOR_SECOND:
        return found
    hides = exists().where(
        TeamChoices.team_id == _EXAM.team_id, TeamChoices.ai_shown == AiShown.AFTER_VERDICT
    )
    had_opened = exists().where(
        AuditEvent.study_id == _REVIEWED.id,
        _REVIEWED_IS_NOW == _IS_NOW,
        AuditEvent.event == _OPENED,
        AuditEvent.actor_id == actor.user_id,
        AuditEvent.at < SecondRead.created,
    )
    return found.where(or_(hides, ~had_opened))
