"""How long a session still lasts, as pages ask for it: work counts, asking does not."""

from flask import Flask
from flask.testing import FlaskClient

from tests.support.core import Clock
from tests.support.people import Person
from tests.support.portal_app import csrf_of, sign_in

JSON = {"Accept": "application/json"}


def left(client: FlaskClient) -> tuple[int, int]:
    answer = client.get("/session", headers=JSON).get_json()
    return answer["idle_seconds"], answer["left_seconds"]


def test_asking_is_no_activity_and_work_in_a_page_is(
    app: Flask, reader: Person, clock: Clock
) -> None:
    client = sign_in(app, reader)
    token = csrf_of(client)
    assert left(client) == (15 * 60, 10 * 3600)
    clock.forward(minutes=10)
    assert left(client) == (5 * 60, 10 * 3600 - 600)
    assert left(client) == (5 * 60, 10 * 3600 - 600)
    answer = client.post("/session", headers={**JSON, "X-CSRFToken": token}).get_json()
    assert answer["idle_seconds"] == 15 * 60
    assert answer["person"] == str(reader.id)
    clock.forward(minutes=14)
    assert left(client)[0] == 60
    clock.forward(minutes=1)
    refused = client.get("/session", headers=JSON)
    assert (refused.status_code, refused.get_json()["code"]) == (401, "signed_out")
    assert client.post("/session", headers=JSON).status_code == 401


def test_activity_does_not_move_the_end_of_a_session(
    app: Flask, reader: Person, clock: Clock
) -> None:
    client = sign_in(app, reader)
    token = csrf_of(client)
    for _ in range(59):
        clock.forward(minutes=10)
        answer = client.post("/session", headers={**JSON, "X-CSRFToken": token})
        assert answer.status_code == 200
    assert left(client)[1] == 600
    clock.forward(minutes=10)
    assert client.get("/session", headers=JSON).status_code == 401


def test_pages_know_when_the_session_ends(app: Flask, reader: Person, clock: Clock) -> None:
    client = sign_in(app, reader)
    page = client.get("/account").text
    assert f'name="session" content="{reader.id}" data-idle="900" data-left="36000"' in page
    assert 'name="session"' not in app.test_client().get("/sign-in").text
