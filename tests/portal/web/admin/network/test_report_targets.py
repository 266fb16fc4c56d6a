"""The page of report targets: list, add, switch, end, test, and what failed."""

from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.governance import scheduler_signs
from portal.models import (
    AuditEvent,
    ReportMoment,
    ReportSend,
    ReportTarget,
    SendState,
    Study,
    Team,
    db,
)
from portal.studies import sealed_fields
from tests.support.core import NOW
from tests.support.people import Person
from tests.support.portal_app import make_study, post

PAGE = "/admin/report-targets"


def form(app: Flask, **changes: str) -> dict[str, str]:
    with app.app_context():
        team = db.session().query(Team).first()
        assert team is not None
        given = {
            "name": "Hospital RIS",
            "team": str(team.id),
            "host": "ris.example",
            "port": "2575",
            "application": "RIS",
            "facility": "HOSP",
            "accession_field": "OBR-3",
            "charset": "8859/1",
        }
    return given | changes


@pytest.fixture
def target_id(app: Flask, admin_client: FlaskClient) -> UUID:
    """A target that was added on the page."""
    assert post(admin_client, PAGE, form(app)).status_code == 303
    with app.app_context():
        return db.session().query(ReportTarget).one().id


def test_a_target_is_added_and_listed(admin_client: FlaskClient, target_id: UUID) -> None:
    page = admin_client.get(PAGE).text
    assert all(text in page for text in ("Hospital RIS", "ris.example:2575", "HOSP"))
    assert "no sender has reported" in page
    assert PAGE in admin_client.get("/admin/teams").text
    checks = admin_client.get("/health/ready").json
    assert checks is not None
    assert checks["checks"]["report_sender"] == "silent"


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({"name": ""}, 422, "Give the target a name"),
        ({"host": "not a host"}, 422, "Give the target’s host and port."),
        ({"port": "70000"}, 422, "Give the target’s host and port."),
        ({"application": ""}, 422, "State the target’s application"),
        ({"facility": "A^B"}, 422, "without | ^ ~"),
        ({"authority": "Łódź"}, 422, "lacks one of these characters"),
        ({"fingerprint": "12"}, 422, "64 hexadecimal digits"),
        ({"accession_field": "OBR-99"}, 422, "Choose one of the fields."),
        ({"charset": "UTF-7"}, 422, "Choose one of the character sets."),
        ({"team": "nobody"}, 422, "Choose one of the teams."),
        ({}, 409, "gets the team’s reports already"),
    ],
)
def test_what_can_not_be_is_refused_where_it_was_typed(
    app: Flask,
    admin_client: FlaskClient,
    target_id: UUID,
    changes: dict[str, str],
    status: int,
    text: str,
) -> None:
    answer = post(admin_client, PAGE, form(app, **({"name": "Another one"} | changes)))
    assert (answer.status_code, text in answer.text) == (status, True)
    assert f'value="{changes.get("name", "Another one")}"' in answer.text


def test_a_target_is_tested_switched_and_ended(
    app: Flask, admin_client: FlaskClient, target_id: UUID
) -> None:
    tested = post(admin_client, f"{PAGE}/{target_id}/test", follow_redirects=True)
    assert "PLEURA_HL7_PORT is not set" in tested.text
    assert (
        "is switched off"
        in post(admin_client, f"{PAGE}/{target_id}/off", follow_redirects=True).text
    )
    assert (
        "is switched on" in post(admin_client, f"{PAGE}/{target_id}/on", follow_redirects=True).text
    )
    ended = post(admin_client, f"{PAGE}/{target_id}/end", follow_redirects=True)
    assert "Hospital RIS has ended" in ended.text
    assert "ris.example" not in ended.text
    for action in ("on", "off", "end", "test"):
        late = post(admin_client, f"{PAGE}/{target_id}/{action}", follow_redirects=True)
        assert "The target has ended." in late.text
        assert post(admin_client, f"{PAGE}/{uuid4()}/{action}").status_code == 404
    with app.app_context():
        named = AuditEvent.event.startswith("report_target_")
        found = select(AuditEvent.event).where(named).order_by(AuditEvent.seq)
        assert [one.rpartition("_")[2] for one in db.session().scalars(found)] == [
            *("added", "off", "on", "ended"),
        ]


def test_what_failed_is_shown_with_its_answer_and_tried_again(
    app: Flask, admin_client: FlaskClient, target_id: UUID, technologist: Person
) -> None:
    study_id = make_study(app, technologist)
    services = app.extensions["pleura"]
    with app.app_context():
        session = db.session()
        scheduler_signs.give(session, scheduler_signs.REPORT_SENDER)
        study = session.get_one(Study, study_id)
        send = ReportSend(
            id=uuid4(),
            target_id=target_id,
            study_id=study_id,
            moment=ReportMoment.ADDENDUM,
            trigger_id=uuid4(),
            state=SendState.FAILED,
            reason="answered_refused",
            answer="AR 204 OBR-3",
            attempts=3,
            next_at=NOW,
            created=NOW,
            finished_at=NOW,
        )
        key = sealed_fields.key_of(services.vault, study)
        send.sealed_remark = sealed_fields.seal_remark(services.vault, key, send.id, "Not <known>")
        session.add(send)
        session.commit()
        send_id = send.id
    page = admin_client.get(PAGE).text
    for text in ("It refuses the report (AR).", "AR 204 OBR-3", "Not &lt;known&gt;", "addendum"):
        assert text in page
    assert "no sender has reported" not in page
    again = post(admin_client, f"{PAGE}/sends/{send_id}/again", follow_redirects=True)
    assert "It is tried again." in again.text
    assert post(admin_client, f"{PAGE}/sends/{uuid4()}/again").status_code == 404
    with app.app_context():
        row = db.session().query(ReportSend).one()
        assert (row.state, row.attempts, row.finished_at) == (SendState.WAITING, 0, None)
