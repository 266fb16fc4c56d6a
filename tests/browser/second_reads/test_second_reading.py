"""A second read by keyboard: from the list, blind, until the own finding shows the other one."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from playwright.sync_api import expect

from portal.accounts import sessions
from portal.models import User
from portal.reading import reviews
from portal.reading.second_reads import requests
from tests.browser.conftest import Visitor, draw
from tests.support.people import Person

pytestmark = pytest.mark.browser

READY = "#review[data-ready=yes]"


def asked(visitor: Visitor, first: Person, seed: int) -> UUID:
    """A case that a reader has read, and for which they ask for a second one."""
    study, _ = visitor.site.complete(draw(seed), patient_name=f"SECOND^READ {seed}")
    with visitor.site.core.sessions() as session:
        actor = sessions.actor_of(session.get_one(User, first.id))
        given = {"finding": "right", "comment": "At the apex.", "now": datetime.now(UTC)}
        reviews.add_review(session, visitor.site.core.vault, actor, study, **given)  # type: ignore[arg-type]
        requests.ask(session, actor, study, datetime.now(UTC))
    return study


def test_a_second_reader_goes_from_case_to_case_by_keyboard(visitor: Visitor) -> None:
    first = visitor.site.second_reader()
    one, other = asked(visitor, first, 501), asked(visitor, first, 502)
    page = visitor.open("/second-reads")
    expect(page.locator("#second")).to_contain_text("2")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/studies/{one}?**")
    page.wait_for_selector(READY)
    panel = page.locator("#second-read")
    expect(panel).to_contain_text("waits for a second reader")
    expect(page.locator("#panel")).not_to_contain_text("apex")
    expect(page.locator("#case-result")).to_contain_text("not shown")
    page.keyboard.press("0")
    expect(panel).to_contain_text("differ: a third reader decides")
    expect(panel).to_contain_text("At the apex.")
    expect(page.locator("#case-result")).to_contain_text("likely")
    page.wait_for_selector(READY)
    page.keyboard.press("n")
    page.wait_for_url(f"**/studies/{other}?**")
    page.wait_for_selector(READY)
    page.keyboard.press("r")
    expect(page.locator("#second-read")).to_contain_text("Two readers agree: right")
    page.wait_for_selector(READY)
    page.keyboard.press("n")
    page.wait_for_url("**/second-reads")
    expect(page.locator("main")).to_contain_text("No case waits for you")


def test_a_reader_asks_for_a_second_one_by_its_key(visitor: Visitor) -> None:
    study, _ = visitor.site.complete(draw(503), patient_name="ASKED^FOR")
    page = visitor.open(f"/studies/{study}")
    page.wait_for_selector(READY)
    expect(page.locator("#ask-second")).to_be_hidden()
    page.keyboard.press("r")
    expect(page.locator("#review-status")).to_contain_text("Saved")
    page.keyboard.press("Shift+Q")
    expect(page.locator(".flashes")).to_contain_text("goes to a second reader")
    expect(page.locator("#second-read")).to_contain_text("waits for a second reader")
