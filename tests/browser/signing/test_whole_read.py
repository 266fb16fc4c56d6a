"""A whole read by keyboard alone, the proof of identity over the case, and what has changed."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from sqlalchemy import select, update

from portal.models import LoginSession, Outline, Role, Signature, Study
from portal.reading import signing
from tests.browser.conftest import Visitor, draw

pytestmark = pytest.mark.browser

READY = "#review[data-ready=yes]"
MOST_KEYS = 9


def _open(visitor: Visitor, study: object) -> Page:
    page = visitor.open(f"/studies/{study}")
    page.wait_for_selector(READY)
    return page


def _signatures(visitor: Visitor, study: object) -> list[Signature]:
    with visitor.site.core.sessions() as session:
        query = select(Signature).where(Signature.study_id == study).order_by(Signature.created)
        return list(session.scalars(query))


def test_open_window_correct_sign_next_by_keyboard_alone(visitor: Visitor, tmp_path: Path) -> None:
    """Its pictures are kept in the folder of `--basetemp`; making them is not counted."""
    study, _ = visitor.site.complete(draw(401), patient_name="WHOLE^READ")
    page = visitor.open(f"/worklist?q={study.hex[:6]}")
    begun, keys, elsewhere = time.monotonic(), list[str](), 0.0

    def press(*names: str) -> None:
        for name in names:
            keys.append(name)
            page.keyboard.press(name)

    def photograph(name: str) -> None:
        nonlocal elsewhere
        start = time.monotonic()
        page.screenshot(path=tmp_path / f"{name}.png")
        elsewhere += time.monotonic() - start

    press("j", "Enter")
    page.wait_for_url(f"**/studies/{study}?**")
    page.wait_for_selector(READY)
    photograph("1-opened")
    press("2")
    photograph("2-window")
    press("e")
    page.wait_for_selector("#film[data-editing=yes]")
    photograph("3-editor")
    press("Enter", "e")
    expect(page.locator("#outline-panel")).to_contain_text("1 version")
    page.wait_for_selector(READY)
    photograph("4-corrected")
    press("Shift+Y")
    page.wait_for_url(re.compile("/worklist|/studies/(?!" + str(study) + ")"))
    seconds = time.monotonic() - begun - elsewhere
    photograph("5-next")
    print(f"a whole read: {len(keys)} keys, {seconds:.1f} s")
    assert len(keys) <= MOST_KEYS
    (signature,) = _signatures(visitor, study)
    with visitor.site.core.sessions() as session:
        found = signing.state_of(session, study)
        outline = session.scalars(
            select(Outline.id).order_by(Outline.created.desc()).limit(1)
        ).one()
        assert session.get_one(Study, study).is_read
    assert (found.state, found.finding) == ("final", "right")
    assert f"outlines/{outline.hex}" in signature.hashes
    assert signature.view is not None
    view = signature.view["pictures"][0]
    assert view["place"]["fitted"]
    assert view["window"]["width"] > 0
    page.goto(f"{visitor.site.url}/studies/{study}")
    expect(page.locator("#verdict-state")).to_contain_text("Final")


def test_the_case_asks_for_a_proof_and_goes_on_with_what_was_written(visitor: Visitor) -> None:
    visitor.refusals_expected = True
    study, _ = visitor.site.complete(draw(402), patient_name="PROOF^NEEDED")
    page, person = _open(visitor, study), visitor.site.people[Role.READER]
    with visitor.site.core.sessions() as session:
        before = datetime.now(UTC) - timedelta(hours=2)
        mine = update(LoginSession).where(LoginSession.user_id == person.id)
        session.execute(mine.values(step_up_at=before))
        session.commit()
    page.keyboard.press("l")
    expect(page.locator("#review-current")).to_have_text("Left · disagreed")
    page.keyboard.press("c")
    page.keyboard.type("a small one")
    page.keyboard.press("Escape")
    page.keyboard.press("Shift+S")
    dialog = page.locator("#proof")
    expect(dialog).to_be_visible()
    assert Axe().run(page).response["violations"] == []
    page.keyboard.press("Escape")
    expect(page.locator("#sign-status")).to_contain_text("not confirmed")
    expect(page.locator("#review-comment")).to_have_value("a small one")
    assert _signatures(visitor, study) == []
    page.keyboard.press("Shift+S")
    expect(page.locator("#proof [name=password]")).to_be_focused()
    page.keyboard.type("not this one")
    page.keyboard.press("Tab")
    page.locator("#proof [name=code]").fill("000000")
    page.keyboard.press("Enter")
    expect(page.locator("#proof-error")).to_contain_text("wrong")
    page.locator("#proof [name=password]").fill(person.password)
    page.locator("#proof [name=code]").fill(person.code(datetime.now(UTC)))
    page.keyboard.press("Enter")
    expect(page.locator("#sign-status")).to_have_text("Signed.")
    expect(dialog).to_be_hidden()
    expect(page.locator("#review-comment")).to_have_value("")
    expect(page.locator("#verdict-state")).to_contain_text("Final")
    (signature,) = _signatures(visitor, study)
    assert signature.proof == "password_code"
    assert "a small one" in (page.text_content("#review-history") or "")


def test_what_a_colleague_saved_meanwhile_is_named_and_nothing_written_is_lost(
    visitor: Visitor,
) -> None:
    visitor.refusals_expected = True
    study, _ = visitor.site.complete(draw(403), patient_name="TWO^READERS")
    first, second = _open(visitor, study), _open(visitor, study)
    second.keyboard.press("0")
    expect(second.locator("#review-current")).to_have_text("None · disagreed")
    first.keyboard.press("c")
    first.keyboard.type("mine")
    first.keyboard.press("Escape")
    first.keyboard.press("Shift+Y")
    expect(first.locator("#sign-status")).to_contain_text(
        "another version of the reading was saved"
    )
    expect(first.locator("#review-comment")).to_have_value("mine")
    assert _signatures(visitor, study) == []
    first.keyboard.press("r")
    expect(first.locator("#review-current")).to_have_text("Right · agreed")
    first.keyboard.press("Shift+S")
    expect(first.locator("#sign-status")).to_have_text("Signed.")
    assert len(_signatures(visitor, study)) == 1


def test_an_addendum_stands_below_what_was_signed(visitor: Visitor) -> None:
    study, _ = visitor.site.complete(draw(404), patient_name="ADDED^LATER")
    page = _open(visitor, study)
    expect(page.locator("#addendum-more")).to_be_hidden()
    page.keyboard.press("a")
    page.keyboard.press("Shift+S")
    expect(page.locator("#sign-status")).to_have_text("Signed.")
    page.locator("#addendum-more summary").click()
    page.locator("#addendum-text").fill("Seen again with the ward.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".addenda")).to_contain_text("Seen again with the ward.")
    expect(page.locator("#addendum-text")).to_have_value("")
    expect(page.locator("#verdict-state")).to_contain_text("Final")


_ON_TOP = """element => {
    const box = element.getBoundingClientRect();
    const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
    return element.contains(top);
}"""


def test_what_is_typed_and_stated_is_not_below_the_verdict(visitor: Visitor) -> None:
    """The verdict stays in sight at the end of the panel; what a key leads to lies above it."""
    study, _ = visitor.site.complete(draw(407), patient_name="LOW^WINDOW")
    page = visitor.open(f"/studies/{study}", size=(1280, 720))
    page.wait_for_selector(READY)
    expect(page.locator("#verdict-state")).to_contain_text("AI only")
    page.keyboard.press("l")
    expect(page.locator("#review-current")).to_have_text("Left · disagreed")
    expect(page.locator("#verdict-state")).to_contain_text("Preliminary Rita Reader")
    for key, field in (("c", "#review-comment"), ("d", "#review-size")):
        page.keyboard.press(key)
        expect(page.locator(field)).to_be_focused()
        assert page.locator(field).evaluate(_ON_TOP), field
        page.keyboard.press("Escape")
    page.keyboard.press("Shift+C")
    status = page.locator("#sentence [role=status]")
    expect(status).not_to_be_empty()
    assert status.evaluate(_ON_TOP)


_STATE = """async () => {
    const script = document.querySelector("script[type=module][src*=case]").src;
    return (await import(script)).viewerOfPage().state();
}"""


def test_what_was_seen_is_drawn_again(visitor: Visitor) -> None:
    study, _ = visitor.site.complete(draw(405), patient_name="SEEN^AGAIN")
    page = _open(visitor, study)
    for key in ("2", "i", "+", "+", "ArrowLeft", ">", "]", "]", "k", "a"):
        page.keyboard.press(key)
    expect(page.locator("#review-current")).to_have_text("Right · agreed")
    then = page.evaluate(_STATE)
    page.keyboard.press("Shift+S")
    expect(page.locator("#sign-status")).to_have_text("Signed.")
    page.keyboard.press("v")
    page.locator("#signed summary").click()
    page.get_by_role("link", name="What was seen").click()
    page.wait_for_selector("#film[data-depth=full][data-overlay=ready]")
    expect(page.locator("#panel")).to_contain_text("As signed")
    again = page.evaluate(_STATE)
    for part in ("picture", "window", "overlay", "threshold"):
        assert again[part] == then[part], part
    for name, value in then["place"].items():
        assert again["place"][name] == pytest.approx(value, rel=0.02, abs=2), name
    assert page.locator("#review").count() == 0


def test_after_a_signature_the_page_goes_on_as_it_was(visitor: Visitor) -> None:
    """What is fetched again then leaves the slider and its place alone."""
    study, _ = visitor.site.complete(draw(406), patient_name="GOES^ON")
    page = _open(visitor, study)
    page.wait_for_selector("#film[data-overlay=ready]")
    for key in ("]", "]", "a"):
        page.keyboard.press(key)
    expect(page.locator("#review-current")).to_have_text("Right · agreed")
    place = page.locator(".operating").get_attribute("style")
    before = page.evaluate(_STATE)["threshold"]
    page.keyboard.press("Shift+S")
    expect(page.locator("#sign-status")).to_have_text("Signed.")
    assert page.locator(".operating").get_attribute("style") == place != ""
    page.keyboard.press("]")
    expect(page.locator("[data-threshold=value]")).to_have_text(f"{before + 0.01:.2f}")
    assert page.evaluate("document.scrollingElement.scrollHeight <= innerHeight")
