"""A list by arrival of which rows can't be read.

In the stored order a list is read off an index, which holds all that it is chosen by. Who may not
see yet what the AI found gets a list for which rows are read, so that a single damaged page would
hide it whole. Here the exams come from an index, and what chooses among them is asked of ever
fewer together, until those are left that can't be read. They stand in the list as well, wherever
nothing is chosen by what the AI found: as to read until a reader has seen each of their pictures.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from portal import database, readable_rows
from portal.access import Actor, visible_studies
from portal.models import READ, Instance, ReviewSeen, Study
from portal.studies import worklist_order
from portal.studies.worklist_filters import Asked
from portal.studies.worklist_order import Order, Place, Slice
from portal.teams import ai_visibility

# More damage than this is no longer read around: each exam costs a few statements.
_MOST: Final = 500
_AT_ONCE: Final = 500
_OF_EVERY_EXAM: Final = frozenset({"", "to_read", "read"})


@dataclass(frozen=True, slots=True)
class Listed:
    """An exam of a list, and when it arrived."""

    created: datetime
    study_id: UUID
    is_damaged: bool = False

    @property
    def place(self) -> Place:
        """Where it stands in a list by arrival."""
        return Place.by_arrival(self.created, self.study_id)


def exams(
    session: Session,
    actor: Actor,
    conditions: Sequence[ColumnElement[bool]],
    asked: Asked,
    order: Order,
    since: datetime | None = None,
) -> list[Listed]:
    """The exams of the actor's list that these conditions let through, which are those of `asked`,
    in an order by arrival. `since`: of those that can't be read, the ones that arrived after it.
    The session is rolled back.
    """
    session.rollback()
    here = visible_studies(actor).with_only_columns(Study.created, Study.id)
    if asked.get("state") == "to_read":
        here = here.where(Study.rank < READ)
    candidates = [Listed(*row) for row in session.execute(here)]
    candidates.sort(key=lambda one: (one.created, one.study_id.hex), reverse=order.falls)
    through, damaged = _through(session, actor, conditions, [one.study_id for one in candidates])
    kept = {one for one in damaged if _stands_in(session, one, asked)}
    return [
        Listed(one.created, one.study_id, is_damaged=one.study_id in kept)
        for one in candidates
        if one.study_id in through
        or (one.study_id in kept and (since is None or one.created >= since))
    ]


def _through(
    session: Session,
    actor: Actor,
    conditions: Sequence[ColumnElement[bool]],
    ids: Sequence[UUID],
) -> tuple[set[UUID], set[UUID]]:
    """Which of these exams the conditions let through, and which can't be read."""
    through, damaged = set[UUID](), set[UUID]()
    waiting = [ids[at : at + _AT_ONCE] for at in range(0, len(ids), _AT_ONCE)]
    while waiting:
        some = waiting.pop()
        wanted = visible_studies(actor).where(Study.id.in_(some), *conditions)
        try:
            readable_rows.by_index(session)
            through |= set(session.scalars(wanted.with_only_columns(Study.id)))
        except database.UNREADABLE as error:
            if not database.is_damage(error):
                raise
            session.rollback()
            if len(some) > 1:
                middle = len(some) // 2
                waiting += [some[:middle], some[middle:]]
            elif len(damaged) < _MOST and _is_damaged(session, actor, some[0]):
                damaged.add(some[0])
            else:
                raise
    return through, damaged


def _is_damaged(session: Session, actor: Actor, study_id: UUID) -> bool:
    """Whether it is this exam that can't be read, and nothing that is asked of every one."""
    try:
        session.get(Study, study_id, populate_existing=True)
        ai_visibility.may_see_ai(session, actor, study_id)
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        return True
    return False


def _stands_in(session: Session, study_id: UUID, asked: Asked) -> bool:
    """Whether an exam that can't be read stands in such a list."""
    if may_lack(asked):
        return False
    state = asked.get("state", "")
    return not state or _has_unseen(session, study_id) is (state == "to_read")


def may_lack(asked: Asked) -> bool:
    """Whether such a list leaves out exams that can't be read: they are chosen by something that
    only they could show.
    """
    others = (value for name, value in asked.items() if name not in ("state", "days"))
    return asked.get("state", "") not in _OF_EVERY_EXAM or any(others)


def _has_unseen(session: Session, study_id: UUID) -> bool:
    """Whether one of its pictures was seen in no review, as far as can be read."""
    seen = exists().where(ReviewSeen.instance_id == Instance.id)
    try:
        readable_rows.by_index(session)
        return bool(session.scalar(select(exists().where(Instance.study_id == study_id, ~seen))))
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        return True


def slice_of(found: Sequence[Listed], size: int, after: str, before: str, order: Order) -> Slice:
    """The page that follows the place `after`, or the one that ends at the place `before`; the
    first one without either, as `worklist_order.slice_of` has it.
    """
    start, end = worklist_order.of_order(order, after), worklist_order.of_order(order, before)
    first = 0
    if end is not None:
        first = max(0, sum(one.place.lies_before(end, order) for one in found) - size)
    elif start is not None:
        first = len(found) - len(following(found, start, order))
    return slice_from(found, size, first if first < len(found) else 0)


def slice_from(found: Sequence[Listed], size: int, first: int) -> Slice:
    """The page that begins with this one of them."""
    shown = found[first : first + size]
    return Slice(
        [one.study_id for one in shown],
        str(shown[0].place) if shown and first else "",
        str(shown[-1].place) if first + size < len(found) else "",
    )


def following(found: Sequence[Listed], place: Place, order: Order) -> list[Listed]:
    """Those that come after a place."""
    return [one for one in found if place.lies_before(one.place, order)]
