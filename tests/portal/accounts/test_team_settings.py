"""Choosing a team's settings: within bounds, logged with before and after, never over another's."""

import json
import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.accounts import team_settings
from portal.errors import Conflict, Invalid
from portal.models import AiShown, AuditEvent
from portal.teams.settings import BOUNDS, DEFAULTS, TeamSettings, settings_of
from tests.support.clinic import Clinic
from tests.support.core import NOW

VALUES = {
    "ai_shown": ("never", AiShown.NEVER),
    "second_read_percent": ("10", 10),
    "signing_minutes": ("5", 5),
    "old_exam_hours": ("72", 72),
    "age_min": ("0", 0),
    "escalates": ("no", False),
    "escalation_minutes": ("15", 15),
    "language": ("en", "en"),
    "names_on_board": ("yes", True),
    "off_peak_from": ("22", 22),
    "off_peak_until": ("5", 5),
    "priors_most": ("5", 5),
}


def choose(clinic: Clinic, name: str, text: str, shown: str = "") -> TeamSettings:
    with clinic.session as session:
        team_id = clinic.mate.team_id
        return team_settings.choose(session, clinic.admin, team_id, name, text, shown, NOW)


def in_force(clinic: Clinic, team_id: UUID | None = None) -> TeamSettings:
    with clinic.session as session:
        return settings_of(session, team_id or clinic.mate.team_id)


def logged(clinic: Clinic) -> list[dict[str, Any]]:
    with clinic.session as session:
        rows = session.scalars(
            select(AuditEvent)
            .where(AuditEvent.event == "team_setting_chosen")
            .order_by(AuditEvent.seq)
        ).all()
        assert {(row.subject_id, row.actor_id) for row in rows} <= {
            (clinic.mate.team_id, clinic.admin.user_id)
        }
        return [json.loads(row.detail) for row in rows]


def test_every_setting_is_among_these() -> None:
    assert set(VALUES) == set(TeamSettings.__dataclass_fields__)


@pytest.mark.parametrize("name", VALUES)
def test_a_choice_holds_for_its_team_and_is_taken_back(clinic: Clinic, name: str) -> None:
    text, value = VALUES[name]
    assert getattr(choose(clinic, name, f" {text} "), name) == value
    assert getattr(in_force(clinic), name) == value
    assert in_force(clinic, clinic.outsider.team_id) == DEFAULTS
    assert choose(clinic, name, "", shown=text) == DEFAULTS
    assert logged(clinic) == [
        {"setting": name, "before": None, "after": value},
        {"setting": name, "before": value, "after": None},
    ]


@pytest.mark.parametrize("name", [*VALUES])
@pytest.mark.parametrize("text", ["-1", "1.5", "٣", "x", "1 2", "9" * 30, "NEVER", "true"])
def test_what_cannot_be_is_refused_with_a_sentence(clinic: Clinic, name: str, text: str) -> None:
    with pytest.raises(Invalid, match=r"^\w+: .*\.$") as refused:
        choose(clinic, name, text)
    assert refused.value.code == name
    assert in_force(clinic) == DEFAULTS
    assert logged(clinic) == []


@pytest.mark.parametrize("name", BOUNDS)
def test_a_number_keeps_its_bounds(clinic: Clinic, name: str) -> None:
    least, most = BOUNDS[name].least, BOUNDS[name].most
    choose(clinic, name, str(least))
    choose(clinic, name, str(most), shown=str(least))
    for beyond in (least - 1, most + 1):
        with pytest.raises(Invalid):
            choose(clinic, name, str(beyond), shown=str(most))
    assert getattr(in_force(clinic), name) == most


def test_a_page_that_is_out_of_date_changes_nothing(clinic: Clinic) -> None:
    choose(clinic, "signing_minutes", "5")
    with pytest.raises(Conflict, match="Somebody has changed this setting"):
        choose(clinic, "signing_minutes", "9")
    assert in_force(clinic).signing_minutes == 5
    assert len(logged(clinic)) == 1


def test_of_two_at_once_one_is_refused(clinic: Clinic) -> None:
    outcomes = list[object]()

    def change(text: str) -> None:
        try:
            choose(clinic, "second_read_percent", text)
            outcomes.append(text)
        except Conflict:
            outcomes.append(None)

    threads = [threading.Thread(target=change, args=(text,)) for text in ("5", "6")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(None) == 1
    assert str(in_force(clinic).second_read_percent) in outcomes
    assert len(logged(clinic)) == 1


def test_only_administrators_choose_and_only_what_is_there(clinic: Clinic) -> None:
    with clinic.session as session:
        team_id = clinic.mate.team_id
        for actor in (clinic.mate, clinic.owner, clinic.auditor):
            with pytest.raises(Denied):
                team_settings.choose(session, actor, team_id, "language", "en", "", NOW)
            with pytest.raises(Denied):
                team_settings.team_with_settings(session, actor, team_id)
        for team, name in ((uuid4(), "language"), (team_id, "name"), (team_id, "id")):
            with pytest.raises(Denied):
                team_settings.choose(session, clinic.admin, team, name, "en", "", NOW)
        with pytest.raises(Denied):
            team_settings.team_with_settings(session, clinic.admin, uuid4())
    assert in_force(clinic) == DEFAULTS
