"""The session in a page: a warning before its end, then hidden until one signs in in place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import update

from portal.models import LoginSession, Role
from tests.browser.conftest import Cases, Visitor, draw
from tests.browser.viewer.test_two_windows import items, rule
from tests.support.people import Person

pytestmark = pytest.mark.browser

NAME = "CANARY, ZEBRA"


def _change(visitor: Visitor, person: Person, **values: object) -> None:
    """Change all sessions of a person behind the portal's back."""
    with visitor.site.core.sessions() as session:
        mine = update(LoginSession).where(LoginSession.user_id == person.id)
        session.execute(mine.values(**values))
        session.commit()


def _quiet_for(visitor: Visitor, person: Person, **time: float) -> None:
    _change(visitor, person, last_seen=datetime.now(UTC) - timedelta(**time))


def _open(visitor: Visitor, person: Person, path: str) -> Page:
    """A page whose clock the test moves, opened by somebody whom no other test signs out."""
    page = visitor.open("/account", person)
    page.clock.install()
    page.goto(visitor.site.url + path)
    page.wait_for_load_state("load")
    return page


def _sign_in(page: Page, person: Person) -> None:
    dialog = page.locator("#session-ended")
    dialog.locator("[name=email]").fill(person.email)
    dialog.locator("[name=password]").fill(person.password)
    dialog.get_by_role("button", name="Sign in", exact=True).click()
    dialog.locator("[name=code]").fill(person.code(datetime.now(UTC)))
    dialog.get_by_role("button", name="Continue").click()


def test_work_in_the_viewer_counts_and_a_warning_comes_before_the_end(
    visitor: Visitor, cases: Cases
) -> None:
    reader = visitor.site.second_reader()
    page = _open(visitor, reader, f"/studies/{cases.likely}")
    page.wait_for_selector("#film[data-depth=full]")
    _quiet_for(visitor, reader, minutes=13, seconds=30)
    page.clock.run_for(70_000)  # the portal is asked once a minute
    warning = page.locator("#session-warning")
    expect(warning).to_contain_text("because nothing was done")
    page.mouse.move(500, 400)
    page.mouse.down()
    page.mouse.move(450, 450, steps=3)
    page.mouse.up()
    page.clock.run_for(6000)
    expect(warning).to_be_hidden()
    with visitor.site.core.sessions() as session:
        seen = session.query(LoginSession.last_seen).filter_by(user_id=reader.id).first()
    assert seen is not None
    assert datetime.now(UTC) - seen[0] < timedelta(minutes=1)


def test_an_ended_session_hides_the_page_and_gives_it_back_in_place(
    visitor: Visitor, cases: Cases
) -> None:
    visitor.refusals_expected = True
    reader = visitor.site.second_reader()
    page = _open(visitor, reader, f"/studies/{cases.likely}")
    page.wait_for_selector("#film[data-depth=full]")
    page.fill("#review-comment", "a line under the clavicle")
    expect(page.locator("h1").first).to_contain_text(NAME)
    _change(visitor, reader, ended_at=datetime.now(UTC))
    page.clock.run_for(70_000)
    dialog = page.locator("#session-ended")
    expect(dialog).to_be_visible()
    for part in (".case-bar", "#film", "#panel"):
        expect(page.locator(part)).to_be_hidden()
    assert NAME not in page.inner_text("body")
    assert NAME not in page.title()
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    # A wrong password: the focus is in its field, the page stays hidden.
    dialog.locator("[name=email]").fill(reader.email)
    dialog.locator("[name=password]").fill("not this one at all")
    dialog.get_by_role("button", name="Sign in", exact=True).click()
    expect(dialog.locator("[name=password]")).to_be_focused()
    expect(dialog).to_contain_text("is wrong")
    _sign_in(page, reader)
    expect(dialog).to_be_hidden()
    expect(page.locator("h1").first).to_contain_text(NAME)
    assert page.input_value("#review-comment") == "a line under the clavicle"
    with page.expect_response("**/session") as again:
        page.mouse.move(300, 300)
        page.clock.run_for(40_000)
    assert again.value.status == 200  # the new session's token is in use


def test_what_was_drawn_when_the_session_had_ended_is_stored_after_it(visitor: Visitor) -> None:
    visitor.refusals_expected = True
    reader = visitor.site.second_reader()
    study, _ = visitor.site.complete(draw(75), patient_name="DEAD^SESSION")
    page = _open(visitor, reader, f"/studies/{study}")
    page.wait_for_selector("#film[data-depth=full]")
    _change(visitor, reader, ended_at=datetime.now(UTC))
    rule(page, 400)
    page.clock.run_for(1000)
    expect(page.locator("#session-ended")).to_be_visible()
    with page.expect_response(lambda one: one.url.endswith("/annotations") and one.status == 204):
        _sign_in(page, reader)
    page.reload()
    page.wait_for_selector("#film[data-depth=full]")
    assert len(items(page)) == 1


def test_another_person_does_not_get_the_page(visitor: Visitor, cases: Cases) -> None:
    visitor.refusals_expected = True
    reader, other = visitor.site.second_reader(), visitor.site.second_reader()
    page = _open(visitor, reader, f"/studies/{cases.likely}")
    _change(visitor, reader, ended_at=datetime.now(UTC))
    page.clock.run_for(70_000)
    _sign_in(page, other)
    page.wait_for_url("**/worklist")


def test_after_a_wrong_password_or_code_the_focus_is_in_the_field(visitor: Visitor) -> None:
    visitor.refusals_expected = True
    reader = visitor.site.second_reader()
    page = visitor.open("/sign-in", None)
    page.fill("[name=email]", reader.email)
    page.fill("[name=password]", "not this one at all")
    page.keyboard.press("Enter")
    expect(page.locator("[name=password]")).to_be_focused()
    expect(page.locator("[name=password]")).to_have_attribute("aria-invalid", "true")
    assert page.input_value("[name=email]") == reader.email
    page.keyboard.type(reader.password)
    page.keyboard.press("Enter")
    page.wait_for_url("**/sign-in/code*")
    page.keyboard.type("000000")
    page.keyboard.press("Enter")
    expect(page.locator("[name=code][aria-invalid=true]")).to_be_focused()
    page = visitor.open("/confirm", Role.READER)
    page.fill("[name=password]", "not this one at all")
    page.fill("[name=code]", "000000")
    page.keyboard.press("Enter")
    expect(page.locator("[name=password][aria-invalid=true]")).to_be_focused()
