"""A damaged page of the database: its cases are shown as damaged, everything else goes on."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.audit import anchor_file
from portal.governance import integrity_state, scheduler_signs
from portal.models import Instance, Study, db
from portal.operations import background_check
from tests.support.audit_log import copied_row, link, spoil
from tests.support.core import NOW, Clock
from tests.support.people import Person
from tests.support.portal_app import analyse, core_of, make_study, post, sign_in
from tests.support.queries.damaged_pages import overwrite_pages

CASES = 24


@pytest.mark.parametrize("table", [Study, Instance])
def test_a_damaged_page_hides_its_own_cases_alone(
    app: Flask, reader: Person, technologist: Person, table: type[Study] | type[Instance]
) -> None:
    studies = [make_study(app, technologist, shade) for shade in range(CASES)]
    analyse(app, studies[-1])
    with app.app_context():
        column = table.id if table is Study else Instance.study_id
        row = db.session.scalars(db.select(table).where(column == studies[3])).one()
        key = row.wrapped_key
        db.session.rollback()
    assert key is not None
    client, sender = sign_in(app, reader), sign_in(app, technologist)
    with app.app_context():
        assert overwrite_pages(db.engine, key) == 1

    page = client.get("/worklist")
    assert page.status_code == 200
    assert all(f"case-{study}" in page.text for study in studies)
    damaged = page.text.count("Record damaged: read the original")
    assert 1 <= damaged < CASES
    assert studies[3].hex[:6].upper() in page.text
    assert sender.get("/history").text.count("Record damaged") == damaged

    ids = ",".join(map(str, studies))
    live = client.get(f"/worklist/state?ids={ids}")
    assert live.status_code == 200
    assert len(live.json["rows"]) == CASES - damaged
    assert client.get(f"/studies/{studies[-1]}").status_code == 200
    case = client.get(f"/studies/{studies[3]}")
    assert case.status_code == 503
    assert "record or file is damaged" in case.text


def test_what_the_check_of_stored_data_found_is_in_readiness_and_on_the_jobs_page(
    app: Flask, clock: Clock, client: FlaskClient, admin_client: FlaskClient
) -> None:
    def integrity() -> str:
        return str(client.get("/health/ready").json["checks"]["integrity"])

    core = core_of(app)
    problems = background_check.problems(core.engine, core.vault)
    with core.sessions() as session:
        integrity_state.save(session, problems, clock())
    assert (problems, integrity()) == ([], "ok")
    assert "Stored data is damaged" not in admin_client.get("/admin/jobs").text
    with core.sessions() as session:
        integrity_state.save(session, ["unreadable: rows of studies of study 1"], clock())
    assert integrity() == "damaged"
    page = admin_client.get("/admin/jobs").text
    assert "Stored data is damaged" in page
    assert "unreadable: rows of studies of study 1" in page
    with core.sessions() as session:
        integrity_state.save(session, [], clock())
    clock.forward(hours=4)
    assert integrity() == "old"


def test_a_silent_scheduler_is_in_readiness_and_on_the_jobs_page(
    app: Flask, client: FlaskClient, admin_client: FlaskClient
) -> None:
    def found() -> tuple[str, bool]:
        check = client.get("/health/ready").json["checks"]["scheduler"]
        return check, "The scheduler does not work." in admin_client.get("/admin/jobs").text

    assert found() == ("silent", True)
    for loop in scheduler_signs.LOOPS:
        assert found() == ("silent", True), "one of them alone is not enough"
        with core_of(app).sessions() as session:
            scheduler_signs.give(session, loop)
    assert found() == ("ok", False)


def test_a_row_of_the_log_that_cannot_be_read_stops_no_page(
    app: Flask, client: FlaskClient, auditor: Person
) -> None:
    """Its time is none, and as a text it comes after every other."""
    core, pages = core_of(app), sign_in(app, auditor)
    for _ in range(2):
        assert pages.get("/audit").status_code == 200
    link(core)
    spoil(core, "audit_events", "at", "xx", "seq = (SELECT max(seq) FROM audit_events)")
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json["checks"]["clock"]) == (200, "ok")
    problems = background_check.problems_of_log(core.engine, core.settings, NOW)
    with core.sessions() as session:
        integrity_state.save(session, problems, NOW)
    assert client.get("/health/ready").json["checks"]["integrity"] == "damaged"
    page = pages.get("/audit")
    assert page.status_code == 200
    assert "log read" in page.text, "the other rows are listed"
    found = post(pages, "/audit/verify", page="/audit")
    assert found.status_code == 200
    assert "audit_events: a row can&#39;t be read" in found.text
    handed_out = post(pages, "/audit/export", {"format": "csv"}, page="/audit")
    assert handed_out.status_code == 422
    assert "can&#39;t be read: verify the log" in handed_out.text


@pytest.mark.parametrize("detail", ["[]", "{", '{"bound"'])
@pytest.mark.parametrize("event", ["anchors_begun", "anchors_gone", "alarms_seen"])
def test_a_detail_that_cannot_be_parsed_stops_no_page(
    app: Flask, auditor: Person, event: str, detail: str
) -> None:
    core, pages = core_of(app), sign_in(app, auditor)
    with core.sessions() as session:
        anchor_file.keep(session, core.settings, NOW)
    copied_row(core, event, detail, of="anchors_begun")
    assert pages.get("/audit").status_code == 200
    found = post(pages, "/audit/verify", page="/audit")
    assert found.status_code == 200
    assert "The log has been tampered with." in found.text
