"""The access log: refusals and wrong passwords too, about which case, and by which key."""

import sys
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from flask import Flask

from portal.__main__ import main
from portal.accounts import api_tokens
from portal.models import AuditEvent, Role, db
from tests.support.core import Clock
from tests.support.people import PASSWORD, Person
from tests.support.portal_app import make_person, make_study, make_token, post, sign_in


def last_row(app: Flask) -> AuditEvent:
    """The newest row of the log."""
    with app.app_context():
        row = db.session().query(AuditEvent).order_by(AuditEvent.seq.desc()).first()
    assert row is not None
    return row


def token_id(app: Flask, person: Person, clock: Clock) -> UUID:
    """The id of a person's only token."""
    with app.app_context():
        (token,) = api_tokens.tokens_of(db.session(), person.id, clock())
    return token.id


def test_what_a_program_may_not_is_written_down_with_its_token(
    app: Flask, reader: Person, clock: Clock
) -> None:
    headers = {"Authorization": f"Bearer {make_token(app, reader, 'studies:read')}"}
    study = uuid4()
    answer = app.test_client().post(f"/api/v1/studies/{study}/reviews", headers=headers, json={})
    assert (answer.status_code, answer.get_json()["code"]) == (403, "scope")
    row = last_row(app)
    assert (row.event, row.actor_id, row.study_id) == ("access_refused", reader.id, study)
    assert (row.via, row.session_id) == ("token", token_id(app, reader, clock))
    assert "reviews:write" in row.detail


def test_what_a_program_does_names_its_token(app: Flask, reader: Person, clock: Clock) -> None:
    headers = {"Authorization": f"Bearer {make_token(app, reader, 'studies:read')}"}
    assert app.test_client().get("/api/v1/studies", headers=headers).status_code == 200
    row = last_row(app)
    assert (row.event, row.via) == ("worklist_read", "token")
    assert row.session_id == token_id(app, reader, clock)


def test_a_refused_case_is_named(app: Flask, technologist: Person, auditor: Person) -> None:
    study = make_study(app, technologist)
    outsider = make_person(app, Role.READER, team="Elsewhere")
    for person, what in ((outsider, "study"), (auditor, "study:read")):
        assert sign_in(app, person).get(f"/studies/{study}").status_code == 404
        row = last_row(app)
        assert (row.event, row.actor_id, row.study_id) == ("access_refused", person.id, study)
        assert f'"{what}"' in row.detail


def confirm(person: Person, clock: Clock) -> tuple[str, dict[str, str]]:
    return "/confirm", {"password": "wrong words", "code": person.code(clock())}


def change(person: Person, clock: Clock) -> tuple[str, dict[str, str]]:
    return "/account/password", {"old": "wrong words", "new": "seven green umbrellas"}


def wrong_code(person: Person, clock: Clock) -> tuple[str, dict[str, str]]:
    return "/confirm", {"password": PASSWORD, "code": "000000"}


@pytest.mark.parametrize(
    ("act", "event"),
    [
        (confirm, "password_refused"),
        (change, "password_refused"),
        (wrong_code, "code_refused"),
    ],
)
def test_a_wrong_proof_is_written_down(
    app: Flask,
    reader: Person,
    clock: Clock,
    act: Callable[[Person, Clock], tuple[str, dict[str, str]]],
    event: str,
) -> None:
    client = sign_in(app, reader)
    path, form = act(reader, clock)
    assert post(client, path, form).status_code == 422
    row = last_row(app)
    assert (row.event, row.actor_id, row.address) == (event, reader.id, "127.0.0.1")
    assert row.session_id is not None


def test_what_the_command_line_does_is_not_ascribed_to_a_browser(
    app: Flask, reader: Person, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = app.extensions["pleura"].settings
    clock.time = clock.time.now(clock.time.tzinfo)  # the command line knows the real time alone
    make_token(app, reader, "studies:read")
    made = last_row(app)
    assert (made.event, made.via, made.actor_id) == ("token_made", "cli", reader.id)
    monkeypatch.setenv("PLEURA_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("PLEURA_ENV", "test")
    wanted = token_id(app, reader, clock)
    arguments = ["token", "revoke", "--user", reader.email, wanted.hex[:12]]
    monkeypatch.setattr(sys, "argv", ["portal", *arguments])
    assert main(arguments) == 0
    ended = last_row(app)
    assert (ended.event, ended.via, ended.subject_id) == ("token_revoked", "cli", wanted)
