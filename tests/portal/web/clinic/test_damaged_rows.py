"""A damaged page of the database: its cases are shown as damaged, everything else goes on."""

import re
from datetime import timedelta
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal import audit
from portal.accounts import sessions
from portal.audit import anchor_file
from portal.governance import integrity_state, scheduler_signs
from portal.intake import submission
from portal.intake.stated import Stated
from portal.models import AiShown, Instance, Role, Study, Team, TeamChoices, User, db
from portal.operations import background_check
from tests.support.audit_log import copied_row, link, spoil
from tests.support.core import NOW, Clock
from tests.support.people import Person
from tests.support.pictures import picture
from tests.support.portal_app import (
    analyse,
    core_of,
    csrf_of,
    make_person,
    make_study,
    post,
    sign_in,
)
from tests.support.queries.damaged_pages import overwrite_pages

CASES = 24


def overwrite_rows_of(app: Flask, table: type[Study] | type[Instance], study_id: UUID) -> None:
    """Damage the page on which this exam's row of the table lies."""
    with app.app_context():
        column = table.id if table is Study else Instance.study_id
        row = db.session.scalars(db.select(table).where(column == study_id)).one()
        key = row.wrapped_key
        db.session.rollback()
        assert key is not None
        assert overwrite_pages(db.engine, key) == 1


def choose(app: Flask, policy: AiShown) -> None:
    """Let the team see what the AI found by this policy."""
    with app.app_context():
        team = db.session.query(Team).filter_by(name="Radiology").one()
        db.session.add(TeamChoices(team_id=team.id, ai_shown=policy))
        db.session.commit()


@pytest.mark.parametrize("waits", [None, 3, -1], ids=["none_waits", "it_waits", "another_waits"])
@pytest.mark.parametrize("table", [Study, Instance])
def test_a_damaged_page_hides_its_own_cases_alone(
    app: Flask,
    reader: Person,
    technologist: Person,
    table: type[Study] | type[Instance],
    waits: int | None,
) -> None:
    """Also where a second reader is waited for."""
    studies = [make_study(app, technologist, shade) for shade in range(CASES)]
    analyse(app, studies[-1])
    if waits is not None:
        if waits != -1:
            analyse(app, studies[waits])
        first = sign_in(app, make_person(app, Role.READER))
        given = {"json": {"finding": "right"}, "headers": {"X-CSRFToken": csrf_of(first)}}
        assert first.post(f"/studies/{studies[waits]}/reviews", **given).status_code in (200, 303)
        asked = post(first, f"/studies/{studies[waits]}/second-read")
        assert asked.status_code == 303, asked.text
    client, sender = sign_in(app, reader), sign_in(app, technologist)
    overwrite_rows_of(app, table, studies[3])

    page = client.get("/worklist?state=all")
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


def test_its_list_goes_on_where_what_the_ai_found_is_not_shown_yet(
    app: Flask, reader: Person, technologist: Person
) -> None:
    studies = [make_study(app, technologist, shade) for shade in range(CASES)]
    choose(app, AiShown.AFTER_VERDICT)
    client = sign_in(app, reader)
    overwrite_rows_of(app, Study, studies[3])
    page = client.get("/worklist")
    assert page.status_code == 200
    assert all(f'id="case-{study}"' in page.text for study in studies)
    damaged = page.text.count("Record damaged: read the original")
    assert 1 <= damaged < CASES
    live = client.get(f"/worklist/state?ids={','.join(map(str, studies))}")
    assert live.status_code == 200
    assert len(live.json["rows"]) == CASES - damaged


@pytest.mark.parametrize("table", [Study, Instance])
def test_a_damaged_exam_keeps_no_other_of_its_patient_from_being_read(
    app: Flask,
    reader: Person,
    technologist: Person,
    table: type[Study] | type[Instance],
) -> None:
    """Its page shows that an earlier exam may be missing, or that one is damaged; a finding that
    may be new is critical.
    """
    prior = of_patient(app, technologist, 1, "2026-02-01")
    for shade in range(2, CASES):
        make_study(app, technologist, shade)
    study = of_patient(app, technologist, CASES, "2026-03-04")
    analyse(app, study)
    client = sign_in(app, reader)
    may_lack = "an exam of this patient may be missing here"
    before = client.get(f"/studies/{study}").text
    assert f"/studies/{prior}" in before
    assert may_lack not in before
    overwrite_rows_of(app, table, prior)

    page = client.get(f"/studies/{study}")
    assert page.status_code == 200
    assert (may_lack in page.text) is (table is Study)
    assert (f"/studies/{prior}" in page.text) is (table is Instance)
    assert client.get(f"/studies/{study}/beside").status_code == 200
    answer = post(client, f"/studies/{study}/reviews", {"finding": "right"})
    assert answer.status_code == 303, answer.text
    assert "critical finding, nobody informed yet" in client.get("/worklist?state=all").text
    assert client.get(f"/studies/{study}").status_code == 200


def test_a_search_states_that_an_exam_that_cannot_be_read_may_be_missing(
    app: Flask, reader: Person, technologist: Person
) -> None:
    wanted = of_patient(app, technologist, 1, "2026-02-01")
    for shade in range(2, CASES):
        make_study(app, technologist, shade)
    client = sign_in(app, reader)

    def found(query: str) -> tuple[bool, bool]:
        page = post(client, "/worklist/search", {"q": query}, follow_redirects=True).text
        return f'id="case-{wanted}"' in page, "They were not searched" in page

    assert found("P-1") == (True, False)
    overwrite_rows_of(app, Study, wanted)
    assert found("P-1") == (False, True)
    assert found("P-2") == (False, False), "nothing of that number is there"
    whole = client.get("/worklist?state=all").text
    assert (f'id="case-{wanted}"' in whole, "They were not searched" in whole) == (True, False)


def of_patient(app: Flask, sender: Person, shade: int, day: str) -> UUID:
    """An exam of that day of the one patient who has a patient ID."""
    core = core_of(app)
    with core.sessions() as session:
        actor = sessions.actor_of(session.get_one(User, sender.id))
        stated = Stated(patient_id="P-1", exam_date=day)
        sent = submission.submit(
            session, core.vault, actor, "a.png", picture(shade), NOW, stated=stated
        )
        return sent.study_id


FILTERS = (
    *("result=positive", "result=no_result", "side=right", "size=10_to_30"),
    *("verdict=ai_only", "verdict=preliminary", "verdict=retracted"),
    *("reader=nobody", "reader=mine", "reader=READER", "state=done", "state=second_read"),
)


def test_filters_go_on_where_an_exam_that_waits_for_a_second_reader_is_damaged(
    app: Flask, reader: Person, technologist: Person
) -> None:
    studies = [make_study(app, technologist, shade) for shade in range(CASES)]
    first = make_person(app, Role.READER)
    client, other = sign_in(app, reader), sign_in(app, first)
    for at in (0, 3, CASES - 1):
        analyse(app, studies[at])
        given = {"json": {"finding": "right"}, "headers": {"X-CSRFToken": csrf_of(other)}}
        answer = other.post(f"/studies/{studies[at]}/reviews", **given)
        assert answer.status_code in (200, 303)
    for at in (0, 3):
        assert post(other, f"/studies/{studies[at]}/second-read").status_code == 303
    with app.app_context():
        key = db.session.get_one(Study, studies[3]).wrapped_key
        db.session.rollback()
        assert key is not None
        assert overwrite_pages(db.engine, key) == 1
    for asked in FILTERS:
        asked = asked.replace("READER", first.id.hex)
        state = "" if asked.startswith("state") else "state=all&"
        page = client.get(f"/worklist?{state}{asked}", follow_redirects=True)
        assert page.status_code == 200, asked
        # By what it hides neither the readable nor the damaged one is chosen.
        is_shown = asked in ("reader=nobody", "verdict=ai_only")
        for at in (0, 3):
            assert (f'id="case-{studies[at]}"' in page.text) is is_shown, (asked, at)
    read = client.get(f"/worklist?state=all&reader={first.id.hex}")
    assert f"case-{studies[-1]}" in read.text
    assert client.get("/second-reads").status_code == 200


def test_a_damaged_page_hides_no_critical_finding(
    app: Flask, reader: Person, technologist: Person
) -> None:
    studies = [make_study(app, technologist, shade) for shade in range(CASES)]
    client = sign_in(app, reader)
    for study in (studies[0], studies[-1]):
        analyse(app, study)
        assert post(client, f"/studies/{study}/reviews", {"finding": "right"}).status_code == 303
    with app.app_context():
        key = db.session.get_one(Study, studies[0]).wrapped_key
        db.session.rollback()
        assert key is not None
        assert overwrite_pages(db.engine, key) >= 1
    page = client.get("/worklist?state=all")
    assert page.status_code == 200
    assert "Record damaged" in page.text
    assert "2 critical findings, nobody informed yet" in page.text
    assert f"Case {studies[0].hex[:6].upper()}" in page.text
    assert "2 critical findings" in client.get("/worklist/state?ids=").get_json()["critical"]


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
    assert "Rows of the log, or of records that it is about, can’t be read." in found.text
    assert re.search(r"audit_events: row \d+ can&#39;t be read", found.text)
    assert "the chain was followed to its end" in found.text
    assert "tampered" not in found.text
    handed_out = post(pages, "/audit/export", {"format": "csv"}, page="/audit")
    assert handed_out.status_code == 422
    assert "can&#39;t be read: verify the log" in handed_out.text


def test_where_the_log_cannot_be_read_readiness_and_pages_state_it(
    app: Flask, client: FlaskClient, admin_client: FlaskClient
) -> None:
    core = core_of(app)
    with core.sessions() as session:
        newest = NOW + timedelta(seconds=1, microseconds=123457)
        audit.append(session, "tested", now=newest)
        session.commit()
    assert overwrite_pages(core.engine, b":01.123457") == 2  # the row, and the index of times
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.json["status"]) == (200, "degraded")
    checks = ready.json["checks"]
    assert (checks["clock"], checks["integrity"]) == ("unreadable", "damaged")
    page = admin_client.get("/admin/jobs")
    assert page.status_code == 200
    assert "clock can’t be compared" in page.text
    assert "confirm it on" not in page.text


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
