"""The upload page: whose case a sent file became, and the list that survives a reload."""

from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from portal.intake import submission
from portal.models import Role
from portal.reading import refused_files
from portal.vault import StorageFull
from tests.support.core import Clock
from tests.support.hostile_files.bad_files import zipped
from tests.support.people import Person
from tests.support.pictures import dicom, picture
from tests.support.portal_app import csrf_of, make_person, sign_in


def test_a_sent_file_is_answered_with_case_and_patient_and_listed_for_a_day(
    app: Flask, technologist: Person, clock: Clock
) -> None:
    client = sign_in(app, technologist)
    headers = {"X-CSRFToken": csrf_of(client), "Accept": "application/json"}
    file = (BytesIO(dicom()), "chest one.dcm")
    answer = client.post("/studies", data={"file": file}, headers=headers).get_json()
    assert answer["patient"] == "PHANTOM, ONE"
    page = client.get("/upload").text
    for text in ("chest one.dcm", answer["case"], "PHANTOM, ONE", answer["url"]):
        assert text in page, text
    colleague = sign_in(app, make_person(app, Role.TECHNOLOGIST))
    assert "PHANTOM" not in colleague.get("/upload").text
    again = client.post(
        "/studies", data={"file": (BytesIO(dicom(PatientName="A^B")), "2.dcm")}, headers=headers
    )
    assert again.status_code == 202
    clock.forward(hours=25)
    assert "PHANTOM" not in sign_in(app, technologist).get("/upload").text


def raising(error: Exception) -> Any:
    def fails(*_: Any, **__: Any) -> None:
        raise error

    return fails


@pytest.mark.parametrize(
    ("name", "data", "status"), [("disc.zip", None, 202), ("letter.dcm", b"a letter", 415)]
)
def test_a_refusal_that_cannot_be_noted_changes_no_answer(
    app: Flask,
    technologist: Person,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    data: bytes | None,
    status: int,
) -> None:
    client = sign_in(app, technologist)
    headers = {"X-CSRFToken": csrf_of(client), "Accept": "application/json"}
    monkeypatch.setattr(refused_files, "note", raising(OperationalError("", {}, Exception())))
    file = (BytesIO(zipped() if data is None else data), name)
    assert client.post("/studies", data={"file": file}, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({"why": "quota"}, "More files were sent within an hour than are accepted."),
        ({"why": "too_large"}, "The file is larger than 64 MB."),
        ({"why": "too_large", "archive": True}, "The file is larger than 256 MB."),
        ({"why": "<b>because</b>"}, ""),
        ({}, ""),
    ],
)
def test_a_file_that_was_turned_away_unread_is_listed_with_a_reason_of_ours(
    app: Flask, technologist: Person, sent: dict[str, object], reason: str
) -> None:
    client = sign_in(app, technologist)
    headers = {"X-CSRFToken": csrf_of(client)}
    body = {"name": "NAME^OF A PATIENT.dcm", **sent}
    answer = client.post("/upload/turned-away", json=body, headers=headers)
    assert answer.status_code == (204 if reason else 422)
    page = client.get("/upload").text
    assert ("NAME^OF A PATIENT.dcm" in page) is bool(reason)
    assert reason in page
    assert "because" not in page


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_a_file_that_found_no_room_is_listed_after_a_reload(
    app: Flask, technologist: Person, monkeypatch: pytest.MonkeyPatch, accept: str
) -> None:
    client = sign_in(app, technologist)
    headers = {"X-CSRFToken": csrf_of(client), "Accept": accept}
    with monkeypatch.context() as full:
        full.setattr(submission, "submit", raising(StorageFull("no room")))
        file = (BytesIO(dicom()), "chest one.dcm")
        answer = client.post("/studies", data={"file": file}, headers=headers)
    assert answer.status_code == 507
    page = client.get("/upload").text
    assert "chest one.dcm" in page
    assert "The disk is full. Nothing of the file was stored." in page


TYPED = {
    "patient_id": "P-0001",
    "patient_name": "Müller, Anna",
    "birth_date": "1961-05-04",
    "exam_date": "2026-03-04",
    "side_marker": "usual",
}


def test_the_upload_form_sends_it_along(app: Flask, technologist: Person) -> None:
    client = sign_in(app, technologist)
    headers = {"X-CSRFToken": csrf_of(client), "Accept": "application/json"}

    def send(shade: int, **form: str) -> Any:
        file = (BytesIO(picture(shade)), "a.png")
        return client.post("/studies", data={"file": file, **form}, headers=headers)

    refused = send(1, exam_date="soon")
    assert (refused.status_code, refused.get_json()["code"]) == (422, "exam_date")
    taken = send(1, **TYPED, **{"import": "yes"})
    assert (taken.status_code, taken.get_json()["patient"]) == (202, "Müller, Anna")
    for page in ("/upload", "/worklist", "/history"):
        assert "typed: ID, name, birth date, exam date, side marker" in client.get(page).text
    assert "typed: ID, name" in client.get(taken.get_json()["url"]).text
    listed = client.get("/worklist").text
    assert "older exam" in listed
    assert "ID <bdi>P-0001</bdi>" in listed
