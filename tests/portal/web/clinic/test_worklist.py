"""The way back to the worklist keeps the filters that were set last."""

import re

from flask import Flask
from flask.testing import FlaskClient

from tests.support.people import Person
from tests.support.portal_app import csrf_of, sign_in


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
    client.get("/worklist?state=read&result=likely&side=left&page=3&other=1")
    for page in ("/upload", "/history", "/account"):
        assert tab(client, page) == "/worklist?result=likely&side=left&state=read"
        assert 'href="/worklist?result=likely' in client.get(page).text.split('data-jump="w"')[0]
    # From the list itself the tab clears them.
    assert tab(client, "/worklist?result=likely") == "/worklist"
    client.get("/worklist")
    assert tab(client, "/upload") == "/worklist"


def test_a_search_is_not_remembered_nor_what_another_session_filters(
    app: Flask, reader: Person
) -> None:
    client, other = sign_in(app, reader), sign_in(app, reader)
    client.get("/worklist?side=right")
    form = {"q": "MRN-4711", "side": "right", "csrf_token": csrf_of(client)}
    found = client.post("/worklist/search", data=form)
    assert "q=~" in found.headers["Location"]
    client.get(found.headers["Location"])
    assert tab(client, "/upload") == "/worklist?side=right"
    assert tab(other, "/upload") == "/worklist"
