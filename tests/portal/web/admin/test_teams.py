"""Teams in the pages: making and renaming them, moving people, and what the move does."""

import json
import re
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts import teams
from portal.models import AuditEvent, Role, db
from tests.support.core import Clock
from tests.support.people import PASSWORD, Person
from tests.support.portal_app import make_person, make_study, post, sign_in


@pytest.fixture
def elsewhere(app: Flask, admin_client: FlaskClient) -> UUID:
    """The id of another team, made on the page."""
    assert post(admin_client, "/admin/teams", {"name": "Elsewhere"}).status_code == 303
    with app.app_context():
        return next(t.id for t in teams.teams(db.session()) if t.name == "Elsewhere")


def test_a_team_is_made_and_renamed(admin_client: FlaskClient, elsewhere: UUID) -> None:
    page = admin_client.get("/admin/teams").text
    assert "Radiology" in page
    assert "Elsewhere" in page
    renamed = post(admin_client, f"/admin/teams/{elsewhere}/name", {"name": "Chest clinic"})
    assert renamed.status_code == 303
    page = admin_client.get("/admin/teams").text
    assert "Chest clinic" in page
    assert "Elsewhere" not in page


def test_a_name_that_is_taken_is_refused_where_it_was_typed(
    admin_client: FlaskClient, elsewhere: UUID
) -> None:
    for path in ("/admin/teams", f"/admin/teams/{elsewhere}/name"):
        answer = post(admin_client, path, {"name": "radiology"})
        assert answer.status_code == 422
        assert answer.text.count("There is a team of this name already.") == 1


def age_of(app: Flask, team_id: UUID) -> int | None:
    with app.app_context():
        return next(t.age_min for t in teams.teams(db.session()) if t.id == team_id)


def test_an_age_for_under_18s_is_chosen_and_taken_back_and_both_are_in_the_log(
    app: Flask, admin_client: FlaskClient, elsewhere: UUID
) -> None:
    assert age_of(app, elsewhere) is None
    assert "no result" in admin_client.get("/admin/teams").text
    for typed, stored, shown in (("12", 12, "result from 12 years"), ("", None, "no result")):
        assert (
            post(admin_client, f"/admin/teams/{elsewhere}/age", {"age": typed}).status_code == 303
        )
        assert age_of(app, elsewhere) == stored
        assert shown in admin_client.get("/admin/teams").text
    with app.app_context():
        rows = db.session().scalars(
            select(AuditEvent).where(AuditEvent.event == "team_age_chosen").order_by(AuditEvent.seq)
        )
        assert [(row.subject_id, json.loads(row.detail)) for row in rows] == [
            (elsewhere, {"before": None, "age_min": 12}),
            (elsewhere, {"before": 12, "age_min": None}),
        ]


@pytest.mark.parametrize("typed", ["18", "-1", "1.5", "٣", "x", "1 2"])
def test_an_age_that_is_none_is_refused_where_it_was_typed(
    app: Flask, admin_client: FlaskClient, elsewhere: UUID, typed: str
) -> None:
    answer = post(admin_client, f"/admin/teams/{elsewhere}/age", {"age": typed})
    assert answer.status_code == 422
    assert answer.text.count("A whole number of years from 0 to 17") == 1
    assert age_of(app, elsewhere) is None


def test_an_age_is_chosen_only_after_password_and_code_again(
    app: Flask, admin_client: FlaskClient, elsewhere: UUID, clock: Clock
) -> None:
    clock.forward(minutes=14)
    answer = post(admin_client, f"/admin/teams/{elsewhere}/age", {"age": "12"})
    assert answer.location.startswith("/confirm")
    assert age_of(app, elsewhere) is None


def test_a_team_that_is_not_there_is_not_found(admin_client: FlaskClient) -> None:
    assert post(admin_client, f"/admin/teams/{uuid4()}/name", {"name": "X"}).status_code == 404
    assert post(admin_client, f"/admin/teams/{uuid4()}/age", {"age": "9"}).status_code == 404


def test_a_moved_reader_sees_the_new_team_and_not_the_old(
    app: Flask,
    admin_client: FlaskClient,
    reader: Person,
    technologist: Person,
    elsewhere: UUID,
) -> None:
    theirs = make_person(app, Role.TECHNOLOGIST, team="Elsewhere")
    here, there = make_study(app, technologist), make_study(app, theirs, shade=1)
    before = sign_in(app, reader)
    assert [before.get(f"/studies/{i}").status_code for i in (here, there)] == [200, 404]
    moved = post(admin_client, f"/admin/people/{reader.id}/team", {"team": str(elsewhere)})
    assert moved.status_code == 303
    assert before.get("/worklist").location.startswith("/sign-in")
    after = sign_in(app, reader)
    assert [after.get(f"/studies/{i}").status_code for i in (here, there)] == [404, 200]


@pytest.mark.parametrize("team", ["", "radiology", str(UUID(int=7))])
def test_nobody_is_moved_to_where_nothing_is(
    app: Flask, admin_client: FlaskClient, reader: Person, team: str
) -> None:
    answer = post(admin_client, f"/admin/people/{reader.id}/team", {"team": team})
    assert answer.status_code == 422
    assert sign_in(app, reader).get("/account").text.count("Radiology") == 1


def test_an_admin_who_follows_their_own_link_raises_an_alarm(
    app: Flask, admin_client: FlaskClient, auditor: Person
) -> None:
    form = {"name": "N", "email": "n@example.org", "role": "reader", "team": "Radiology"}
    page = post(admin_client, "/admin/people", form).text
    found = re.search(r"/join/[\w-]+", page)
    assert found is not None
    link = found.group()
    assert post(admin_client, link, {"password": PASSWORD}, page=link).status_code == 303
    log = sign_in(app, auditor).get("/audit").text
    assert "Followed a link that they had made themselves" in log
    assert "Gave a person access to patients’ data" in log
