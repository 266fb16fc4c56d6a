"""A read over http at a host's name, where browsers leave out what they offer over https alone."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from portal.models import Role
from portal.reading import signing
from tests.browser.conftest import Visitor, draw
from tests.conftest import INTRANET

pytestmark = pytest.mark.browser


def test_an_outline_is_drawn_and_the_case_signed_without_https(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _ = visitor.site.complete(draw(451), patient_name="NO^HTTPS")
    port = urlsplit(visitor.site.url).port
    monkeypatch.setattr(visitor.site, "url", f"http://{INTRANET}:{port}")
    page = visitor.open(f"/studies/{study}", Role.READER)
    assert page.evaluate("() => [isSecureContext, crypto.randomUUID]") == [False, None]
    page.wait_for_selector("#review[data-ready=yes]")
    page.keyboard.press("e")
    page.wait_for_selector("#film[data-editing=yes]")
    page.keyboard.press("Enter")
    page.keyboard.press("e")
    expect(page.locator("#outline-panel")).to_contain_text("1 version")
    page.wait_for_selector("#review[data-ready=yes]")
    page.keyboard.press("a")
    expect(page.locator("#review-current")).to_have_text("Right · agreed")
    page.keyboard.press("Shift+S")
    expect(page.locator("#sign-status")).to_have_text("Signed.")
    page.locator("#addendum-more summary").click()
    page.locator("#addendum-text").fill("Seen again with the ward.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".addenda")).to_contain_text("Seen again with the ward.")
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+C")
    expect(page.locator("#sentence textarea")).to_have_value("Right pneumothorax.", timeout=30_000)
    # A header that needs https is ignored here, as the browser states for each page.
    visitor.problems[:] = [one for one in visitor.problems if "Opener-Policy" not in one]
    with visitor.site.core.sessions() as session:
        assert signing.state_of(session, study).state == "final"
