"""What the viewer of the case page stores, over HTTP: for the same person in any browser."""

import json
import re
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.people import Person
from tests.support.portal_app import analyse, csrf_of, make_study, sign_in

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
    rulers = {"picture": first["picture"], "rulers": [[1, 2, 3, 4]]}
    assert send(here, first["rulersUrl"], rulers) == 204
    seen = viewer_of(there, study)
    assert seen["preferences"] == CHOICE | {"brush_mm": 8.0, "brush_px": 40}
    assert seen["rulers"] == [[1, 2, 3, 4]]


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
    assert viewer["rulersUrl"] is None
    assert send(client, viewer["preferencesUrl"], CHOICE) == 204
    body = {"picture": viewer["picture"], "rulers": []}
    assert send(client, f"/studies/{study}/rulers", body) == 404


@pytest.mark.parametrize("body", [None, [], "x", 7, {}, {"picture": "x"}, {"picture": None}])
def test_bad_bodies_are_refused_with_a_reason(app: Flask, reader: Person, body: object) -> None:
    study = make_study(app, reader)
    client = sign_in(app, reader)
    assert send(client, "/viewer/preferences", body) == 422
    assert send(client, f"/studies/{study}/rulers", body) == 422
