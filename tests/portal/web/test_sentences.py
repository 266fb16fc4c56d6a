"""The sentence for the clipboard, and the page on which a team's wording is edited."""

import re
from html import unescape

from flask import Flask

from portal.models import Language, Role
from portal.sentences import templates
from portal.sentences.templates import Kind
from tests.portal.web.test_critical import review, team_of
from tests.support.core import Clock
from tests.support.people import Person
from tests.support.portal_app import analyse, make_person, make_study, post, sign_in

DEFAULT = {"shown": templates.default(Language.EN, Kind.ONE_SIDE)}


def shown_on(page: str) -> dict[str, str]:
    """The first form's fields: the template that it began with, and the text in it."""
    fields = re.search(r'name="shown" value="([^"]*)".*?<textarea[^>]*>([^<]*)<', page, re.DOTALL)
    assert fields is not None
    return {"shown": unescape(fields[1]), "text": unescape(fields[2])}


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
    form = {"kind": "one_side", "text": "Pneumothorax on the {side}[, {zones}]."} | DEFAULT
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
    back = form | {"what": "default", "shown": form["text"]}
    assert post(client, page, back).location == page
    assert "Pneumothorax on the" not in client.get(page).text
    clock.forward(minutes=11)
    assert "/confirm" in str(post(client, page, form).location)
    assert sign_in(app, reader).get(page).status_code == 403


def test_of_two_who_edit_a_sentence_at_once_none_overwrites_the_other_unseen(app: Flask) -> None:
    first, second = (sign_in(app, make_person(app, Role.ADMIN)) for _ in range(2))
    page = f"/admin/teams/{team_of(app)}/sentences"
    store = {"kind": "one_side", "what": "store"} | DEFAULT
    mine = shown_on(first.get(page).text)["shown"]
    theirs = store | {"text": "Air on the {side}."}
    assert post(second, page, theirs).status_code == 303
    # A preview in between does not take the other's text for one that was seen.
    wanted = {"kind": "one_side", "text": "Collapse on the {side}.", "shown": mine}
    preview = shown_on(post(first, page, wanted | {"what": "preview"}).text)
    assert preview == {"shown": mine, "text": wanted["text"]}

    for what in ("store", "default"):
        refused = post(first, page, wanted | {"what": what})
        assert refused.status_code == 409
        assert "this sentence was changed since you opened the page" in refused.text
        assert "“Air on the {side}.”" in refused.text
        kept = wanted["text"] if what == "store" else theirs["text"]
        assert shown_on(refused.text) == {"shown": theirs["text"], "text": kept}
        assert "Air on the left." in first.get(page).text
    # The same from both is no conflict, and what was seen may be replaced.
    assert post(first, page, theirs).status_code == 303
    again = wanted | {"what": "store", "shown": theirs["text"]}
    assert post(first, page, again).status_code == 303
    assert "Collapse on the left." in first.get(page).text
