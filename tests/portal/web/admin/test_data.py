"""The administrators' page about data: purge with proof, holds, retention; never a patient."""

import json
import re
from datetime import timedelta
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal import database
from portal.governance import erasure, purges, retention
from portal.governance.clock import judge
from portal.models import AuditEvent, Hold, Purge, Role, Study, db
from tests.support.core import NOW, Clock
from tests.support.people import Person
from tests.support.portal_app import (
    analyse,
    core_of,
    make_person,
    make_study,
    make_token,
    post,
    sign_in,
)

PAGE = "/admin/data"


def send(client: FlaskClient, study_id: UUID, what: str, **form: str) -> TestResponse:
    return post(client, f"{PAGE}/{study_id}/{what}", form, page=PAGE)


def number(study_id: UUID) -> str:
    return study_id.hex[:6].upper()


def test_a_case_is_purged_by_its_number_and_the_proof_is_shown(
    app: Flask, admin_client: FlaskClient, technologist: Person
) -> None:
    study_id = make_study(app, technologist)
    analyse(app, study_id)
    page = admin_client.get(f"{PAGE}?case={number(study_id)}").text
    assert str(study_id) in page
    assert "CANARY" not in page
    answer = send(
        admin_client,
        study_id,
        "purge",
        reason="patient_request",
        number=number(study_id).lower(),
        reference="DS-2026/14",
    )
    assert answer.status_code == 303
    shown = admin_client.get(answer.location).text
    assert "no key, encrypted value, lookup or file of this case is left" in shown
    assert "DS-2026/14" in shown
    assert re.search(r"files; \d+ values searched for in", shown)
    file = admin_client.get(f"{PAGE}/{study_id}/proof.json")
    assert len(json.loads(file.data)["destroyed"]["files"]) == 6
    assert "CANARY" not in file.text + shown
    with app.app_context():
        assert db.session.get_one(Study, study_id).wrapped_key is None
        event = db.session.query(AuditEvent).filter_by(event="study_purged").one()
        assert event.study_id == study_id


def test_a_proof_that_is_not_written_yet_is_announced(
    app: Flask, admin_client: FlaskClient, technologist: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_WAIT_SECONDS", 0.1)
    study_id = make_study(app, technologist)
    form = {"reason": "other", "number": number(study_id)}
    with app.app_context(), database.snapshot(db.engine) as reading:
        reading.scalar(select(Study.id).limit(1))
        answer = send(admin_client, study_id, "purge", **form)
        assert answer.status_code == 303
        shown = admin_client.get(answer.location).text
    assert "Its proof is written once all files are removed" in shown
    assert "the proof is not written yet" in shown
    assert admin_client.get(f"{PAGE}/{study_id}/proof").status_code == 404
    with app.app_context():
        vault = app.extensions["pleura"].vault
        assert purges.finish_started(db.session(), vault, NOW) == 1
    shown = admin_client.get(f"{PAGE}/{study_id}/proof").text
    assert "values searched for in" in shown
    assert "old copies could be in the database’s files" in shown
    assert "backups made before" in shown


def test_without_a_fresh_proof_of_identity_nothing_is_purged_or_held(
    app: Flask, admin: Person, technologist: Person, clock: Clock
) -> None:
    study_id = make_study(app, technologist)
    client = sign_in(app, admin)
    clock.forward(minutes=11)
    for what, form in (
        ("purge", {"reason": "other", "number": number(study_id)}),
        ("hold", {"reason": "incident"}),
        ("lift", {}),
    ):
        answer = send(client, study_id, what, **form)
        assert answer.status_code == 303
        assert answer.location.startswith("/confirm")
    with app.app_context():
        assert db.session.get_one(Study, study_id).wrapped_key is not None
        assert db.session.query(Hold).count() == 0


def test_a_purge_that_is_not_confirmed_or_has_no_reason_does_nothing(
    app: Flask, admin_client: FlaskClient, technologist: Person
) -> None:
    study_id = make_study(app, technologist)
    for form in (
        {"reason": "", "number": number(study_id)},
        {"reason": "because", "number": number(study_id)},
        {"reason": "other", "number": "000000"},
        {"reason": "other", "number": number(study_id), "reference": "Mrs Zebra"},
    ):
        answer = send(admin_client, study_id, "purge", **form)
        assert answer.status_code == 422, form
        assert 'role="alert"' in answer.text
    with app.app_context():
        assert db.session.query(Purge).count() == 0


def test_a_held_case_is_not_purged_until_the_hold_is_lifted(
    app: Flask, admin_client: FlaskClient, technologist: Person
) -> None:
    study_id = make_study(app, technologist)
    assert send(admin_client, study_id, "hold", reason="incident").status_code == 303
    assert "Incident under investigation" in admin_client.get(PAGE).text
    form = {"reason": "other", "number": number(study_id)}
    answer = send(admin_client, study_id, "purge", **form)
    assert answer.status_code == 422
    assert "legal hold" in answer.text
    assert send(admin_client, study_id, "lift", reference="AZ-9").status_code == 303
    assert send(admin_client, study_id, "purge", **form).status_code == 303
    assert send(admin_client, study_id, "purge", **form).status_code == 422
    assert send(admin_client, study_id, "hold", reason="other").status_code == 422


def test_a_purged_case_is_gone_from_its_readers_list(
    app: Flask, admin_client: FlaskClient, technologist: Person, reader: Person
) -> None:
    study_id = make_study(app, technologist)
    analyse(app, study_id)
    client = sign_in(app, reader)
    assert client.get(f"/studies/{study_id}").status_code == 200
    send(admin_client, study_id, "purge", reason="test_data", number=number(study_id))
    assert client.get(f"/studies/{study_id}").status_code == 404
    assert number(study_id) not in client.get("/worklist").text
    assert "purged" in admin_client.get(f"{PAGE}?case={study_id}").text


def test_who_could_see_a_purged_exam_learns_that_it_was_purged_and_nobody_else(
    app: Flask, admin_client: FlaskClient, technologist: Person, reader: Person
) -> None:
    study_id = make_study(app, technologist)
    paths = [f"/studies/{study_id}{end}" for end in ("", "/reports", f"/reports/{UUID(int=1)}")]
    mine, sender = sign_in(app, reader), sign_in(app, technologist)
    others = [
        sign_in(app, make_person(app, Role.READER, team="Elsewhere")),
        sign_in(app, make_person(app, Role.TECHNOLOGIST, name="Sent nothing")),
        admin_client,
    ]
    send(admin_client, study_id, "purge", reason="test_data", number=number(study_id))
    for path in paths:
        answer = mine.get(path)
        assert (answer.status_code, "This exam was purged" in answer.text) == (404, True), path
    assert "This exam was purged" in sender.get(paths[0]).text
    token = make_token(app, reader, "studies:read")
    unknown = f"/studies/{UUID(int=2)}"
    for client in others:
        pages = [without_numbers(client.get(path).text) for path in (paths[0], unknown)]
        assert "purged" not in pages[0]
        assert pages[0] == pages[1]
    by_program = app.test_client().get(
        f"/api/v1/studies/{study_id}", headers={"Authorization": f"Bearer {token}"}
    )
    assert (by_program.status_code, by_program.get_json()["code"]) == (404, "not_found")


def without_numbers(page: str) -> str:
    """A page without the addresses, tokens and numbers that each answer has of its own."""
    main = page[page.index("<main") : page.index("</main>")]
    return re.sub(r'<span class="mono">[^<]*</span>', "", main)


def test_what_is_no_case_finds_nothing(admin_client: FlaskClient) -> None:
    for asked in ("CANARY^ZEBRA", "zzz", "A" * 500, "' OR 1=1", "%00"):
        answer = admin_client.get(PAGE, query_string={"case": asked})
        assert answer.status_code == 200
        assert "No such case" in answer.text


def test_a_clock_is_confirmed_after_a_fresh_proof_alone(
    app: Flask, clock: Clock, admin: Person
) -> None:
    client = sign_in(app, admin)
    clock.forward(minutes=11)
    answer = post(client, f"{PAGE}/clock", {}, page=PAGE)
    assert answer.status_code == 303
    assert answer.location.startswith("/confirm")
    with app.app_context():
        assert db.session.query(AuditEvent).filter_by(event="clock_confirmed").count() == 0


def test_a_clock_that_has_jumped_is_shown_and_confirmed_by_an_administrator(
    app: Flask, clock: Clock, admin: Person, auditor: Person, client: FlaskClient
) -> None:
    def state() -> str:
        return str(client.get("/health/ready").json["checks"]["clock"])

    with core_of(app).sessions() as session:
        judge(session, clock(), timedelta(0))  # as the scheduler does every minute
    assert state() == "ok"
    clock.forward(days=30)
    assert state() == "ahead"
    later = sign_in(app, admin)
    assert "clock is far ahead" in later.get(PAGE).text
    assert "clock is far ahead" in later.get("/admin/jobs").text
    assert sign_in(app, auditor).post(f"{PAGE}/clock").status_code in (400, 403)
    assert post(later, f"{PAGE}/clock", {}, page=PAGE).status_code == 303
    assert state() == "ok"
    assert "clock is far ahead" not in later.get(PAGE).text
    with app.app_context():
        event = db.session.query(AuditEvent).filter_by(event="clock_confirmed").one()
        assert event.actor_id == admin.id


def test_what_retention_purges_next_is_listed(
    app: Flask, clock: Clock, admin: Person, technologist: Person
) -> None:
    study_id = make_study(app, technologist)
    analyse(app, study_id)
    core = core_of(app)
    settings = core.settings.model_copy(update={"retention_unreviewed_days": 10})
    clock.forward(days=4)
    with core.sessions() as session:
        retention.run(session, core.vault, settings, clock())
    page = sign_in(app, admin).get(PAGE).text
    assert "1 case is purged by retention" in page
    assert number(study_id) in page
