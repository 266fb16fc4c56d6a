"""Editing an outline over HTTP: what a page sends, and what it is answered."""

import base64
import hashlib
import json
import re
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.models import JobKind, Role
from tests.support.people import Person
from tests.support.portal_app import (
    HttpWorker,
    analyse,
    csrf_of,
    job_of,
    make_person,
    make_study,
    sign_in,
)
from worker.contract import outline_runs
from worker.contract.outline_runs import BYTES_MAX

ROWS, COLUMNS = 640, 512
DRAWN = outline_runs.encode([(1000, 1400)], ROWS, COLUMNS)


class Page:
    """A reader's page of an analysed case."""

    def __init__(self, app: Flask, person: Person, study: UUID) -> None:
        self.client: FlaskClient = sign_in(app, person)
        self.study = study
        self.csrf = csrf_of(self.client)
        self.html = self.client.get(f"/studies/{study}").text
        found = re.search(r'data-viewer="([^"]*)"', self.html)
        assert found is not None
        self.viewer: dict[str, Any] = json.loads(unescape(found[1]))
        self.lock = ""

    def post(self, name: str, **sent: Any) -> TestResponse:
        headers = {"X-CSRFToken": self.csrf, "Accept": "application/json"}
        body = {"picture": self.viewer["picture"], "lock": self.lock} | sent
        return self.client.post(f"/studies/{self.study}/outline/{name}", json=body, headers=headers)

    def begin(self, **sent: Any) -> dict[str, Any]:
        answer = self.post("begin", **sent)
        assert answer.status_code == 200, answer.text
        opened: dict[str, Any] = answer.get_json()
        self.lock = opened["lock"]
        return opened

    def drawn(self, name: str, mask: bytes = DRAWN, **sent: Any) -> TestResponse:
        text = base64.b64encode(mask).decode()
        return self.post(name, **({"runs": text, "rows": ROWS, "columns": COLUMNS} | sent))


@pytest.fixture
def study(app: Flask, reader: Person) -> UUID:
    found = make_study(app, reader)
    analyse(app, found)
    return found


def test_a_draft_a_version_its_measurements_and_the_review_that_names_it(
    app: Flask, reader: Person, study: UUID
) -> None:
    page = Page(app, reader, study)
    assert page.viewer["outline"] == {
        "url": f"/studies/{study}/outline",
        "newest": None,
        "mayEdit": True,
        "measuring": False,
    }
    opened = page.begin()
    assert (opened["is_draft"], opened["beat_seconds"]) == (False, 60)
    stored = page.drawn("draft", number=1)
    assert stored.get_json() == {"sha256": hashlib.sha256(DRAWN).hexdigest()}
    assert page.post("beat").status_code == 204
    named = str(uuid4())
    saved = page.drawn("save", outline=named)
    assert saved.get_json() == {"outline": named}
    read = page.client.get(f"/studies/{study}/outline/{named}")
    assert (read.data, read.content_type) == (DRAWN, outline_runs.RUNS)
    state = f"/studies/{study}/outline/state?picture={page.viewer['picture']}"
    assert page.client.get(state).get_json() == {"newest": named, "measuring": "waiting"}
    worker, job = HttpWorker(app), job_of(app, study, JobKind.MEASURE)
    claimed = worker.claim(job).get_json()
    assert claimed["inputs"]["review_mask"]["bytes"] == len(DRAWN)
    result = {"measurements": {"area_px": 400, "side": "left", "distance_px": 12.0}}
    assert worker.finish(job, claimed["ticket"], result).status_code == 204
    assert page.client.get(state).get_json()["measuring"] == "done"
    again = Page(app, reader, study)
    assert "Reader’s outline" in again.html
    assert "400 px" in again.html
    assert f'name="drawn" value="{UUID(named).hex}"' in again.html
    sent = {"finding": "left", "drawn": ""}
    headers = {"X-CSRFToken": again.csrf, "Accept": "application/json"}
    refused = again.client.post(f"/studies/{study}/reviews", json=sent, headers=headers)
    assert (refused.status_code, refused.get_json()["code"]) == (409, "outlined")
    sent["drawn"] = UUID(named).hex
    accepted = again.client.post(f"/studies/{study}/reviews", json=sent, headers=headers)
    assert accepted.status_code == 200


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"runs": "no base64!"}, "runs"),
        ({"runs": None}, "runs"),
        ({"runs": "AAAA"}, "broken"),
        ({"runs": base64.b64encode(bytes(BYTES_MAX + 1)).decode()}, "too_large"),
        ({"rows": COLUMNS, "columns": ROWS}, "size"),
        ({"picture": str(uuid4())}, "picture"),
        ({"number": -1}, "number"),
    ],
)
def test_a_bad_outline_is_refused_with_a_sentence(
    app: Flask, reader: Person, study: UUID, sent: dict[str, Any], code: str
) -> None:
    page = Page(app, reader, study)
    page.begin()
    answer = page.drawn("draft", **({"number": 1} | sent))
    assert (answer.status_code, answer.get_json()["code"]) == (422, code)
    assert answer.get_json()["detail"].endswith(".")


def test_a_body_beyond_all_bounds_is_refused(app: Flask, reader: Person, study: UUID) -> None:
    page = Page(app, reader, study)
    page.begin()
    assert page.drawn("draft", bytes(2**20), number=1).status_code == 413


@pytest.mark.parametrize("name", ["begin", "beat", "draft", "save", "leave"])
@pytest.mark.parametrize("body", [None, [], "x", 7, {}])
def test_bodies_of_another_kind_are_refused(
    app: Flask, reader: Person, study: UUID, name: str, body: object
) -> None:
    page = Page(app, reader, study)
    headers = {"X-CSRFToken": page.csrf, "Accept": "application/json"}
    answer = page.client.post(f"/studies/{study}/outline/{name}", json=body, headers=headers)
    assert answer.status_code == 422


def test_another_reader_is_answered_with_who_edits(app: Flask, reader: Person, study: UUID) -> None:
    page = Page(app, reader, study)
    page.begin()
    page.drawn("draft", number=1)
    other = Page(app, make_person(app, Role.READER, name="Rob Reader"), study)
    refused = other.post("begin")
    assert (refused.status_code, refused.get_json()["code"]) == (409, "being_edited")
    assert other.begin(take_over=True)["kept"]
    late = page.drawn("draft", number=2)
    assert (late.status_code, late.get_json()["code"]) == (409, "taken_over")
    assert "Rob Reader took over" in late.get_json()["detail"]


def test_the_outlines_of_others_are_not_there(app: Flask, reader: Person, study: UUID) -> None:
    page = Page(app, reader, study)
    page.begin()
    named = str(uuid4())
    page.drawn("save", outline=named)
    outsider = sign_in(app, make_person(app, Role.READER, team="Elsewhere"))
    for path in (named, f"state?picture={page.viewer['picture']}"):
        assert outsider.get(f"/studies/{study}/outline/{path}").status_code == 404
    assert page.client.get(f"/studies/{study}/outline/state?picture=x").status_code == 404
    assert page.client.get(f"/studies/{study}/outline/{uuid4()}").status_code == 404
