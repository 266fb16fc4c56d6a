"""Pages that keep themselves fresh: one look each, and no way around the access log."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.models import AuditEvent, Role, db
from portal.reading.shown_results import Shown
from tests.support.people import Person
from tests.support.portal_app import analyse, csrf_of, make_person, make_study, sign_in


def log(app: Flask) -> list[tuple[str, str]]:
    with app.app_context():
        rows = db.session.scalars(db.select(AuditEvent).order_by(AuditEvent.seq))
        return [(row.event, row.detail) for row in rows]


def test_no_way_to_a_result_leaves_out_the_log(app: Flask, reader: Person) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    client, live = sign_in(app, reader), f"/worklist/state?ids={study}"
    steps = ((1, live), (0, live), (1, "/worklist"), (0, live), (1, f"/studies/{study}"), (0, live))
    for written, path in steps:
        before = len(log(app))
        assert client.get(path).status_code == 200
        assert len(log(app)) == before + written, path
    assert [study.hex in detail for event, detail in log(app) if event == "results_read"] == [True]
    other = sign_in(app, reader)  # another session of the same person has been shown nothing
    assert "likely" in other.get(live).text.lower()
    assert [event for event, _ in log(app)].count("results_read") == 2


@pytest.mark.parametrize("page", ["/worklist", "/studies/{}"])
def test_a_page_that_updates_itself_is_one_access(app: Flask, reader: Person, page: str) -> None:
    study = make_study(app, reader)
    client = sign_in(app, reader)
    before = len(log(app))
    assert client.get(page.format(study)).status_code == 200
    assert len(log(app)) == before + 1
    analyse(app, study)
    before = len(log(app))
    for _ in range(5):
        assert "likely" in client.get(f"/worklist/state?ids={study}").text.lower()
    assert len(log(app)) == before


def test_the_state_of_a_case_holds_nothing_of_its_result(app: Flask, reader: Person) -> None:
    study = make_study(app, reader)
    client, live = sign_in(app, reader), f"/worklist/state?ids={study}"
    before = len(log(app))
    assert client.get(live).status_code == 200  # nothing is found yet, so nothing is shown
    assert len(log(app)) == before
    analyse(app, study)
    before = len(log(app))
    state_now = client.get(f"/studies/{study}/state").json
    assert state_now == {"state": "done", "seen": "done", "waiting_for": None, "settled": True}
    assert len(log(app)) == before


def test_who_reads_a_case_is_in_the_live_rows(app: Flask, reader: Person) -> None:
    study = make_study(app, reader)
    mate = make_person(app, Role.READER, name="Rob Reader")
    client, other = sign_in(app, reader), sign_in(app, mate)
    live = f"/worklist/state?ids={study}"

    def send(what: str, by: FlaskClient) -> TestResponse:
        headers = {"X-CSRFToken": csrf_of(by), "Accept": "application/json"}
        return by.post(f"/studies/{study}/{what}", headers=headers)

    assert "being read" not in client.get(live).text
    begun = send("claim", other).get_json()
    assert (begun["mine"], begun["reader"], begun["again_ms"]) == (True, "Rob Reader", 20_000)
    assert send("claim", client).get_json() == {**begun, "mine": False}
    cells = client.get(live).get_json()["rows"][str(study)]["html"]
    for page in (cells, client.get("/worklist").text):
        assert "being read" in page
        assert "Rob Reader" in page
    assert send("release", other).status_code == 204
    assert "being read" not in client.get(live).text


def test_a_session_that_is_forgotten_costs_a_row_and_hides_none(reader: Person) -> None:
    shown = Shown()
    shown.add(reader.id, [reader.id])
    assert shown.unseen(reader.id, [reader.id]) == []
    assert shown.unseen(None, [reader.id]) == [reader.id]
    for number in range(1000):
        shown.add(type(reader.id)(int=number), [reader.id])
    assert shown.unseen(reader.id, [reader.id]) == [reader.id]
