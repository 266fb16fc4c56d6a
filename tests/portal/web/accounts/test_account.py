"""API tokens made on the account page: shown once, within the role, after a fresh proof."""

import json
import re

import pytest
from flask import Flask

from portal.models import AuditEvent, Role, db
from tests.support.core import Clock
from tests.support.people import Person
from tests.support.portal_app import make_person, post, sign_in

FORM = {"name": "Gateway", "scope": ["studies:read"], "days": "90"}


def test_a_token_is_shown_once_works_and_is_in_the_log(app: Flask, reader: Person) -> None:
    client = sign_in(app, reader)
    made = post(client, "/account/tokens", FORM)
    (raw,) = set(re.findall(r"plr_[A-Za-z0-9_-]{43}", made.text))
    page = client.get("/account").text
    assert "Gateway" in page
    assert raw not in page
    headers = {"Authorization": f"Bearer {raw}"}
    program = app.test_client()
    assert program.get("/api/v1/studies", headers=headers).status_code == 200
    assert program.post("/api/v1/studies", headers=headers).status_code == 403
    with app.app_context():
        row = db.session.query(AuditEvent).filter_by(event="token_made").one()
    assert (row.actor_id, row.via) == (reader.id, "session")
    assert row.session_id is not None
    assert raw not in json.dumps(row.detail)


@pytest.mark.parametrize(
    "wrong",
    [{"scope": []}, {"scope": ["people:manage"]}, {"days": "3660"}, {"days": ""}, {"days": "x"}],
)
def test_a_form_that_asks_for_too_much_makes_none(
    app: Flask, reader: Person, wrong: dict[str, object]
) -> None:
    client = sign_in(app, reader)
    answer = post(client, "/account/tokens", {**FORM, **wrong})
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text
    assert "plr_" not in answer.text


def test_a_role_without_scopes_is_offered_and_given_none(app: Flask) -> None:
    for role in (Role.ADMIN, Role.AUDITOR):
        client = sign_in(app, make_person(app, role))
        assert "API tokens" not in client.get("/account").text
        assert post(client, "/account/tokens", FORM).status_code == 422


def test_a_technologist_is_offered_no_reviews(app: Flask, technologist: Person) -> None:
    client = sign_in(app, technologist)
    page = client.get("/account").text
    assert "studies:write" in page
    assert "reviews:write" not in page
    form = {**FORM, "scope": ["reviews:write"]}
    assert post(client, "/account/tokens", form).status_code == 422


def test_a_token_wants_a_fresh_proof(app: Flask, reader: Person, clock: Clock) -> None:
    client = sign_in(app, reader)
    clock.forward(minutes=11)
    assert "Confirm to make a token" in client.get("/account").text
    answer = post(client, "/account/tokens", FORM)
    assert (answer.status_code, answer.location.partition("?")[0]) == (303, "/confirm")
