"""The proof of identity over a case by a passkey, with Chromium's own virtual authenticator."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import select, update

from portal.models import LoginSession, Role, Signature
from tests.browser.conftest import draw
from tests.browser.test_passkeys import passkey_room as passkey_room  # a fixture
from tests.support.browser_portal import BrowserPortal

pytestmark = pytest.mark.browser

_AUTHENTICATOR = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def test_a_case_is_signed_with_password_and_passkey(
    browser: Browser, passkey_room: BrowserPortal
) -> None:
    site = passkey_room
    study, _ = site.complete(draw(410), patient_name="PASSKEY^PROOF")
    reader = site.people[Role.READER]
    context = browser.new_context()
    page = context.new_page()
    driver = context.new_cdp_session(page)
    driver.send("WebAuthn.enable")
    driver.send("WebAuthn.addVirtualAuthenticator", {"options": _AUTHENTICATOR})
    context.add_cookies([site.cookie(Role.READER)])  # type: ignore[list-item]
    page.goto(f"{site.url}/account")
    page.get_by_label("Name of the new passkey").fill("Desk")
    page.get_by_role("button", name="Create a passkey").click()
    expect(page.get_by_text("The passkey Desk can be used now.")).to_be_visible()
    with site.core.sessions() as session:
        old = datetime.now(UTC) - timedelta(hours=2)
        mine = update(LoginSession).where(LoginSession.user_id == reader.id)
        session.execute(mine.values(step_up_at=old))
        session.commit()
    page.goto(f"{site.url}/studies/{study}")
    page.wait_for_selector("#review[data-ready=yes]")
    page.keyboard.press("a")
    expect(page.locator("#review-current")).to_have_text("Right · agreed")
    page.keyboard.press("Shift+S")
    page.locator("#proof [name=password]").fill(reader.password)
    page.locator("#proof").get_by_role("button", name="Use a passkey").click()
    expect(page.locator("#sign-status")).to_have_text("Signed.")
    with site.core.sessions() as session:
        assert session.scalars(select(Signature.proof)).one() == "password_passkey"
    context.close()
