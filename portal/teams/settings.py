"""What a team may set: values in force, defaults and bounds. `accounts.team_settings` changes them.

A team that has chosen nothing for a setting follows its default, also where a later version has
another one. `age_min` is a column of the team; the others are in a row of their own.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from uuid import UUID

from sqlalchemy import Select, bindparam, select
from sqlalchemy.orm import Session

from portal.languages import lazy
from portal.models import AiShown, Language, Team, TeamChoices
from worker.contract.job import ADULT_YEARS


@dataclass(frozen=True, slots=True)
class Bounds:
    """The least and the most that a whole number may be, and its unit."""

    least: int
    most: int
    unit: str


UNITS: Final = MappingProxyType(
    {
        "%": lazy("percent"),
        "minutes": lazy("minutes"),
        "hours": lazy("hours"),
        "years": lazy("years"),
        "hour": lazy("full hours"),
        "exams": lazy("exams"),
    }
)
"""What the units of the bounds are called."""

BOUNDS: Final = MappingProxyType(
    {
        "second_read_percent": Bounds(0, 100, "%"),
        "signing_minutes": Bounds(1, 600, "minutes"),
        "old_exam_hours": Bounds(1, 1_000_000, "hours"),
        "escalation_minutes": Bounds(1, 1440, "minutes"),
        "off_peak_from": Bounds(0, 23, "hour"),
        "off_peak_until": Bounds(0, 23, "hour"),
        "priors_most": Bounds(1, 20, "exams"),
        "age_min": Bounds(0, ADULT_YEARS - 1, "years"),
    }
)


@dataclass(frozen=True, slots=True)
class TeamSettings:
    """The settings in force for one team; the values here are the defaults.

    ai_shown: what a reader sees of the AI, see `teams.ai_visibility`.
    second_read_percent: how many of the exams, in percent, get a second reader by chance.
    signing_minutes: how long a proof of identity suffices to sign.
    old_exam_hours: an exam that was taken longer ago when it arrives is an old one; None: as the
    installation has it (`PLEURA_OLD_EXAM_HOURS`).
    age_min: from which age on, in years, pictures of under-18s are analysed; None: not at all.
    escalates: whether a critical finding that nobody has acknowledged goes on to the next on the
    rota after `escalation_minutes`, and so on.
    names_on_board: whether admins see Dice and reading time of this team's readers with names.
    off_peak_from, off_peak_until: the hours of the day, by the clock of the installation, in which
    jobs run that a rule puts off; over midnight where the first is the later one.
    priors_most: how many earlier exams of a patient are retrieved from a DICOM node.
    """

    ai_shown: AiShown = AiShown.WITH_PICTURE
    second_read_percent: int = 0
    signing_minutes: int = 60
    old_exam_hours: int | None = None
    age_min: int | None = None
    escalates: bool = True
    escalation_minutes: int = 30
    language: Language = Language.EN
    names_on_board: bool = False
    off_peak_from: int = 20
    off_peak_until: int = 6
    priors_most: int = 3


DEFAULTS: Final = TeamSettings()

_CHOSEN: Final[Select[Team, TeamChoices | None]] = (
    select(Team, TeamChoices)
    .outerjoin(TeamChoices, TeamChoices.team_id == Team.id)
    .where(Team.id == bindparam("team_id"))
)


def settings_of(session: Session, team_id: UUID) -> TeamSettings:
    """The settings in force for a team. Raises NoResultFound where there is no such team."""
    team, choices = session.execute(_CHOSEN, {"team_id": team_id}).one()
    return in_force(team, choices)


def in_force(team: Team, choices: TeamChoices | None) -> TeamSettings:
    """The settings that follow from a team's row and what it chose."""
    chosen = {}
    for name in TeamSettings.__dataclass_fields__:
        value = getattr(team if name == "age_min" else choices, name, None)
        if value is not None:
            chosen[name] = value
    return TeamSettings(**chosen)
