"""Critical findings of which nobody was informed yet: what lists show of them, for the team."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from portal import database
from portal.access import Actor, visible_studies
from portal.models import CriticalFinding, CriticalState, Finding, Role, Study, User
from portal.models.critical import INFORMED_KEY
from portal.studies import exams
from portal.teams import ai_visibility

MOST: Final = 100  # that are counted
SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """One of them. `asked`: who is asked to see to it; `informed`: who was informed of it at once
    and was not asked yet; `acknowledged`: who has said they see to it; each empty where it is
    nobody. `is_unanswered`: everybody was asked in vain.
    """

    study_id: UUID
    case_number: str
    finding: Finding
    since: datetime
    asked: str
    informed: str
    acknowledged: str
    is_unanswered: bool


@dataclass(frozen=True, slots=True)
class OpenFindings:
    """How many there are, since when the oldest is open, and the oldest ones."""

    count: int
    unanswered: int
    since: datetime | None
    oldest: tuple[OpenFinding, ...]


NONE: Final = OpenFindings(0, 0, None, ())


def of_actor(session: Session, actor: Actor) -> OpenFindings:
    """The open critical findings of the exams that the actor sees, the oldest first; within the
    caller's transaction. There is no row in the log: they name no patient. One whose exam can't be
    read hides no other, and is among those of a reader, who has to hear of it all the same.
    """
    listed = select(CriticalFinding.id, CriticalFinding.study_id).where(
        CriticalFinding.team_id == actor.team_id, CriticalFinding.state == CriticalState.OPEN
    )
    stated_in = dict(
        session.execute(
            listed.order_by(CriticalFinding.created, CriticalFinding.id).limit(MOST)
        ).all()
    )
    if not stated_in:
        return NONE
    found, damaged = database.read_readable(
        session, list(stated_in), lambda some: _read(session, actor, some)
    )
    if damaged and actor.role is Role.READER:
        alone = select(CriticalFinding).where(CriticalFinding.id.in_(damaged))
        for row in session.scalars(alone):
            found[row.id] = row, row.study_id, row.study_id.hex[:6].upper()
    rows = [found[one] for one in stated_in if one in found]
    if not rows:
        return NONE
    names = names_of(session, [row for row, *_ in rows[:SHOWN]])
    return OpenFindings(
        count=len(rows),
        unanswered=sum(is_unanswered(row) for row, *_ in rows),
        since=rows[0][0].created,
        oldest=tuple(
            OpenFinding(
                study_id=study_id,
                case_number=number,
                finding=row.finding,
                since=row.created,
                asked="" if row.exhausted_at else names.get(asked_last(row), ""),
                informed=names.get(first, "") if (first := informed_only(row)) else "",
                acknowledged=names.get(row.acknowledged_by, "") if row.acknowledged_by else "",
                is_unanswered=is_unanswered(row),
            )
            for row, study_id, number in rows[:SHOWN]
        ),
    )


def _read(
    session: Session, actor: Actor, ids: Sequence[UUID]
) -> dict[UUID, tuple[CriticalFinding, UUID, str]]:
    """Those of these findings that the actor may see, each with its exam's id and number."""
    now_in = aliased(Study)
    rows = session.execute(
        select(CriticalFinding, now_in.id, now_in.case_number)
        .join(Study, Study.id == CriticalFinding.study_id)
        .join(now_in, now_in.id == exams.exam_id())
        .where(CriticalFinding.id.in_(ids), now_in.purged_at.is_(None))
        .execution_options(populate_existing=True)
    ).all()
    # Of who may become a second reader nobody was asked to see to it.
    reads = ai_visibility.readings(session, {study_id for _, study_id, _ in rows})
    found = {
        row.id: (row, study_id, number)
        for row, study_id, number in rows
        if not reads.hides_findings(actor, study_id)
    }
    if found and actor.role is not Role.READER:
        mine = _visible(session, actor, {study_id for _, study_id, _ in found.values()})
        found = {one: parts for one, parts in found.items() if parts[1] in mine}
    return found


def is_unanswered(row: CriticalFinding) -> bool:
    """Whether everybody on the rota was asked and nobody sees to it."""
    return row.state is CriticalState.OPEN and row.exhausted_at is not None


def asked_last(row: CriticalFinding) -> UUID:
    """Who was asked last to see to a finding."""
    return UUID(row.asked[-1]["person"])


def informed_only(row: CriticalFinding) -> UUID | None:
    """Who was informed of a finding when it opened, as long as nobody but its reader was asked."""
    first = row.asked[0].get(INFORMED_KEY)
    return UUID(first) if first and len(row.asked) == 1 else None


def names_of(session: Session, rows: Collection[CriticalFinding]) -> dict[UUID, str]:
    """The names of all who have to do with these findings."""
    ids = {
        UUID(one[k])
        for row in rows
        for one in row.asked
        for k in ("person", INFORMED_KEY)
        if k in one
    }
    for row in rows:
        ids |= {i for i in (row.acknowledged_by, row.ended_by, row.stated_by) if i is not None}
    return dict(session.execute(select(User.id, User.name).where(User.id.in_(ids))).all())


def _visible(session: Session, actor: Actor, ids: Collection[UUID]) -> set[UUID]:
    wanted = visible_studies(actor).where(Study.id.in_(ids))
    return set(session.scalars(wanted.with_only_columns(Study.id)))
