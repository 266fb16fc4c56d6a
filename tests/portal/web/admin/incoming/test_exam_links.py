"""The page of a team's keys for links into exams: shown once, ended, with proof of identity."""

import re
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.models import ExamLinkKey, User, db
from tests.support.core import Clock
from tests.support.people import Person
from tests.support.portal_app import core_of, post, sign_in


@pytest.fixture
def admin_client(app: Flask, admin: Person) -> FlaskClient:
    return sign_in(app, admin)


@pytest.fixture
def page(app: Flask, admin: Person) -> str:
    with core_of(app).sessions() as session:
        return f"/admin/teams/{session.get_one(User, admin.id).team_id}/exam-links"


def keys(app: Flask) -> list[ExamLinkKey]:
    with app.app_context():
        return list(db.session().query(ExamLinkKey))


def test_a_key_is_shown_once(app: Flask, admin_client: FlaskClient, page: str) -> None:
    assert "No keys" in admin_client.get(page).text
    answer = post(admin_client, page)
    assert answer.status_code == 200
    found = re.search(r'id="new-key">([0-9a-f]{32})\.([\w-]{43})<', answer.text)
    assert found is not None
    (row,) = keys(app)
    assert row.id == UUID(found[1])
    again = admin_client.get(page).text
    assert found[2] not in again
    assert found[1][:8] in again
    assert "/open" in again


def test_a_fourth_key_is_refused_and_one_is_ended(
    app: Flask, admin_client: FlaskClient, page: str
) -> None:
    for _ in range(3):
        post(admin_client, page)
    assert post(admin_client, page).status_code == 409
    one = keys(app)[0]
    assert post(admin_client, f"{page}/{one.id}/end").status_code == 303
    assert [row.ended_at is not None for row in keys(app) if row.id == one.id] == [True]
    assert post(admin_client, page).status_code == 200


def test_both_take_a_fresh_proof_of_identity(
    app: Flask, admin_client: FlaskClient, page: str, clock: Clock
) -> None:
    post(admin_client, page)
    (one,) = keys(app)
    clock.forward(minutes=14)
    for path in (page, f"{page}/{one.id}/end"):
        assert "/confirm" in post(admin_client, path).location
    assert [row.ended_at for row in keys(app)] == [None]
