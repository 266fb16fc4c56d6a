"""Critical findings of which nobody was informed yet: what lists show of them, for the team."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
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
from portal.studies.second_reads.blindness import Readings
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


@dataclass(frozen=True, slots=True)
class _Listed:
    """An open finding with what the exam is now, and who may not see it yet (None: its exam can't
    be read).
    """

    row: CriticalFinding
    study_id: UUID
    case_number: str
    reads: Readings | None


@dataclass(frozen=True, slots=True)
class TeamFindings:
    """The open critical findings of a team, the oldest first, read once for all of its readers.

    `names`: those of the people who have to do with them.
    """

    listed: Sequence[_Listed] = ()
    names: Mapping[UUID, str] = field(default_factory=dict)

    def seen_by(self, reader: Actor) -> OpenFindings:
        """Those that a reader of the team sees; no statement."""
        return self.of([one for one in self.listed if self._shows(reader, one)])

    def asked(self, reader: Actor) -> list[UUID]:
        """The exams of those that this reader of the team is asked to see to and has not said they
        do: who was asked last, who was informed at once, and everybody asked once all were.
        """
        return [
            one.study_id
            for one in self.listed
            if self._shows(reader, one) and is_asked(one.row, reader.user_id)
        ]

    def of(self, listed: Sequence[_Listed]) -> OpenFindings:
        """What lists show of these."""
        if not listed:
            return NONE
        return OpenFindings(
            count=len(listed),
            unanswered=sum(is_unanswered(one.row) for one in listed),
            since=listed[0].row.created,
            oldest=tuple(self._shown(one) for one in listed[:SHOWN]),
        )

    def _shows(self, reader: Actor, one: _Listed) -> bool:
        # One whose exam can't be read hides no other, and its reader has to hear of it.
        return one.reads is None or not one.reads.hides_findings(reader, one.study_id)

    def _shown(self, one: _Listed) -> OpenFinding:
        row, names = one.row, self.names
        first = informed_only(row)
        return OpenFinding(
            study_id=one.study_id,
            case_number=one.case_number,
            finding=row.finding,
            since=row.created,
            asked="" if row.exhausted_at else names.get(asked_last(row), ""),
            informed=names.get(first, "") if first else "",
            acknowledged=names.get(row.acknowledged_by, "") if row.acknowledged_by else "",
            is_unanswered=is_unanswered(row),
        )


def of_actor(session: Session, actor: Actor) -> OpenFindings:
    """The open critical findings of the exams that the actor sees, the oldest first; within the
    caller's transaction. There is no row in the log: they name no patient. One whose exam can't be
    read hides no other, and is among those of a reader, who has to hear of it all the same.
    """
    found = of_team(session, actor.team_id)
    if actor.role is Role.READER or not found.listed:
        return found.seen_by(actor)
    readable = [one for one in found.listed if one.reads is not None]
    mine = _visible(session, actor, {one.study_id for one in readable})
    return found.of([one for one in readable if one.study_id in mine])


def of_team(session: Session, team_id: UUID) -> TeamFindings:
    """The open critical findings of a team, for each of its readers to be shown theirs; within the
    caller's transaction, in as many statements for one reader as for all of them.
    """
    listed = select(CriticalFinding.id, CriticalFinding.study_id).where(
        CriticalFinding.team_id == team_id, CriticalFinding.state == CriticalState.OPEN
    )
    stated_in = dict(
        session.execute(
            listed.order_by(CriticalFinding.created, CriticalFinding.id).limit(MOST)
        ).all()
    )
    if not stated_in:
        return TeamFindings()
    found, damaged = database.read_readable(
        session, list(stated_in), lambda some: _read(session, some)
    )
    if damaged:
        alone = select(CriticalFinding).where(CriticalFinding.id.in_(damaged))
        for row in session.scalars(alone):
            found[row.id] = _Listed(row, row.study_id, row.study_id.hex[:6].upper(), None)
    rows = [found[one] for one in stated_in if one in found]
    return TeamFindings(rows, names_of(session, [one.row for one in rows]) if rows else {})


def _read(session: Session, ids: Sequence[UUID]) -> dict[UUID, _Listed]:
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
    return {row.id: _Listed(row, study_id, number, reads) for row, study_id, number in rows}


def is_asked(row: CriticalFinding, person: UUID) -> bool:
    """Whether this person is asked to see to an open finding, and nobody has said they do."""
    if row.acknowledged_by is not None:
        return False
    if is_unanswered(row):
        return person in {UUID(one["person"]) for one in row.asked}
    return person in (asked_last(row), informed_only(row))


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
