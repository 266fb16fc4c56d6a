"""Faults inside and hostile requests from outside: an answer each, without details."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask, g
from flask.testing import FlaskClient
from sqlalchemy import text

from portal.access import Permission
from portal.models import Role, db
from portal.web.security import guard
from tests.support.core import make_settings
from tests.support.people import Person
from tests.support.portal_app import (
    csrf_of,
    make_app,
    make_person,
    make_study,
    make_token,
    post,
    sign_in,
)

DEEP = "[" * 100_000
HEADERS = ("Content-Security-Policy", "X-Content-Type-Options", "X-Request-ID", "Referrer-Policy")


def break_off() -> str:
    """A view whose changes the database does not take any more."""
    session = db.session()
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
    else:
        me = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with db.engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:me)"), {"me": me})
    g.user.name = "CANARY^ZEBRA"
    session.flush()
    return "not reached"


def break_and_go_on() -> str:
    """The same, where somebody has thought that it does not matter."""
    try:
        break_off()
    except Exception as error:
        raise RuntimeError("CANARY^ZEBRA") from error
    return "not reached"


@pytest.mark.parametrize(("view", "status"), [(break_off, 503), (break_and_go_on, 500)])
def test_a_database_that_fails_in_the_middle_has_an_error_page(
    tmp_path: Path,
    database_url: str,
    capsys: pytest.CaptureFixture[str],
    view: Callable[[], str],
    status: int,
) -> None:
    app = make_app(
        make_settings(tmp_path / "data", DATABASE_URL=database_url, PLEURA_LOG_LEVEL="INFO")
    )
    app.add_url_rule("/breaks", "breaks", guard.permission(Permission.SELF)(view))
    person = make_person(app, Role.READER)
    client = sign_in(app, person)
    answer = client.get("/breaks")
    assert answer.status_code == status
    assert answer.headers["X-Request-ID"] in answer.text
    assert all(name in answer.headers for name in HEADERS)
    log = capsys.readouterr().err
    assert all(line.startswith("{") for line in log.splitlines()), log
    requests = [line for line in map(json.loads, log.splitlines()) if line["message"] == "request"]
    assert (requests[-1]["status"], requests[-1]["person"]) == (status, str(person.id))
    for secret in ("UPDATE", "SELECT", "users", "CANARY", "/breaks"):
        assert secret not in log
        assert secret not in answer.text


def test_a_handler_that_fails_itself_has_a_page_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = make_app(make_settings(tmp_path, PLEURA_LOG_LEVEL="INFO"))

    class Odd(Exception):
        pass

    def breaks(error: Odd) -> str:
        raise RuntimeError("CANARY^ZEBRA") from error

    def view(name: str) -> str:
        raise Odd

    app.register_error_handler(Odd, breaks)
    app.add_url_rule("/odd/<name>", "odd", guard.public(view))
    answer = app.test_client().get("/odd/a-secret")
    assert answer.status_code == 500
    assert answer.headers["X-Request-ID"] in answer.text
    assert all(name in answer.headers for name in HEADERS)
    log = capsys.readouterr().err
    assert "RuntimeError" in log
    assert "CANARY" not in log
    assert "a-secret" not in log


def test_a_sign_that_no_column_holds_is_no_fault(tmp_path: Path, database_url: str) -> None:
    app = make_app(make_settings(tmp_path / "data", DATABASE_URL=database_url))
    client = app.test_client()
    wrong = {"email": "a\0b", "password": "not the password"}
    answer = post(client, "/sign-in", wrong, page="/sign-in")
    assert (answer.status_code, "or the password is wrong" in answer.text) == (401, True)

    boss, auditor, reader = (make_person(app, r) for r in (Role.ADMIN, Role.AUDITOR, Role.READER))
    form = {"name": "A", "email": "a@example.org", "role": "reader", "team": "T\0"}
    refused = post(sign_in(app, boss), "/admin/people", form)
    assert (refused.status_code, 'class="error" id="f-team-error"' in refused.text) == (422, True)
    watching = sign_in(app, auditor)
    for event in ("%00", "a%00", "%C3%A9", "'"):
        assert watching.get(f"/audit?event={event}").status_code == 200
    # Other unexpected input gets an error page as well.
    strange = sign_in(app, reader).get("/worklist?q=~%00")
    assert strange.status_code in (200, 422)
    assert all(name in strange.headers for name in HEADERS)


@pytest.fixture
def doors(app: Flask, client: FlaskClient, reader: Person) -> dict[str, dict[str, str]]:
    """Where JSON comes in, and what has to be sent along."""
    study = make_study(app, reader)
    token = make_token(app, reader, "reviews:write")
    worker = app.extensions["pleura"].settings.worker_token
    sign_in(app, reader, client)
    return {
        f"/api/v1/studies/{study}/reviews": {"Authorization": f"Bearer {token}"},
        f"/studies/{study}/reviews": {
            "X-CSRFToken": csrf_of(client),
            "Accept": "application/json",
        },
        "/worker/v1/hello": {"Authorization": f"Bearer {worker}"},
    }


@pytest.mark.parametrize("body", [DEEP, '{"a":' * 100_000, "[1", '"text"', "1" * 5000, "\0"])
def test_json_without_end_is_a_bad_body(
    client: FlaskClient, doors: dict[str, dict[str, str]], body: str
) -> None:
    for path, headers in doors.items():
        answer = client.post(path, data=body, headers=headers, content_type="application/json")
        assert (answer.status_code, answer.get_json()["code"]) == (400, "bad_json"), path


@pytest.mark.parametrize("host", [".", "a..b"])
def test_a_host_that_is_none_is_answered_in_words(app: Flask, host: str) -> None:
    answer = app.test_client().get("/sign-in", headers={"Host": host})
    assert answer.status_code == 400
    assert answer.get_json()["error_id"]
    assert "Content-Security-Policy" in answer.headers
