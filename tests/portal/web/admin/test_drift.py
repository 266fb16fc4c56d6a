"""The board of drift as pages: who sees it, what it shows, what is saved, and an alarm's places."""

import csv
import io
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.models import AuditEvent, DriftCheck, Job, JobKind, Role, User
from tests.support.audit_log import spoil
from tests.support.core import NOW, Clock, Core
from tests.support.drift.predictions import done, make_model, predict
from tests.support.jobs import Jobs
from tests.support.people import Person
from tests.support.portal_app import post, sign_in

PAGE = "/admin/drift"
FILES = (f"{PAGE}/checks.csv", f"{PAGE}/checks.json")


@pytest.fixture
def model(core: Core) -> UUID:
    with core.sessions() as session:
        return make_model(session)


def fill(core: Core, model: UUID, sender: Person, count: int = 300, **how: float) -> None:
    with core.sessions() as session:
        team = session.get_one(User, sender.id).team_id
        predict(session, model, (team, sender.id), count, **how)  # type: ignore[arg-type]


def waiting(core: Core) -> UUID:
    with core.sessions() as session:
        return session.scalars(
            select(Job.id).where(Job.kind == JobKind.DRIFT).order_by(Job.created.desc())
        ).first()  # type: ignore[return-value]


def check(core: Core, client: FlaskClient, model: UUID) -> None:
    """Press the button, and do the job."""
    assert post(client, f"{PAGE}/{model}/check").status_code == 303
    done(Jobs(core), waiting(core), NOW)


@pytest.mark.parametrize("role", list(Role))
def test_who_sees_the_board_and_may_ask_for_a_check(
    app: Flask, core: Core, model: UUID, staffed: tuple[object, dict[Role, Person]], role: Role
) -> None:
    client = sign_in(app, staffed[1][role])
    for path in (PAGE, *FILES):
        assert (client.get(path).status_code == 200) is (role is Role.ADMIN), path
    answer = post(client, f"{PAGE}/{model}/check")
    assert answer.status_code == (303 if role is Role.ADMIN else 403)
    with core.sessions() as session:
        rows = session.scalars(select(AuditEvent).where(AuditEvent.event == "drift_check_asked"))
        found = [(row.actor_id, row.subject_id) for row in rows]
    assert found == ([(staffed[1][role].id, model)] if role is Role.ADMIN else [])


def test_before_the_first_check_the_page_says_when_there_is_one(
    admin_client: FlaskClient, model: UUID
) -> None:
    page = admin_client.get(PAGE).text
    assert "Not checked yet" in page
    assert "Check now" in page
    assert "Save as CSV" not in page


def test_a_model_without_a_reference_has_no_button(core: Core, admin_client: FlaskClient) -> None:
    with core.sessions() as session:
        bare = make_model(session, with_reference=False)
    page = admin_client.get(f"{PAGE}?model={bare.hex}").text
    assert "holds no reference" in page
    assert "Check now" not in page
    answer = post(admin_client, f"{PAGE}/{bare}/check", follow_redirects=True)
    assert "holds no reference to compare with" in answer.text
    assert post(admin_client, f"{PAGE}/{UUID(int=0)}/check").status_code == 404


def test_a_check_that_was_asked_for_waits_and_cannot_be_asked_for_twice(
    core: Core, admin_client: FlaskClient, model: UUID
) -> None:
    answer = post(admin_client, f"{PAGE}/{model}/check", follow_redirects=True)
    assert "The check is queued" in answer.text
    assert "waits for a worker" in answer.text
    assert "Check now" not in answer.text
    again = post(admin_client, f"{PAGE}/{model}/check", follow_redirects=True)
    assert "already waiting or being done" in again.text
    Jobs(core).claim(waiting(core))
    assert "is being computed" in admin_client.get(PAGE).text


def test_a_check_is_shown_with_table_plots_and_files(
    core: Core, admin_client: FlaskClient, technologist: Person, model: UUID
) -> None:
    fill(core, model, technologist, 320, refused=5)
    check(core, admin_client, model)
    page = admin_client.get(PAGE).text
    for text in (
        "Grey: mean",
        "Mean probability",
        "AP share",
        "300 predictions with a result",
        "stable",
        "PSI over time",
    ):
        assert text in page, text
    assert page.count("<polyline") == 3, "the distributions; shares have none"
    assert "Drift alarm" not in page
    saved = admin_client.get(FILES[0])
    assert saved.headers["Content-Disposition"] == 'attachment; filename="drift.csv"'
    rows = list(csv.DictReader(io.StringIO(saved.text)))
    assert len(rows) == 6
    assert {row["alarm"] for row in rows} == {"no"}
    assert {row["predictions"] for row in rows} == {"300"}
    (stored,) = admin_client.get(FILES[1]).json["checks"]
    assert {one["name"] for one in stored["numbers"]} == {row["number"] for row in rows}


def test_an_alarm_is_on_the_boards_and_the_jobs_page_and_readiness_stays(
    core: Core, client: FlaskClient, admin_client: FlaskClient, technologist: Person, model: UUID
) -> None:
    before = client.get("/health/ready").json
    fill(core, model, technologist, shift=0.15)
    check(core, admin_client, model)
    for path in (PAGE, "/admin/jobs", "/admin/performance"):
        page = admin_client.get(path).text
        assert "Drift alarm" in page, path
        assert "Grey: mean" in page, path
    assert "alarm</span>" in admin_client.get(PAGE).text
    assert client.get("/health/ready").json["checks"] == before["checks"]


def test_a_reader_is_told_nothing_of_it(
    app: Flask,
    core: Core,
    admin_client: FlaskClient,
    technologist: Person,
    reader: Person,
    model: UUID,
) -> None:
    fill(core, model, technologist, shift=0.15)
    check(core, admin_client, model)
    client = sign_in(app, reader)
    for path in ("/worklist", "/history", f"/models/{model}"):
        assert "drift alarm" not in client.get(path).text.lower(), path


def test_too_few_predictions_are_said_and_are_no_alarm(
    core: Core, admin_client: FlaskClient, technologist: Person, model: UUID
) -> None:
    fill(core, model, technologist, 40, shift=1.0)
    check(core, admin_client, model)
    page = admin_client.get(PAGE).text
    assert "Too few predictions" in page
    assert "40 predictions with a result" in page
    assert "Drift alarm" not in page
    assert "too few" in admin_client.get(FILES[0]).text


def test_a_check_that_failed_is_said(core: Core, admin_client: FlaskClient, model: UUID) -> None:
    post(admin_client, f"{PAGE}/{model}/check")
    jobs = Jobs(core)
    ticket = jobs.claim(waiting(core))
    assert ticket is not None
    jobs.fail(ticket, "input_refused", "permanent")
    page = admin_client.get(PAGE).text
    assert "The last check failed" in page
    assert "Check now" in page


@pytest.mark.parametrize("spoilt", ['[{"name": "x"}]', "7", "{"])
def test_a_check_that_cannot_be_read_is_counted_and_the_others_are_shown(
    core: Core,
    clock: Clock,
    admin_client: FlaskClient,
    technologist: Person,
    model: UUID,
    spoilt: str,
) -> None:
    fill(core, model, technologist)
    check(core, admin_client, model)
    with core.sessions() as session:
        first = session.scalars(select(DriftCheck.id)).one()
    clock.forward(minutes=5)
    check(core, admin_client, model)
    spoil(core, "drift_checks", "numbers", spoilt, f"id = '{first.hex}'")
    spoil(core, "drift_checks", "alarms", spoilt, f"id = '{first.hex}'")
    page = admin_client.get(PAGE)
    assert page.status_code == 200
    assert "1 check can’t be read and is not shown" in page.text
    assert "Grey: mean" in page.text
    for path in (*FILES, "/admin/jobs", "/admin/performance"):
        assert admin_client.get(path).status_code == 200, path


def test_another_model_can_be_chosen_and_an_unknown_one_is_the_active_one(
    core: Core, admin_client: FlaskClient, technologist: Person, model: UUID
) -> None:
    fill(core, model, technologist)
    check(core, admin_client, model)
    with core.sessions() as session:
        newer = make_model_of_next_version(session)
    assert "Not checked yet" in admin_client.get(PAGE).text
    assert "Grey: mean" in admin_client.get(f"{PAGE}?model={model.hex}").text
    assert "Not checked yet" in admin_client.get(f"{PAGE}?model={newer.hex}").text
    assert "Not checked yet" in admin_client.get(f"{PAGE}?model=nonsense").text


def make_model_of_next_version(session: object) -> UUID:
    return make_model(session, version="2")  # type: ignore[arg-type]
