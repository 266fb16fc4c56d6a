"""A team's settings: defaults, what was chosen, and bounds that the database keeps as well."""

import dataclasses
from uuid import uuid4

import pytest
from sqlalchemy.exc import IntegrityError, NoResultFound

from portal.models import AiShown, Language, Team, TeamChoices
from portal.teams.settings import BOUNDS, DEFAULTS, TeamSettings, settings_of
from tests.support.core import NOW, Core


def team_with(core: Core, age_min: int | None = None, **chosen: object) -> Team:
    with core.sessions() as session:
        team = Team(name=f"Team {uuid4()}", created=NOW, age_min=age_min)
        session.add(team)
        session.flush()
        if chosen:
            session.add(TeamChoices(team_id=team.id, **chosen))
        session.commit()
        return team


def in_force(core: Core, team: Team) -> TeamSettings:
    with core.sessions() as session:
        return settings_of(session, team.id)


def test_a_team_that_has_chosen_nothing_has_the_defaults(core: Core) -> None:
    assert in_force(core, team_with(core)) == DEFAULTS
    assert DEFAULTS.ai_shown is AiShown.WITH_PICTURE
    assert DEFAULTS.second_read_percent == 0
    assert DEFAULTS.old_exam_hours is None


def test_what_was_chosen_stands_beside_the_defaults_of_the_rest(core: Core) -> None:
    team = team_with(core, age_min=0, ai_shown=AiShown.NEVER, escalates=False)
    assert in_force(core, team) == dataclasses.replace(
        DEFAULTS, age_min=0, ai_shown=AiShown.NEVER, escalates=False
    )
    assert in_force(core, team_with(core)) == DEFAULTS


def test_every_setting_can_be_chosen(core: Core) -> None:
    chosen = TeamSettings(AiShown.AFTER_VERDICT, 0, 5, 72, 16, True, 10, Language.EN)
    values = dataclasses.asdict(chosen)
    assert in_force(core, team_with(core, values.pop("age_min"), **values)) == chosen


def test_a_team_that_is_not_there_has_no_settings(core: Core) -> None:
    with core.sessions() as session, pytest.raises(NoResultFound):
        settings_of(session, uuid4())


@pytest.mark.parametrize("name", sorted(set(BOUNDS) - {"age_min"}))
def test_the_database_keeps_the_same_bounds(core: Core, name: str) -> None:
    for value in (BOUNDS[name].least, BOUNDS[name].most):
        assert getattr(in_force(core, team_with(core, **{name: value})), name) == value
    for value in (BOUNDS[name].least - 1, BOUNDS[name].most + 1):
        with pytest.raises(IntegrityError):
            team_with(core, **{name: value})
