"""A phone, and a monitor at 200 % zoom: the same work is possible without reaching aside."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from portal.models import Language, Role, User
from tests.browser.conftest import TWO_FRAMES, Cases, Visitor, draw
from tests.support.browser_portal import BrowserPortal
from tests.support.portal_app import make_person

pytestmark = pytest.mark.browser

# A phone; 1440 × 900 and 1280 × 720 at 200 %.
SMALL = [(390, 844), (720, 450), (640, 360)]


@pytest.mark.parametrize("size", SMALL)
def test_in_a_case_the_overlay_the_menu_and_the_finding_are_reached(
    visitor: Visitor, cases: Cases, size: tuple[int, int]
) -> None:
    page = visitor.open(f"/studies/{cases.likely}", size=size)
    page.wait_for_selector("#film[data-depth=full]")
    seen = """element => {
        const box = element.getBoundingClientRect();
        return box.left >= 0 && box.right <= innerWidth && box.width >= 24 && box.height >= 24;
    }"""
    for part in ("[data-action=overlay]", "[data-action=heat]", ".bar .menu > summary"):
        assert page.locator(part).evaluate(seen), part
    assert page.locator(".bar .menu > summary").evaluate("e => e.getBoundingClientRect().top") < 60
    expect(page.locator("#case-result")).to_be_visible()
    page.click(".bar .menu > summary")
    expect(page.get_by_text("Sign out")).to_be_visible()
    expect(page.get_by_text("Sign out")).to_be_in_viewport()
    page.keyboard.press("Escape")
    page.click(".to-reader")
    page.evaluate(TWO_FRAMES)
    expect(page.locator("#review button").first).to_be_in_viewport()
    assert page.locator("#review button").first.evaluate(
        """element => {
            const box = element.getBoundingClientRect();
            const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
            const top = document.elementFromPoint(x, y);
            return element.contains(top);
        }"""
    ), "something lies over it"


def test_the_buttons_of_the_filters_stand_side_by_side(visitor: Visitor, cases: Cases) -> None:
    page = visitor.open("/worklist?state=all&side=right", size=SMALL[0])
    boxes = [page.locator(f"#filter-{name}").bounding_box() for name in ("go", "clear")]
    (go, clear) = (box for box in boxes if box is not None)
    assert (go["y"], go["width"]) == (clear["y"], clear["width"])
    assert go["x"] + go["width"] < clear["x"]


def test_the_current_tab_is_in_sight(visitor: Visitor) -> None:
    page = visitor.open("/admin/performance", Role.ADMIN, size=SMALL[0])
    tab = page.locator(".nav [aria-current]")
    expect(tab).to_have_text("Performance")
    expect(tab).to_be_in_viewport(ratio=1)


def test_the_lines_of_a_patient_end_between_two_values(
    visitor: Visitor, site: BrowserPortal
) -> None:
    """An ID in two parts can be misread; only one that is longer than a line has them."""
    name = "Abcdefghijklmnopqrstuvw^Anna"
    study, _ = site.complete(draw(31), patient_name=name, patient_id="HOSPITAL-0000-4711-0815")
    page = visitor.open(f"/studies/{study}", size=SMALL[0])
    page.wait_for_selector("#film[data-depth=full]")
    tops = """parts => parts.map(part => {
        const range = document.createRange();
        range.selectNodeContents(part);
        return new Set([...range.getClientRects()].map(box => Math.round(box.bottom / 4))).size;
    })"""
    facts = page.locator(".case-bar .facts-line > span:not(.optional)")
    assert set(facts.evaluate_all(tops)) == {1}
    page.keyboard.press("f")
    assert set(page.locator("#film-patient > span").evaluate_all(tops)) == {1}
    listed = visitor.open("/worklist", size=(1024, 768))
    assert set(listed.locator(".who .sub > .nowrap").evaluate_all(tops)) == {1}


@pytest.mark.parametrize("size", [(1440, 900), (1024, 768), (390, 844)])
def test_german_texts_fit_the_buttons_of_a_finding(
    visitor: Visitor, cases: Cases, size: tuple[int, int]
) -> None:
    reader = make_person(visitor.site.app, Role.READER, name="Pat German")
    with visitor.site.core.sessions() as session:
        session.get_one(User, reader.id).language = Language.DE
        session.commit()
    page = visitor.open(f"/studies/{cases.likely}", reader, size=size)
    buttons = page.locator(".findings .btn")
    assert buttons.last.inner_text().startswith("Unsicher")
    for button in buttons.all():
        wide, room = button.evaluate(
            """element => {
                const text = document.createRange();
                text.selectNodeContents(element.firstChild);
                const { width } = text.getBoundingClientRect();
                return [width, element.clientWidth];
            }"""
        )
        assert wide < room, button.inner_text()


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("/admin/people", Role.ADMIN),
        ("/admin/jobs", Role.ADMIN),
        ("/admin/models", Role.ADMIN),
        ("/audit", Role.AUDITOR),
        ("/account", Role.READER),
    ],
)
def test_tables_fit_a_phone_and_name_their_columns(
    visitor: Visitor, cases: Cases, path: str, role: Role
) -> None:
    page = visitor.open(path, role, size=(390, 844))
    tables = page.locator(".table-wrap")
    assert tables.count() > 0
    for table in tables.all():
        wide, room = table.evaluate("e => [e.scrollWidth, e.clientWidth]")
        assert wide <= room
    cell = page.locator(".table tbody td").first
    heading = page.locator(".table thead th").first.text_content() or ""
    shown = cell.evaluate("e => getComputedStyle(e, '::before').content")
    assert shown == f'"{heading.strip()}"'
