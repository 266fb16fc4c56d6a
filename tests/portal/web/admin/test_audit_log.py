"""The auditor's page: filters, and the export behind a fresh proof of identity."""

import csv
import io
import re
from dataclasses import replace
from uuid import uuid4

from flask import Flask
from flask.testing import FlaskClient

from portal.audit import anchors, macs
from portal.models import AuditEvent, ModelVersion, db
from tests.support.core import NOW, Clock
from tests.support.people import Person
from tests.support.portal_app import analyse, make_study, post, sign_in


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


def test_the_search_takes_every_id_and_number_that_the_page_shows(
    app: Flask, auditor: Person, technologist: Person
) -> None:
    study_id = make_study(app, technologist)
    other = make_study(app, technologist, shade=9)
    analyse(app, study_id)
    client = sign_in(app, auditor)
    page = client.get("/audit?event=study_submitted").text
    links = re.findall(r'<a href="(/audit\?(?:person|case)=[^"]+)" title="([^"]+)">(.*?)</a>', page)
    texts = {re.sub("<[^>]+>", "", text).strip() for _, _, text in links}
    assert texts == {
        f"Test technologist {technologist.id.hex[:8]}",
        study_id.hex[:6].upper(),
        other.hex[:6].upper(),
    }
    for shown in ("Test technologist", technologist.id.hex[:8], technologist.email):
        answer = client.get("/audit", query_string={"event": "study_submitted", "person": shown})
        assert f"case={study_id}" in answer.text, shown
    for shown in (study_id.hex[:6].upper(), study_id.hex[:8], str(study_id)):
        answer = client.get("/audit", query_string={"event": "study_submitted", "case": shown}).text
        assert f"case={study_id}" in answer
        assert f"case={other}" not in answer
    (subject,) = set(
        re.findall(
            r"/audit\?subject=([0-9a-f-]{36})", client.get("/audit?event=job_finished").text
        )[:1]
    )
    answer = client.get("/audit", query_string={"subject": subject[:8]}).text
    assert f"subject={subject}" in answer
    assert "study submitted" not in answer


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


def test_the_check_on_the_page_reads_the_anchors_and_states_how_far_they_reach(
    app: Flask, auditor: Person, technologist: Person
) -> None:
    make_study(app, technologist)
    client = sign_in(app, auditor)
    assert "There is no anchor yet" in post(client, "/audit/verify", {}, page="/audit").text
    settings = app.extensions["pleura"].settings
    with app.app_context():
        file = anchors.place(db.session(), settings)
        taken = anchors.take(db.session(), NOW)
    anchors.write(taken, file=file, syslog="")
    shown = post(client, "/audit/verify", {}, page="/audit").text
    assert "Checked against 1 anchors" in shown
    assert "rows after it have no anchor" in shown
    more = anchors.Anchor(taken.seq + 50, taken.mac, taken.at, "")
    with app.app_context():
        signed = macs.of_anchor(macs.key_of(db.session()), f"{more.seq}:{more.mac}:{more.at}")
    anchors.write(replace(more, signature=signed), file=file, syslog="")
    shown = post(client, "/audit/verify", {}, page="/audit").text
    assert "The log has been tampered with." in shown
    assert "It is not the log that was anchored" in shown
    file.write_text('{"pleura_anchor": 7}\n')
    assert "could not be compared" in post(client, "/audit/verify", {}, page="/audit").text


def test_a_record_that_was_added_from_outside_is_named_on_the_page_and_no_digest_fills_it(
    app: Flask, auditor: Person, technologist: Person
) -> None:
    study_id = make_study(app, technologist)
    analyse(app, study_id)
    client = sign_in(app, auditor)
    assert "job finished" in client.get("/audit").text
    assert "predictions/" not in client.get("/audit").text
    model = ModelVersion(id=uuid4(), name="x", version="1", sha256="ab" * 32, created=NOW)
    with app.app_context():
        db.session.add(model)
        db.session.commit()
    shown = post(client, "/audit/verify", {}, page="/audit").text
    assert f"model_versions/{model.id.hex}: no row of the log is about it" in shown
