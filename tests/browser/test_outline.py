"""The outline's editor as readers use it: by pointer and keyboard, alone and beside each other."""

from __future__ import annotations

import base64
import random
from datetime import UTC, datetime
from uuid import UUID

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from numpy.typing import NDArray
from playwright.sync_api import Page, expect
from sqlalchemy import select, update

from portal.models import (
    Instance,
    Language,
    LoginSession,
    Outline,
    OutlineDraft,
    ReviewSeen,
    Role,
    User,
)
from portal.outlines import versions
from tests.browser.conftest import Visitor, draw, wait_until
from tests.browser.test_session import _sign_in as sign_in_again
from tests.support.outlines.browser_page import STORED, OutlinePage
from tests.support.people import Person
from worker.segment.measured import mask_of

pytestmark = pytest.mark.browser

_SHOWN = """async () => {
    const canvas = document.querySelector(".film-drawing");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let inside = 0;
    for (let i = 3; i < data.length; i += 4) if (data[i]) inside += 1;
    return inside;
}"""
_seeds = iter(range(300, 400))


@pytest.fixture
def case(visitor: Visitor) -> UUID:
    """A case of this test's own."""
    return visitor.site.complete(draw(next(_seeds)))[0]


def masks(visitor: Visitor, study_id: UUID) -> list[tuple[Outline, NDArray[np.bool_]]]:
    """All versions of a case's outline with their masks, the oldest first."""
    with visitor.site.core.sessions() as session:
        picture = session.scalars(select(Instance).where(Instance.study_id == study_id)).one()
        rows = session.scalars(
            select(Outline).where(Outline.instance_id == picture.id).order_by(Outline.created)
        ).all()
        vault = visitor.site.services.vault
        return [
            (row, mask_of(versions.read_runs(session, vault, picture, row), row.rows, row.columns))
            for row in rows
        ]


def holds(mask: NDArray[np.bool_], page: OutlinePage) -> bool:
    """Whether all that was drawn on a page is in a mask."""
    assert page.drawn
    return all(mask[y, x] for x, y in page.drawn)


def edit(
    visitor: Visitor, study_id: UUID, who: Role | Person = Role.READER, **more: object
) -> OutlinePage:
    page = visitor.open(f"/studies/{study_id}", who, **more)  # type: ignore[arg-type]
    return OutlinePage(page).open()


def violations(page: Page) -> list[str]:
    """What axe finds, each with the elements that it is about."""
    return [
        f"{one['id']}: {[node['html'][:120] for node in one['nodes'][:3]]}"
        for one in Axe().run(page).response["violations"]
    ]


def shown(page: Page) -> int:
    return int(page.evaluate(_SHOWN))


def test_what_was_drawn_is_there_after_a_reload_and_in_another_browser(
    visitor: Visitor, case: UUID
) -> None:
    page = edit(visitor, case)
    page.stroke(random.Random(1))
    page.stored()
    assert page.status == STORED
    page.page.reload()
    again = OutlinePage(page.page, page.drawn).open()
    expect(again.page.locator("[data-edit=status]")).to_have_text("Your draft goes on.")
    again.stroke(random.Random(2))
    with again.page.expect_request("**/outline/save") as sent:
        again.finish()
    ((version, mask),) = masks(visitor, case)
    assert holds(mask, again)
    drawn = base64.b64decode(sent.value.post_data_json["runs"])
    assert (mask_of(drawn, version.rows, version.columns) == mask).all()
    assert version.dice_model is not None
    assert 0.3 < version.dice_model < 1
    panel = again.page.locator("#outline-panel")
    expect(panel).to_contain_text("Dice to AI")
    expect(panel).to_contain_text("being measured")
    reader = visitor.site.second_reader()
    other = visitor.open(f"/studies/{case}", reader)
    other.wait_for_selector(f"#film[data-outline='{version.id}']")
    wait_until(other, lambda: shown(other) > 0)
    with other.expect_response("**/outline/begin") as opened:
        page = OutlinePage(other).open()
    assert base64.b64decode(opened.value.json()["runs"]) == drawn
    page.finish()  # nothing was changed: no further version
    assert len(masks(visitor, case)) == 1


def test_a_read_by_keyboard_alone(visitor: Visitor, case: UUID) -> None:
    page = edit(visitor, case).page
    status = page.locator("[data-edit=status]")
    page.keyboard.press("[")
    page.keyboard.press("Shift+T")
    expect(status).to_have_text("The AI map at 0.44.")
    wait_until(page, lambda: page.get_attribute("#film", "data-stored") == "saved")
    page.keyboard.press("Shift+B")
    page.keyboard.press("}")
    expect(page.locator("[data-edit=size]")).to_have_text("10.0 mm")
    page.keyboard.press("Enter")  # in the middle of the film
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+D")
    page.keyboard.press("Enter")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+y")
    page.keyboard.press("r")  # no finding is stated while the outline is open
    expect(page.locator("#review-status")).to_contain_text("Finish the outline first")
    page.keyboard.press("e")
    page.keyboard.press("r")  # waits for the outline, and names it
    expect(page.locator("#review-status")).to_contain_text("Saved")
    ((version, mask),) = masks(visitor, case)
    with visitor.site.core.sessions() as session:
        assert session.scalars(
            select(ReviewSeen.outline_id).where(ReviewSeen.outline_id == version.id)
        ).one()
    assert version.pixels == int(mask.sum())
    columns = np.flatnonzero(mask[mask.shape[0] // 2 - 40 : mask.shape[0] // 2 + 40].any(axis=0))
    assert columns.size


def test_the_size_of_the_brush_is_remembered_everywhere(visitor: Visitor, case: UUID) -> None:
    page = edit(visitor, case).page
    for _ in range(2):
        page.keyboard.press("{")
    expect(page.locator("[data-edit=size]")).to_have_text("5.1 mm")
    with page.expect_response("**/viewer/preferences"):
        page.keyboard.press("{")
    other = edit(visitor, visitor.site.complete(draw(next(_seeds)))[0]).page
    expect(other.locator("[data-edit=size]")).to_have_text("4.1 mm")


def test_the_size_of_the_brush_is_written_in_the_pages_language(
    visitor: Visitor, case: UUID
) -> None:
    reader = visitor.site.second_reader()
    with visitor.site.core.sessions() as session:
        session.get_one(User, reader.id).language = Language.DE
        session.commit()
    page = edit(visitor, case, reader).page
    expect(page.locator("[data-edit=size]")).to_have_text("8,0 mm")


def test_polygon_fill_removal_and_corrected_to_empty(visitor: Visitor, case: UUID) -> None:
    page = edit(visitor, case).page
    box = page.locator(".film-stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.get_by_role("button", name="Empty").click()
    page.keyboard.press("Shift+P")
    for dx, dy in ((-120, -80), (120, -80), (120, 80), (-120, 80)):
        page.mouse.click(x + dx, y + dy)
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+E")
    page.mouse.move(x - 10, y)
    page.mouse.down()
    page.mouse.move(x + 10, y, steps=4)
    page.mouse.up()
    with_gap = shown(page)
    page.keyboard.press("Shift+F")
    page.mouse.click(x, y)
    wait_until(page, lambda: shown(page) >= with_gap)
    page.mouse.click(box["x"] + 100, box["y"] + 10)
    expect(page.locator("[data-edit=status]")).to_contain_text("not enclosed")
    page.keyboard.press("Shift+D")
    page.mouse.click(x, y)
    wait_until(page, lambda: shown(page) == 0)
    page.keyboard.press("e")
    page.wait_for_selector("#film:not([data-editing])")
    ((version, _),) = masks(visitor, case)
    assert (version.pixels, version.dice_model) == (0, 0.0)
    expect(page.locator("#outline-panel")).to_contain_text("nothing outlined")


def test_a_second_reader_takes_over_and_nothing_is_overwritten(
    visitor: Visitor, case: UUID
) -> None:
    visitor.refusals_expected = True
    chance = random.Random(3)
    first = edit(visitor, case)
    first.stroke(chance)
    first.stored()
    page = visitor.open(f"/studies/{case}", visitor.site.second_reader())
    page.wait_for_selector("#film[data-depth=full][data-overlay=ready]")
    expect(page.locator("#outline-panel")).to_contain_text("Rita Reader is editing")
    page.keyboard.press("e")
    expect(page.locator("[data-edit=status]")).to_contain_text("Rita Reader has been editing")
    page.get_by_role("button", name="Take over").click()
    page.wait_for_selector("#film[data-editing=yes]")
    second = OutlinePage(page)
    second.stroke(chance)
    second.stored()
    first.stroke(chance)  # it does not know yet
    expect(first.page.locator("[data-edit=status]")).to_contain_text("took over")
    first.page.get_by_role("button", name="Take over").click()
    first.stored()
    second.stroke(chance)
    expect(page.locator("[data-edit=status]")).to_contain_text("took over")
    first.finish()
    found = masks(visitor, case)
    assert [version.kept for version, _ in found] == [True, True, False]
    assert holds(found[-1][1], first)


def test_a_cut_network_and_an_ended_session_lose_no_stroke(visitor: Visitor, case: UUID) -> None:
    visitor.refusals_expected = True
    chance = random.Random(4)
    reader = visitor.site.second_reader()
    page = edit(visitor, case, reader)
    page.page.context.set_offline(True)
    page.stroke(chance)
    expect(page.page.locator("[data-edit=status]")).to_contain_text("cannot be reached")
    page.stroke(chance)
    page.page.keyboard.press("e")  # no version without the portal
    expect(page.page.locator("#film")).to_have_attribute("data-editing", "yes")
    page.page.context.set_offline(False)
    page.stored()
    with visitor.site.core.sessions() as session:
        mine = update(LoginSession).where(LoginSession.user_id == reader.id)
        session.execute(mine.values(ended_at=datetime.now(UTC)))
        session.commit()
    page.stroke(chance)
    expect(page.page.locator("#session-ended")).to_be_visible()
    sign_in_again(page.page, reader)
    expect(page.page.locator("#session-ended")).to_be_hidden()
    page.stored()
    page.finish()
    ((_, mask),) = masks(visitor, case)
    assert holds(mask, page)


def test_leaving_warns_while_something_is_not_stored(visitor: Visitor, case: UUID) -> None:
    visitor.refusals_expected = True
    page = edit(visitor, case)
    page.stroke(random.Random(5))
    page.stored()
    page.page.keyboard.press("q")
    expect(page.page.locator("[data-edit=status]")).to_contain_text("is a draft")
    page.page.context.set_offline(True)
    page.stroke(random.Random(6))
    page.page.keyboard.press("q")
    expect(page.page.locator("[data-edit=status]")).to_contain_text("cannot be reached")
    assert str(case) in page.page.url
    page.page.context.set_offline(False)
    page.stored()
    for _ in range(2):
        page.page.keyboard.press("q")
    page.page.wait_for_url("**/worklist*")
    with visitor.site.core.sessions() as session:
        draft = session.scalars(select(OutlineDraft)).all()
    assert any(one.sealed_runs for one in draft)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_the_open_editor_is_accessible_and_fits(
    visitor: Visitor, case: UUID, theme: str, size: tuple[int, int]
) -> None:
    page = edit(visitor, case, theme=theme, size=size)
    page.stroke(random.Random(7))
    page.stored()
    assert violations(page.page) == []
    assert page.page.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.finish()
    expect(page.page.locator("#outline-panel")).to_contain_text("being measured")
    page.page.wait_for_timeout(500)  # it fades in
    assert violations(page.page) == []


def test_who_may_not_review_has_no_editor(visitor: Visitor, case: UUID) -> None:
    page = visitor.open(f"/studies/{case}", Role.TECHNOLOGIST)
    page.wait_for_selector("#film[data-depth=full]")
    assert page.locator("[data-action=edit]").count() == 0
    page.keyboard.press("e")
    expect(page.locator("#film")).not_to_have_attribute("data-editing", "yes")
