"""Exporting from the case page: behind a fresh proof, with a look at the picture first."""

import io
import json
import logging
import zipfile
from uuid import UUID

import pydicom
import pytest
from flask import Flask

from portal.accounts import sessions
from portal.exchange import deidentified_export
from portal.formats.limited_work import PLACES, places
from portal.intake import submission
from portal.models import AuditEvent, User, db
from tests.support.core import Clock
from tests.support.people import Person
from tests.support.pictures import dicom
from tests.support.portal_app import analyse, make_study, post, sign_in
from tests.support.wait import noted_while_waiting


@pytest.fixture
def study_id(app: Flask, technologist: Person) -> UUID:
    """An analysed study of a patient with a name."""
    services = app.extensions["pleura"]
    with app.app_context():
        session = db.session()
        actor = sessions.actor_of(session.get_one(User, technologist.id))
        data = dicom(rows=640, columns=512, PatientName="CANARY^ZEBRA", PatientID="CANARY4711")
        sent = submission.submit(session, services.vault, actor, "x.dcm", data, services.clock())
    analyse(app, sent.study_id)
    return sent.study_id


def test_a_reader_exports_a_case_after_opening_the_page(
    app: Flask, reader: Person, study_id: UUID
) -> None:
    client, page = sign_in(app, reader), f"/studies/{study_id}/export"
    assert f'href="{page}"' in client.get(f"/studies/{study_id}").text
    shown = client.get(page).text
    assert "Text in the picture itself is not removed." in shown
    assert "CANARY" not in shown
    refused = post(client, page, {}, page=page)
    assert refused.status_code == 422
    assert "Check the picture for burned-in text" in refused.text
    answer = post(client, page, {"looked": "yes"}, page=page)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Cache-Control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        new = pydicom.dcmread(io.BytesIO(archive.read("image.dcm")))
        assert str(new.PatientName).startswith("PLR")
        assert json.loads(archive.read("manifest.json"))["patient"] == new.PatientID
        everything = b"".join(archive.read(name) for name in archive.namelist())
    assert b"CANARY" not in everything + answer.headers["Content-Disposition"].encode()


def test_an_export_wants_a_fresh_proof_and_comes_back_to_the_case(
    app: Flask, reader: Person, study_id: UUID, clock: Clock
) -> None:
    client, page = sign_in(app, reader), f"/studies/{study_id}/export"
    clock.forward(minutes=11)
    assert "Confirm to export" in client.get(page).text
    answer = post(client, page, {"looked": "yes"}, page=page)
    assert answer.status_code == 303
    assert answer.location.startswith("/confirm")
    assert str(study_id) in answer.location
    with app.app_context():
        assert db.session.query(AuditEvent).filter_by(event="study_exported").count() == 0


def test_a_technologist_has_no_export(app: Flask, technologist: Person, study_id: UUID) -> None:
    client = sign_in(app, technologist)
    assert "/export" not in client.get(f"/studies/{study_id}").text
    assert client.get(f"/studies/{study_id}/export").status_code == 404
    sent = post(client, f"/studies/{study_id}/export", {"looked": "yes"})
    assert sent.status_code == 404


def test_each_page_and_each_export_writes_one_row(
    app: Flask, reader: Person, study_id: UUID
) -> None:
    client, page = sign_in(app, reader), f"/studies/{study_id}/export"

    def rows() -> int:
        with app.app_context():
            return db.session.query(AuditEvent).count()

    before = rows()
    client.get(page)
    assert rows() == before + 1
    post(client, page, {"looked": "yes"}, page="/account")
    assert rows() == before + 2


def test_a_png_is_listed_as_left_out(app: Flask, reader: Person, technologist: Person) -> None:
    study = make_study(app, technologist)
    shown = sign_in(app, reader).get(f"/studies/{study}/export").text
    assert "only DICOM is exported" in shown
    assert "Text in the picture itself" not in shown


def test_of_several_pictures_the_page_names_those_that_are_left_out(
    app: Flask, technologist: Person, reader: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = app.extensions["pleura"]
    with app.app_context():
        actor = sessions.actor_of(db.session().get_one(User, technologist.id))
        for shade in range(3):
            data = dicom(StudyInstanceUID="1.2.3.8", pixels=bytes([shade, 0]) * 48)
            sent = submission.submit(
                db.session(), services.vault, actor, "x.dcm", data, services.clock()
            )
    # Work on a small picture may take less than the processor's clock counts: none has time.
    monkeypatch.setattr(deidentified_export, "MOST_SECONDS", -1.0)
    answer = sign_in(app, reader).get(f"/studies/{sent.study_id}/export")
    assert answer.status_code == 200, answer.text
    shown = answer.text
    text = "up the time that an export has: it is left out. Pictures 1, 2, 3 of 3."
    assert text in shown, shown[shown.find("<main") : shown.find("</main")]


def test_others_can_write_while_a_page_waits_for_its_export(
    app: Flask, reader: Person, study_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the look at who asks nor that at the case leaves a transaction open."""
    client = sign_in(app, reader)
    with app.app_context():
        noted = noted_while_waiting(monkeypatch, db.engine)
    assert client.get(f"/studies/{study_id}/export").status_code == 200
    assert noted == [("turn", True), ("uids", True), ("plan", True)]


def test_who_would_be_one_more_to_wait_is_answered_when_to_come_again(
    app: Flask, reader: Person, study_id: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    """An expected answer: a line in the log, not an error with its traceback."""
    client, page = sign_in(app, reader), f"/studies/{study_id}/export"
    for _ in range(PLACES):
        assert places.acquire(blocking=False)
    try:
        with caplog.at_level(logging.WARNING, logger=app.logger.name):
            answer = client.get(page)
    finally:
        for _ in range(PLACES):
            places.release()
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert "Try again in half a minute" in answer.text
    lines = [record for record in caplog.records if record.getMessage() == "busy"]
    assert [(line.levelno, line.exc_info) for line in lines] == [(logging.WARNING, None)]
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]
    assert client.get(page).status_code == 200
