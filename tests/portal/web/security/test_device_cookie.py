"""The browser in which a person signed in before, while somebody at the same address guesses."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.core import Clock, make_settings
from tests.support.people import PASSWORD, Person
from tests.support.portal_app import make_app, post, sign_in_by_pages

COOKIE = "pleura-device"


def leave(client: FlaskClient) -> None:
    assert post(client, "/sign-out").status_code == 303


def test_a_person_signs_in_where_they_did_before_whatever_their_neighbours_do(
    app: Flask, reader: Person, clock: Clock
) -> None:
    own, neighbour, new = (app.test_client() for _ in range(3))
    assert sign_in_by_pages(own, reader, clock()).status_code == 303
    leave(own)
    wrong = {"email": reader.email, "password": "not the password"}
    for _ in range(6):
        answer = post(neighbour, "/sign-in", wrong, page="/sign-in")
    assert answer.status_code == 429
    clock.forward(seconds=30)
    assert sign_in_by_pages(new, reader, clock()).status_code == 429
    assert sign_in_by_pages(own, reader, clock()).status_code == 303
    assert own.get("/account").status_code == 200


def test_who_knows_the_password_keeps_nobody_out_at_the_code(
    app: Flask, reader: Person, clock: Clock
) -> None:
    own, neighbour = app.test_client(), app.test_client()
    sign_in_by_pages(own, reader, clock())
    leave(own)
    known = {"email": reader.email, "password": PASSWORD}
    post(neighbour, "/sign-in", known, page="/sign-in")
    for _ in range(6):
        answer = post(neighbour, "/sign-in/code", {"code": "000000"}, page="/sign-in/code")
    assert answer.status_code == 429
    clock.forward(seconds=30)
    post(own, "/sign-in", known, page="/sign-in")
    code = {"code": reader.code(clock())}
    assert post(own, "/sign-in/code", code, page="/sign-in/code").status_code == 303


def test_the_password_alone_makes_no_browser_ones_own(
    client: FlaskClient, reader: Person, clock: Clock
) -> None:
    post(client, "/sign-in", {"email": reader.email, "password": PASSWORD}, page="/sign-in")
    assert client.get_cookie(COOKIE) is None
    post(client, "/sign-in/code", {"code": reader.code(clock())}, page="/sign-in/code")
    assert client.get_cookie(COOKIE) is not None


def test_the_cookie_alone_opens_nothing(app: Flask, reader: Person, clock: Clock) -> None:
    own, other = app.test_client(), app.test_client()
    sign_in_by_pages(own, reader, clock())
    cookie = own.get_cookie(COOKIE)
    assert cookie is not None
    other.set_cookie(COOKIE, cookie.value)
    assert other.get("/account").location.startswith("/sign-in")


@pytest.mark.parametrize("path", ["/account/sessions/end-others", "/account/password"])
def test_where_the_session_goes_on_the_browser_stays_ones_own(
    app: Flask, reader: Person, clock: Clock, path: str
) -> None:
    own = app.test_client()
    sign_in_by_pages(own, reader, clock())
    before = own.get_cookie(COOKIE)
    change = {"old": PASSWORD, "new": "seven green umbrellas"}
    assert post(own, path, change).status_code == 303
    after = own.get_cookie(COOKIE)
    assert before is not None
    assert after is not None
    assert after.value != before.value


def test_behind_https_the_cookie_is_tied_to_the_host(app: Flask, reader: Person) -> None:
    made = app.extensions["pleura"].settings
    settings = make_settings(made.data_dir, PLEURA_BASE_URL="https://xray.example")
    secure, clock = make_app(settings, Clock()), Clock()
    client = secure.test_client()
    base = "https://xray.example"

    def send(path: str, form: dict[str, str]) -> str:
        page = client.get(path, base_url=base).text
        form["csrf_token"] = page.split('name="csrf-token" content="')[1].split('"')[0]
        answer = client.post(path, data=form, base_url=base)
        assert answer.status_code == 303
        return "\n".join(answer.headers.getlist("Set-Cookie"))

    send("/sign-in", {"email": reader.email, "password": PASSWORD})
    lines = send("/sign-in/code", {"code": reader.code(clock())}).splitlines()
    (header,) = (line for line in lines if "-device=" in line)
    assert header.startswith("__Host-pleura-device=")
    for word in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=7776000"):
        assert word in header
    assert "Domain" not in header
