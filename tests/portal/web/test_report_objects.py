"""DICOM objects over HTTP: the button beside a report, the worker's job, the download."""

import io
import re
import zipfile
from uuid import UUID

import cv2
import numpy as np
import pytest
from flask import Flask
from pydicom.uid import generate_uid

from portal.models import JobKind, Role
from tests.portal.web.test_report import make
from tests.support.jobs import facts_of, prediction_of, rendered, segmented
from tests.support.people import Person
from tests.support.pictures import dicom, mask_png
from tests.support.portal_app import (
    HttpWorker,
    csrf_of,
    job_of,
    make_person,
    make_study,
    post,
    sign_in,
)
from worker.encode import encode_process
from worker.encode.inputs import joined


@pytest.fixture
def study(app: Flask, reader: Person) -> UUID:
    """A case that came as DICOM, with an outline."""
    found = make_study(app, reader, data=dicom(SeriesInstanceUID=generate_uid()))
    jpeg = cv2.imencode(".jpg", np.full((8, 6), 90, np.uint8))[1].tobytes()
    outputs = {
        JobKind.RENDER: (rendered(8, 6) | {"preview": jpeg}, {"facts": facts_of(8, 6)}),
        JobKind.SEGMENT: (
            segmented() | {"mask": mask_png(8, 6, [(8, 10)])},
            {"prediction": prediction_of()},
        ),
    }
    worker = HttpWorker(app)
    for kind, (files, result) in outputs.items():
        job = job_of(app, found, kind)
        ticket = worker.claim(job).get_json()["ticket"]
        worker.store(job, ticket, files)
        assert worker.finish(job, ticket, result).status_code == 204
    return found


def test_objects_are_asked_for_made_and_downloaded(app: Flask, reader: Person, study: UUID) -> None:
    client = sign_in(app, reader)
    post(client, f"/studies/{study}/reports")
    make(app, study)
    page = client.get(f"/studies/{study}/reports").text
    assert "Make DICOM objects" in page
    found = re.search(rf"/studies/{study}/reports/([0-9a-f-]{{36}})/dicom", page)
    assert found is not None
    address = found[0]
    assert client.get(address).status_code == 404
    asked = post(client, address)
    assert (asked.status_code, asked.location) == (303, f"/studies/{study}/reports")
    waiting = client.get(asked.location).text
    assert "The DICOM objects are being made." in waiting
    assert "data-waiting" in waiting
    states = client.get(f"/studies/{study}/reports/state").get_json()
    assert sorted(states.values()) == ["ready", "waiting"]
    _encode(app, study)
    ready = client.get(asked.location).text
    assert "DICOM objects (ZIP)" in ready
    assert "data-waiting" not in ready
    read = client.get(address)
    assert (read.status_code, read.content_type) == (200, "application/zip")
    assert re.fullmatch(
        r'attachment; filename="dicom-[0-9A-F]{6}-1.zip"', read.headers["Content-Disposition"]
    )
    assert "no-store" in read.headers["Cache-Control"]
    with zipfile.ZipFile(io.BytesIO(read.data)) as archive:
        assert "picture-1-sr.dcm" in archive.namelist()


def _encode(app: Flask, study: UUID) -> None:
    """Do the case's encode job as a worker does it."""
    worker, job = HttpWorker(app), job_of(app, study, JobKind.ENCODE)
    ticket = worker.claim(job).get_json()["ticket"]
    content, source = (
        worker.call("GET", f"jobs/{job}/inputs/{kind}", ticket).data
        for kind in ("report_content", "source")
    )
    head, (data,) = encode_process.answer(joined(content, source))
    stored = worker.call(
        *("PUT", f"jobs/{job}/outputs/report", ticket), data=data, content_type="application/zip"
    )
    assert stored.status_code == 204
    assert worker.finish(job, ticket, head).status_code == 204


def test_what_no_worker_can_make_says_what_is_missing(
    app: Flask, reader: Person, study: UUID
) -> None:
    client = sign_in(app, reader)
    post(client, f"/studies/{study}/reports")
    make(app, study)
    (report,) = client.get(f"/studies/{study}/reports/state").get_json()
    post(client, f"/studies/{study}/reports/{UUID(report)}/dicom")
    worker, job = HttpWorker(app), job_of(app, study, JobKind.ENCODE)
    for _ in range(3):
        ticket = worker.claim(job).get_json()["ticket"]
        failure = {"code": "objects_unavailable", "kind": "transient"}
        assert worker.call("POST", f"jobs/{job}/fail", ticket, json=failure).status_code == 204
    shown = client.get(f"/studies/{study}").text
    assert "a package (highdicom) is missing" in shown
    assert "Try DICOM objects again" in shown


def test_others_find_no_objects_and_a_script_is_told_why_there_are_none(
    app: Flask, reader: Person, study: UUID
) -> None:
    client = sign_in(app, reader)
    post(client, f"/studies/{study}/reports")
    (report,) = client.get(f"/studies/{study}/reports/state").get_json()
    address = f"/studies/{study}/reports/{UUID(report)}/dicom"
    headers = {"X-CSRFToken": csrf_of(client), "Accept": "application/json"}
    early = client.post(address, headers=headers)
    assert (early.status_code, early.get_json()["code"]) == (409, "not_ready")
    make(app, study)
    assert client.post(address).status_code == 400  # without its token
    outsider = sign_in(app, make_person(app, Role.READER, team="Elsewhere"))
    assert outsider.get(address).status_code == 404
    assert post(outsider, address).status_code == 404
    assert client.post(address, headers=headers).get_json() == {"report": report}
