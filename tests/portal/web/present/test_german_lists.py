"""The lists and the upload page in another language: no English is left on them."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from ml.preparation import phantom
from portal.languages import catalogues
from portal.models import JobKind, Role
from portal.web.clinic import list_events
from portal.web.present.list_rows import RowStatus
from tests.portal.web.present.test_german_pages import JSON, MEASURED, case_of, signed_in
from tests.support.jobs import OTHER_FINDING, REFUSED, prediction_of
from tests.support.languages.page_texts import Pseudo, english_of
from tests.support.people import Person
from tests.support.portal_app import (
    HttpWorker,
    analyse,
    csrf_of,
    job_of,
    make_person,
    make_study,
    post,
    sign_in,
)


@pytest.fixture(autouse=True)
def _pseudo() -> Any:
    catalogues.put_in_place("de", Pseudo())
    yield
    catalogues.put_in_place("de", None)


def with_cases(app: Flask, sender: Person) -> list[str]:
    """Cases of each kind of result, the last without one."""
    results = [
        {"measurements": MEASURED, "other_findings": [OTHER_FINDING]},
        prediction_of(band="none_found", probability=0.05),
        None,
        None,
    ]
    cases = [make_study(app, sender, 50 * place) for place in range(len(results))]
    for case, result in zip(cases, results, strict=True):
        if result is not None:
            analyse(app, case, **result)
    worker, refused = HttpWorker(app), cases[2]
    worker.do(job_of(app, refused))
    job = job_of(app, refused, JobKind.SEGMENT)
    claimed = worker.claim(job).json
    assert claimed is not None
    flat = {"code": "flat", "message": "The picture has almost no contrast."}
    quality = {"verdict": "refused", "reasons": [flat]}
    prediction = prediction_of() | REFUSED | {"quality": quality}
    done = worker.finish(job, claimed["ticket"], {"prediction": prediction})
    assert done.status_code == 204
    return [f"/studies/{case}" for case in cases]


def sent(client: FlaskClient, data: bytes, name: str = "x.png", **more: str) -> Any:
    fields = {"file": (io.BytesIO(data), name), "csrf_token": csrf_of(client), **more}
    return client.post("/studies", data=fields, content_type="multipart/form-data", headers=JSON)


def left_on(client: FlaskClient, path: str) -> list[str]:
    """What of a list is not translated beside readers' names and case numbers."""
    found = english_of(client.get(path).text)
    return [text for text in found if not re.fullmatch(r"Test reader.*|[0-9A-F]{6} ·", text)]


@pytest.mark.parametrize(
    "path",
    [
        "/worklist",
        "/worklist?state=all",
        "/worklist?result=positive&side=left",
        "/worklist?state=received",
        "/worklist?days=3",
        "/history",
        "/history?what=sent",
        "/second-reads",
        "/upload",
    ],
)
def test_a_list_has_no_text_that_is_not_translated(app: Flask, reader: Person, path: str) -> None:
    client = signed_in(app, reader)
    assert left_on(client, path) == []
    cases = with_cases(app, reader)
    assert left_on(client, path) == []
    for case in cases:
        assert post(client, f"{case}/reviews", {"finding": "none"}, headers=JSON).status_code < 500
        post(client, f"{case}/second-read")
    mate = signed_in(app, make_person(app, Role.READER))
    for person in (client, mate):
        assert left_on(person, path) == []
    assert mate.post("/worklist/search", data={"q": "7", "csrf_token": csrf_of(mate)}).location


def test_rows_that_change_while_a_list_is_open(app: Flask, reader: Person) -> None:
    client = signed_in(app, reader)
    ids = ",".join(case.rpartition("/")[2] for case in with_cases(app, reader))
    state = client.get(f"/worklist/state?ids={ids}").json
    assert state is not None
    assert len(state["rows"]) == 4
    for html in (*(row["html"] for row in state["rows"].values()), state["counts"]):
        assert english_of(html) == []


def test_what_was_found_after_reading_is_translated(app: Flask, reader: Person) -> None:
    study, worker = make_study(app, reader), HttpWorker(app)
    worker.do(job_of(app, study))
    client = signed_in(app, reader)
    assert (
        post(client, f"/studies/{study}/reviews", {"finding": "none"}, headers=JSON).status_code
        == 200
    )
    worker.do(job_of(app, study, JobKind.SEGMENT), measurements=MEASURED)
    page = client.get("/worklist?state=all").text
    assert "⟦AI found something after it was read⟧" in page
    assert left_on(client, "/worklist?state=all") == []


def test_cells_of_a_stream_are_kept_for_each_language(app: Flask, reader: Person) -> None:
    case_of(app, reader)
    client = signed_in(app, reader)
    page = client.get("/worklist").text
    stream = re.search(r'data-stream-url="([^"]+)"', page)
    assert stream is not None
    with app.test_request_context():
        claimed = RowStatus(
            label=list_events.list_rows.wording.status_label("received", None),
            detail="",
            probability="",
            reader="",
            verdict="",
            settled=False,
            claimed="Somebody",
        )
        english = list_events._cells(app.jinja_env, "en", claimed)
        with list_events.languages.speaking("de"):
            other = list_events._cells(app.jinja_env, "de", claimed)
    assert "being read" in english
    assert "⟦being read⟧" in other


def test_refusals_of_files_are_in_the_language_of_their_sender(app: Flask, reader: Person) -> None:
    client = signed_in(app, reader)
    refused = sent(client, b"no picture at all")
    assert refused.status_code == 415
    assert english_of(f"<p>{refused.json['title']} {refused.json['detail']}</p>") == []
    stated = sent(client, b"no picture at all", birth_date="3000-01-01")
    assert english_of(f"<p>{stated.json['detail']}</p>") == []
    torn = sent(client, b"\0" * 128 + b"DICM" + b"\xff" * 400, "x.dcm")  # read by another process
    assert english_of(f"<p>{torn.json['detail']}</p>") == []
    assert english_of(client.get("/upload").text) == []
    program = client.get("/api/v1/studies", headers=JSON)
    assert "⟦" not in json.dumps(program.json)


def test_days_in_lists_are_written_as_the_language_does(app: Flask, reader: Person) -> None:
    drawn = phantom.draw(5, rows=128, columns=112)
    make_study(app, reader, data=phantom.dicom(drawn, study_date="20260305"))
    assert "2026-03-05" in sign_in(app, reader).get("/worklist").text
    german = signed_in(app, reader)
    for path in ("/worklist", "/history?what=sent"):
        page = german.get(path).text
        assert "05.03.2026" in page, path
        assert "2026-03-05" not in page, path
