"""The exams that wait for a second reader, or for a third one, by arrival.

The list shows what a reader needs to find the exam, and nothing of its results or findings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, Select, or_, select, tuple_
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, Permission, visible_studies
from portal.models import SecondRead, Study
from portal.reading import worklist_rows
from portal.reading.lists import claims
from portal.reading.worklist_rows import WorklistRow
from portal.studies import worklist_order
from portal.studies.second_reads import blindness
from portal.teams import readers
from portal.vault import Vault

# The oldest of each list are shown: as these are read, others move up.
MOST: Final = 50
_BY_ARRIVAL: Final = (Study.created, Study.id)


@dataclass(frozen=True, slots=True)
class Queue:
    """The oldest exams of a list, and how many there are; counted to `MOST` + 1."""

    rows: list[WorklistRow]
    total: int


@dataclass(frozen=True, slots=True)
class SecondReads:
    """What waits for the actor as a second reader, and as a third one; `readers`: how many their
    team has.
    """

    second: Queue
    third: Queue
    readers: int


def waiting(session: Session, vault: Vault, actor: Actor, now: datetime) -> SecondReads:
    """What waits for the actor, with one audit row that lists its exams."""
    actor.require(Permission.REVIEW_WRITE)
    second = _queue(session, vault, actor, blindness.readable_second(session, actor), now)
    third = _queue(session, vault, actor, blindness.readable_third(session, actor), now)
    named = [row.study_id.hex for row in (*second.rows, *third.rows)]
    audit.append(session, "worklist_read", actor=actor, now=now, detail={"studies": named})
    number = readers.count(session, actor.team_id)
    session.commit()
    return SecondReads(second, third, number)


def count(session: Session, actor: Actor) -> int:
    """How many exams wait for the actor as a second or third reader, counted to `MOST` + 1."""
    actor.require(Permission.STUDY_LIST)
    query = visible_studies(actor).where(_any(actor))
    # SQLite has no statistics of an empty table, takes it for a large one, and would begin with all
    # of the team's exams.
    is_open = select(SecondRead.study_id).where(SecondRead.ended.is_(None)).limit(1)
    try:
        if session.scalar(is_open) is None:
            session.commit()
            return 0
        found = worklist_order.count(session, query, MOST + 1, _BY_ARRIVAL)
    except database.UNREADABLE as error:
        session.rollback()
        if not database.is_damage(error):
            raise
        return 0  # a damaged page hides its own cases, not the list that the number stands over
    session.commit()
    return found


def following(session: Session, actor: Actor, study_id: UUID, now: datetime) -> UUID | None:
    """The exam that follows this one by arrival among those that wait for the actor, or else the
    first one, without those that a colleague has open, and those that can't be read.
    """
    actor.require(Permission.STUDY_READ)
    here = session.scalars(visible_studies(actor).where(Study.id == study_id)).first()
    place = (here.created, here.id) if here is not None else None
    listed = visible_studies(actor).where(Study.id != study_id, ~claims.read_by_others(actor, now))
    try:
        found = _first_after(session, listed.where(_any(actor)), place)
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
        second = blindness.readable_second(session, actor)
        third = blindness.readable_third(session, actor)
        places = _readable(session, listed.where(or_(second, third)))
        ordered = sorted(places, key=places.__getitem__)
        after = [one for one in ordered if place is not None and places[one] > place]
        found = next(iter((*after, *ordered)), None)
    session.commit()
    return found


def _first_after(
    session: Session, listed: Select[Study], place: tuple[datetime, UUID] | None
) -> UUID | None:
    ids = listed.with_only_columns(Study.id).order_by(*_BY_ARRIVAL).limit(1)
    found = None
    if place is not None:
        found = session.scalar(ids.where(tuple_(*_BY_ARRIVAL) > place))
    return found or session.scalar(ids)


def _any(actor: Actor) -> ColumnElement[bool]:
    return or_(blindness.may_become_second(actor), blindness.may_become_third(actor))


def _queue(
    session: Session,
    vault: Vault,
    actor: Actor,
    condition: ColumnElement[bool],
    now: datetime,
) -> Queue:
    listed = visible_studies(actor).where(condition)
    ids, is_damaged = _oldest(session, listed)
    total = len(ids)
    if total == MOST and not is_damaged:
        total = worklist_order.count(session, listed, MOST + 1, _BY_ARRIVAL)
    return Queue(worklist_rows.rows(session, vault, actor, ids, now), total)


def _oldest(session: Session, listed: Select[Study]) -> tuple[Sequence[UUID], bool]:
    """The ids of the oldest, and whether rows are damaged: then of those that can be read."""
    try:
        query = listed.with_only_columns(Study.id).order_by(*_BY_ARRIVAL).limit(MOST)
        return session.scalars(query).all(), False
    except database.UNREADABLE as error:
        if not database.is_damage(error):
            raise
        session.rollback()
    found = _readable(session, listed)
    return sorted(found, key=lambda one: found[one])[:MOST], True


def _readable(session: Session, listed: Select[Study]) -> dict[UUID, tuple[datetime, UUID]]:
    """Those of a list that can be read, each with its place."""

    def read(some: Sequence[UUID]) -> dict[UUID, tuple[datetime, UUID]]:
        rows = listed.where(Study.id.in_(some)).with_only_columns(Study.id, Study.created)
        return {row.id: (row.created, row.id) for row in session.execute(rows)}

    ids = session.scalars(select(SecondRead.study_id).where(SecondRead.ended.is_(None))).all()
    return database.read_readable(session, ids, read)[0]
