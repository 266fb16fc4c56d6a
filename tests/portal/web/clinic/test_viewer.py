"""What the viewer of the case page stores, over HTTP: for the same person in any browser."""

import json
import re
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.models import AuditEvent, db
from tests.support.people import Person
from tests.support.portal_app import analyse, csrf_of, make_study, post, sign_in

CHOICE = {"overlay": "off", "mode": "fill", "inverted": True, "preset": "full"}


def viewer_of(client: FlaskClient, study: UUID) -> dict[str, Any]:
    """What the page gives its viewer."""
    found = re.search(r'data-viewer="([^"]*)"', client.get(f"/studies/{study}").text)
    assert found is not None
    viewer: dict[str, Any] = json.loads(unescape(found[1]))
    return viewer


def send(client: FlaskClient, path: str, body: object) -> int:
    headers = {"X-CSRFToken": csrf_of(client), "Accept": "application/json"}
    return client.post(path, json=body, headers=headers).status_code


def test_another_browser_of_the_same_reader_looks_the_same(app: Flask, reader: Person) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    here, there = sign_in(app, reader), sign_in(app, reader)
    first = viewer_of(here, study)
    assert first["preferences"]["mode"] == "outline"
    assert send(here, first["preferencesUrl"], CHOICE) == 204
    drawn = [{"kind": "arrow", "line": [1, 2, 3, 4], "text": "border"}]
    body = {"picture": first["picture"], "annotations": drawn, "after": "", "version": "a" * 32}
    assert send(here, first["annotationsUrl"], body) == 204
    seen = viewer_of(there, study)
    links = {"beside": True, "link_place": True, "link_window": False}
    assert seen["preferences"] == CHOICE | {"brush_mm": 8.0, "brush_px": 40} | links
    assert seen["annotations"] == drawn
    assert (first["annotationsVersion"], seen["annotationsVersion"]) == ("", "a" * 32)


def test_a_picture_that_was_shown_is_noted_once_for_each_reader_of_its_exam(
    app: Flask, reader: Person, technologist: Person
) -> None:
    study, other = make_study(app, technologist), make_study(app, technologist, shade=1)
    analyse(app, study)
    client = sign_in(app, reader)
    viewer = viewer_of(client, study)
    assert viewer["shownUrl"] == f"/studies/{study}/shown?picture={viewer['picture']}"
    for _ in range(2):
        assert post(client, viewer["shownUrl"]).status_code == 204
    with app.app_context():
        query = select(AuditEvent).where(AuditEvent.event == "picture_shown")
        (row,) = db.session.scalars(query)
    assert (row.actor_id, row.study_id) == (reader.id, study)
    assert row.subject_id == UUID(viewer["picture"])
    elsewhere = viewer["shownUrl"].replace(str(study), str(other))
    for path in (elsewhere, f"/studies/{study}/shown", f"/studies/{study}/shown?picture=x"):
        assert post(client, path).status_code == 404
    theirs = sign_in(app, technologist)
    assert viewer_of(theirs, study)["shownUrl"] is None
    assert post(theirs, viewer["shownUrl"]).status_code in (403, 404)


def test_a_window_that_has_not_seen_what_another_one_stored_gets_it(
    app: Flask, reader: Person
) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    client = sign_in(app, reader)
    viewer = viewer_of(client, study)
    rulers = [{"kind": "ruler", "line": [1, 2, 3, at], "text": ""} for at in (4, 5)]
    body = {"picture": viewer["picture"], "annotations": rulers[:1], "after": ""}
    assert send(client, viewer["annotationsUrl"], body | {"version": "a" * 32}) == 204
    other = body | {"annotations": rulers[1:], "version": "b" * 32}
    headers = {"X-CSRFToken": csrf_of(client), "Accept": "application/json"}
    answer = client.post(viewer["annotationsUrl"], json=other, headers=headers)
    assert answer.status_code == 409
    assert answer.json is not None
    assert (answer.json["code"], answer.json["version"]) == ("drawn_elsewhere", "a" * 32)
    assert answer.json["annotations"] == rulers[:1]
    assert "another window" in answer.json["detail"]
    assert viewer_of(client, study)["annotations"] == rulers[:1]


def test_what_hangs_beside_is_remembered(app: Flask, reader: Person) -> None:
    study = make_study(app, reader)
    client = sign_in(app, reader)
    for links in ({"beside": False}, {"link_window": True}, {}):
        assert send(client, "/viewer/preferences", CHOICE | links) == 204
    seen = viewer_of(client, study)["preferences"]
    assert (seen["beside"], seen["link_place"], seen["link_window"]) == (False, True, True)
    assert send(client, "/viewer/preferences", CHOICE | {"beside": 1}) == 422


def test_what_is_no_choice_beside_is_not_found(app: Flask, reader: Person) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    client = sign_in(app, reader)
    viewer = viewer_of(client, study)
    assert viewer["mayHaveBeside"] is False
    answer = client.get(f"{viewer['besideUrl']}?shown={viewer['picture']}").get_json()
    assert answer == {"viewer": None, "label": None, "choices": []}
    for wrong in ("x", str(UUID(int=7)), viewer["picture"]):
        path = f"{viewer['besideUrl']}?shown={viewer['picture']}&picture={wrong}"
        assert client.get(path).status_code == 404


def test_a_review_of_a_checked_screen_says_so(app: Flask, reader: Person) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    client = sign_in(app, reader)
    assert "not checked" in client.get(f"/studies/{study}").text
    seen = {"dark_at": "top_left", "dark": "top_left", "light_at": "top_left", "lines": "yes"}
    sent = seen | {"light": "top_left", "width": "1920", "height": "1080"}
    answer = post(client, "/screen", sent | {"lines": ""})
    assert answer.status_code == 303
    assert "Answer all questions" in client.get("/screen").text
    answer = post(client, "/screen", sent)
    cookie = answer.headers["Set-Cookie"]
    assert "-screen=" in cookie
    assert "HttpOnly" in cookie
    assert "all of the test pattern was seen" in client.get("/screen").text
    post(client, f"/studies/{study}/reviews", {"finding": "none"})
    page = client.get(f"/studies/{study}").text
    assert "screen checked the same day" in page
    assert "not checked" not in page


def test_the_brush_is_remembered_and_what_is_not_sent_of_it_stays(
    app: Flask, reader: Person
) -> None:
    study = make_study(app, reader)
    client = sign_in(app, reader)
    for brush in ({"brush_mm": 4.1}, {"brush_px": 12}, {}):
        assert send(client, "/viewer/preferences", CHOICE | brush) == 204
    seen = viewer_of(client, study)["preferences"]
    assert (seen["brush_mm"], seen["brush_px"]) == (4.1, 12)
    for wrong in ({"brush_mm": 0.1}, {"brush_mm": "8"}, {"brush_px": 1001}, {"brush_px": True}):
        assert send(client, "/viewer/preferences", CHOICE | wrong) == 422


def test_a_technologist_has_preferences_and_no_draft(app: Flask, technologist: Person) -> None:
    study = make_study(app, technologist)
    client = sign_in(app, technologist)
    viewer = viewer_of(client, study)
    assert viewer["annotationsUrl"] is None
    assert send(client, viewer["preferencesUrl"], CHOICE) == 204
    body = {"picture": viewer["picture"], "annotations": []}
    assert send(client, f"/studies/{study}/annotations", body) == 404


@pytest.mark.parametrize("body", [None, [], "x", 7, {}, {"picture": "x"}, {"picture": None}])
def test_bad_bodies_are_refused_with_a_reason(app: Flask, reader: Person, body: object) -> None:
    study = make_study(app, reader)
    client = sign_in(app, reader)
    assert send(client, "/viewer/preferences", body) == 422
    assert send(client, f"/studies/{study}/annotations", body) == 422
