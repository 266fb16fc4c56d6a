"""Who of a team is asked to see to a critical finding, in which order, and after how long.

Administrators keep the rota: it names people and nothing of patients.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.errors import Conflict, Invalid
from portal.languages import _
from portal.models import Role, RotaPlace, Team, User
from portal.teams.settings import settings_of

MOST: Final = 20  # people on a rota


def wait_of(session: Session, team_id: UUID) -> timedelta | None:
    """After how long a critical finding of the team goes to the next; None: it never does."""
    chosen = settings_of(session, team_id)
    return timedelta(minutes=chosen.escalation_minutes) if chosen.escalates else None


def people_of(session: Session, team_id: UUID) -> list[User]:
    """The readers on the team's rota who can be asked, in their order: those who are disabled, have
    another role or are of another team now are passed over.
    """
    query = (
        select(User)
        .join(RotaPlace, RotaPlace.user_id == User.id)
        .where(
            RotaPlace.team_id == team_id,
            User.team_id == team_id,
            User.role == Role.READER,
            User.disabled_at.is_(None),
        )
        .order_by(RotaPlace.position, RotaPlace.user_id)
    )
    return list(session.scalars(query))


def next_after(session: Session, team_id: UUID, asked: Collection[str]) -> User | None:
    """The first on the rota who was not asked yet, by the ids (hexadecimal) of those who were."""
    return next((one for one in people_of(session, team_id) if one.id.hex not in asked), None)


@dataclass(frozen=True, slots=True)
class Place:
    """Somebody on a rota. `is_passed_over`: no reader of the team any more, or disabled."""

    user_id: UUID
    name: str
    is_passed_over: bool


@dataclass(frozen=True, slots=True)
class RotaView:
    """A team's rota, who else can be on it, and how long whoever is asked has."""

    team_id: UUID
    team: str
    places: list[Place]
    others: list[tuple[UUID, str]]
    wait: timedelta | None


def view(session: Session, actor: Actor, team_id: UUID) -> RotaView:
    """The rota for the administrator's page; Denied where there is no such team."""
    team, readers = readers_of(session, actor, team_id)
    listed = session.execute(
        select(RotaPlace.user_id, User.name)
        .join(User, User.id == RotaPlace.user_id)
        .where(RotaPlace.team_id == team_id)
        .order_by(RotaPlace.position)
    ).all()
    able, there = {one.id for one in readers}, {user_id for user_id, _name in listed}
    found = RotaView(
        team_id=team.id,
        team=team.name,
        places=[Place(user_id, name, user_id not in able) for user_id, name in listed],
        others=[(one.id, one.name) for one in readers if one.id not in there],
        wait=wait_of(session, team_id),
    )
    session.commit()
    return found


def readers_of(session: Session, actor: Actor, team_id: UUID) -> tuple[Team, list[User]]:
    """A team and its readers who can be on its rota, by name; Denied where there is no team."""
    actor.require(Permission.PEOPLE_MANAGE)
    team = session.get(Team, team_id)
    if team is None:
        raise Denied("team")
    query = (
        select(User)
        .where(User.team_id == team_id, User.role == Role.READER, User.disabled_at.is_(None))
        .order_by(User.name, User.id)
    )
    return team, list(session.scalars(query))


def choose(
    session: Session,
    actor: Actor,
    team_id: UUID,
    wanted: Sequence[UUID],
    now: datetime,
    *,
    seen: Sequence[UUID] | None = None,
) -> list[UUID]:
    """The team's rota is these people in this order from now on; one audit row with both rotas.

    It applies to whoever is asked next, also about findings that are open. Returns the rota.
    `seen`: the rota that the administrator had before them. Raises Conflict where it is another
    now, Invalid for somebody who is no reader of the team, twice there, or one too many; Denied.
    """
    actor.require(Permission.PEOPLE_MANAGE)
    team = session.get(Team, team_id, with_for_update=True, populate_existing=True)
    if team is None:
        session.rollback()
        raise Denied("team")
    _team, readers = readers_of(session, actor, team_id)
    places = select(RotaPlace.user_id).where(RotaPlace.team_id == team_id)
    before = list(session.scalars(places.order_by(RotaPlace.position)))
    if seen is not None and list(seen) != before:
        raise Conflict("rota_changed", _("The rota was changed since you opened it. Look again."))
    if len(wanted) > MOST:
        raise Invalid("rota", _("A rota has at most %(most)s people.", most=MOST))
    if len(set(wanted)) != len(wanted):
        raise Invalid("rota", _("Everybody is on a rota once."))
    if not set(wanted) - set(before) <= {one.id for one in readers}:
        raise Invalid(
            "rota", _("Only readers of the team who are not disabled can be on its rota.")
        )
    if before == list(wanted):
        session.commit()
        return before
    session.execute(delete(RotaPlace).where(RotaPlace.team_id == team_id))
    session.add_all(
        RotaPlace(team_id=team_id, user_id=user_id, position=position)
        for position, user_id in enumerate(wanted)
    )
    session.flush()
    detail = {"before": [one.hex for one in before], "rota": [one.hex for one in wanted]}
    audit.append(session, "rota_changed", actor=actor, now=now, subject_id=team_id, detail=detail)
    session.commit()
    return list(wanted)
