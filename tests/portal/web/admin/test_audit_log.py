"""The auditor's page: filters, and the export behind a fresh proof of identity."""

import csv
import io

from flask import Flask
from flask.testing import FlaskClient

from portal.models import AuditEvent, db
from tests.support.core import Clock
from tests.support.people import Person
from tests.support.portal_app import make_study, post, sign_in


def test_the_log_is_filtered_by_day(
    app: Flask, auditor: Person, technologist: Person, clock: Clock
) -> None:
    make_study(app, technologist)
    clock.forward(days=2)
    client = sign_in(app, auditor)
    assert "study submitted" in client.get("/audit?until=2026-03-04").text
    later = client.get("/audit?since=2026-03-05&event=study_submitted").text
    assert "No matching entries" in later
    assert "This is not a date." in client.get("/audit?since=yesterday").text
    assert "This is not an event name." in client.get("/audit?event=study-opened").text


def test_the_log_is_exported_as_it_was_searched(
    app: Flask, auditor: Person, technologist: Person
) -> None:
    study_id = make_study(app, technologist)
    make_study(app, technologist, shade=7)
    client = sign_in(app, auditor)
    form = {"case": str(study_id), "format": "csv"}
    answer = post(client, "/audit/export", form, page="/audit")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="access-log-')
    found = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["event"] for row in found] == ["study_submitted"]
    assert "CANARY" not in answer.text
    assert post(client, "/audit/export", {"format": "jsonl"}, page="/audit").status_code == 200
    for bad in ({"format": "xlsx"}, {"format": "csv", "case": "x"}, {"since": "never"}):
        assert post(client, "/audit/export", bad, page="/audit").status_code == 422


def test_an_export_wants_a_fresh_proof(app: Flask, auditor: Person, clock: Clock) -> None:
    client: FlaskClient = sign_in(app, auditor)
    clock.forward(minutes=11)
    assert "Confirm to export" in client.get("/audit").text
    answer = post(client, "/audit/export", {"format": "csv"}, page="/audit")
    assert (answer.status_code, answer.location.split("?")[0]) == (303, "/confirm")
    with app.app_context():
        assert db.session.query(AuditEvent).filter_by(event="log_exported").count() == 0
