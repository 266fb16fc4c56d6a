"""The sentence for the clipboard, and the page on which a team's wording is edited."""

from flask import Flask

from portal.models import Role
from tests.portal.web.test_critical import review, team_of
from tests.support.core import Clock
from tests.support.people import Person
from tests.support.portal_app import analyse, make_person, make_study, post, sign_in


def test_a_reader_gets_their_own_finding_in_words(app: Flask, reader: Person) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    client = sign_in(app, reader)
    page = client.get(f"/studies/{study}").text
    assert f'data-url="/studies/{study}/sentence"' in page
    refused = client.get(f"/studies/{study}/sentence", headers={"Accept": "application/json"})
    assert (refused.status_code, refused.get_json()["code"]) == (409, "no_finding")
    review(client, study, "left")
    answer = client.get(f"/studies/{study}/sentence")
    assert answer.get_json()["text"].startswith("Left pneumothorax")
    other = sign_in(app, make_person(app, Role.READER, name="Second"))
    assert other.get(f"/studies/{study}/sentence").status_code == 409


def test_an_admin_edits_previews_and_takes_back_a_sentence(
    app: Flask, reader: Person, clock: Clock
) -> None:
    client = sign_in(app, make_person(app, Role.ADMIN))
    page = f"/admin/teams/{team_of(app)}/sentences"
    assert page in client.get(f"/admin/teams/{team_of(app)}").text
    form = {"kind": "one_side", "text": "Pneumothorax on the {side}[, {zones}]."}
    shown = post(client, page, form | {"what": "preview"})
    assert (shown.status_code, "Pneumothorax on the right, apical." in shown.text) == (200, True)
    assert "Pneumothorax on the" not in client.get(page).text
    assert post(client, page, form | {"what": "store"}).location == page
    assert "Pneumothorax on the left." in client.get(page).text
    for wrong in (
        form | {"text": "{side} {name}."},
        form | {"text": ""},
        form | {"text": "{name}", "what": "preview"},
        form | {"kind": "sideways", "what": "preview"},
    ):
        answer = post(client, page, wrong)
        assert answer.status_code == 422, wrong
    tied = post(client, page, form | {"text": ""}).text
    assert 'aria-describedby="sentence-one_side-error sentence-one_side-help"' in tied
    assert post(client, page, form | {"kind": "sideways"}).status_code == 404
    assert post(client, page, form | {"what": "default"}).location == page
    assert "Pneumothorax on the" not in client.get(page).text
    clock.forward(minutes=11)
    assert "/confirm" in str(post(client, page, form).location)
    assert sign_in(app, reader).get(page).status_code == 403
