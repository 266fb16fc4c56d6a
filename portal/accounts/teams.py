"""Teams: who shares a worklist. What a team uploads, its readers see.

A team is never removed: its cases, and its rows in the log, stay.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.accounts.invitations import team_name
from portal.database import lock_table
from portal.errors import Invalid
from portal.languages import _
from portal.models import Team, TeamChoices, User
from portal.teams.settings import TeamSettings, in_force


@dataclass(frozen=True, slots=True)
class TeamLine:
    """One team, and how many people it has who are not disabled."""

    id: UUID
    name: str
    created: datetime
    people: int
    settings: TeamSettings


def teams(session: Session) -> list[TeamLine]:
    """Every team, by name."""
    rows = session.execute(
        select(Team, TeamChoices, func.count(User.id))
        .outerjoin(TeamChoices, TeamChoices.team_id == Team.id)
        .outerjoin(User, (User.team_id == Team.id) & User.disabled_at.is_(None))
        .group_by(Team.id, TeamChoices.team_id)
        .order_by(Team.name)
    )
    return [
        TeamLine(team.id, team.name, team.created, number, in_force(team, choices))
        for team, choices, number in rows
    ]


def make_team(session: Session, actor: Actor, name: str, now: datetime) -> Team:
    """A new team without people. Raises `Invalid` for a name that is taken or unreadable."""
    actor.require(Permission.PEOPLE_MANAGE)
    team = Team(name=_free_name(session, name), created=now)
    session.add(team)
    return _kept(session, actor, team, "team_made", now)


def rename_team(session: Session, actor: Actor, team_id: UUID, name: str, now: datetime) -> Team:
    """Another name for a team; who belongs to it does not change."""
    actor.require(Permission.PEOPLE_MANAGE)
    team = session.get(Team, team_id)
    if team is None:
        session.rollback()
        raise Denied("team")
    team.name = _free_name(session, name, but=team_id)
    return _kept(session, actor, team, "team_renamed", now)


def _kept(
    session: Session,
    actor: Actor,
    team: Team,
    event: str,
    now: datetime,
) -> Team:
    try:
        session.flush()
    except IntegrityError:  # the name was taken at the same moment
        session.rollback()
        raise _taken() from None
    audit.append(session, event, actor=actor, now=now, subject_id=team.id)
    session.commit()
    return team


def _free_name(session: Session, text: str, *, but: UUID | None = None) -> str:
    wanted = team_name(session, text)
    lock_table(session, Team)  # the constraint takes names for equal only letter by letter
    for team in session.scalars(select(Team)):
        if team.id != but and team.name.casefold() == wanted.casefold():
            session.rollback()
            raise _taken()
    return wanted


def _taken() -> Invalid:
    return Invalid("team", _("There is a team of this name already."))
