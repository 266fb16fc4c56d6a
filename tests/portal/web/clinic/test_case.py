"""Reviews against what was seen, addresses that reveal nothing about a patient, and the filters of
the list that a case was opened from.
"""

import json
import re
from html import unescape
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.models import JobKind, Review, Role, Study, db
from tests.support.jobs import OTHER_FINDING
from tests.support.people import Person
from tests.support.portal_app import (
    PREDICTION,
    SEGMENTED,
    HttpWorker,
    analyse,
    csrf_of,
    job_of,
    make_person,
    make_study,
    post,
    sign_in,
)

NUMBER = "481502"


def reviews_of(app: Flask, study_id: UUID) -> int:
    """How many reviews a study has."""
    with app.app_context():
        return db.session().query(Review).filter_by(study_id=study_id).count()


@pytest.mark.parametrize("seen", ["analysing", "no_result", "DONE", "nonsense"])
def test_a_review_of_another_state_than_was_seen_is_refused(
    app: Flask, reader: Person, seen: str
) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    client = sign_in(app, reader)
    form = {"finding": "right", "seen": seen}
    json = {"Accept": "application/json"}
    refused = post(client, f"/studies/{study}/reviews", form, headers=json)
    assert (refused.status_code, refused.get_json()["code"]) == (409, "changed")
    assert reviews_of(app, study) == 0


def test_a_review_of_what_was_seen_is_stored(app: Flask, reader: Person) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    client = sign_in(app, reader)
    assert 'name="seen" value="done"' in client.get(f"/studies/{study}").text
    form = {"finding": "right", "seen": "done"}
    assert post(client, f"/studies/{study}/reviews", form).status_code == 303
    assert reviews_of(app, study) == 1


def test_the_second_window_is_answered_with_a_conflict_and_the_first_with_its_version(
    app: Flask, reader: Person
) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    client = sign_in(app, reader)
    path, json = f"/studies/{study}/reviews", {"Accept": "application/json"}
    assert 'name="after" value=""' in client.get(f"/studies/{study}").text
    first = {"finding": "none", "seen": "done", "after": ""}
    saved = post(client, path, first, headers=json).get_json()
    assert (saved["is_new"], saved["label"]) == (True, "None · disagreed")
    assert saved["stated"] == {"finding": "none", "size": "", "reason": "false_alarm"}
    again = post(client, path, first, headers=json)  # a double click
    assert (again.status_code, again.get_json()["is_new"]) == (200, False)
    late = post(client, path, first | {"finding": "left", "comment": "x"}, headers=json)
    assert (late.status_code, late.get_json()["code"]) == (409, "reviewed")
    assert "in another window or by a colleague" in late.get_json()["detail"]
    assert reviews_of(app, study) == 1
    assert f'name="after" value="{saved["after"]}"' in client.get(f"/studies/{study}").text


@pytest.mark.parametrize("field", ["finding", "size", "reason", "comment", "seen", "after"])
def test_a_field_that_is_no_text_is_refused(app: Flask, reader: Person, field: str) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    client = sign_in(app, reader)
    headers = {"Accept": "application/json", "X-CSRFToken": csrf_of(client)}
    sent = {"finding": "right"} | {field: ["none"]}
    answer = client.post(f"/studies/{study}/reviews", json=sent, headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (422, "bad_review")


def test_other_findings_of_the_network_are_on_the_page(app: Flask, reader: Person) -> None:
    study, worker = make_study(app, reader), HttpWorker(app)
    worker.do(job_of(app, study))
    job_id = job_of(app, study, JobKind.SEGMENT)
    claimed = worker.claim(job_id).json
    assert claimed is not None
    worker.store(job_id, claimed["ticket"], SEGMENTED)
    result = {"prediction": PREDICTION | {"other_findings": [OTHER_FINDING]}}
    assert worker.finish(job_id, claimed["ticket"], result).status_code == 204
    client = sign_in(app, reader)
    page = client.get(f"/studies/{study}").text
    assert "Pleural effusion" in page
    assert "found, left, 2.1 cm² · 0.70" in page
    shown = json.loads(unescape(re.search(r'data-viewer="([^"]*)"', page)[1]))
    assert shown["otherOutlines"] == OTHER_FINDING["outlines"]


def test_digits_alone_never_stand_in_an_address(app: Flask, reader: Person) -> None:
    numbered, patients, other = (make_study(app, reader, shade) for shade in range(3))
    vault = app.extensions["pleura"].vault
    with app.app_context():
        session = db.session()
        session.get_one(Study, numbered).case_number = NUMBER
        session.get_one(Study, patients).patient_id_key = vault.lookup("patient_id", NUMBER[:5])
        session.get_one(Study, patients).case_number = "FFFFF1"
        session.get_one(Study, other).case_number = "FFFFF2"
        session.commit()
    client = sign_in(app, reader)

    def look_for(typed: str) -> tuple[str, set[UUID]]:
        location = post(client, "/worklist/search", {"q": typed}).location
        (query,) = parse_qs(urlsplit(location).query)["q"]
        page = client.get(location).text
        return query, {study for study in (numbered, patients, other) if str(study) in page}

    query, found = look_for(NUMBER[:5])
    assert query.startswith("~")
    assert NUMBER[:5] not in query
    assert found == {numbered, patients}  # both that it may mean
    assert look_for(NUMBER)[1] == {numbered}
    assert look_for("999999")[1] == set()
    assert look_for(f"#{NUMBER}") == (f"#{NUMBER}", {numbered})
    assert look_for("fffff1") == ("fffff1", {patients})
    query, found = look_for("fffff")  # which may be a name
    assert (query[0], found) == ("~", {patients, other})
    # A forged address finds nothing and breaks nothing.
    for made_up in ("~", "~.", "~..", f"~a.b.{NUMBER}", "~a.b.%C3%A9", "~a.b." + "A" * 60):
        page = client.get(f"/worklist?q={made_up}")
        assert page.status_code == 200
        assert str(numbered) not in page.text


def with_patient_id(app: Flask, study: UUID, number: str) -> None:
    vault = app.extensions["pleura"].vault
    with app.app_context():
        session = db.session()
        session.get_one(Study, study).patient_id_key = vault.lookup("patient_id", number)
        session.commit()


def test_a_search_shows_its_term_to_who_typed_it_alone(app: Flask, reader: Person) -> None:
    theirs, others = make_study(app, reader), make_study(app, reader, shade=1)
    with_patient_id(app, theirs, "mrn-zebra")
    client = sign_in(app, reader)
    location = post(client, "/worklist/search", {"q": "MRN-ZEBRA"}).location
    assert "zebra" not in location.lower()
    page = client.get(location).text
    assert 'value="MRN-ZEBRA"' in page
    assert str(theirs) in page
    assert str(others) not in page
    colleague = sign_in(app, make_person(app, Role.READER))
    page = colleague.get(location).text
    assert "zebra" not in page.lower()
    assert str(theirs) in page
    assert str(others) not in page
    # Another filter leaves the search as it is, although the field is empty for them.
    (sealed,) = re.findall(r'name="sealed" value="([^"]+)"', page)
    filtered = post(colleague, "/worklist/search", {"q": "", "sealed": sealed, "state": "to_read"})
    page = colleague.get(filtered.location).text
    assert str(theirs) in page
    assert str(others) not in page
    # A new search takes its place, and nothing but a sealed one is stored.
    new = post(colleague, "/worklist/search", {"q": "88", "sealed": sealed}).location
    assert sealed not in new
    assert "q=" not in post(colleague, "/worklist/search", {"q": "", "sealed": "77123"}).location


@pytest.mark.parametrize("stored", ["mrn-77a", "MRN-77A"])
def test_a_number_that_the_version_before_stored_is_found_in_any_case_of_letters(
    app: Flask, reader: Person, stored: str
) -> None:
    """Its digest is of the number as the header has it."""
    study = make_study(app, reader)
    with_patient_id(app, study, stored)
    client = sign_in(app, reader)
    for typed in ("mrn-77a", "MRN-77A", " Mrn-77A "):
        location = post(client, "/worklist/search", {"q": typed}).location
        assert str(study) in client.get(location).text, typed


def test_the_page_shows_the_comment_that_was_stored(app: Flask, reader: Person) -> None:
    study = make_study(app, reader)
    analyse(app, study)
    client = sign_in(app, reader)
    form = {"finding": "right", "seen": "done", "comment": "apical\u202e and\x07 basal"}
    json = {"Accept": "application/json"}
    line = post(client, f"/studies/{study}/reviews", form, headers=json).get_json()["line"]
    assert "\u202e" not in line
    assert "\x07" not in line
    assert "apical" in line


def ways_on(page: str) -> dict[str, str]:
    """Where the links of a case page lead, by their names."""
    found = {
        "back": r'id="to-list" href="([^"]+)"',
        "next": r'id="next-case" href="([^"]+)"',
        "save": r'<form id="review" method="post" action="([^"]+)"',
    }
    return {name: unescape(re.findall(part, page)[0]) for name, part in found.items()}


def test_back_next_and_save_keep_the_filters_of_the_list(app: Flask, reader: Person) -> None:
    first, second, third = (make_study(app, reader, shade) for shade in range(3))
    for study in (first, second):
        analyse(app, study)
    client = sign_in(app, reader)
    page = client.get("/worklist?result=positive&side=right").text
    assert str(third) not in page
    (opened,) = re.findall(rf'href="(/studies/{first}[^"]*)"', page)
    place = "?result=positive&side=right"
    assert unescape(opened) == f"/studies/{first}{place}"
    links = ways_on(client.get(unescape(opened)).text)
    assert links == {
        "back": f"/worklist{place}",
        "next": f"/studies/{first}/next{place}",
        "save": f"/studies/{first}/reviews{place}",
    }
    assert post(client, links["save"], {"finding": "right"}).location == unescape(opened)
    assert client.get(links["next"]).location == f"/studies/{second}{place}"
    post(client, f"/studies/{second}/reviews{place}", {"finding": "none"})
    end = client.get(f"/studies/{second}/next{place}").location
    assert end == f"/worklist{place}"
    ended = client.get(end).text
    assert "All read" in ended
    assert "1 other is." in ended
    # Without a filter nothing stands in the addresses.
    links = ways_on(client.get(f"/studies/{third}").text)
    assert links["back"] == "/worklist"


@pytest.mark.parametrize("query", ["", "?state=second_read"])
def test_two_who_press_next_together_get_two_cases(app: Flask, reader: Person, query: str) -> None:
    """Neither page has been opened by then, so no script has marked a case."""
    here, *others = (make_study(app, reader, shade) for shade in range(3))
    colleague = make_person(app, Role.READER, name="Colleague")
    clients = sign_in(app, reader), sign_in(app, colleague)
    if query:
        first = sign_in(app, make_person(app, Role.READER, name="First"))
        for study in others:
            analyse(app, study)
            post(first, f"/studies/{study}/reviews", {"finding": "none"})
            post(first, f"/studies/{study}/second-read")
    given = [client.get(f"/studies/{here}/next{query}").location for client in clients]
    # Which of two that came at the same moment is first follows from their ids.
    assert sorted(given) == sorted(f"/studies/{study}{query}" for study in others)
    again = clients[0].get(f"/studies/{here}/next{query}").location
    assert again == given[0]  # one's own mark keeps nobody from it


def test_the_list_begins_with_what_is_to_be_read(app: Flask, reader: Person) -> None:
    assert "No cases yet" in sign_in(app, reader).get("/worklist").text
    read, unread = make_study(app, reader), make_study(app, reader, shade=1)
    analyse(app, read)
    client = sign_in(app, reader)
    post(client, f"/studies/{read}/reviews", {"finding": "right"})

    def shown(path: str) -> list[UUID]:
        page = client.get(path).text
        return [study for study in (read, unread) if f"case-{study}" in page]

    assert shown("/worklist") == [unread]
    assert shown("/worklist?state=nonsense") == [unread]
    assert shown("/worklist?state=all") == [read, unread]
    assert shown("/worklist?state=read") == [read]
    # Who looks for a case finds it, read or not; then the filter can be set.
    found = post(client, "/worklist/search", {"q": read.hex[:6], "state": "to_read"}).location
    assert shown(found) == [read]
    assert "state=" not in found
    narrowed = post(client, "/worklist/search", {"q": "", "state": "to_read"}).location
    assert narrowed == "/worklist"
    assert client.get(f"/studies/{unread}/next?state=all").location == "/worklist?state=all"
    assert "All read: no case of this list" in client.get("/worklist?state=all").text


def tab(client: FlaskClient, page: str) -> str:
    """The address of the tab Worklist on a page."""
    found = re.search(
        r'<a href="([^"]+)"(?: aria-current="page")?>Worklist</a>', client.get(page).text
    )
    assert found is not None, page
    return found[1].replace("&amp;", "&")


def test_the_tab_of_other_pages_opens_the_list_as_it_was(app: Flask, reader: Person) -> None:
    client = sign_in(app, reader)
    assert tab(client, "/upload") == "/worklist"
    client.get("/worklist?state=read&result=likely&side=left&after=3&other=1")
    for page in ("/upload", "/history", "/account"):
        assert tab(client, page) == "/worklist?result=likely&side=left&state=read"
        assert 'href="/worklist?result=likely' in client.get(page).text.split('data-jump="w"')[0]
    # From the list itself the tab clears them.
    assert tab(client, "/worklist?result=likely") == "/worklist"
    client.get("/worklist")
    assert tab(client, "/upload") == "/worklist"


def test_filters_are_a_persons_own_and_come_back_at_the_next_sign_in(
    app: Flask, reader: Person, technologist: Person
) -> None:
    client = sign_in(app, reader)
    assert client.get("/").location == "/worklist"
    client.get(f"/worklist?size=below_10&days=7&reader={'ab' * 16}&after=0_1.0_{'0' * 32}")
    kept = f"/worklist?size=below_10&reader={'ab' * 16}&days=7"
    for person, first in ((reader, kept), (technologist, "/worklist")):
        again = sign_in(app, person)
        assert again.get("/").location == first
        assert tab(again, "/upload") == first
    client.get("/worklist")  # as the button Clear does
    assert sign_in(app, reader).get("/").location == "/worklist"


def test_a_search_is_not_remembered(app: Flask, reader: Person) -> None:
    client = sign_in(app, reader)
    client.get("/worklist?side=right")
    form = {"q": "MRN-4711", "side": "right", "csrf_token": csrf_of(client)}
    found = client.post("/worklist/search", data=form)
    assert "q=~" in found.headers["Location"]
    client.get(found.headers["Location"])
    assert tab(client, "/upload") == "/worklist?side=right"
