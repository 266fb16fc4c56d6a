"""Signing in, joining, enrolling: the walks that people take."""

import re
from datetime import timedelta
from pathlib import Path

import pyotp
import pytest
from argon2 import Parameters, PasswordHasher, extract_parameters
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts import invitations, people
from portal.models import RecoveryCode, Role, db
from tests.support.core import Clock, make_settings
from tests.support.people import PASSWORD, Person
from tests.support.portal_app import make_app, post, sign_in, sign_in_by_pages


def invite(app: Flask, email: str = "new@example.org", role: Role = Role.READER) -> str:
    """The path of a fresh invitation."""
    with app.app_context():
        _, token = invitations.invite(
            db.session(),
            None,
            name="New Person",
            email=email,
            role=role,
            team="Radiology",
            now=app.extensions["pleura"].clock(),
        )
    return f"/join/{token}"


def test_a_fresh_database_has_nobody_in_it(tmp_path: Path) -> None:
    with make_app(make_settings(tmp_path / "fresh")).app_context():
        assert people.people(db.session()) == []


def test_from_the_link_to_the_first_page(app: Flask, client: FlaskClient, clock: Clock) -> None:
    link = invite(app)
    joined = post(client, link, {"password": PASSWORD}, page=link)
    assert (joined.status_code, joined.location) == (303, "/enrol")

    page = client.get("/enrol").text
    assert 'src="data:image/svg+xml' in page
    key = re.search(r'id="totp-key">([^<]+)<', page)
    assert key is not None
    code = pyotp.TOTP(key.group(1).replace(" ", "")).at(clock())
    enrolled = post(client, "/enrol", {"code": code}, page="/enrol")
    codes = re.findall(r"<li>([a-z2-9-]{34})</li>", enrolled.text)
    assert enrolled.status_code == 200
    assert len(set(codes)) == 10

    assert client.get("/").location == "/worklist"


def test_nothing_is_shown_before_the_second_factor(app: Flask, client: FlaskClient) -> None:
    link = invite(app)
    post(client, link, {"password": PASSWORD}, page=link)
    for path in ("/", "/account", "/studies/0b6b1c5e-7c53-4c88-9f1c-6d9b9d9c2d11"):
        assert client.get(path).location.startswith("/enrol"), path
    asked = client.get("/account", headers={"Accept": "application/json"})
    assert (asked.status_code, asked.json["code"]) == (401, "second_factor")


def test_a_link_works_once(app: Flask, client: FlaskClient) -> None:
    link = invite(app)
    post(client, link, {"password": PASSWORD}, page=link)
    again = app.test_client().get(link)
    assert again.status_code == 404
    assert "no longer valid" in again.text


def test_a_reset_link_of_somebody_who_is_disabled_no_longer_works(
    client: FlaskClient, reader: Person, admin_client: FlaskClient
) -> None:
    post(admin_client, f"/admin/people/{reader.id}/disable")
    page = post(admin_client, f"/admin/people/{reader.id}/reset-factor").text
    link = page.split('id="link">')[1].split("<")[0].removeprefix("http://127.0.0.1:8000")
    answer = post(client, link, {"password": PASSWORD}, page="/sign-in")
    assert answer.status_code == 404
    assert "no longer valid" in answer.text


def test_a_link_expires(app: Flask, client: FlaskClient, clock: Clock) -> None:
    link = invite(app)
    clock.forward(days=4)
    assert client.get(link).status_code == 404


def test_a_newer_invitation_replaces_the_older(app: Flask, client: FlaskClient) -> None:
    old, new = invite(app), invite(app)
    assert client.get(old).status_code == 404
    assert client.get(new).status_code == 200


def test_a_bad_password_leaves_the_link_usable(app: Flask, client: FlaskClient) -> None:
    link = invite(app)
    refused = post(client, link, {"password": "short"}, page=link)
    assert refused.status_code == 422
    assert "at least 12 characters" in refused.text
    assert post(client, link, {"password": PASSWORD}, page=link).status_code == 303


def test_the_sixth_try_at_one_link_in_a_minute_has_to_wait(
    app: Flask, client: FlaskClient, clock: Clock
) -> None:
    link, other = invite(app), invite(app, "other@example.org")
    for _ in range(5):
        assert post(client, link, {"password": "short"}, page=link).status_code == 422
    sixth = post(client, link, {"password": PASSWORD}, page=link)
    assert sixth.status_code == 429
    assert 0 < int(sixth.headers["Retry-After"]) <= 61
    assert "Too many tries" in sixth.text
    assert post(app.test_client(), other, {"password": PASSWORD}, page=other).status_code == 303
    clock.forward(seconds=61)
    assert post(client, link, {"password": PASSWORD}, page=link).status_code == 303


def test_password_then_code(client: FlaskClient, reader: Person, clock: Clock) -> None:
    first = post(client, "/sign-in", {"email": reader.email, "password": PASSWORD}, page="/sign-in")
    assert (first.status_code, first.location) == (303, "/sign-in/code")
    assert client.get("/account").location.startswith("/sign-in/code")
    second = post(client, "/sign-in/code", {"code": reader.code(clock())}, page="/sign-in/code")
    assert (second.status_code, second.location) == (303, "/")
    assert client.get("/account").status_code == 200


def test_the_address_may_be_typed_in_capitals(
    client: FlaskClient, reader: Person, clock: Clock
) -> None:
    answer = post(
        client,
        "/sign-in",
        {"email": f" {reader.email.upper()} ", "password": PASSWORD},
        page="/sign-in",
    )
    assert answer.location == "/sign-in/code"


def test_a_code_works_once(app: Flask, client: FlaskClient, reader: Person, clock: Clock) -> None:
    assert sign_in_by_pages(client, reader, clock()).status_code == 303
    other = app.test_client()
    assert sign_in_by_pages(other, reader, clock()).status_code == 401
    clock.forward(seconds=30)
    assert (
        post(
            other, "/sign-in/code", {"code": reader.code(clock())}, page="/sign-in/code"
        ).status_code
        == 303
    )


@pytest.mark.parametrize(("steps", "status"), [(-2, 401), (-1, 303), (0, 303), (1, 303), (2, 401)])
def test_the_telephones_clock_may_be_one_step_off(
    client: FlaskClient, reader: Person, clock: Clock, steps: int, status: int
) -> None:
    clock.forward(minutes=5)
    shown = clock() + timedelta(seconds=30 * steps)
    assert sign_in_by_pages(client, reader, shown).status_code == status


def test_an_older_code_is_refused_after_a_newer_one(
    app: Flask, client: FlaskClient, reader: Person, clock: Clock
) -> None:
    clock.forward(minutes=5)
    assert sign_in_by_pages(client, reader, clock() + timedelta(seconds=30)).status_code == 303
    assert sign_in_by_pages(app.test_client(), reader, clock()).status_code == 401


def test_who_has_recovery_codes_of_version_0_1_is_asked_to_make_new_ones(
    app: Flask, client: FlaskClient, reader: Person, clock: Clock
) -> None:
    with app.app_context():
        for row in db.session.scalars(db.select(RecoveryCode)):
            row.code_hash = row.code_hash.partition(":")[2]
        db.session.commit()
    sign_in_by_pages(client, reader, clock())
    page = client.get("/account").text
    assert "Recovery codes of an earlier version no longer work" in page
    assert "0 of 10 recovery codes are unused" in page


def test_a_recovery_code_stands_in_once(app: Flask, client: FlaskClient, reader: Person) -> None:
    spoken = reader.recovery_codes[0].upper().replace("-", " ")
    sign_on = {"email": reader.email, "password": PASSWORD}
    for browser, expected in ((client, 303), (app.test_client(), 401)):
        post(browser, "/sign-in", sign_on, page="/sign-in")
        answer = post(browser, "/sign-in/code", {"code": spoken}, page="/sign-in/code")
        assert answer.status_code == expected


def test_a_half_finished_new_factor_leaves_the_old_one_working(
    app: Flask, client: FlaskClient, reader: Person, clock: Clock
) -> None:
    sign_in_by_pages(client, reader, clock())
    assert client.get("/enrol").status_code == 200
    assert post(client, "/enrol", {"code": "000000"}, page="/enrol").status_code == 422
    clock.forward(seconds=30)
    assert sign_in_by_pages(app.test_client(), reader, clock()).status_code == 303


def test_a_new_factor_needs_a_fresh_proof(
    client: FlaskClient, reader: Person, clock: Clock
) -> None:
    sign_in_by_pages(client, reader, clock())
    clock.forward(minutes=11)
    assert client.get("/enrol").location == "/confirm?next=/enrol"


def test_the_password_alone_cannot_replace_the_factor(client: FlaskClient, reader: Person) -> None:
    post(client, "/sign-in", {"email": reader.email, "password": PASSWORD}, page="/sign-in")
    assert client.get("/enrol").location == "/sign-in/code"
    answer = post(client, "/enrol", {"code": "000000"}, page="/sign-in/code")
    assert answer.location == "/sign-in/code"


def test_the_sixth_try_in_a_minute_has_to_wait(
    app: Flask, client: FlaskClient, reader: Person, technologist: Person, clock: Clock
) -> None:
    wrong = {"email": reader.email, "password": "not the password"}
    for _ in range(5):
        assert post(client, "/sign-in", wrong, page="/sign-in").status_code == 401
        clock.forward(seconds=5)
    sixth = post(client, "/sign-in", wrong, page="/sign-in")
    assert sixth.status_code == 429
    assert 0 < int(sixth.headers["Retry-After"]) <= 61
    # Not even the right password, but somebody else gets in, and so does the same person later.
    right = {"email": reader.email, "password": PASSWORD}
    assert post(client, "/sign-in", right, page="/sign-in").status_code == 429
    assert sign_in_by_pages(app.test_client(), technologist, clock()).status_code == 303
    clock.forward(seconds=61)
    assert post(client, "/sign-in", right, page="/sign-in").status_code == 303


def test_guessing_codes_has_to_wait_too(client: FlaskClient, reader: Person, clock: Clock) -> None:
    post(client, "/sign-in", {"email": reader.email, "password": PASSWORD}, page="/sign-in")
    answers = [
        post(client, "/sign-in/code", {"code": f"{n:06}"}, page="/sign-in/code").status_code
        for n in range(6)
    ]
    assert answers == [401] * 5 + [429]


def test_refusals_do_not_show_who_has_an_account(
    client: FlaskClient, reader: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by the page nor by its time, which is that of computing one hash."""
    hashes: list[str] = []
    verify = PasswordHasher.verify

    def counted(hasher: PasswordHasher, stored: str, password: str) -> bool:
        hashes.append(stored)
        return verify(hasher, stored, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)

    def refused(email: str) -> tuple[str, list[Parameters]]:
        hashes.clear()
        form = {"email": email, "password": "not the password"}
        answer = post(client, "/sign-in", form, page="/sign-in")
        assert answer.status_code == 401
        message = re.search(r'id="f-password-error".*?</p>', answer.text, re.S)
        assert message is not None
        return message.group(), [extract_parameters(stored) for stored in hashes]

    known = refused(reader.email)
    assert known == refused("nobody@example.org")
    assert len(known[1]) == 1


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "//[",
        "//\u2100",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/\tevil",
        "evil.example",
        "/%0d%0aLocation:x\r\n",
    ],
)
def test_signing_in_leads_to_no_other_site(
    client: FlaskClient, reader: Person, clock: Clock, target: str
) -> None:
    sign_on = {"email": reader.email, "password": PASSWORD, "next": target}
    first = post(client, "/sign-in", sign_on, page="/sign-in")
    assert first.location == "/sign-in/code"
    code = {"code": reader.code(clock()), "next": target}
    assert post(client, "/sign-in/code", code, page="/sign-in/code").location == "/"


def test_signing_in_goes_on_to_the_page_that_was_asked_for(
    client: FlaskClient, reader: Person, clock: Clock
) -> None:
    asked = client.get("/account?page=2").location
    assert asked == "/sign-in?next=/account"  # without the query
    sign_on = {"email": reader.email, "password": PASSWORD, "next": "/account"}
    post(client, "/sign-in", sign_on, page=asked)
    code = {"code": reader.code(clock()), "next": "/account"}
    assert post(client, "/sign-in/code", code, page="/sign-in/code").location == "/account"


def test_signing_in_changes_the_session_id(
    app: Flask, client: FlaskClient, reader: Person, clock: Clock
) -> None:
    seen = set()
    for step in ("start", "password", "code"):
        if step == "password":
            post(client, "/sign-in", {"email": reader.email, "password": PASSWORD}, page="/sign-in")
        if step == "code":
            form = {"code": reader.code(clock())}
            post(client, "/sign-in/code", form, page="/sign-in/code")
        with client.session_transaction() as cookie:
            seen.add(cookie.get("login"))
    assert len(seen) == 3


def test_signing_out_ends_the_session_for_good(
    app: Flask, client: FlaskClient, reader: Person
) -> None:
    sign_in(app, reader, client)
    with client.session_transaction() as cookie:
        token = cookie["login"]
    left = post(client, "/sign-out")
    assert "storage" in left.headers["Clear-Site-Data"]
    assert client.get("/account").status_code == 303
    other = app.test_client()
    with other.session_transaction() as cookie:
        cookie["login"] = token
    assert other.get("/account").status_code == 303


def test_opening_the_enrolment_page_changes_nothing(
    app: Flask, client: FlaskClient, reader: Person, clock: Clock
) -> None:
    def waiting() -> bytes | None:
        with app.app_context():
            return db.session().get_one(people.User, reader.id).sealed_totp_pending

    sign_in_by_pages(client, reader, clock())
    before = waiting()
    assert "Show the QR code" in client.get("/enrol").text
    assert waiting() == before
    assert post(client, "/enrol", {"begin": "1"}).location == "/enrol"
    begun = waiting()
    assert begun != before
    shown = {re.search(r'id="totp-key">([^<]+)<', client.get("/enrol").text)[1] for _ in range(2)}  # type: ignore[index]
    assert len(shown) == 1
    assert waiting() == begun
