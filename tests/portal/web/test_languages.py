"""Which language a page is in, and that German pages have no English left."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts import team_settings
from portal.accounts.sessions import actor_of
from portal.languages import catalogues
from portal.models import AuditEvent, Language, Role, User, db
from tests.portal.web.conftest import Staffed
from tests.support.languages.page_texts import Pseudo, english_of
from tests.support.people import Person
from tests.support.portal_app import core_of, post, sign_in

GERMAN = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}
# Pages whose texts are all marked, and who may see them.
DONE: list[tuple[str, Role | None]] = [
    ("/sign-in", None),
    ("/no-such-page", Role.READER),
    ("/account", Role.READER),
    ("/confirm", Role.READER),
    ("/enrol", Role.READER),
    ("/screen", Role.READER),
    ("/emergency", Role.ADMIN),
    ("/admin/people", Role.ADMIN),
    ("/admin/people?change={person}", Role.ADMIN),
    ("/admin/teams", Role.ADMIN),
    ("/admin/teams/{team}", Role.ADMIN),
    ("/admin/teams/{team}/rota", Role.ADMIN),
    ("/admin/teams/{team}/sentences", Role.ADMIN),
    ("/admin/teams/{team}/rules", Role.ADMIN),
    ("/admin/notifications", Role.ADMIN),
    ("/admin/dicom", Role.ADMIN),
    ("/admin/hl7", Role.ADMIN),
    ("/admin/jobs", Role.ADMIN),
    ("/admin/performance", Role.ADMIN),
    ("/admin/models", Role.ADMIN),
    ("/admin/data?case=7F3A21", Role.ADMIN),
    ("/audit", Role.AUDITOR),
    ("/audit?event=x1&person=nobody&case=zz&since=2026-13-45", Role.AUDITOR),
]


def language_of(client: FlaskClient, path: str = "/account", **more: object) -> str:
    page = client.get(path, **more)  # type: ignore[arg-type]
    found = re.search(r'<html lang="(\w+)" dir="ltr"', page.text)
    assert found is not None
    assert page.headers["Content-Language"] == found[1]
    assert "Accept-Language" in page.headers["Vary"]
    assert page.headers["Cache-Control"] == "no-store"
    return found[1]


def choose(client: FlaskClient, language: str) -> int:
    return post(client, "/account/language", {"language": language}).status_code


def of_team(app: Flask, admin: Person, member: Person, language: str) -> None:
    with core_of(app).sessions() as session:
        team_id = session.get_one(User, member.id).team_id
        team_settings.choose(
            session,
            actor_of(session.get_one(User, admin.id)),
            team_id,
            "language",
            language,
            "",
            app.extensions["pleura"].clock(),
        )


def test_before_anybody_signs_in_the_browser_decides(client: FlaskClient) -> None:
    assert language_of(client, "/sign-in") == "en"
    assert language_of(client, "/sign-in", headers=GERMAN) == "de"
    assert language_of(client, "/sign-in", headers={"Accept-Language": "fr"}) == "en"
    assert "Anmelden" in client.get("/sign-in", headers=GERMAN).text


def test_a_person_s_choice_comes_before_the_team_s_and_that_before_the_browser(
    app: Flask, reader: Person, admin: Person
) -> None:
    client = sign_in(app, reader)
    assert language_of(client, headers=GERMAN) == "en"
    of_team(app, admin, reader, "de")
    assert language_of(client) == "de"
    assert choose(client, "en") == 303
    assert language_of(client, headers=GERMAN) == "en"
    assert choose(client, "") == 303
    assert language_of(client) == "de"


def test_the_choice_is_in_the_log_once(app: Flask, reader: Person) -> None:
    client = sign_in(app, reader)
    assert [choose(client, "de"), choose(client, "de")] == [303, 303]
    with app.app_context():
        row = db.session.query(AuditEvent).filter_by(event="language_chosen").one()
        assert (row.actor_id, row.subject_id) == (reader.id, reader.id)
        assert json.loads(row.detail) == {"before": None, "after": "de"}
        assert db.session.get_one(User, reader.id).language is Language.DE


def test_a_language_that_there_is_none_of_is_refused(app: Flask, reader: Person) -> None:
    client = sign_in(app, reader)
    assert choose(client, "xx") == 422
    assert language_of(client) == "en"


def test_errors_and_answers_to_scripts_are_in_the_language_those_to_programs_in_english(
    app: Flask, reader: Person
) -> None:
    client = sign_in(app, reader)
    choose(client, "de")
    assert "Seite nicht gefunden" in client.get("/no-such-page").text
    script = client.get("/no-such-page", headers={"Accept": "application/json"})
    assert json.loads(script.text)["title"] == "Seite nicht gefunden"
    program = client.get("/api/v1/nothing", headers=GERMAN)
    assert json.loads(program.text)["title"] == "Page not found"
    static = client.get("/static/css/base.css", headers=GERMAN)
    assert "Content-Language" not in static.headers


def test_texts_of_scripts_travel_with_a_page_that_is_not_in_english(client: FlaskClient) -> None:
    assert "application/json" not in client.get("/sign-in").text
    page = client.get("/sign-in", headers=GERMAN).text
    found = re.search(r'<script type="application/json" id="messages">(.*?)</script>', page)
    assert found is not None
    assert json.loads(found[1])["just now"] == "gerade eben"


@pytest.fixture
def pseudo() -> Iterator[None]:
    catalogues.put_in_place("de", Pseudo())
    yield
    catalogues.put_in_place("de", None)


@pytest.mark.parametrize(("path", "role"), DONE)
def test_a_page_has_no_text_that_is_not_translated(
    app: Flask, staffed: Staffed, pseudo: None, path: str, role: Role | None
) -> None:
    people = staffed[1]
    client = app.test_client()
    if role is not None:
        sign_in(app, people[role], client)
        choose(client, "de")
    with core_of(app).sessions() as session:
        team = session.get_one(User, people[Role.READER].id).team_id
    path = path.format(person=people[Role.READER].id, team=team)
    page = client.get(path, headers=GERMAN).text
    assert "⟦" in page
    assert english_of(page) == []


@pytest.mark.parametrize(
    ("path", "form", "page"),
    [
        ("/admin/people", {"name": "", "email": "x", "role": "reader"}, "/admin/people"),
        ("/admin/people", {"role": "none"}, "/admin/people"),
        ("/admin/teams", {"name": ""}, "/admin/teams"),
        ("/emergency", {"case": "x", "reason": "fault", "explanation": "short"}, "/emergency"),
        ("/account/tokens", {"name": "x", "days": "90"}, "/account"),
        ("/account/password", {"old": "wrong", "new": "short"}, "/account"),
    ],
)
def test_what_is_wrong_in_a_form_is_translated(
    app: Flask, admin: Person, pseudo: None, path: str, form: dict[str, str], page: str
) -> None:
    client = sign_in(app, admin)
    choose(client, "de")
    answer = post(client, path, form, page=page)
    assert answer.status_code == 422
    assert english_of(answer.text) == []


def test_the_check_of_the_log_is_translated(app: Flask, auditor: Person, pseudo: None) -> None:
    client = sign_in(app, auditor)
    choose(client, "de")
    answer = post(client, "/audit/verify", page="/audit")
    assert "intact" in answer.text
    assert english_of(answer.text) == []


def test_a_text_that_is_not_translated_is_found() -> None:
    html = '<p title="Hint">⟦Marked⟧ plain <bdi>A Name</bdi> <b class="mono">code</b> 12 UTC</p>'
    assert english_of(html) == ["Hint", "plain"]
