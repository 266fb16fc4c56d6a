"""The upload page: whose case a sent file became, and the list that survives a reload."""

from io import BytesIO

from flask import Flask

from portal.models import Role
from tests.support.core import Clock
from tests.support.people import Person
from tests.support.pictures import dicom
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
