"""The page of a team's rules: list, form, order, versions, and what they would do."""

import json
import re
from io import BytesIO
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.models import Arrival, ArrivalEnd, ArrivalRule, AuditEvent, Team, User, db
from portal.teams.rules.in_force import RuleList, rules_of
from tests.support.core import Clock
from tests.support.people import Person
from tests.support.pictures import dicom
from tests.support.portal_app import csrf_of, make_study, post, sign_in

LATERAL = {
    "name": "Lateral views",
    "views": "ll, RL",
    "end": "keep",
    "reason": "The model reads frontal views",
}


@pytest.fixture
def team_id(app: Flask, reader: Person) -> UUID:
    with app.app_context():
        return db.session().get_one(User, reader.id).team_id


@pytest.fixture
def page(team_id: UUID) -> str:
    return f"/admin/teams/{team_id}/rules"


def rules(app: Flask, team_id: UUID) -> RuleList:
    with app.app_context():
        return rules_of(db.session(), team_id)


def names(app: Flask, team_id: UUID) -> list[str]:
    return [one.name for one in rules(app, team_id).rules]


def add(client: FlaskClient, page: str, shown: int, **changes: str) -> int:
    sent = LATERAL | {"shown": str(shown), "what": "store"} | changes
    return post(client, page, sent, page=page).status_code


def press(client: FlaskClient, page: str, shown: int, what: str) -> int:
    sent = {"shown": str(shown), "change": what}
    return post(client, f"{page}/order", sent, page=page).status_code


def test_without_rules_the_page_says_what_happens(admin_client: FlaskClient, page: str) -> None:
    text = admin_client.get(page).text
    assert "No rules: every picture is analysed at once" in text
    assert "Versions" not in text


def test_a_rule_is_added_and_shown_with_its_conditions(
    app: Flask, admin_client: FlaskClient, page: str, team_id: UUID
) -> None:
    changes = {"age_from": "18", "time_from": "20:00", "time_until": "06:00"}
    assert add(admin_client, page, 0, **changes) == 303
    text = admin_client.get(page).text
    for part in (
        "View: LL, RL",
        "Age: at least 18 years",
        "Arrives from 20:00 to 06:00",
        "Keep without analysis",
        "The model reads frontal views",
        "“Lateral views” added",
    ):
        assert part in text, part
    found = rules(app, team_id)
    assert found.version == 1
    assert found.rules[0].conditions.views == ("LL", "RL")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": " "}, "A rule needs a name"),
        ({"reason": ""}, "State the reason"),
        ({"end": "delete"}, "Choose what becomes of such a picture"),
        ({"views": "UP"}, "These are the views"),
        ({"age_from": "60", "age_below": "60"}, "The end must be greater than the beginning"),
        ({"hours_from": "-1"}, "A whole number from 0 to"),
        ({"time_from": "25:00", "time_until": "06:00"}, "A time of the day as 07:30"),
        ({"time_from": "20:00"}, "A part of the day has a beginning and another end"),
        ({"stations": "X" * 17}, "values of at most 16 characters"),
    ],
)
def test_what_can_not_be_is_refused_where_it_was_typed(
    app: Flask,
    admin_client: FlaskClient,
    page: str,
    team_id: UUID,
    changes: dict[str, str],
    text: str,
) -> None:
    sent = LATERAL | {"shown": "0", "what": "store", "body_parts": "CHEST"} | changes
    answer = post(admin_client, page, sent, page=page)
    assert answer.status_code == 422
    assert text in answer.text
    assert 'value="CHEST"' in answer.text
    assert rules(app, team_id).version == 0


def test_rules_are_moved_switched_changed_removed_and_put_back(
    app: Flask, admin_client: FlaskClient, page: str, team_id: UUID
) -> None:
    for number, name in enumerate(("A", "B", "C")):
        assert add(admin_client, page, number, name=name) == 303
    first, second, _third = (one.rule for one in rules(app, team_id).rules)
    assert first is not None
    assert second is not None
    assert press(admin_client, page, 3, f"down:{first.hex}") == 303
    assert names(app, team_id) == ["B", "A", "C"]
    assert press(admin_client, page, 4, f"up:{second.hex}") == 303  # it is the first already
    assert names(app, team_id) == ["B", "A", "C"]
    assert press(admin_client, page, 5, f"off:{first.hex}") == 303
    assert [one.is_on for one in rules(app, team_id).rules] == [True, False, True]
    form = admin_client.get(f"{page}?change={first}").text
    assert "Change <bdi>A</bdi>" in form
    assert add(admin_client, page, 6, rule=first.hex, name="A2", end="off_peak") == 303
    changed = rules(app, team_id).rules[1]
    assert (changed.name, changed.end, changed.is_on) == ("A2", ArrivalEnd.OFF_PEAK, False)
    assert press(admin_client, page, 7, f"remove:{second.hex}") == 303
    assert names(app, team_id) == ["A2", "C"]
    back = post(admin_client, f"{page}/restore", {"shown": "8", "version": "3"}, page=page)
    assert back.status_code == 303
    assert names(app, team_id) == ["A", "B", "C"]
    assert "version 3 put back" in admin_client.get(page).text
    none = post(admin_client, f"{page}/restore", {"shown": "9", "version": "0"}, page=page)
    assert none.status_code == 303
    assert (rules(app, team_id).version, names(app, team_id)) == (10, [])
    with app.app_context():
        events = db.session().query(AuditEvent).filter_by(event="arrival_rules_changed").all()
        assert [json.loads(event.detail)["version"] for event in events] == list(range(1, 11))


def test_who_has_an_older_list_open_changes_nothing(
    app: Flask, admin_client: FlaskClient, page: str, team_id: UUID
) -> None:
    assert add(admin_client, page, 0) == 303
    assert add(admin_client, page, 0, name="Second") == 409
    rule = rules(app, team_id).rules[0].rule
    assert rule is not None
    assert press(admin_client, page, 0, f"remove:{rule.hex}") == 409
    assert press(admin_client, page, 1, f"explode:{rule.hex}") == 422
    assert names(app, team_id) == ["Lateral views"]


def test_rows_of_a_version_are_never_changed(
    app: Flask, admin_client: FlaskClient, page: str, team_id: UUID
) -> None:
    assert add(admin_client, page, 0) == 303
    rule = rules(app, team_id).rules[0]
    assert rule.rule is not None
    assert add(admin_client, page, 1, rule=rule.rule.hex, name="Other") == 303
    with app.app_context():
        assert db.session().get_one(ArrivalRule, rule.id).name == "Lateral views"


def test_without_a_fresh_proof_nothing_is_changed(
    app: Flask, admin: Person, clock: Clock, page: str, team_id: UUID
) -> None:
    client = sign_in(app, admin)
    clock.forward(minutes=11)
    answer = post(client, page, LATERAL | {"shown": "0"}, page=page)
    assert answer.location.startswith("/confirm")
    assert rules(app, team_id).version == 0


def try_form(client: FlaskClient, page: str, **changes: str) -> str:
    sent = LATERAL | {"shown": "0", "what": "try"} | changes
    answer = post(client, page, sent, page=page)
    assert answer.status_code == 200
    return answer.text


def test_a_dry_run_counts_what_would_end_otherwise_and_stores_nothing(
    app: Flask, admin_client: FlaskClient, reader: Person, page: str, team_id: UUID
) -> None:
    assert "Nothing has arrived for this team yet." in try_form(admin_client, page)
    for view in ("LL", "PA", "LL"):
        make_study(app, reader, data=dicom(ViewPosition=view))
    text = try_form(admin_client, page)
    assert "With the rule as typed, not stored yet" in text
    assert re.search(r"3 arrivals since .*2 would come to another end", text, re.DOTALL)
    assert "2, which were analysed at once" in text
    assert rules(app, team_id).version == 0
    now = post(admin_client, f"{page}/try", {}, page=page).text
    assert "0 would come to another end" in now
    with app.app_context():
        assert db.session().query(AuditEvent).filter_by(event="arrival_rules_tried").count() == 3
        assert {row.end for row in db.session().query(Arrival)} == {ArrivalEnd.ANALYSE}


def test_a_dry_run_is_about_its_team_alone(
    app: Flask, admin_client: FlaskClient, reader: Person
) -> None:
    make_study(app, reader)
    with app.app_context():
        session = db.session()
        session.add(Team(id=UUID(int=7), name="Elsewhere", created=Clock()()))
        session.commit()
    text = try_form(admin_client, f"/admin/teams/{UUID(int=7)}/rules")
    assert "Nothing has arrived for this team yet." in text


def drop(client: FlaskClient, page: str, data: bytes, ae_title: str = "") -> tuple[int, str]:
    sent = {
        "csrf_token": csrf_of(client, page),
        "file": (BytesIO(data), "x.dcm"),
        "ae_title": ae_title,
    }
    answer = client.post(f"{page}/try-file", data=sent)
    return answer.status_code, answer.text


def test_a_dropped_file_shows_the_rule_that_it_would_meet_and_is_not_stored(
    app: Flask, admin_client: FlaskClient, page: str
) -> None:
    assert add(admin_client, page, 0, ae_titles="XRAY1") == 303
    status, text = drop(admin_client, page, dicom(ViewPosition="LL", BodyPartExamined="CHEST"))
    assert (status, "It would meet no rule:" in text) == (200, True)
    status, text = drop(admin_client, page, dicom(ViewPosition="LL"), "XRAY1")
    assert (status, "It would meet the rule “<bdi>Lateral views</bdi>”" in text) == (200, True)
    assert drop(admin_client, page, b"")[0] == 422
    status, text = drop(admin_client, page, dicom(Modality="CT"))
    assert status == 422
    assert "Refused whatever the rules are" in text
    with app.app_context():
        assert db.session().query(Arrival).count() == 0


def test_the_case_page_shows_the_rule_and_starts_the_analysis(
    app: Flask, admin_client: FlaskClient, reader: Person, page: str
) -> None:
    assert add(admin_client, page, 0) == 303
    study_id = make_study(app, reader, data=dicom(ViewPosition="LL"))
    client = sign_in(app, reader)
    case = f"/studies/{study_id}"
    text = client.get(case).text
    assert "Met the rule “Lateral views” (version 1 of the list): kept without analysis." in text
    assert "The model reads frontal views" in text
    assert post(client, f"{case}/analyse", {}, page=case).status_code == 303
    text = client.get(case).text
    assert "Analysis asked for by" in text
    assert "Analyse now" not in text
