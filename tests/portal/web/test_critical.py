"""Critical findings on the pages: the box, the panel, the strip, and the rota of a team."""

import html
import re
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.accounts.sessions import actor_of
from portal.intake import submission
from portal.models import Notification, NotificationState, Role, Team, User, db
from tests.support.core import Clock
from tests.support.people import Person
from tests.support.pictures import dicom
from tests.support.portal_app import (
    analyse,
    core_of,
    csrf_of,
    make_person,
    make_study,
    post,
    sign_in,
)

RECORD = {"person": "Dr Grün", "means": "phone", "read_back": "yes", "minutes_ago": "2"}
JSON = {"Accept": "application/json"}


@pytest.fixture
def study(app: Flask, reader: Person) -> UUID:
    made = make_study(app, reader)
    analyse(app, made)
    return made


def make_exam(app: Flask, reader: Person, time: str) -> UUID:
    """An exam of the one patient, taken at this time."""
    core, now = core_of(app), app.extensions["pleura"].clock()
    with core.sessions() as session:
        actor = actor_of(session.get_one(User, reader.id))
        data = dicom(rows=640, columns=512, PatientID="SAME", StudyTime=time)
        made = submission.submit(session, core.vault, actor, "x.dcm", data, now).study_id
    analyse(app, made)
    return made


def review(client: FlaskClient, study: UUID, finding: str = "right", **more: str) -> Any:
    form = {"csrf_token": csrf_of(client), "finding": finding, **more}
    answer = client.post(f"/studies/{study}/reviews", data=form, headers=JSON)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def send(client: FlaskClient, study: UUID, what: str, **form: str) -> TestResponse:
    return post(client, f"/studies/{study}/critical/{what}", form, headers=JSON)


def test_a_finding_is_critical_until_somebody_was_informed(
    app: Flask, reader: Person, study: UUID, clock: Clock
) -> None:
    client = sign_in(app, reader)
    page = client.get(f"/studies/{study}").text
    assert re.search(r'id="critical-box"[^>]* checked', page)
    assert "not known from an earlier exam here" in page or "No patient ID" in page
    answer = review(client, study, critical_offered="1", critical="yes")
    assert "nobody was informed yet" in answer["critical"]["html"]
    clock.forward(minutes=4)
    strip = client.get("/worklist").text
    assert "1 critical finding, nobody informed yet" in strip
    assert "4 min ago" in strip
    live = client.get("/worklist/state?ids=").get_json()["critical"]
    assert f'href="/studies/{study}"' in live
    assert "sees to it" in send(client, study, "acknowledge").get_json()["html"]
    closed = send(client, study, "communications", **RECORD)
    assert "Dr Grün" in closed.get_json()["html"]
    assert "critical finding" not in client.get("/worklist/state?ids=").get_json()["critical"]
    page = html.unescape(client.get(f"/studies/{study}").text)
    assert "by phone by" in page
    assert "read back" in page


def test_a_box_without_its_tick_makes_none(app: Flask, reader: Person, study: UUID) -> None:
    client = sign_in(app, reader)
    answer = review(client, study, critical_offered="1")
    assert 'id="critical-panel"' in answer["critical"]["html"]
    assert "nobody was informed" not in answer["critical"]["html"]
    assert "nobody was informed" in send(client, study, "mark", critical="yes").get_json()["html"]
    marked = send(client, study, "mark").get_json()
    assert "not critical any more" in marked["html"]
    assert marked["checked"] is False


def test_what_is_refused_says_why(app: Flask, reader: Person, study: UUID) -> None:
    client = sign_in(app, reader)
    refused = send(client, study, "communications", **RECORD)
    assert (refused.status_code, refused.get_json()["code"]) == (409, "not_open")
    review(client, study)
    for name, value in (
        ("person", " "),
        ("means", ""),
        ("read_back", ""),
        ("minutes_ago", "-1"),
        ("minutes_ago", "1441"),
        ("minutes_ago", "²"),
        ("informed_by", "nobody"),
    ):
        answer = send(client, study, "communications", **RECORD | {name: value})
        assert (answer.status_code, answer.get_json()["code"]) == (422, name)
    assert "Dr Grün" not in client.get(f"/studies/{study}").text
    plain = post(client, f"/studies/{study}/critical/communications", RECORD)
    assert (plain.status_code, plain.location) == (303, f"/studies/{study}")


def test_a_program_that_states_a_pneumothorax_opens_one_too(
    app: Flask, reader: Person, study: UUID
) -> None:
    from tests.support.portal_app import make_token

    token = make_token(app, reader, "studies:read", "reviews:write")
    sent = app.test_client().post(
        f"/api/v1/studies/{study}/reviews",
        json={"finding": "left"},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert sent.status_code == 201
    assert "1 critical finding" in sign_in(app, reader).get("/worklist").text


def team_of(app: Flask, name: str = "Radiology") -> UUID:
    with app.app_context():
        found: UUID = db.session.query(Team).filter_by(name=name).one().id
        return found


def test_an_admin_keeps_the_rota_of_a_team(app: Flask, reader: Person, clock: Clock) -> None:
    admin = make_person(app, Role.ADMIN)
    second = make_person(app, Role.READER, name="Second Reader")
    client, page = sign_in(app, admin), f"/admin/teams/{team_of(app)}/rota"
    assert page in client.get(f"/admin/teams/{team_of(app)}").text

    def change(what: str, seen: str = "", **more: str) -> TestResponse:
        return post(client, page, {"change": what, "seen": seen, **more})

    one, two = reader.id.hex, second.id.hex
    assert change("add:", person=one).location == page
    assert change("add:", one, person=two).location == page
    assert change(f"up:{two}", f"{one},{two}").location == page
    shown = client.get(page).text
    assert shown.index("Second Reader</bdi>") < shown.index(f"remove:{one}")
    stale = change(f"remove:{one}", f"{one},{two}")
    assert (stale.status_code, "Look again" in stale.text) == (409, True)
    now = f"{two},{one}"
    for what, more in (
        ("add:", {"person": ""}),
        ("add:", {"person": admin.id.hex}),
        ("add:", {"person": two}),
        (f"remove:{admin.id.hex}", {}),
        (f"sideways:{one}", {}),
        ("", {}),
    ):
        assert change(what, now, **more).status_code == 422, what
    assert change(f"down:{two}", now).location == page
    assert change(f"remove:{one}", f"{one},{two}").location == page
    assert sign_in(app, reader).get(page).status_code == 403
    clock.forward(minutes=11)
    confirmed = change(f"remove:{two}", two)
    assert "/confirm" in str(confirmed.location)


@pytest.mark.parametrize(
    ("form", "finding", "is_critical"),
    [
        ({}, "right", False),
        ({}, "left", True),
        ({"critical": "yes"}, "right", True),
    ],
)
def test_a_box_that_a_known_side_leaves_unchecked_does_not_unmark_the_other(
    app: Flask, reader: Person, form: dict[str, str], finding: str, is_critical: bool
) -> None:
    client = sign_in(app, reader)
    known, study = (make_exam(app, reader, time) for time in ("080000", "083000"))
    review(client, known)
    page = client.get(f"/studies/{study}").text
    assert not re.search(r'id="critical-box"[^>]* checked', page)
    assert "Not new on this side: pneumothorax (right) in case" in page
    (offered,) = re.findall(r'id="critical-offered" value="([^"]*)"', page)
    answer = review(client, study, finding, critical_offered=offered, **form)["critical"]
    assert ("nobody was informed yet" in answer["html"]) == is_critical
    assert (answer["checked"], answer["offered"]) == (is_critical, "1")
    if is_critical:  # it can be unmarked from now on
        review(client, study, finding, critical_offered=answer["offered"], comment="Known.")
        assert "critical finding" in client.get("/worklist").text  # that of the other case alone
        page = client.get(f"/studies/{study}").text
        assert "not critical any more" in page


def test_an_admin_sees_what_was_not_sent_and_sends_it_again(
    app: Flask, reader: Person, study: UUID
) -> None:
    review(sign_in(app, reader), study)
    admin = sign_in(app, make_person(app, Role.ADMIN))
    with app.app_context():
        row = db.session.query(Notification).one()
        row.state, row.attempts, row.error = NotificationState.FAILED, 12, "http_500"
        db.session.commit()
        notification_id = row.id
    page = admin.get("/admin/notifications").text
    assert ("http 500" in page, "webhook" in page, "Radiology" in page) == (True, True, True)
    again = post(admin, f"/admin/notifications/{notification_id}/retry")
    assert again.location == "/admin/notifications"
    assert "waiting" in admin.get("/admin/notifications").text
    assert post(admin, f"/admin/notifications/{notification_id}/retry").status_code == 409
    for person in (reader, make_person(app, Role.AUDITOR)):
        assert sign_in(app, person).get("/admin/notifications").status_code == 403
