"""Two pictures side by side, what is drawn on them, and the check of the screen, in a browser."""

from __future__ import annotations

import gzip
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import select

from portal.models import Role, Signature
from tests.browser.conftest import TWO_FRAMES, Visitor, draw, wait_until
from tests.support.browser_portal import BrowserPortal

pytestmark = pytest.mark.browser

_STATE = """async () => {
    const page = await import(document.querySelector("script[type=module][src*=case]").src);
    return page.viewerOfPage().state();
}"""
_RESTORE = """async (state) => {
    const page = await import(document.querySelector("script[type=module][src*=case]").src);
    page.viewerOfPage().restore(state);
}"""
_STATE_OF_ARROWS = """async () => {
    const page = await import(document.querySelector("script[type=module][src*=case]").src);
    return page.viewerOfPage().annotations.items.map(({ text }) => text);
}"""
_AMBER = """(selector) => {
    const canvas = document.querySelector(selector);
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3] > 40 && data[i] > data[i + 2] + 60 && data[i] > data[i + 1]) count += 1;
    }
    return count;
}"""
_TEAL = _AMBER.replace(
    "data[i] > data[i + 2] + 60 && data[i] > data[i + 1]", "data[i + 1] > data[i] + 40"
)


@pytest.fixture(scope="module")
def exams(site: BrowserPortal) -> list[UUID]:
    """Three exams of one patient, the oldest first."""
    return [
        site.complete(draw(seed), patient_name="BESIDE^PRIOR", patient_id="BESIDE", study_date=day)[
            0
        ]
        for seed, day in ((81, "20230301"), (82, "20240310"), (83, "20250312"))
    ]


def _open(visitor: Visitor, study: object, **options: Any) -> Page:
    page = visitor.open(f"/studies/{study}", **options)
    page.wait_for_selector("#film[data-depth=full][data-overlay=ready]")
    page.evaluate(TWO_FRAMES)
    return page


def _two(visitor: Visitor, study: object, **options: Any) -> Page:
    page = _open(visitor, study, **options)
    page.wait_for_selector("#film-beside[data-depth=full]")
    return page


def test_the_latest_prior_hangs_beside_and_cannot_be_mistaken(
    visitor: Visitor, exams: list[UUID]
) -> None:
    page = _two(visitor, exams[2])
    beside = page.locator("#film-beside")
    expect(beside.locator(".beside-label")).to_contain_text("Prior")
    expect(beside.locator(".beside-label")).to_contain_text("1 year before")
    expect(beside.locator(".beside-label")).to_contain_text("2024-03-10")
    expect(page.locator(".pane-label")).to_contain_text("Current")
    style = beside.evaluate("one => getComputedStyle(one).borderLeftStyle")
    assert style == "dashed"
    left, right = page.locator("#film").bounding_box(), beside.bounding_box()
    assert left
    assert right
    assert abs(left["width"] - right["width"]) < 4
    # Its own overlay is not before the eye until its key is pressed there.
    assert page.evaluate(_TEAL, "#film .film-layer") > 0
    assert page.evaluate(_TEAL, "#film-beside .film-layer") == 0
    page.keyboard.press("Shift+X")
    page.keyboard.press("o")
    wait_until(page, lambda: page.evaluate(_TEAL, "#film-beside .film-layer") > 0)


def test_another_exam_can_be_chosen_and_the_choice_is_remembered(
    visitor: Visitor, exams: list[UUID]
) -> None:
    page = _two(visitor, exams[2])
    page.keyboard.press("Shift+G")
    expect(page.locator(".beside-label")).to_contain_text("2 years before")
    page.keyboard.press("Shift+V")
    expect(page.locator("#film-beside")).to_have_count(0)
    page.wait_for_timeout(800)  # remembered a moment later
    again = _open(visitor, exams[2])
    again.wait_for_timeout(500)
    expect(again.locator("#film-beside")).to_have_count(0)
    again.keyboard.press("Shift+V")
    expect(again.locator(".beside-label")).to_contain_text("1 year before")


def test_keys_act_on_the_active_pane_and_links_take_the_other_along(
    visitor: Visitor, exams: list[UUID]
) -> None:
    page = _two(visitor, exams[2])
    one, other = (page.locator(f"{film} [data-out=zoom]") for film in ("#film", "#film-beside"))
    grey, old = (page.locator(f"{film} [data-out=window]") for film in ("#film", "#film-beside"))
    fitted = one.inner_text(), other.inner_text()
    first = old.inner_text()
    page.keyboard.press("+")  # zoom is linked, the window is not
    expect(one).not_to_have_text(fitted[0])
    expect(other).not_to_have_text(fitted[1])
    page.keyboard.press("Shift+ArrowRight")
    page.evaluate(TWO_FRAMES)
    expect(old).to_have_text(first)
    page.keyboard.press("Shift+L")
    page.keyboard.press("Shift+K")
    expect(old).not_to_have_text(first)  # alike at once
    zoomed = other.inner_text()
    page.keyboard.press("8")
    expect(one).to_have_text(fitted[0])
    page.evaluate(TWO_FRAMES)
    expect(other).to_have_text(zoomed)
    page.keyboard.press("Shift+X")
    before = grey.inner_text()
    page.keyboard.press("8")
    expect(other).to_have_text(fitted[1])
    page.keyboard.press("i")
    expect(page.locator("#film-beside [data-out=flags]")).to_contain_text("inverted")
    expect(page.locator("#film [data-out=flags]")).to_contain_text("inverted")
    assert before == grey.inner_text()
    page.locator("#film .film-stage").click(position={"x": 200, "y": 200})
    page.keyboard.press("x")
    expect(page.locator("#film [data-out=flags]")).to_contain_text("mirrored")
    expect(page.locator("#film-beside [data-out=flags]")).not_to_contain_text("mirrored")


def test_without_a_prior_and_on_small_screens_one_picture_is_shown(
    visitor: Visitor, exams: list[UUID]
) -> None:
    page = _open(visitor, exams[0])  # the others are later
    expect(page.locator("#film-beside")).to_have_count(0)
    page.keyboard.press("Shift+V")  # asked for: a later one
    expect(page.locator(".beside-label")).to_contain_text("later")
    narrow = _open(visitor, exams[2], size=(390, 844))
    narrow.wait_for_timeout(500)
    expect(narrow.locator("#film-beside")).to_have_count(0)
    narrow.click("#film [data-action=beside]")
    expect(narrow.locator(".beside-label")).to_contain_text("1 year before")
    study, _ = visitor.site.complete(draw(86), patient_name="ALONE^ONE", patient_id="ALONE")
    alone = _open(visitor, study)
    assert alone.locator("#film [data-action=beside]").count() == 0


def test_what_was_seen_beside_is_drawn_again(visitor: Visitor, exams: list[UUID]) -> None:
    page = _two(visitor, exams[2])
    page.keyboard.press("Shift+G")
    expect(page.locator(".beside-label")).to_contain_text("2 years before")
    page.keyboard.press("Shift+X")
    page.keyboard.press("+")
    page.evaluate(TWO_FRAMES)
    state = page.evaluate(_STATE)
    again = _two(visitor, exams[2])
    again.evaluate(_RESTORE, state)
    expect(again.locator(".beside-label")).to_contain_text("2 years before")
    wait_until(again, lambda: bool(again.evaluate(_STATE)["beside"]))
    seen = again.evaluate(_STATE)["beside"]
    assert seen["picture"] == state["beside"]["picture"]
    assert seen["place"] == pytest.approx(state["beside"]["place"])


def test_a_signature_keeps_both_pictures_and_what_was_seen_draws_both(
    visitor: Visitor, exams: list[UUID]
) -> None:
    page = _two(visitor, exams[2])
    page.keyboard.press("Shift+G")
    expect(page.locator(".beside-label")).to_contain_text("2 years before")
    page.wait_for_selector("#film-beside[data-depth=full]")
    page.keyboard.press("Shift+L")  # each picture by itself
    page.keyboard.press("Shift+X")
    page.keyboard.press("o")  # the AI's overlay of the prior
    page.keyboard.press("+")
    page.keyboard.press("]")
    page.keyboard.press("i")
    page.evaluate(TWO_FRAMES)
    state = page.evaluate(_STATE)
    beside = state.pop("beside")
    page.wait_for_selector("#review[data-ready=yes]")
    page.keyboard.press("Shift+Y")
    wait_until(page, lambda: str(exams[2]) not in page.url)
    with visitor.site.core.sessions() as session:
        query = select(Signature).where(Signature.study_id == exams[2])
        signature = session.scalars(query.order_by(Signature.created.desc()).limit(1)).one()
    assert [one["picture"] for one in signature.view["pictures"]] == [
        state["picture"],
        beside["picture"],
    ]
    assert f"pixels/{UUID(beside['picture']).hex}" in signature.hashes
    again = visitor.open(f"/studies/{exams[2]}?seen={signature.id}")
    again.wait_for_selector("#film-beside[data-depth=full]")
    expect(again.locator(".beside-label")).to_contain_text("2 years before")
    wait_until(again, lambda: bool(again.evaluate(_STATE)["beside"]))
    wait_until(again, lambda: again.evaluate(_TEAL, "#film-beside .film-layer") > 0)
    seen = again.evaluate(_STATE)
    drawn_again = seen.pop("beside")
    for then, now in ((beside, drawn_again), (state, seen)):
        assert now["place"] == pytest.approx(then["place"], rel=1e-3)
        assert now["window"] == then["window"]
        assert now["overlay"] == then["overlay"]
    expect(again.locator("#film-beside [data-out=flags]")).to_contain_text("inverted")


def test_an_arrow_has_a_text_and_a_review_keeps_it(visitor: Visitor) -> None:
    study, _ = visitor.site.complete(draw(84), patient_name="ARROW^READER")
    page = _open(visitor, study)
    page.keyboard.press("Shift+A")
    page.mouse.move(400, 300)
    page.mouse.down()
    page.mouse.move(560, 420, steps=3)
    page.mouse.up()
    field = page.locator(".film-text")
    expect(field).to_be_focused()
    page.keyboard.type("border of the lung, not a fold")  # none of these keys acts on the page
    page.keyboard.press("Enter")
    expect(field).to_have_count(0)
    wait_until(page, lambda: page.evaluate(_AMBER, "#film .film-layer") > 200)
    page.keyboard.press("r")
    expect(page.locator("#review-current")).to_contain_text("ight")
    button = page.locator("[data-drawn]")
    expect(button).to_have_text("1 drawn")
    page.locator(".film-stage").first.focus()
    page.keyboard.press("Delete")
    wait_until(page, lambda: page.evaluate(_AMBER, "#film .film-layer") == 0)
    page.click("#review-history summary")
    button.click()
    wait_until(page, lambda: page.evaluate(_AMBER, "#film .film-layer") > 200)
    page.wait_for_timeout(800)
    colleague = _open(visitor, study, role=visitor.site.second_reader())
    assert colleague.evaluate(_AMBER, "#film .film-layer") == 0
    colleague.click("#review-history summary")
    colleague.locator("[data-drawn]").click()
    wait_until(colleague, lambda: colleague.evaluate(_AMBER, "#film .film-layer") > 200)


def test_what_is_typed_right_after_an_arrow_is_its_text_alone(visitor: Visitor) -> None:
    """Regression: the first letters were keys of the page; L stated a finding on the left."""
    study, _ = visitor.site.complete(draw(87), patient_name="ARROW^QUICK")
    page = _open(visitor, study)
    page.keyboard.press("Shift+A")
    page.mouse.move(400, 300)
    page.mouse.down()
    page.mouse.move(560, 420, steps=3)
    # In one go, before anything that the page does later.
    page.evaluate(
        """() => {
            const [x, y] = [560, 420];
            const stage = document.querySelector("#film .film-stage");
            const given = { pointerId: 1, pointerType: "mouse", clientX: x, clientY: y };
            stage.dispatchEvent(new PointerEvent("pointerup", { ...given, bubbles: true }));
            window.typed = document.activeElement.className;
        }"""
    )
    assert page.evaluate("window.typed") == "film-text"
    page.mouse.up()
    page.keyboard.type("lateral border")
    page.keyboard.press("Enter")
    wait_until(page, lambda: page.evaluate(_STATE_OF_ARROWS) == ["lateral border"])
    expect(page.locator("#review-current")).not_to_contain_text("eft")


def test_a_screen_is_checked_by_what_is_seen_of_the_pattern(visitor: Visitor) -> None:
    page = visitor.open("/screen")
    expect(page.locator("#screen-size")).to_contain_text("pixels")
    drawn = page.evaluate(
        """() => {
            const canvas = document.getElementById("screen-pattern");
            const { width, height } = canvas;
            const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
            const greys = new Set();
            for (let i = 0; i < data.length; i += 4) greys.add(data[i]);
            return [...greys];
        }"""
    )
    steps = {round(k * 255 / 17) for k in range(18)}
    assert {0, 13, 242, 255} | steps <= set(drawn)  # 0, 5, 95 and 100 %, and the steps
    for name in ("dark", "light"):
        at = page.locator(f"[name={name}_at]").input_value()
        page.select_option(f"[name={name}]", at)
    page.select_option("[name=lines]", "yes")
    page.click("text=Store the result")
    expect(page.locator(".flashes")).to_contain_text("all of the test pattern was seen")
    expect(page.locator(".page-head")).to_contain_text("This screen was checked")


def test_the_scripts_of_the_case_page_stay_small(visitor: Visitor, exams: list[UUID]) -> None:
    """At most 250 KB as they are and 80 KB compressed: all modules that the page and its workers
    load, with a prior beside. Those of the editor come when it is asked for.
    """
    scripts: set[str] = set()

    def note(response: Any) -> None:
        if response.url.endswith(".js") or ".js?" in response.url:
            scripts.add(response.url)

    context = visitor.browser.new_context()
    context.add_cookies([visitor.site.cookie(Role.READER)])  # type: ignore[list-item]
    page = context.new_page()
    page.on("response", note)
    page.goto(f"{visitor.site.url}/studies/{exams[2]}")
    page.wait_for_selector("#film[data-depth=full][data-overlay=ready]")
    page.wait_for_selector("#film-beside[data-depth=full]")
    bodies = [context.request.get(url).body() for url in scripts]  # a worker's are not kept
    raw, packed = sum(map(len, bodies)), sum(len(gzip.compress(body, 6)) for body in bodies)
    assert len(bodies) > 20
    assert any("painter_worker" in url for url in scripts)
    assert raw <= 250_000, f"{raw} bytes"
    assert packed <= 80_000, f"{packed} bytes"
