"""The server reads the token of a login from the signed cookie alone, without a query."""

from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.models import Role
from portal.web.security.login_cookie import token_of
from tests.support.core import make_settings
from tests.support.portal_app import make_app, make_person, sign_in

AGE = timedelta(hours=10)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return make_app(make_settings(tmp_path_factory.mktemp("app")))


def cookie_of(client: FlaskClient) -> str:
    cookie = client.get_cookie("pleura")
    assert cookie is not None
    return cookie.value


def test_a_browser_that_gave_a_right_password_shows_its_token(app: Flask) -> None:
    value = cookie_of(sign_in(app, make_person(app, Role.READER), proved=False))
    assert token_of(app, {"HTTP_COOKIE": f"other=1; pleura={value}"}, AGE)


def test_a_cookie_older_than_any_login_shows_nothing(app: Flask) -> None:
    sent = {"HTTP_COOKIE": f"pleura={cookie_of(sign_in(app, make_person(app, Role.READER)))}"}
    assert token_of(app, sent, timedelta(seconds=60))
    assert token_of(app, sent, timedelta(seconds=-1)) is None


def test_everybody_gets_a_cookie_and_is_not_known_by_it(app: Flask) -> None:
    client = app.test_client()
    client.get("/sign-in")
    assert not token_of(app, {"HTTP_COOKIE": f"pleura={cookie_of(client)}"}, AGE)


@pytest.mark.parametrize("value", ["", "x", "eyJsb2dpbiI6IngifQ.ZZZZ.AAAA", "\xff" * 5000])
def test_what_the_portal_has_not_signed_is_not_known(app: Flask, value: str) -> None:
    assert not token_of(app, {"HTTP_COOKIE": f"pleura={value}"}, AGE)
    assert not token_of(app, {}, AGE)


def test_a_changed_cookie_and_one_of_another_portal_are_not_known(
    app: Flask, tmp_path: Path
) -> None:
    value = cookie_of(sign_in(app, make_person(app, Role.READER)))
    changed = value[:5] + ("A" if value[5] != "A" else "B") + value[6:]
    assert not token_of(app, {"HTTP_COOKIE": f"pleura={changed}"}, AGE)
    other = make_app(make_settings(tmp_path))
    assert not token_of(other, {"HTTP_COOKIE": f"pleura={value}"}, AGE)
