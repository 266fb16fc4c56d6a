"""Emergency access in the pages: the form, the banner over the case, the auditor's alarm."""

import re
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.models import BreakGlass, Role, db
from tests.support.core import Clock
from tests.support.people import Person
from tests.support.portal_app import analyse, make_person, make_study, post, sign_in

EXPLANATION = "Called by the ward, their reader is away."
FORM = {"reason": "emergency", "explanation": EXPLANATION}


@pytest.fixture
def study(app: Flask, technologist: Person) -> UUID:
    study_id = make_study(app, technologist)
    analyse(app, study_id)
    return study_id


@pytest.fixture
def outsider(app: Flask) -> Person:
    return make_person(app, Role.READER, team="Elsewhere", name="Olga Outsider")


@pytest.fixture
def outsider_client(app: Flask, outsider: Person) -> FlaskClient:
    return sign_in(app, outsider)


def test_from_the_form_to_the_case_and_back(
    app: Flask, outsider_client: FlaskClient, study: UUID, clock: Clock
) -> None:
    assert outsider_client.get(f"/studies/{study}").status_code == 404
    opened = post(outsider_client, "/emergency", FORM | {"case": study.hex[:6]})
    assert (opened.status_code, opened.location) == (303, f"/studies/{study}")

    page = outsider_client.get(f"/studies/{study}")
    assert page.status_code == 200
    assert 'class="emergency"' in page.text
    assert "until 10:00 UTC" in page.text
    assert 'id="review"' not in page.text
    assert "/next" not in page.text
    assert "Model and limits" in page.text
    assert 'href="/models/' not in page.text  # an administrator with a grant may not go there
    assert outsider_client.get(f"/studies/{study}/blobs/preview").status_code == 200
    assert outsider_client.get(f"/studies/{study}/state").status_code == 200
    assert "CANARY" not in outsider_client.get("/worklist").text
    refused = post(outsider_client, f"/studies/{study}/reviews", {"finding": "right"})
    assert refused.status_code == 404

    with app.app_context():
        grant = db.session().query(BreakGlass.id).scalar()
    assert post(outsider_client, f"/emergency/{grant}/end").status_code == 303
    assert outsider_client.get(f"/studies/{study}").status_code == 404


def test_a_case_of_ones_own_opens_without_a_grant(app: Flask, reader: Person, study: UUID) -> None:
    client = sign_in(app, reader)
    opened = post(client, "/emergency", FORM | {"case": str(study)})
    assert opened.location == f"/studies/{study}"
    assert 'class="emergency"' not in client.get(opened.location).text
    with app.app_context():
        assert db.session().query(BreakGlass).count() == 0


def test_time_ends_it(
    app: Flask, admin: Person, admin_client: FlaskClient, study: UUID, clock: Clock
) -> None:
    post(admin_client, "/emergency", FORM | {"case": str(study)})
    assert admin_client.get(f"/studies/{study}").status_code == 200
    clock.forward(minutes=60)
    assert sign_in(app, admin).get(f"/studies/{study}").status_code == 404


def test_it_needs_a_fresh_proof(admin_client: FlaskClient, study: UUID, clock: Clock) -> None:
    clock.forward(minutes=11)
    asked = post(admin_client, "/emergency", FORM | {"case": str(study)})
    assert asked.location == "/confirm?next=/emergency"
    assert "Confirm to open a case" in admin_client.get("/emergency").text
    assert admin_client.get(f"/studies/{study}").status_code == 404


def test_unknown_and_purged_get_the_same_page(
    app: Flask, admin_client: FlaskClient, study: UUID
) -> None:
    for case in (str(uuid4()), "000000"):
        answer = post(admin_client, "/emergency", FORM | {"case": case})
        assert answer.status_code == 422
        assert "No case has this number, or it can’t be opened like this." in answer.text


def test_only_readers_and_admins_have_the_form(
    app: Flask, technologist: Person, auditor: Person, study: UUID
) -> None:
    for person in (technologist, auditor):
        client = sign_in(app, person)
        assert client.get("/emergency").status_code == 403
        assert post(client, "/emergency", FORM | {"case": str(study)}).status_code == 403
        assert "/emergency" not in client.get("/account").text


def test_the_auditor_finds_the_alarm_and_ends_it(
    app: Flask, admin_client: FlaskClient, auditor: Person, study: UUID
) -> None:
    post(admin_client, "/emergency", FORM | {"case": str(study)})
    client = sign_in(app, auditor)
    page = client.get("/audit").text
    assert "1 not seen yet" in page
    assert page.count(EXPLANATION) == 2  # beside the alarm and in the list of what stands open
    assert "CANARY" not in page
    assert re.search(r"until: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", page)  # as the other times
    with app.app_context():
        grant = db.session().query(BreakGlass.id).scalar()
    assert post(client, f"/emergency/{grant}/end").location == "/audit"
    assert admin_client.get(f"/studies/{study}").status_code == 404
    newest = client.get("/audit").text.partition('name="up_to" value="')[2].partition('"')[0]
    assert post(client, "/audit/alarms/seen", {"up_to": newest}).status_code == 303
    page = client.get("/audit").text
    assert "not seen yet" not in page
    assert "open by emergency access" not in page


def test_a_grant_of_another_person_looks_like_none(
    app: Flask, admin_client: FlaskClient, reader: Person, study: UUID
) -> None:
    post(admin_client, "/emergency", FORM | {"case": str(study)})
    with app.app_context():
        grant = db.session().query(BreakGlass.id).scalar()
    client = sign_in(app, reader)
    for unknown in (grant, uuid4()):
        assert post(client, f"/emergency/{unknown}/end").status_code == 404
    assert admin_client.get(f"/studies/{study}").status_code == 200
