"""Reports over HTTP: the page's button, the worker's job, the download."""

import hashlib
import re
from uuid import UUID, uuid4

import pytest
from flask import Flask

from portal.models import JobKind, Role
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

PDF = b"%PDF-1.7 made"


@pytest.fixture
def study(app: Flask, reader: Person) -> UUID:
    found = make_study(app, reader)
    analyse(app, found)
    return found


def make(app: Flask, study: UUID) -> None:
    """Do the case's report job as a worker does it."""
    worker, job = HttpWorker(app), job_of(app, study, JobKind.REPORT)
    claimed = worker.claim(job).get_json()
    assert set(claimed["inputs"]) == {"report_content"}
    assert "facts" not in claimed or claimed["facts"] is None
    read = worker.call("GET", f"jobs/{job}/inputs/report_content", claimed["ticket"])
    assert read.status_code == 200
    assert b"Chest X-ray report" in read.data
    (stored,) = worker.store(job, claimed["ticket"], {"report": PDF})
    assert stored.status_code == 204
    digest = hashlib.sha256(PDF).hexdigest()
    done = worker.finish(job, claimed["ticket"], {"report": {"pages": 3, "sha256": digest}})
    assert done.status_code == 204, done.text


def test_a_report_is_asked_for_made_and_downloaded(app: Flask, reader: Person, study: UUID) -> None:
    client = sign_in(app, reader)
    case = client.get(f"/studies/{study}").text
    assert 'id="report-make"' in case
    assert "Make a report" in case
    asked = post(client, f"/studies/{study}/reports")
    assert (asked.status_code, asked.location) == (303, f"/studies/{study}/reports")
    waiting = client.get(asked.location).text
    assert "data-waiting" in waiting
    assert "The report is being made." in waiting
    states = client.get(f"/studies/{study}/reports/state").get_json()
    assert list(states.values()) == ["waiting"]
    make(app, study)
    ready = client.get(asked.location).text
    assert "3 pages" in ready
    assert hashlib.sha256(PDF).hexdigest() in ready
    found = re.search(rf"/studies/{study}/reports/([0-9a-f-]{{36}})", ready)
    assert found is not None
    read = client.get(found[0])
    assert (read.status_code, read.data, read.content_type) == (200, PDF, "application/pdf")
    assert re.fullmatch(
        r'attachment; filename="report-[0-9A-F]{6}-1.pdf"', read.headers["Content-Disposition"]
    )
    assert "no-store" in read.headers["Cache-Control"]
    assert "CANARY" not in str(read.headers)


def test_a_script_is_answered_in_json_and_why_there_is_none(app: Flask, reader: Person) -> None:
    client = sign_in(app, reader)
    fresh = make_study(app, reader)
    headers = {"X-CSRFToken": csrf_of(client), "Accept": "application/json"}
    refused = client.post(f"/studies/{fresh}/reports", headers=headers)
    assert (refused.status_code, refused.get_json()["code"]) == (409, "not_ready")
    analyse(app, fresh)
    asked = client.post(f"/studies/{fresh}/reports", headers=headers)
    assert UUID(asked.get_json()["report"])
    assert client.post(f"/studies/{fresh}/reports").status_code == 400  # without its token


def test_a_report_that_no_worker_can_make_says_what_is_missing(
    app: Flask, reader: Person, study: UUID
) -> None:
    client = sign_in(app, reader)
    post(client, f"/studies/{study}/reports")
    worker, job = HttpWorker(app), job_of(app, study, JobKind.REPORT)
    for _ in range(3):
        ticket = worker.claim(job).get_json()["ticket"]
        failure = {"code": "report_unavailable", "kind": "transient"}
        assert worker.call("POST", f"jobs/{job}/fail", ticket, json=failure).status_code == 204
    shown = client.get(f"/studies/{study}").text
    assert "a library (Pango) is missing" in shown
    assert "everything else works" in shown


def test_others_find_no_reports(app: Flask, reader: Person, study: UUID) -> None:
    client = sign_in(app, reader)
    post(client, f"/studies/{study}/reports")
    make(app, study)
    (report,) = client.get(f"/studies/{study}/reports/state").get_json()
    outsider = sign_in(app, make_person(app, Role.READER, team="Elsewhere"))
    for path in ("", "/state", f"/{UUID(report)}"):
        assert outsider.get(f"/studies/{study}/reports{path}").status_code == 404
    assert client.get(f"/studies/{study}/reports/{uuid4()}").status_code == 404
    # Nor is it served among the files of the picture.
    for kind in ("report", "report_content"):
        assert client.get(f"/studies/{study}/blobs/{kind}").status_code == 404
