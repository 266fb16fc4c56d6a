"""Changing a team's settings: one at a time, within their bounds, with a row in the access log."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.errors import Conflict, Invalid
from portal.languages import _, lazy, number_text
from portal.models import AiShown, Language, Team, TeamChoices
from portal.teams import readers
from portal.teams.settings import BOUNDS, Bounds, TeamSettings, in_force

CHOICES: Final[Mapping[str, type[StrEnum]]] = MappingProxyType(
    {"ai_shown": AiShown, "language": Language}
)
"""The settings of which one value out of a list is chosen."""
_SWITCHES: Final = MappingProxyType({"yes": True, "no": False})


_WHOLE: Final = MappingProxyType(
    {
        "%": lazy("A whole number percent from %(least)s to %(most)s, or nothing for the default."),
        "minutes": lazy(
            "A whole number of minutes from %(least)s to %(most)s, or nothing for the default."
        ),
        "hours": lazy(
            "A whole number of hours from %(least)s to %(most)s, or nothing for the default."
        ),
        "exams": lazy(
            "A whole number of exams from %(least)s to %(most)s, or nothing for the default."
        ),
        "hour": lazy("A full hour from %(least)s to %(most)s, or nothing for the default."),
        "years": lazy(
            "A whole number of years from %(least)s to %(most)s, or nothing for the default."
        ),
    }
)


def team_with_settings(
    session: Session, actor: Actor, team_id: UUID
) -> tuple[Team, TeamSettings, dict[str, Any], int]:
    """A team, its settings in force, what was chosen by name (None where the default holds), and
    how many readers it has.
    """
    actor.require(Permission.PEOPLE_MANAGE)
    team = session.get(Team, team_id)
    if team is None:
        raise Denied("team")
    choices = session.get(TeamChoices, team_id)
    number = readers.count(session, team_id)
    return team, in_force(team, choices), _chosen(team, choices), number


def choose(
    session: Session, actor: Actor, team_id: UUID, name: str, text: str, shown: str, now: datetime
) -> TeamSettings:
    """Choose a setting as it was typed, "" for the default; returns the settings now in force.

    `shown`: the choice that the page had, as `typed` writes it. Raises Conflict where another one
    was made since, Invalid for a value that can't be, Denied for a team or a setting that is not
    there.
    """
    actor.require(Permission.PEOPLE_MANAGE)
    if name not in TeamSettings.__dataclass_fields__:
        raise Denied("setting")
    value = _read(name, text.strip())
    # The team's row is the lock of both rows: that of its choices may not be there yet.
    team = session.get(Team, team_id, with_for_update=True, populate_existing=True)
    if team is None:
        session.rollback()
        raise Denied("team")
    choices = session.get(TeamChoices, team_id, populate_existing=True)
    before = _chosen(team, choices)[name]
    if typed(before) != shown.strip():
        session.rollback()
        raise Conflict("changed", _("Somebody has changed this setting since the page was opened."))
    if choices is None:
        choices = TeamChoices(team_id=team_id)
        session.add(choices)
    setattr(team if name == "age_min" else choices, name, value)
    audit.append(
        session,
        "team_setting_chosen",
        actor=actor,
        now=now,
        subject_id=team_id,
        detail={"setting": name, "before": before, "after": value},
    )
    session.commit()
    return in_force(team, choices)


def typed(value: object) -> str:
    """A choice as a form sends it: "" for none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _chosen(team: Team, choices: TeamChoices | None) -> dict[str, Any]:
    names = TeamSettings.__dataclass_fields__
    return {name: getattr(team if name == "age_min" else choices, name, None) for name in names}


def _read(name: str, text: str) -> int | bool | StrEnum | None:
    if text == "":
        return None
    if name in BOUNDS:
        return _whole(name, text, BOUNDS[name])
    allowed: Mapping[str, bool | StrEnum] = (
        {value.value: value for value in CHOICES[name]} if name in CHOICES else _SWITCHES
    )
    if text not in allowed:
        raise Invalid(name, _("Choose one of the values in the list."))
    return allowed[text]


def _whole(name: str, text: str, bounds: Bounds) -> int:
    digits = text.isascii() and text.isdecimal() and len(text) <= len(str(bounds.most))
    if not digits or not bounds.least <= int(text) <= bounds.most:
        limits = {"least": number_text(bounds.least), "most": number_text(bounds.most)}
        raise Invalid(name, _WHOLE[bounds.unit] % limits)
    return int(text)
