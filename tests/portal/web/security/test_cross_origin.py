"""Pages of other origins: none may ask, unless the settings name theirs, and DICOMweb alone."""

from pathlib import Path

import pytest
from flask import Flask

from portal.models import Role
from portal.settings import Settings, SettingsError
from tests.support.core import Clock, make_settings
from tests.support.dicomweb.answers import Program
from tests.support.people import Person
from tests.support.portal_app import make_app, make_person

VIEWER = "https://viewer.example"
ASKED = {"Origin": VIEWER, "Access-Control-Request-Method": "GET"}


@pytest.fixture
def open_app(tmp_path: Path) -> Flask:
    """A portal whose settings name a viewer."""
    settings = make_settings(tmp_path, PLEURA_DICOMWEB_ORIGINS=f"{VIEWER}, http://localhost:3000")
    return make_app(settings, Clock())


def test_no_page_of_another_origin_may_ask(app: Flask, reader: Person) -> None:
    answer = Program(app, reader).get("studies", Origin=VIEWER)
    assert answer.status_code == 204
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
    asked = app.test_client().options("/dicomweb/studies", headers=ASKED)
    assert asked.status_code == 401
    assert not [name for name, _ in asked.headers if name.startswith("Access-Control")]


def test_the_named_origin_may_ask_with_a_token(open_app: Flask) -> None:
    reader = make_person(open_app, Role.READER)
    asked = open_app.test_client().options("/dicomweb/studies", headers=ASKED)
    assert asked.status_code == 204
    assert asked.headers["Access-Control-Allow-Origin"] == VIEWER
    assert asked.headers["Access-Control-Allow-Headers"] == "Authorization, Accept"
    assert "Access-Control-Allow-Credentials" not in asked.headers
    answer = Program(open_app, reader).get("studies", Origin=VIEWER)
    assert answer.headers["Access-Control-Allow-Origin"] == VIEWER
    assert "Origin" in answer.headers["Vary"]
    assert Program(open_app, None).get("studies", Origin=VIEWER).status_code == 401


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("/dicomweb/studies", "https://viewer.example.evil.example"),
        ("/dicomweb/studies", "null"),
        ("/api/v1/studies", VIEWER),
        ("/worklist", VIEWER),
        ("/", VIEWER),
    ],
)
def test_nothing_else_is_opened(open_app: Flask, path: str, origin: str) -> None:
    client = open_app.test_client()
    for answer in (
        client.get(path, headers={"Origin": origin}),
        client.options(path, headers=ASKED | {"Origin": origin}),
    ):
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("wrong", ["*", "viewer.example", "https://viewer.example/path", "null"])
def test_what_is_no_origin_stops_the_start(tmp_path: Path, wrong: str) -> None:
    environ = {"PLEURA_DATA_DIR": str(tmp_path), "PLEURA_ENV": "test"}
    with pytest.raises(SettingsError, match="PLEURA_DICOMWEB_ORIGINS"):
        Settings.from_env(environ | {"PLEURA_DICOMWEB_ORIGINS": wrong})
