"""The page of files in quarantine: reasons without patients, release and destruction."""

from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal import database
from portal.accounts.sessions import actor_of
from portal.governance import erasure, quarantine
from portal.governance.quarantine import Reason
from portal.models import Instance, QuarantinedFile, User, db
from tests.support.core import NOW, Clock
from tests.support.people import Person
from tests.support.pictures import dicom
from tests.support.portal_app import core_of, post, sign_in

PAGE = "/admin/quarantine"


@pytest.fixture
def admin_client(app: Flask, admin: Person) -> FlaskClient:
    return sign_in(app, admin)


def kept(app: Flask, person: Person, data: bytes, code: str = "damaged") -> UUID:
    core = core_of(app)
    with core.sessions() as session:
        actor = actor_of(session.get_one(User, person.id))
        assert quarantine.keep(session, core.vault, actor, data, Reason(code), NOW)
        return session.query(QuarantinedFile.id).scalar()


def count(app: Flask, table: type) -> int:
    with app.app_context():
        return db.session().query(table).count()


def test_it_lists_reason_and_sender_and_no_patient(
    app: Flask, admin_client: FlaskClient, technologist: Person
) -> None:
    assert "Nothing in quarantine" in admin_client.get(PAGE).text
    kept(app, technologist, dicom(PatientName="CANARY^ONE", PatientID="P-CANARY"))
    page = admin_client.get(PAGE).text
    assert "The file is damaged" in page
    with app.app_context():
        assert db.session().get_one(User, technologist.id).name in page
    assert "CANARY" not in page


def test_one_is_released_to_a_case(
    app: Flask, admin_client: FlaskClient, technologist: Person
) -> None:
    one = kept(app, technologist, dicom())
    answer = post(admin_client, f"{PAGE}/{one}/release")
    assert answer.status_code == 303
    assert "is released: case" in admin_client.get(PAGE).text
    assert (count(app, QuarantinedFile), count(app, Instance)) == (0, 1)


def test_one_that_the_checks_refuse_stays_with_the_reason(
    app: Flask, admin_client: FlaskClient, technologist: Person
) -> None:
    one = kept(app, technologist, dicom(NumberOfFrames=3))
    answer = post(admin_client, f"{PAGE}/{one}/release")
    assert answer.status_code == 422
    assert "It stays in quarantine" in answer.text
    assert count(app, QuarantinedFile) == 1


def test_one_is_destroyed(app: Flask, admin_client: FlaskClient, technologist: Person) -> None:
    one = kept(app, technologist, dicom())
    assert post(admin_client, f"{PAGE}/{one}/discard").status_code == 303
    assert count(app, QuarantinedFile) == 0
    assert post(admin_client, f"{PAGE}/{one}/discard").status_code == 404


def test_what_is_not_certain_of_its_destruction_is_stated(
    app: Flask, admin_client: FlaskClient, technologist: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_WAIT_SECONDS", 0.1)
    one = kept(app, technologist, dicom())
    with database.snapshot(core_of(app).engine) as reader:  # who sees the row as it was
        reader.scalar(select(QuarantinedFile.id))
        assert post(admin_client, f"{PAGE}/{one}/discard").status_code == 303
    assert count(app, QuarantinedFile) == 0
    assert "Old copies of its key may still be in the database" in admin_client.get(PAGE).text
    other = kept(app, technologist, dicom())
    post(admin_client, f"{PAGE}/{other}/discard")
    assert "Old copies" not in admin_client.get(PAGE).text


@pytest.mark.parametrize("what", ["release", "discard"])
def test_both_take_a_fresh_proof_of_identity(
    app: Flask, admin_client: FlaskClient, technologist: Person, clock: Clock, what: str
) -> None:
    one = kept(app, technologist, dicom())
    clock.forward(minutes=14)
    assert "/confirm" in post(admin_client, f"{PAGE}/{one}/{what}").location
    assert count(app, QuarantinedFile) == 1
