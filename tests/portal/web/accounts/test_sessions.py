"""Sessions are rows: they end on request, in every browser."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts import invitations, sessions
from portal.models import Role, User, db
from tests.support.core import Clock, make_settings
from tests.support.people import PASSWORD, Person
from tests.support.portal_app import make_app, make_person, post, sign_in, sign_in_by_pages

OTHER = "seven green umbrellas sleep"


def shown_on(page: str, person: Person) -> Person:
    """The person with the secret that the page of enrolment shows."""
    found = re.search(r'id="totp-key">([^<]+)<', page)
    assert found is not None
    return replace(person, secret=found.group(1).replace(" ", ""))


def is_in(client: FlaskClient) -> bool:
    """Whether the next request is let in."""
    return client.get("/account").status_code == 200


@pytest.mark.parametrize(
    "act", ["disable", "role", "reset-factor", "end-sessions"], ids=lambda act: f"after {act}"
)
def test_what_an_admin_does_ends_the_other_browser(
    app: Flask, reader: Person, admin_client: FlaskClient, act: str
) -> None:
    browser = sign_in(app, reader)
    assert is_in(browser)
    form = {"role": "technologist"}
    answer = post(admin_client, f"/admin/people/{reader.id}/{act}", form)
    assert answer.status_code in (200, 303)
    assert not is_in(browser)
    assert is_in(admin_client)


def test_a_new_password_ends_all_other_sessions(app: Flask, reader: Person) -> None:
    here, there = sign_in(app, reader), sign_in(app, reader)
    answer = post(here, "/account/password", {"old": PASSWORD, "new": OTHER})
    assert answer.status_code == 303
    assert is_in(here)
    assert not is_in(there)


def test_a_new_factor_ends_all_other_sessions(app: Flask, reader: Person, clock: Clock) -> None:
    here, there = sign_in(app, reader), sign_in(app, reader)
    assert post(here, "/enrol", {"begin": "1"}).location == "/enrol"
    code = shown_on(here.get("/enrol").text, reader).code(clock())
    assert post(here, "/enrol", {"code": code}).status_code == 200
    assert is_in(here)
    assert not is_in(there)


def test_signing_out_elsewhere(app: Flask, reader: Person) -> None:
    here, there = sign_in(app, reader), sign_in(app, reader)
    assert post(here, "/account/sessions/end-others").status_code == 303
    assert is_in(here)
    assert not is_in(there)


def test_one_session_is_ended_by_its_button(app: Flask, reader: Person, clock: Clock) -> None:
    here, there = sign_in(app, reader), sign_in(app, reader)
    page = here.get("/account").text
    assert page.count("this one") == 1
    (path,) = {part.split('"')[0] for part in page.split('action="')[1:] if "/end" in part[:80]} - {
        "/account/sessions/end-others"
    }
    assert post(here, path).status_code == 303
    assert is_in(here)
    assert not is_in(there)


def test_nobody_ends_another_persons_session(
    app: Flask, reader: Person, technologist: Person, clock: Clock
) -> None:
    victim, other = sign_in(app, reader), sign_in(app, technologist)
    with app.app_context():
        (login,) = sessions.sessions_of(db.session(), reader.id, clock())
    assert post(other, f"/account/sessions/{login.id}/end").status_code == 404
    assert is_in(victim)


def test_silence_ends_a_session(app: Flask, reader: Person, clock: Clock) -> None:
    client = sign_in(app, reader)
    clock.forward(minutes=14)
    assert is_in(client)
    clock.forward(minutes=14)
    assert is_in(client)
    clock.forward(minutes=15)
    assert not is_in(client)


def test_a_page_that_asks_by_itself_is_no_activity(
    app: Flask, reader: Person, clock: Clock
) -> None:
    client = sign_in(app, reader)
    for _ in range(3):
        clock.forward(minutes=5)
        polled = client.get("/worklist/state?ids=", headers={"Accept": "application/json"})
    assert polled.status_code == 401


def test_ten_hours_end_a_session_however_busy(app: Flask, reader: Person, clock: Clock) -> None:
    client = sign_in(app, reader)
    for _ in range(59):
        clock.forward(minutes=10)
        assert is_in(client)
    clock.forward(minutes=10)
    assert not is_in(client)


def test_a_half_signed_in_browser_has_ten_minutes(
    client: FlaskClient, reader: Person, clock: Clock
) -> None:
    post(client, "/sign-in", {"email": reader.email, "password": PASSWORD}, page="/sign-in")
    clock.forward(minutes=11)
    assert client.get("/sign-in/code").location.startswith("/sign-in?")


def test_a_disabled_person_cannot_come_back(
    app: Flask, client: FlaskClient, reader: Person, admin_client: FlaskClient, clock: Clock
) -> None:
    post(admin_client, f"/admin/people/{reader.id}/disable")
    answer = sign_in_by_pages(client, reader, clock())
    assert answer.status_code == 401
    assert "wrong" in answer.text
    post(admin_client, f"/admin/people/{reader.id}/enable")
    clock.forward(seconds=61)
    assert sign_in_by_pages(client, reader, clock()).status_code == 303


def test_a_reset_person_needs_the_link(
    app: Flask, client: FlaskClient, reader: Person, admin_client: FlaskClient, clock: Clock
) -> None:
    page = post(admin_client, f"/admin/people/{reader.id}/reset-factor").text
    assert sign_in_by_pages(client, reader, clock()).status_code == 401
    link = page.split('id="link">')[1].split("<")[0].removeprefix("http://127.0.0.1:8000")
    assert post(client, link, {"password": OTHER}, page=link).location == "/enrol"
    assert client.get("/account").location.startswith("/enrol")


def fresh_needed(person: Person) -> list[tuple[str, dict[str, str]]]:
    """What takes a fresh proof of identity."""
    return [
        ("/admin/people", {"name": "A", "email": "a@example.org", "role": "reader"}),
        (f"/admin/people/{person.id}/role", {"role": "admin"}),
        (f"/admin/people/{person.id}/disable", {}),
        (f"/admin/people/{person.id}/reset-factor", {}),
        ("/account/password", {"old": PASSWORD, "new": OTHER}),
        ("/account/recovery-codes", {}),
    ]


def test_grave_things_need_a_fresh_proof(
    app: Flask, reader: Person, admin: Person, admin_client: FlaskClient, clock: Clock
) -> None:
    clock.forward(minutes=10)
    for path, form in fresh_needed(reader):
        answer = post(admin_client, path, form)
        assert answer.status_code == 303, path
        assert answer.location.startswith("/confirm?next=/a"), path
    with app.app_context():
        unchanged = db.session().get_one(User, reader.id)
        assert (unchanged.role, unchanged.disabled_at) == (Role.READER, None)

    form = {"password": PASSWORD, "code": admin.code(clock()), "next": "/admin/people"}
    wrong = post(admin_client, "/confirm", {**form, "password": "not this one at all"})
    assert wrong.status_code == 422
    assert post(admin_client, "/confirm", form).location == "/admin/people"
    replay = post(admin_client, "/confirm", form)
    assert replay.status_code == 422
    assert post(admin_client, f"/admin/people/{reader.id}/disable").location == "/admin/people"


def test_nobody_disables_themselves(admin: Person, admin_client: FlaskClient) -> None:
    for act in ("disable", "role", "reset-factor"):
        answer = post(admin_client, f"/admin/people/{admin.id}/{act}", {"role": "reader"})
        assert answer.status_code == 422
        assert "yourself" in answer.text
    assert is_in(admin_client)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        ("short", "at least 12"),
        ("x" * 129, "at most 128"),
        (PASSWORD, "the password that you have"),
        ("Password2026!", "easily guessed"),
        ("pleura-reader-1", "words of this site"),
    ],
)
def test_a_bad_new_password_is_explained_beside_its_field(
    app: Flask, reader: Person, new: str, message: str
) -> None:
    client = sign_in(app, reader)
    answer = post(client, "/account/password", {"old": PASSWORD, "new": new})
    assert answer.status_code == 422
    assert message in answer.text
    assert 'id="f-new-error"' in answer.text
    wrong = post(client, "/account/password", {"old": "something else", "new": OTHER})
    assert 'id="f-old-error"' in wrong.text


def test_changes_that_are_refused_are_counted_too(app: Flask, reader: Person) -> None:
    client = sign_in(app, reader)
    form = {"old": PASSWORD, "new": "a" * 16}
    answers = [post(client, "/account/password", form).status_code for _ in range(6)]
    assert answers == [422] * 5 + [429]


def test_new_recovery_codes_replace_the_old(
    app: Flask, client: FlaskClient, reader: Person
) -> None:
    page = post(sign_in(app, reader), "/account/recovery-codes").text
    sign_on = {"email": reader.email, "password": PASSWORD}
    post(client, "/sign-in", sign_on, page="/sign-in")
    code = {"code": reader.recovery_codes[0]}
    assert post(client, "/sign-in/code", code, page="/sign-in/code").status_code == 401
    new = page.split('id="codes"><li>')[1].split("<")[0]
    assert post(client, "/sign-in/code", {"code": new}, page="/sign-in/code").status_code == 303


def test_fields_that_nobody_asked_for_change_nothing(
    app: Flask, reader: Person, admin_client: FlaskClient
) -> None:
    client = sign_in(app, reader)
    extra = {"role": "admin", "team": "Elsewhere", "email": "x@example.org", "id": "1"}
    post(client, "/account/password", {"old": PASSWORD, "new": OTHER, **extra})
    invitee = {"name": "B", "email": "b@example.org", "role": "reader", "user_id": str(reader.id)}
    assert post(admin_client, "/admin/people", {**invitee, "purpose": "reset"}).status_code == 200
    with app.app_context():
        session = db.session()
        same = session.get_one(User, reader.id)
        assert (same.role, same.email) == (Role.READER, reader.email)
        (waiting,) = invitations.waiting_invitations(session, app.extensions["pleura"].clock())
        assert (waiting.purpose.value, waiting.user_id) == ("invite", None)


@pytest.mark.parametrize("role", ["", "root", "Admin", "admin\0"])
def test_an_unknown_role_is_refused(
    app: Flask, reader: Person, admin_client: FlaskClient, role: str
) -> None:
    answer = post(admin_client, f"/admin/people/{reader.id}/role", {"role": role})
    assert answer.status_code == 422
    form = {"name": "C", "email": "c@example.org", "role": role}
    assert post(admin_client, "/admin/people", form).status_code == 422


@pytest.mark.parametrize("email", ["", "nobody", "a@b@c", "a b@example.org", "x" * 250 + "@e.org"])
def test_a_bad_address_is_refused(admin_client: FlaskClient, email: str) -> None:
    form = {"name": "D", "email": email, "role": "reader"}
    answer = post(admin_client, "/admin/people", form)
    assert answer.status_code == 422
    assert 'id="f-email-error"' in answer.text


def test_hostile_names_are_shown_as_text(app: Flask, admin_client: FlaskClient) -> None:
    form = {"name": "<script>alert(1)</script>", "email": "e@example.org", "role": "reader"}
    page = post(admin_client, "/admin/people", form).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_the_same_role_and_team_again_change_nothing_with_a_message(
    app: Flask, reader: Person, admin_client: FlaskClient
) -> None:
    theirs = sign_in(app, reader)
    with app.app_context():
        team = db.session().get_one(User, reader.id).team_id
    for what, value in (("role", "reader"), ("team", str(team))):
        post(admin_client, f"/admin/people/{reader.id}/{what}", {what: value})
        assert "nothing was changed" in admin_client.get("/admin/people").text
    assert theirs.get("/worklist").status_code == 200


def test_a_session_can_be_ended_as_long_as_the_settings_let_it_live(
    tmp_path: Path, clock: Clock
) -> None:
    app = make_app(make_settings(tmp_path / "own", PLEURA_SESSION_IDLE_MINUTES="60"), clock)
    admin, other = make_person(app, Role.ADMIN), make_person(app, Role.READER)
    theirs = sign_in(app, other)
    clock.forward(minutes=20)
    client = sign_in(app, admin)
    page = client.get(f"/admin/people?change={other.id}").text
    assert f"/admin/people/{other.id}/end-sessions" in page
    assert theirs.get("/worklist").status_code == 200
