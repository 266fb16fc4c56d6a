"""The board with numbers in it: it fits its window, axe finds nothing, its files are saved."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from benchmarks.portal import boards
from portal.models import Role
from portal.performance import summaries
from tests.browser.conftest import TWO_FRAMES, Visitor
from tests.browser.test_layout import SIZES, STILL, violations
from tests.support.browser_portal import BrowserPortal

pytestmark = pytest.mark.browser

PAGE = "/admin/performance"


@pytest.fixture(scope="module")
def board(site: BrowserPortal) -> str:
    """The address of a board over many exams."""
    now = datetime.now(UTC)
    with site.core.sessions() as session:
        model, _ = boards.seed(session, 3000, now)
        while summaries.refresh(session, now):
            pass
    return f"{PAGE}?model={model.hex}"


def test_a_board_with_numbers_fits_its_window_and_is_accessible(
    visitor: Visitor, board: str
) -> None:
    page = visitor.open(board, Role.ADMIN)
    page.emulate_media(reduced_motion="reduce")
    for details in page.locator("main details > summary").all():
        details.click()
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.evaluate(TWO_FRAMES)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} px wide in a window of {width}"
    for width, height in (SIZES[0], SIZES[-1]):
        page.set_viewport_size({"width": width, "height": height})
        for theme in ("dark", "light"):
            page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
            page.evaluate(TWO_FRAMES)
            page.evaluate(STILL)
            assert violations(page) == [], (width, theme)


def test_months_are_chosen_and_a_table_is_saved(visitor: Visitor, board: str) -> None:
    page = visitor.open(board, Role.ADMIN)
    page.select_option("[name=from]", index=3)
    page.click("main button:text-is('Show')")
    page.wait_for_load_state("load")
    first = page.locator("[name=from]").input_value()
    with page.expect_download() as saved:
        page.click("#months ~ .row a[download]")
    lines = saved.value.path().read_text("utf-8").splitlines()
    assert saved.value.suggested_filename == "performance-months.csv"
    assert lines[1].split(",")[1] == first
