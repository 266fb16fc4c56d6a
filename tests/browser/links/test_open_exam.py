"""A link into an exam, followed from a page of another site as a RIS has it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import re
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Request, expect
from pydicom import dcmread

from ml.preparation import phantom
from portal.accounts.sessions import actor_of
from portal.models import Role, User
from portal.teams import exam_links
from tests.browser.conftest import Visitor, draw

pytestmark = pytest.mark.browser

ACCESSION = "CANARY-4711"
RIS = "http://ris.example/"


def numbered(data: bytes) -> bytes:
    """The picture with the accession number."""
    header, changed = dcmread(io.BytesIO(data)), io.BytesIO()
    header.AccessionNumber = ACCESSION
    header.save_as(changed)
    return changed.getvalue()


def link(visitor: Visitor) -> str:
    """A link of a RIS of the readers' team."""
    site = visitor.site
    with site.core.sessions() as session:
        team = session.get_one(User, site.people[Role.READER].id).team_id
        admin = actor_of(session.get_one(User, site.people[Role.ADMIN].id))
        now = datetime.now(UTC)
        key = exam_links.make_key(session, site.core.vault, admin, team, now)
    key_id, secret = key.split(".")
    number = base64.urlsafe_b64encode(ACCESSION.encode()).decode().rstrip("=")
    message = f"1.{key_id}.{int(time.time()) + 300}.{number}"
    signature = hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()
    return f"{message}.{signature}"


def test_a_link_from_another_site_opens_the_exam_and_leaves_no_trace(visitor: Visitor) -> None:
    site = visitor.site
    study = site.submit(numbered(phantom.dicom(draw(61))))
    held = link(visitor)
    page = visitor.open("/account")
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    markup = f'<a id="open" href="{site.url}/open#{held}">Open in Pleura</a>'
    page.route(RIS, lambda route: route.fulfill(body=markup, content_type="text/html"))
    page.goto(RIS)
    page.click("#open")
    page.wait_for_url(re.compile(rf"/studies/{study}"))
    expect(page.locator("#film")).to_be_visible()
    number = held.split(".")[3]
    for request in asked:
        sent = urlsplit(request.url)
        if sent.netloc == urlsplit(site.url).netloc:
            told = f"{sent.path}?{sent.query} {request.headers.get('referer', '')}"
            assert number not in told
            assert ACCESSION not in told
    page.go_back()
    assert page.url == RIS


def test_who_is_not_signed_in_comes_to_the_exam_by_the_sign_in(visitor: Visitor) -> None:
    held = link(visitor)
    page = visitor.open(f"/open#{held}", None)
    page.wait_for_url(re.compile(r"/sign-in\?next="))
    assert held not in page.url


def test_an_address_without_a_link_states_what_is_missing(visitor: Visitor) -> None:
    page = visitor.open("/open", None)
    expect(page.locator("#opening")).to_have_count(0)
    expect(page.locator("#no-link")).to_contain_text("Open the exam from there again.")
