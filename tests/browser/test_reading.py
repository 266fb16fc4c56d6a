"""Reading: findings by key, windows that meet, and the way through the list."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from ml.preparation import phantom
from tests.browser.conftest import Cases, Visitor, draw, intercept, wait_until

pytestmark = pytest.mark.browser

READY = "#review[data-ready=yes]"
# In one go: G is forgotten after 900 ms.
_TYPE = """keys => {
    for (const key of keys) {
        document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    }
}"""


def _open(visitor: Visitor, study: object, place: str = "") -> Page:
    """The case page once a finding can be stated."""
    page = visitor.open(f"/studies/{study}{place}")
    page.wait_for_selector(READY)
    return page


def _versions(page: Page) -> int:
    return page.locator("#review-history li").count()


def test_from_worklist_to_saved_review_by_keyboard_alone(visitor: Visitor) -> None:
    study, _ = visitor.site.complete(draw(21), patient_name="KEYBOARD^ONLY")
    page = visitor.open(f"/worklist?q={study.hex[:6]}")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/studies/{study}?**")
    page.wait_for_selector(READY)
    page.keyboard.press("0")
    expect(page.locator("#review-current")).to_have_text("None · disagreed")
    reasons = page.locator("#review-reasons summary")
    expect(reasons).to_have_text("False alarm")
    page.keyboard.press("d")  # no size without a pneumothorax
    expect(page.get_by_role("checkbox", name="False alarm")).to_be_focused()
    for key in ("Space", "Tab", "Space", "Tab", "Space", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("#review-history [data-count]")).to_have_text("2 versions")
    expect(reasons).to_have_text("Skin fold or line taken for pleura; Chest drain")
    page.reload()
    page.wait_for_selector(READY)
    expect(reasons).to_have_text("Skin fold or line taken for pleura; Chest drain")
    page.keyboard.press("c")
    page.keyboard.type("a fold, <b>not</b> pleura")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#review-history [data-count]")).to_have_text("3 versions")
    newest = page.locator("#review-history li").first
    assert "pleura; Chest drain" in (newest.text_content() or "")  # the comment keeps the reasons
    page.keyboard.press("a")
    expect(page.locator("#review-current")).to_have_text("Right · agreed")
    page.keyboard.press("d")
    expect(page.locator("#review-size")).to_be_focused()
    page.keyboard.type("10")
    page.keyboard.press("Enter")
    expect(page.locator("#review-history [data-count]")).to_have_text("5 versions")
    page.reload()
    expect(page.locator("#review-current")).to_have_text("Right · agreed")
    assert page.locator("#review-size").input_value() == "10_to_30"
    history = page.text_content("#review-history") or ""
    assert "a fold, <b>not</b> pleura" in history
    assert "10–30 %" in history


def test_reasons_fit_the_case(visitor: Visitor, cases: Cases) -> None:
    """Nothing was missed beside a positive, and nothing is a false alarm where none was found."""
    offered = "#review-reasons label:not([hidden])"

    def texts(study: object) -> str:
        return " ".join(_open(visitor, study).locator(offered).all_text_contents())

    assert "Missed" not in texts(cases.likely)
    assert "False alarm" in texts(cases.likely)
    assert "False alarm" not in texts(cases.none_found)
    page = _open(visitor, cases.lateral)
    assert page.locator("[data-act=agree]").count() == 0
    expect(page.locator("#agree-row")).to_contain_text("No AI result: read unaided")
    page.keyboard.press("a")
    expect(page.locator("#review-status")).to_contain_text("No AI result")
    assert _versions(page) == 0


def test_the_next_case_waits_until_the_review_is_saved(visitor: Visitor) -> None:
    study, _ = visitor.site.complete(draw(22), patient_name="HURRIED^READER")
    page = _open(visitor, study)
    page.keyboard.press("c")
    page.keyboard.type("first thoughts")
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    expect(page.locator("#review-status")).to_contain_text("Not saved yet")
    page.keyboard.press("u")
    page.keyboard.press("n")
    page.wait_for_url(lambda url: not url.endswith(str(study)))
    page.goto(f"{visitor.site.url}/studies/{study}")
    expect(page.locator("#review-current")).to_have_text("Unsure")
    assert "first thoughts" in (page.text_content("#review-history") or "")


def test_g_swallows_no_key_of_the_case(visitor: Visitor) -> None:
    """G shows the region; then U, H and W are a finding, the heat map and window and level."""
    study, _ = visitor.site.complete(draw(23), patient_name="EARLY^READER")
    page = _open(visitor, study)
    page.keyboard.press("t")
    page.evaluate(_TYPE, ["g", "u", "g", "h", "g", "w"])
    expect(page.locator("#review-current")).to_have_text("Unsure")
    expect(page.locator("#film-legend")).to_be_visible()
    expect(page.locator("[data-action=tool-window]")).to_have_attribute("aria-pressed", "true")
    assert page.url.endswith(str(study))
    page.keyboard.press("?")
    assert page.locator("#keys [data-jump]").count() == 0
    page.keyboard.press("Escape")
    page.keyboard.press("q")
    page.wait_for_url("**/worklist")


def test_a_size_does_not_go_with_another_finding(visitor: Visitor) -> None:
    study, _ = visitor.site.complete(draw(27), patient_name="OTHER^SIDE")
    page = _open(visitor, study)
    current, size = page.locator("#review-current"), page.locator("#review-size")
    size.select_option("above_30")  # chosen before the finding: it is of this one
    page.keyboard.press("Escape")
    page.keyboard.press("r")
    expect(current).to_have_text("Right · agreed")
    expect(size).to_have_value("above_30")
    page.keyboard.press("l")
    expect(current).to_have_text("Left · disagreed")
    expect(size).to_have_value("")
    page.reload()
    expect(size).to_have_value("")
    history = page.locator("#review-history li")
    assert ["30 %" in text for text in history.all_text_contents()] == [False, True]


def test_two_quick_findings_are_both_saved_in_order(visitor: Visitor) -> None:
    study, _ = visitor.site.complete(draw(24), patient_name="QUICK^READER")
    page = _open(visitor, study)
    page.keyboard.press("a")
    page.keyboard.press("u")
    expect(page.locator("#review-current")).to_have_text("Unsure")
    expect(page.locator("[data-count]")).to_have_text("2 versions")
    page.evaluate(
        """() => { for (let i = 0; i < 20; i += 1) document.body.dispatchEvent(
            new KeyboardEvent("keydown", { key: "a", repeat: true, bubbles: true })); }"""
    )
    answered: list[str] = []
    page.on("response", lambda answer: answered.append(urlsplit(answer.url).path))
    page.dblclick("[data-act=finding][value=left]")
    page.keyboard.press("l")
    saves = f"{urlsplit(page.url).path.rstrip('/')}/reviews"
    wait_until(page, lambda: answered.count(saves) == 3)
    expect(page.locator("#review-status")).to_have_text("Left · disagreed. Saved.")
    page.reload()
    expect(page.locator("[data-count]")).to_have_text("3 versions")


def test_text_typed_during_a_save_stays(visitor: Visitor) -> None:
    study, _ = visitor.site.complete(draw(25), patient_name="TYPING^READER")
    page = _open(visitor, study)
    intercept(page, "**/reviews", lambda route: (page.wait_for_timeout(400), route.continue_()))
    page.keyboard.press("a")
    page.keyboard.press("c")
    page.keyboard.type("under the clavicle")
    expect(page.locator("#review-current")).to_have_text("Right · agreed")
    assert page.input_value("#review-comment") == "under the clavicle"
    expect(page.locator("#review-comment")).to_be_focused()
    assert page.url.endswith(str(study))


def test_the_second_window_learns_of_the_first_and_loses_nothing(visitor: Visitor) -> None:
    visitor.refusals_expected = True
    study, _ = visitor.site.complete(draw(26), patient_name="SHARED^CASE")
    first = _open(visitor, study)
    mine, theirs = (
        _open(visitor, study),
        visitor.open(f"/studies/{study}", visitor.site.second_reader()),
    )
    first.keyboard.press("a")
    expect(first.locator("#review-current")).to_have_text("Right · agreed")
    mine.keyboard.press("a")  # the same in another window: one version
    expect(mine.locator("#review-status")).to_contain_text("saved before, in another window")
    expect(mine.locator("[data-count]")).to_have_text("1 version")
    theirs.wait_for_selector(READY)
    theirs.keyboard.press("c")
    theirs.keyboard.type("a skin fold")
    theirs.keyboard.press("Escape")
    theirs.keyboard.press("0")
    expect(theirs.locator("#review-status")).to_contain_text("Another version was saved")
    assert theirs.input_value("#review-comment") == "a skin fold"
    expect(theirs.locator("#review-current")).to_have_text("Right · agreed by Rita Reader")
    assert theirs.locator("[data-act=finding][aria-pressed=true]").count() == 0
    theirs.keyboard.press("0")
    expect(theirs.locator("#review-current")).to_have_text("None · disagreed")
    expect(theirs.locator("[data-count]")).to_have_text("2 versions")
    assert "a skin fold" in (theirs.text_content("#review-history") or "")
    # What the conflict has replaced in the page leaves the slider and its numbers as they were.
    theirs.keyboard.press("]")
    name = theirs.locator("[data-threshold=name]")
    expect(name).to_have_text("your threshold")
    expect(theirs.locator("[data-measure=size]")).to_contain_text("at 0.45")
    theirs.keyboard.press("\\")
    expect(name).to_have_text("the model’s")
    assert theirs.locator(".slider .operating").evaluate("e => e.style.left") != ""


def test_no_finding_before_the_outline_is_drawn(visitor: Visitor, cases: Cases) -> None:
    study, _ = visitor.site.complete(draw(28), patient_name="WAITING^READER")
    page = visitor.open("/worklist")
    held: list[Route] = []
    sent: list[str] = []
    page.on("request", lambda sending: sent.append(f"{sending.method} {sending.url}"))
    page.route("**/blobs/probability", lambda route: held.append(route))
    page.goto(f"{visitor.site.url}/studies/{study}")
    page.wait_for_selector("#film[data-depth=full]")
    wait_until(page, lambda: len(held) > 0)
    for key in ("a", "y", "r", "0"):
        page.keyboard.press(key)
    page.click("[data-act=finding][value=left]", force=True)
    expect(page.locator("#review-status")).to_have_text("The AI outline is being drawn.")
    held.pop().continue_()
    page.wait_for_selector(READY)
    expect(page.locator("#review-status")).to_have_text("")
    reviews = f"POST {visitor.site.url}/studies/{study}/reviews"
    assert reviews not in sent
    page.keyboard.press("a")
    expect(page.locator("#review-current")).to_have_text("Right · agreed")
    assert reviews in sent


def test_two_readers_of_one_case_see_each_other(visitor: Visitor) -> None:
    site = visitor.site
    study, _ = site.complete(draw(91), patient_name="READ^TWICE")
    second = site.second_reader()
    first_page = visitor.open(f"/studies/{study}")
    first_page.wait_for_selector(READY)
    listed = visitor.open("/worklist", second)
    row = listed.locator(f"#case-{study}")
    expect(row).to_contain_text("being read")
    expect(row).to_contain_text("Rita Reader")
    page = visitor.open(f"/studies/{study}", second)
    expect(page.locator("#claim")).to_contain_text("being read by Rita Reader")
    page.wait_for_selector(READY)
    page.keyboard.press("a")  # and reads on
    expect(page.locator("#review-current")).to_have_text("Right · agreed")
    first_page.goto(f"{site.url}/history")  # leaves it
    expect(row).not_to_contain_text("being read")


def test_no_finding_on_a_picture_that_was_not_loaded(visitor: Visitor) -> None:
    visitor.refusals_expected = True
    study, _ = visitor.site.complete(draw(29), patient_name="PREVIEW^ONLY")
    page = visitor.open("/worklist")
    for file in ("pixels", "probability"):
        page.route(f"**/blobs/{file}", lambda route: route.fulfill(status=503))
    page.goto(f"{visitor.site.url}/studies/{study}")
    expect(page.locator("#film-trouble [data-cause=pixels]")).to_be_visible()
    page.keyboard.press("u")
    expect(page.locator("#review-status")).to_contain_text("has not been loaded, so no finding")
    page.unroute("**/blobs/pixels")
    page.click("[data-cause=pixels] button")
    page.wait_for_selector("#film[data-depth=full]")
    page.keyboard.press("u")
    expect(page.locator("#review-status")).to_contain_text("read without it")
    assert _versions(page) == 0
    page.get_by_role("button", name="Read without it").click()
    page.keyboard.press("u")
    expect(page.locator("#review-current")).to_have_text("Unsure")


def test_through_a_filtered_list_with_one_key_a_case_to_all_read(visitor: Visitor) -> None:
    site = visitor.site
    drawn = [draw(seed, "left") for seed in (71, 72)]
    first, second = (
        site.complete(one, patient_name=f"LEFT^{number}")[0] for number, one in enumerate(drawn)
    )
    later = site.submit(phantom.dicom(draw(73), patient_name="NOT^LEFT"))
    page = visitor.open("/worklist?side=left")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/studies/{first}?side=left")  # the oldest first
    for study in (first, second):
        page.wait_for_url(f"**/studies/{study}?side=left")
        page.wait_for_selector(READY)
        page.keyboard.press("y")
    page.wait_for_url("**/worklist?side=left")
    expect(page.locator(".empty h2")).to_have_text("All read")
    page.goto(f"{site.url}/worklist")
    expect(page.locator(f"#case-{first}")).to_have_count(0)
    expect(page.locator(f"#case-{later}")).to_have_count(1)
    page.goto(f"{site.url}/worklist?side=left&state=all")
    expect(page.locator(f"#case-{first} .verdict")).to_have_text(re.compile("left · agreed"))
