"""`/open`: from a link to the exam, by way of the sign-in; and what is in no log and no address."""

import base64
import hashlib
import hmac
import json
import logging
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.accounts.sessions import actor_of
from portal.models import AuditEvent, Role, User, db
from portal.teams import exam_links
from tests.support.core import Clock
from tests.support.people import PASSWORD, Person
from tests.support.pictures import dicom
from tests.support.portal_app import core_of, make_person, make_study, post, sign_in

ACCESSION = "CANARY-77"


@pytest.fixture
def key(app: Flask, admin: Person, reader: Person, clock: Clock) -> str:
    core = core_of(app)
    with core.sessions() as session:
        team = session.get_one(User, reader.id).team_id
        actor = actor_of(session.get_one(User, admin.id))
        return exam_links.make_key(session, core.vault, actor, team, clock())


def link(key: str, clock: Clock, accession: str = ACCESSION, seconds: int = 300) -> str:
    key_id, secret = key.split(".")
    number = base64.urlsafe_b64encode(accession.encode()).decode().rstrip("=")
    message = f"1.{key_id}.{int(clock().timestamp()) + seconds}.{number}"
    return f"{message}.{hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()}"


def exam(app: Flask, person: Person, **tags: object) -> UUID:
    return make_study(app, person, data=dicom(**({"AccessionNumber": ACCESSION} | tags)))


def follow(client: FlaskClient, held: str) -> TestResponse:
    """What the page's script sends."""
    return post(client, "/open/exam", {"link": held}, page="/open/exam")


def test_who_is_signed_in_comes_to_the_exam(
    app: Flask, reader: Person, key: str, clock: Clock
) -> None:
    study = exam(app, reader)
    client = sign_in(app, reader)
    answer = follow(client, link(key, clock))
    assert (answer.status_code, answer.location) == (303, "/open/go")
    answer = client.get("/open/go")
    assert (answer.status_code, answer.location) == (303, f"/studies/{study}")
    assert client.get(answer.location).status_code == 200
    # It leads there once.
    assert client.get("/open/go").status_code == 410


def test_who_is_not_signs_in_first_and_comes_to_the_exam_then(
    app: Flask, reader: Person, key: str, clock: Clock
) -> None:
    study = exam(app, reader)
    client = app.test_client()
    assert follow(client, link(key, clock)).location == "/open/go"
    asked = client.get("/open/go")
    assert (asked.status_code, asked.location) == (303, "/sign-in?next=/open/go")
    first = post(
        client,
        "/sign-in",
        {"email": reader.email, "password": PASSWORD, "next": "/open/go"},
        page="/sign-in",
    )
    code = {"code": reader.code(clock()), "next": "/open/go"}
    signed_in = post(client, first.location, code, page="/sign-in/code")
    assert signed_in.location == "/open/go"
    assert client.get("/open/go").location == f"/studies/{study}"


def test_the_first_page_leaves_the_login_of_the_browser_alone(app: Flask, reader: Person) -> None:
    """A browser that comes from another site sends no cookie, and takes what it is given."""
    for client in (app.test_client(), sign_in(app, reader)):
        answer = client.get("/open")
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
        assert "csrf" not in answer.text


def test_nothing_of_the_number_is_in_a_log_an_address_or_a_cookie(
    app: Flask, reader: Person, key: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    exam(app, reader)
    client = sign_in(app, reader)
    held = link(key, clock)
    number = held.split(".")[3]
    logging.getLogger("portal").propagate = True
    with caplog.at_level(logging.DEBUG):
        answers = [follow(client, held), client.get("/open/go"), follow(client, held + "0")]
    with app.app_context():
        rows = [row.detail for row in db.session().query(AuditEvent)]
    said = [caplog.text, json.dumps(rows), *(str(a.headers) + a.text for a in answers)]
    cookies = [
        base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        for a in answers
        for cookie in a.headers.getlist("Set-Cookie")
        for part in [cookie.partition("=")[2].partition(".")[0]]
        if part.isascii() and "-exam=" in cookie and part != '""' and ";" not in part
    ]
    for secret in (ACCESSION, number):
        assert not [text for text in said if secret in text]
        assert not [one for one in cookies if secret.encode() in one]
    assert cookies


@pytest.mark.parametrize("wrong", ["", "nothing", "over", "forged"])
def test_a_link_that_is_none_or_is_over_has_a_page_that_says_so(
    app: Flask, reader: Person, key: str, clock: Clock, wrong: str
) -> None:
    exam(app, reader)
    good = link(key, clock)
    held = {"over": link(key, clock, seconds=-1), "forged": good[:-1] + "0" + "0"}.get(wrong, wrong)
    client = sign_in(app, reader)
    answer = follow(client, held)
    assert answer.status_code == 410
    assert "Open the exam from your PACS or RIS again." in answer.text
    assert client.get("/open/go").status_code == 410


def test_what_the_person_may_not_see_is_not_found_and_written_down(
    app: Flask, reader: Person, key: str, clock: Clock
) -> None:
    exam(app, reader)
    outsider = make_person(app, Role.READER, team="Elsewhere")
    other = make_person(app, Role.TECHNOLOGIST)  # sent none of its pictures
    for person, accession in ((outsider, ACCESSION), (other, ACCESSION), (reader, "NONE")):
        client = sign_in(app, person)
        follow(client, link(key, clock, accession))
        assert client.get("/open/go").status_code == 404
        with app.app_context():
            row = db.session().query(AuditEvent).order_by(AuditEvent.seq.desc()).first()
        assert row is not None
        assert (row.event, row.actor_id) == ("access_refused", person.id)


def test_another_team_with_the_same_number_keeps_its_own(
    app: Flask, reader: Person, key: str, clock: Clock
) -> None:
    own = exam(app, reader)
    exam(app, make_person(app, Role.READER, team="Elsewhere"))
    client = sign_in(app, reader)
    follow(client, link(key, clock))
    assert client.get("/open/go").location == f"/studies/{own}"


def test_of_several_exams_the_newest_is_opened(
    app: Flask, reader: Person, key: str, clock: Clock
) -> None:
    exam(app, reader)
    clock.forward(minutes=1)
    newest = exam(app, reader, pixels=b"\1" * 96)
    client = sign_in(app, reader)
    follow(client, link(key, clock))
    assert client.get("/open/go").location == f"/studies/{newest}"


def test_a_sign_in_that_takes_too_long_has_to_begin_again(
    app: Flask, reader: Person, key: str, clock: Clock
) -> None:
    client = app.test_client()
    follow(client, link(key, clock))
    (cookie,) = [c for c in client._cookies.values() if c.key.endswith("-exam")]
    assert cookie.max_age == 600
    assert cookie.http_only
    assert cookie.same_site == "Strict"


def test_a_form_of_another_site_is_refused(
    app: Flask, reader: Person, key: str, clock: Clock
) -> None:
    client = sign_in(app, reader)
    answer = client.post("/open/exam", data={"link": link(key, clock)})
    assert answer.status_code == 400
