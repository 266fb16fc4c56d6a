"""What a stranger writes into addresses, headers and forms ends in no header and no log."""

import json
import logging
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.people import Person
from tests.support.portal_app import make_token, post, sign_in

# A line's end in all its spellings, then what would be a header, or a line of the log.
ENDS = ("\r\n", "\n", "\r", "%0d%0a", "%250d%250a", "\u2028", "\u560d\u560a", "\x0b", "\x85")
MARK = "X-Planted"
PLANTED = f'{MARK}: yes{{"level":"error","planted":true}}'


def by_path(client: FlaskClient, value: str) -> TestResponse:
    return client.get(f"/studies/{value}")


def by_query(client: FlaskClient, value: str) -> TestResponse:
    return client.get("/worklist", query_string={"q": value, "state": value, "page": value})


def by_agent(client: FlaskClient, value: str) -> TestResponse:
    agent = value.replace("\r", " ").replace("\n", " ").encode("ascii", "replace").decode()
    return client.get("/account", headers={"User-Agent": agent, "X-Request-ID": agent})


def by_next(client: FlaskClient, value: str) -> TestResponse:
    return client.get("/confirm", query_string={"next": f"/account{value}"})


def by_search(client: FlaskClient, value: str) -> TestResponse:
    return post(client, "/worklist/search", {"q": value})


def by_sign_in(client: FlaskClient, value: str) -> TestResponse:
    other = client.application.test_client()
    form = {"email": f"a{value}@example.org", "password": value, "next": value}
    return post(other, "/sign-in", form, page="/sign-in")


@pytest.mark.sampled(4)
@pytest.mark.parametrize("end", ENDS, ids=ascii)
@pytest.mark.parametrize("send", [by_path, by_query, by_agent, by_next, by_search, by_sign_in])
def test_a_line_that_was_sent_stays_a_value(
    app: Flask, reader: Person, send: Callable[[FlaskClient, str], TestResponse], end: str
) -> None:
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(formatter.format(record))

    logger = logging.getLogger("portal")
    formatter = logger.handlers[0].formatter
    assert formatter is not None
    records, level = Kept(), logger.level
    logger.addHandler(records)
    logger.setLevel(logging.DEBUG)
    try:
        answer = send(sign_in(app, reader), end + PLANTED)
    finally:
        logger.removeHandler(records)
        logger.setLevel(level)
    assert answer.status_code < 500
    assert MARK not in answer.headers
    for name, value in answer.headers:
        assert "\r" not in value + name
        assert "\n" not in value + name
    assert lines
    for line in lines:
        assert "\n" not in line
        assert isinstance(json.loads(line), dict)
        assert "planted" not in line.lower()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1@evil.example"])
def test_a_foreign_host_name_is_not_repeated(app: Flask, reader: Person, host: str) -> None:
    headers = {"Host": host, "Authorization": f"Bearer {make_token(app, reader, 'studies:read')}"}
    for path in ("/", "/account", "/api/v1/studies", "/api/v1/openapi.json", "/nothing"):
        answer = app.test_client().get(path, headers=headers)
        assert answer.status_code < 500
        assert "evil.example" not in answer.text
        assert "evil.example" not in str(answer.headers)
