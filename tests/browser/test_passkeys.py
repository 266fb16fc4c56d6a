"""Passkeys in a real browser: Chromium's own virtual authenticator makes them and signs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import Browser, Page, expect

from portal.models import Passkey, Role, db
from tests.support.browser_portal import BrowserPortal, open_browser_portal


@pytest.fixture
def passkey_room(tmp_path: Path, redis_url: str) -> Iterator[BrowserPortal]:
    """A portal on localhost by name: browsers make no passkeys for bare addresses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://localhost:{listener.getsockname()[1]}"
        with open_browser_portal(
            tmp_path / "data", redis_url, listener, PLEURA_BASE_URL=url
        ) as site:
            site.url = url
            yield site


@pytest.fixture
def page(browser: Browser, passkey_room: BrowserPortal) -> Iterator[Page]:
    """A browser with a built-in authenticator that has its owner verified."""
    context = browser.new_context()
    opened = context.new_page()
    problems: list[str] = []
    opened.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    driver = context.new_cdp_session(opened)
    driver.send("WebAuthn.enable")
    driver.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasUserVerification": True,
                "isUserVerified": True,
                "automaticPresenceSimulation": True,
            }
        },
    )
    yield opened
    context.close()
    assert problems == []


def test_a_passkey_is_made_named_and_signs_in(page: Page, passkey_room: BrowserPortal) -> None:
    site = passkey_room
    reader = site.people[Role.READER]
    page.context.add_cookies([site.cookie(Role.READER)])  # type: ignore[list-item]
    page.goto(f"{site.url}/account")
    page.get_by_label("Name of the new passkey").fill("Desk in site 3")
    page.get_by_role("button", name="Create a passkey").click()
    expect(page.get_by_text("The passkey Desk in site 3 can be used now.")).to_be_visible()

    page.context.clear_cookies()
    page.goto(f"{site.url}/sign-in")
    page.get_by_label("E-mail address").fill(reader.email)
    page.get_by_label("Password", exact=True).fill(reader.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Enter the code")).to_be_visible()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Worklist")).to_be_visible()
    with site.app.app_context():
        row = db.session().query(Passkey).one()
        assert (row.user_id, row.sign_count) == (reader.id, 2)

    page.goto(f"{site.url}/account")
    expect(page.get_by_role("cell", name="Desk in site 3")).to_be_visible()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("The passkey no longer works.")).to_be_visible()
    with site.app.app_context():
        assert db.session().query(Passkey).count() == 0


def test_the_code_stays_when_the_passkey_is_not_at_hand(
    page: Page, passkey_room: BrowserPortal
) -> None:
    site = passkey_room
    reader = site.people[Role.READER]
    page.context.add_cookies([site.cookie(Role.READER)])  # type: ignore[list-item]
    page.goto(f"{site.url}/account")
    page.get_by_label("Name of the new passkey").fill("Lost")
    page.get_by_role("button", name="Create a passkey").click()
    expect(page.get_by_text("The passkey Lost can be used now.")).to_be_visible()

    with page.context.browser.new_context() as other:  # type: ignore[union-attr]
        elsewhere = other.new_page()
        elsewhere.goto(f"{site.url}/sign-in")
        elsewhere.get_by_label("E-mail address").fill(reader.email)
        elsewhere.get_by_label("Password", exact=True).fill(reader.password)
        elsewhere.get_by_role("button", name="Sign in").click()
        driver = other.new_cdp_session(elsewhere)
        driver.send("WebAuthn.enable")  # and no authenticator: nobody answers for the passkey
        elsewhere.get_by_label("Code").fill(reader.code(datetime.now(UTC)))
        elsewhere.get_by_role("button", name="Continue").click()
        expect(elsewhere.get_by_role("heading", name="Worklist")).to_be_visible()
