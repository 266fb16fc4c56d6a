"""Signing from the page: the proof of identity, what is answered, and what the page shows then."""

import re
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.core import Clock
from tests.support.people import Person
from tests.support.portal_app import analyse, csrf_of, make_study, sign_in


def known_of(client: FlaskClient, study_id: UUID) -> dict[str, str]:
    """What the case page names as shown."""
    text = client.get(f"/studies/{study_id}").text
    shown = re.search(r'"shown": ?"([0-9a-f.]+)"', text.replace("&#34;", '"'))
    after = re.search(r'name="after" value="([0-9a-f]*)"', text)
    assert shown is not None
    assert after is not None
    return {"shown": shown[1], "after": after[1]}


def sent(client: FlaskClient, study_id: UUID, what: str = "signatures", **body: Any) -> Any:
    headers = {"X-CSRFToken": csrf_of(client), "Accept": "application/json"}
    return client.post(f"/studies/{study_id}/{what}", json=body, headers=headers)


@pytest.fixture
def case(app: Flask, reader: Person) -> UUID:
    study_id = make_study(app, reader)
    analyse(app, study_id)
    return study_id


def test_an_exam_is_signed_and_the_page_shows_by_whom(
    app: Flask, reader: Person, case: UUID
) -> None:
    client = sign_in(app, reader)
    assert "AI only" in client.get(f"/studies/{case}").text
    body = {"id": str(uuid4()), "finding": "right", **known_of(client, case)}
    answer = sent(client, case, **body)
    assert (answer.status_code, answer.json["is_new"]) == (200, True)
    assert sent(client, case, **body).json == answer.json | {"is_new": False}
    text = client.get(f"/studies/{case}").text
    assert re.search(r"Final</span> <bdi>[^<]+</bdi>", text)
    assert "with password and code" in text
    for page in ("/worklist?state=read", "/history"):
        assert "final · right" in client.get(page).text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("no object", 400, "bad_json"),
        ({}, 422, "bad_id"),
        ({"id": "x"}, 422, "bad_id"),
        ({"finding": 7, "id": str(uuid4())}, 422, "bad_review"),
        ({"finding": "maybe", "id": str(uuid4())}, 422, "unknown_finding"),
        ({"finding": "right", "id": str(uuid4()), "view": {"x": 1}}, 422, "view"),
        ({"finding": "right", "id": str(uuid4()), "shown": "old"}, 409, "changed"),
    ],
)
def test_what_cannot_be_signed_is_refused_with_its_reason(
    app: Flask, reader: Person, case: UUID, body: Any, status: int, code: str
) -> None:
    client = sign_in(app, reader)
    if isinstance(body, dict):
        body = known_of(client, case) | body
    headers = {"X-CSRFToken": csrf_of(client), "Accept": "application/json"}
    answer = client.post(f"/studies/{case}/signatures", json=body, headers=headers)
    assert (answer.status_code, answer.json["code"]) == (status, code)
    if status == 409:
        assert answer.json["changed"] == ["picture", "result", "outline"]
    assert "Final</span>" not in client.get(f"/studies/{case}").text


def test_without_a_fresh_proof_the_page_asks_for_one_and_goes_on(
    app: Flask, clock: Clock, reader: Person, case: UUID
) -> None:
    client = sign_in(app, reader)
    for _ in range(5):  # the session goes on, the proof gets old
        clock.forward(minutes=13)
        client.get("/worklist")
    body = {"id": str(uuid4()), "finding": "left", "comment": "mine", **known_of(client, case)}
    answer = sent(client, case, **body)
    assert (answer.status_code, answer.json["code"]) == (401, "confirm")
    headers = {"Accept": "application/json"}

    def confirm(password: str) -> Any:
        form = {"password": password, "code": reader.code(clock())}
        form["csrf_token"] = csrf_of(client)
        return client.post("/confirm", data=form, headers=headers)

    wrong = confirm("wrong")
    assert (wrong.status_code, wrong.json["code"]) == (422, "not_confirmed")
    assert confirm(reader.password).status_code == 204
    assert sent(client, case, **body).status_code == 200
    assert "mine" in client.get(f"/studies/{case}").text


def test_addenda_are_added_to_a_signed_exam_alone(app: Flask, reader: Person, case: UUID) -> None:
    client = sign_in(app, reader)
    early = sent(client, case, "addenda", id=str(uuid4()), text="early")
    assert (early.status_code, early.json["code"]) == (409, "not_signed")
    sent(client, case, id=str(uuid4()), finding="right", **known_of(client, case))
    for bad in (7, "", "x" * 2001):
        assert sent(client, case, "addenda", id=str(uuid4()), text=bad).status_code == 422
    added = sent(client, case, "addenda", id=str(uuid4()), text="told <b>Dr Adler</b>")
    assert added.status_code == 200
    assert "told &lt;b&gt;Dr Adler&lt;/b&gt;" in client.get(f"/studies/{case}").text


def test_what_was_seen_is_shown_again_and_nothing_can_be_changed(
    app: Flask, reader: Person, case: UUID
) -> None:
    client = sign_in(app, reader)
    body = {"id": str(uuid4()), "finding": "right", **known_of(client, case)}
    signature = sent(client, case, **body).json["signature"]
    page = client.get(f"/studies/{case}?seen={signature}")
    assert page.status_code == 200
    assert "As signed" in page.text
    for control in ('id="review"', 'data-action="sign"', 'data-action="edit"', 'id="claim"'):
        assert control not in page.text
        assert control in client.get(f"/studies/{case}").text
    for unknown in ("x", "", str(uuid4())):
        assert client.get(f"/studies/{case}?seen={unknown}").status_code == 404
