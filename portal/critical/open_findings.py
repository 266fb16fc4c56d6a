"""Critical findings of which nobody was informed yet: what lists show of them, for the team."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from portal.access import Actor, visible_studies
from portal.models import CriticalFinding, CriticalState, Finding, Role, Study, User
from portal.studies import exams
from portal.studies.second_reads import blindness

MOST: Final = 100  # that are counted
SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """One of them. `asked`: who is asked to see to it; `acknowledged`: who has said they do, both
    empty where it is nobody. `is_unanswered`: everybody was asked in vain.
    """

    study_id: UUID
    case_number: str
    finding: Finding
    since: datetime
    asked: str
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
    caller's transaction. There is no row in the log: they name no patient.
    """
    now_in = aliased(Study)
    # Of who may become a second reader nobody was asked to see to it.
    hidden = select(Study.id).where(blindness.may_become_second(actor))
    rows = session.execute(
        select(CriticalFinding, now_in.id, now_in.case_number)
        .join(Study, Study.id == CriticalFinding.study_id)
        .join(now_in, now_in.id == exams.exam_id())
        .where(
            CriticalFinding.team_id == actor.team_id,
            CriticalFinding.state == CriticalState.OPEN,
            now_in.purged_at.is_(None),
            now_in.id.not_in(hidden),
        )
        .order_by(CriticalFinding.created, CriticalFinding.id)
        .limit(MOST)
        .execution_options(populate_existing=True)
    ).all()
    if rows and actor.role is not Role.READER:
        mine = _visible(session, actor, {study_id for _, study_id, _ in rows})
        rows = [row for row in rows if row[1] in mine]
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
                acknowledged=names.get(row.acknowledged_by, "") if row.acknowledged_by else "",
                is_unanswered=is_unanswered(row),
            )
            for row, study_id, number in rows[:SHOWN]
        ),
    )


def is_unanswered(row: CriticalFinding) -> bool:
    """Whether everybody on the rota was asked and nobody sees to it."""
    return row.state is CriticalState.OPEN and row.exhausted_at is not None


def asked_last(row: CriticalFinding) -> UUID:
    """Who was asked last to see to a finding."""
    return UUID(row.asked[-1]["person"])


def names_of(session: Session, rows: Collection[CriticalFinding]) -> dict[UUID, str]:
    """The names of all who have to do with these findings."""
    ids = {UUID(one["person"]) for row in rows for one in row.asked}
    for row in rows:
        ids |= {i for i in (row.acknowledged_by, row.ended_by, row.stated_by) if i is not None}
    return dict(session.execute(select(User.id, User.name).where(User.id.in_(ids))).all())


def _visible(session: Session, actor: Actor, ids: Collection[UUID]) -> set[UUID]:
    wanted = visible_studies(actor).where(Study.id.in_(ids))
    return set(session.scalars(wanted.with_only_columns(Study.id)))
