"""A critical finding by keyboard alone, the strip of an open list, the sentence to be copied."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect
from sqlalchemy import select

from ml.preparation import phantom
from portal.models import CriticalFinding, Language, Role, RotaPlace, User
from tests.browser.conftest import Visitor, draw, intercept, wait_until
from tests.browser.world import review
from tests.support.portal_app import make_person

pytestmark = pytest.mark.browser

READY = "#review[data-ready=yes]"


def _open(visitor: Visitor, seed: int, name: str) -> Page:
    # A patient of its own: an earlier finding of the same one would make it no new one.
    study, _ = visitor.site.complete(draw(seed), patient_name=name, patient_id=f"CRITICAL-{seed}")
    page = visitor.open(f"/studies/{study}")
    page.wait_for_selector(READY)
    return page


def _open_findings(listed: Page) -> int:
    """How many the strip over a list counts."""
    strong = "document.querySelector('#critical strong')?.textContent ?? '0'"
    return int(listed.evaluate(f"Number.parseInt({strong}, 10)"))


def test_who_was_informed_is_recorded_by_keyboard_and_the_lists_follow(visitor: Visitor) -> None:
    page = _open(visitor, 61, "CRITICAL^ONE")
    listed = visitor.open("/worklist", visitor.site.second_reader())
    before = _open_findings(listed)  # other tests leave some, and the strip names the oldest
    expect(page.locator("#critical-box")).to_be_checked()
    expect(page.locator("#critical-panel")).to_be_hidden()
    page.keyboard.press("r")
    expect(page.locator("#critical-panel")).to_contain_text("nobody was informed yet")
    wait_until(listed, lambda: _open_findings(listed) == before + 1, seconds=20)
    page.keyboard.press("Shift+W")
    expect(page.locator("#critical-person")).to_be_focused()
    page.keyboard.type("Dr Grün, ward 7")
    page.keyboard.press("Tab")
    page.keyboard.type("by ph")
    page.keyboard.press("Tab")
    page.keyboard.type("read")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#critical-panel")).to_contain_text("Informed: Dr Grün, ward 7, by phone")
    expect(page.locator("#critical-panel")).to_contain_text(", read back")
    wait_until(listed, lambda: _open_findings(listed) == before, seconds=20)


def test_one_key_unmarks_it_before_the_verdict_and_after(visitor: Visitor) -> None:
    page = _open(visitor, 62, "CRITICAL^TWO")
    page.keyboard.press("!")
    expect(page.locator("#critical-box")).not_to_be_checked()
    page.keyboard.press("l")
    expect(page.locator("#review-status")).to_contain_text("Saved")
    expect(page.locator("#critical-panel")).to_be_hidden()
    page.keyboard.press("!")
    expect(page.locator("#critical-panel")).to_contain_text("Pneumothorax, left")
    page.keyboard.press("!")
    expect(page.locator("#critical-panel")).to_contain_text("not critical any more")
    page.reload()
    page.wait_for_selector(READY)
    expect(page.locator("#critical-box")).not_to_be_checked()


def test_the_key_acts_after_a_save_that_is_on_its_way(visitor: Visitor) -> None:
    page = _open(visitor, 64, "CRITICAL^SLOW")
    held: list[Route] = []
    intercept(page, "**/reviews", lambda route: held.append(route))
    expect(page.locator("#critical-box")).to_be_checked()
    page.keyboard.press("r")
    wait_until(page, lambda: bool(held))
    page.keyboard.press("!")
    expect(page.locator("#critical-box")).not_to_be_checked()
    held[0].continue_()
    expect(page.locator("#critical-panel")).to_contain_text("not critical any more")
    expect(page.locator("#critical-box")).not_to_be_checked()
    page.reload()
    page.wait_for_selector(READY)
    expect(page.locator("#critical-panel")).to_contain_text("not critical any more")


def test_the_key_says_why_it_does_nothing_while_the_case_is_signed(visitor: Visitor) -> None:
    page = _open(visitor, 65, "CRITICAL^SIGNED")
    page.keyboard.press("r")
    expect(page.locator("#review-status")).to_contain_text("Saved")
    held: list[Route] = []
    intercept(page, "**/signatures", lambda route: held.append(route))
    page.keyboard.press("Shift+S")
    wait_until(page, lambda: bool(held))
    page.keyboard.press("!")
    expect(page.locator("#review-status")).to_contain_text("The case is being signed")
    expect(page.locator("#critical-box")).to_be_checked()
    held[0].continue_()
    expect(page.locator("#sign-status")).to_contain_text("Signed")


def test_the_finding_is_copied_as_a_sentence_or_shown_where_that_is_not_allowed(
    visitor: Visitor,
) -> None:
    visitor.refusals_expected = True  # before there is a finding
    page = _open(visitor, 63, "CRITICAL^THREE")
    page.keyboard.press("Shift+C")
    expect(page.locator("#sentence [role=status]")).to_contain_text("State your finding first")
    page.keyboard.press("0")
    expect(page.locator("#review-status")).to_contain_text("Saved")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.keyboard.press("Shift+C")
    expect(page.locator("#sentence [role=status]")).to_contain_text("Copied: No pneumothorax is")
    assert page.evaluate("navigator.clipboard.readText()") == "No pneumothorax is seen."
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error()); }")
    page.click("#sentence button")
    shown = page.locator("#sentence textarea")
    expect(shown).to_be_focused()
    expect(shown).to_have_value("No pneumothorax is seen.")
    selected = "e => e.value.slice(e.selectionStart, e.selectionEnd)"
    assert shown.evaluate(selected) == "No pneumothorax is seen."


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "1 critical finding: you are asked"),
        ("de", "1 kritischer Befund: Sie sind gefragt"),
    ],
)
def test_who_reads_another_case_is_informed_of_what_they_are_asked_to_see_to(
    visitor: Visitor, language: str, text: str
) -> None:
    site = visitor.site
    mine, colleague = (
        make_person(site.app, Role.READER, team=f"Rota {language}", name=f"Pat {name}")
        for name in ("Asked", "Other")
    )
    team = site.team_of(mine)
    with site.core.sessions() as session:
        session.get_one(User, mine.id).language = Language(language)
        session.add(RotaPlace(team_id=team, user_id=mine.id, position=0))
        session.commit()
    here, there = (
        site.submit(phantom.dicom(draw(seed), patient_id=f"ROTA-{seed}"), mine) for seed in (66, 67)
    )
    site.render(there)
    page = visitor.open(f"/studies/{here}", mine)
    badge = page.locator(".case-bar #asked[role=status] a")
    page.wait_for_load_state("networkidle")
    expect(badge).to_have_count(0)
    review(site, colleague, there, "right")
    page.evaluate("document.dispatchEvent(new Event('session-back'))")  # asks now, as every 20 s
    expect(badge).to_have_text(text)
    expect(badge).to_have_attribute("href", f"/studies/{there}")
    other = visitor.open(f"/studies/{here}", colleague)
    expect(other.locator("#claim")).to_be_visible()  # its answer has come
    asked_first = other.locator("#asked a")
    expect(asked_first).to_have_count(1)  # who stated it is asked first
    with site.core.sessions() as session:
        row = session.scalars(
            select(CriticalFinding).where(CriticalFinding.study_id == there)
        ).one()
        row.acknowledged_by = colleague.id
        session.commit()
    page.evaluate("document.dispatchEvent(new Event('session-back'))")
    expect(badge).to_have_count(0)
