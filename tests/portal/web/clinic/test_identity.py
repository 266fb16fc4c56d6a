"""Whose picture it is and when it was taken stands beside every picture."""

from uuid import UUID

import pytest
from flask import Flask

from portal.accounts import sessions
from portal.intake import submission
from portal.models import User
from tests.support.people import Person
from tests.support.pictures import dicom
from tests.support.portal_app import core_of, sign_in

IDENTITY = ("ONE", "born 1963-05-01", "P-0001", "2026-03-04", "A-77")


def send(app: Flask, person: Person, **tags: str | None) -> UUID:
    core, now = core_of(app), app.extensions["pleura"].clock()
    with core.sessions() as session:
        actor = sessions.actor_of(session.get_one(User, person.id))
        data = dicom(**tags)
        return submission.submit(session, core.vault, actor, "x.dcm", data, now).study_id


@pytest.mark.parametrize("path", ["/worklist", "/history?what=sent", "/studies/{}"])
def test_every_page_with_a_picture_names_patient_and_exam(
    app: Flask, reader: Person, path: str
) -> None:
    study = send(app, reader)
    page = sign_in(app, reader).get(path.format(study)).text
    for text in IDENTITY:
        assert text in page, text


def test_over_the_film_they_stand_again_for_full_screen_and_print(
    app: Flask, reader: Person
) -> None:
    study = send(app, reader)
    page = sign_in(app, reader).get(f"/studies/{study}").text
    strip = page[page.index('class="film-patient"') :].partition("</p>")[0]
    for text in (*IDENTITY, "08:45", study.hex[:6].upper()):
        assert text in strip, text


def test_what_a_header_lacks_leaves_no_gap(app: Flask, reader: Person) -> None:
    study = send(
        *(app, reader),
        PatientID=None,
        PatientBirthDate=None,
        AccessionNumber=None,
        StudyDate=None,
        PatientName=None,
    )
    client = sign_in(app, reader)
    for path in ("/worklist", f"/studies/{study}"):
        page = client.get(path).text
        assert "No name in the file" in page
        for label in ("born ", "ID <bdi>", "Acc. "):
            assert label not in page
