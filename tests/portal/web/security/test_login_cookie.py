"""The server tells browsers in which somebody has signed in from others, by the cookie alone."""

from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.models import Role
from portal.web.security.login_cookie import is_of_a_login
from tests.support.core import make_settings
from tests.support.portal_app import make_app, make_person, sign_in


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return make_app(make_settings(tmp_path_factory.mktemp("app")))


def cookie_of(client: FlaskClient) -> str:
    cookie = client.get_cookie("pleura")
    assert cookie is not None
    return cookie.value


def test_a_browser_that_gave_a_right_password_is_known(app: Flask) -> None:
    value = cookie_of(sign_in(app, make_person(app, Role.READER), proved=False))
    assert is_of_a_login(app, {"HTTP_COOKIE": f"other=1; pleura={value}"})


def test_everybody_gets_a_cookie_and_is_not_known_by_it(app: Flask) -> None:
    client = app.test_client()
    client.get("/sign-in")
    assert not is_of_a_login(app, {"HTTP_COOKIE": f"pleura={cookie_of(client)}"})


@pytest.mark.parametrize("value", ["", "x", "eyJsb2dpbiI6IngifQ.ZZZZ.AAAA", "\xff" * 5000])
def test_what_the_portal_has_not_signed_is_not_known(app: Flask, value: str) -> None:
    assert not is_of_a_login(app, {"HTTP_COOKIE": f"pleura={value}"})
    assert not is_of_a_login(app, {})


def test_a_changed_cookie_and_one_of_another_portal_are_not_known(
    app: Flask, tmp_path: Path
) -> None:
    value = cookie_of(sign_in(app, make_person(app, Role.READER)))
    changed = value[:5] + ("A" if value[5] != "A" else "B") + value[6:]
    assert not is_of_a_login(app, {"HTTP_COOKIE": f"pleura={changed}"})
    other = make_app(make_settings(tmp_path))
    assert not is_of_a_login(other, {"HTTP_COOKIE": f"pleura={value}"})
