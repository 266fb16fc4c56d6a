"""DICOMweb in tests: exams as DICOM with results, requests with a token, answers taken apart."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from email.parser import BytesParser
from typing import Any
from uuid import UUID

import cv2
import numpy as np
from flask import Flask
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from werkzeug.test import TestResponse

from portal.models import JobKind
from tests.support.jobs import facts_of, prediction_of, rendered, segmented
from tests.support.people import Person
from tests.support.pictures import dicom, mask_png
from tests.support.portal_app import HttpWorker, job_of, make_study, make_token, post, sign_in
from worker.encode import encode_process
from worker.encode.inputs import joined

PDF = b"%PDF-1.7 a report"
DICOM = 'multipart/related; type="application/dicom"'
FRAMES = 'multipart/related; type="application/octet-stream"'


@dataclass
class Exam:
    """An exam that was sent, and its file."""

    id: UUID
    file: bytes

    @property
    def header(self) -> Dataset:
        return dcmread(io.BytesIO(self.file))

    @property
    def study(self) -> str:
        return str(self.header.StudyInstanceUID)

    @property
    def series(self) -> str:
        return f"{self.study}/series/{self.header.SeriesInstanceUID}"

    @property
    def instance(self) -> str:
        return f"{self.series}/instances/{self.header.SOPInstanceUID}"


def send(app: Flask, person: Person, **tags: Any) -> Exam:
    """An exam of one DICOM picture."""
    data = dicom(**({"SeriesInstanceUID": generate_uid()} | tags))
    return Exam(make_study(app, person, data=data), data)


def analyse(
    app: Flask, exam: Exam, runs: Sequence[tuple[int, int]] = ((8, 10),), **changes: Any
) -> None:
    """Do the picture's jobs, with a preview and an outline (`runs` of pixels) that can be drawn;
    `changes` are of the prediction.
    """
    rows, columns = exam.header.Rows, exam.header.Columns
    preview = cv2.imencode(".jpg", np.full((rows, columns), 90, np.uint8))[1].tobytes()
    outputs = {
        JobKind.RENDER: (
            rendered(rows, columns) | {"preview": preview},
            {"facts": facts_of(rows, columns)},
        ),
        JobKind.SEGMENT: (
            segmented(rows, columns) | {"mask": mask_png(rows, columns, runs)},
            {"prediction": prediction_of(**changes)},
        ),
    }
    worker = HttpWorker(app)
    for kind, (files, result) in outputs.items():
        job = job_of(app, exam.id, kind)
        ticket = worker.claim(job).get_json()["ticket"]
        worker.store(job, ticket, files)
        assert worker.finish(job, ticket, result).status_code == 204


def add_results(app: Flask, person: Person, exam: Exam) -> None:
    """A report of an exam that was analysed, and its DICOM objects, made as a worker makes them."""
    client = sign_in(app, person)
    post(client, f"/studies/{exam.id}/reports")
    _make_report(app, exam)
    (report,) = client.get(f"/studies/{exam.id}/reports/state").get_json()
    post(client, f"/studies/{exam.id}/reports/{UUID(report)}/dicom")
    worker, job = HttpWorker(app), job_of(app, exam.id, JobKind.ENCODE)
    ticket = worker.claim(job).get_json()["ticket"]
    content, source = (
        worker.call("GET", f"jobs/{job}/inputs/{kind}", ticket).data
        for kind in ("report_content", "source")
    )
    head, (data,) = encode_process.answer(joined(content, source))
    worker.call(
        *("PUT", f"jobs/{job}/outputs/report", ticket), data=data, content_type="application/zip"
    )
    assert worker.finish(job, ticket, head).status_code == 204


def _make_report(app: Flask, exam: Exam) -> None:
    worker, job = HttpWorker(app), job_of(app, exam.id, JobKind.REPORT)
    ticket = worker.claim(job).get_json()["ticket"]
    worker.store(job, ticket, {"report": PDF})
    made = {"report": {"pages": 1, "sha256": hashlib.sha256(PDF).hexdigest()}}
    assert worker.finish(job, ticket, made).status_code == 204


class Program:
    """A program with a token of a person, or with none."""

    def __init__(self, app: Flask, person: Person | None, *scopes: str) -> None:
        self.client = app.test_client()
        scopes = scopes or ("dicomweb:read",)
        self.token = make_token(app, person, *scopes) if person else ""

    def get(self, path: str, accept: str | None = None, **headers: str) -> TestResponse:
        """The answer for a path below /dicomweb/."""
        given = {"Accept": accept} if accept is not None else {}
        if self.token:
            given["Authorization"] = f"Bearer {self.token}"
        return self.client.get(f"/dicomweb/{path}", headers=given | headers)

    def found(self, path: str) -> list[Dataset]:
        """What a search answers, read by pydicom."""
        answer = self.get(path)
        assert answer.status_code in (200, 204), (answer.status_code, answer.text)
        return datasets(answer)


def datasets(answer: TestResponse) -> list[Dataset]:
    """Every data set of an answer in JSON."""
    if answer.status_code == 204:
        assert answer.data == b""
        return []
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "application/dicom+json"
    return [Dataset.from_json(one, lambda _: b"") for one in json.loads(answer.data)]


def parts(answer: TestResponse) -> list[tuple[str, bytes]]:
    """The media type and the bytes of each part of an answer."""
    assert answer.status_code == 200, answer.text
    kind = answer.headers["Content-Type"]
    assert kind.startswith("multipart/related")
    boundary = kind.partition("boundary=")[2].encode()
    assert answer.data.endswith(b"\r\n--" + boundary + b"--\r\n")
    found = []
    for part in answer.data.split(b"--" + boundary)[1:-1]:
        head, _, body = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        named = BytesParser().parsebytes(head + b"\r\n\r\n")
        data = body.removesuffix(b"\r\n")
        assert int(named["Content-Length"]) == len(data)
        found.append((named["Content-Type"], data))
    return found
