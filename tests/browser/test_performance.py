"""The board with numbers in it: it fits its window, axe finds nothing, its files are saved."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect
from sqlalchemy import select
from sqlalchemy.orm import Session

from benchmarks.portal import boards
from portal.models import PerformanceMonth, Role, User
from portal.performance import summaries
from tests.browser.conftest import TWO_FRAMES, Visitor
from tests.browser.test_layout import SIZES, STILL, violations
from tests.support.browser_portal import BrowserPortal

pytestmark = pytest.mark.browser

PAGE = "/admin/performance"


def add_readers(session: Session) -> None:
    """Dice and times of the measured readers, in the summary of the running month."""
    people = session.scalars(select(User.id).where(User.name == "Measured")).all()
    row = session.scalars(
        select(PerformanceMonth)
        .where(PerformanceMonth.model_id.is_(None))
        .order_by(PerformanceMonth.month.desc())
    ).first()
    assert row is not None
    row.content = row.content | {
        "by_reader": [
            [one.hex, [[20 + 37 * at, 15 * (at + 1)]], [[0.97 - 0.05 * at, 11]]]
            for at, one in enumerate(people)
        ]
    }
    session.commit()


@pytest.fixture(scope="module")
def board(site: BrowserPortal) -> str:
    """The address of a board over many exams."""
    now = datetime.now(UTC)
    with site.core.sessions() as session:
        model, _ = boards.seed(session, 3000, now)
        while summaries.refresh(session, now):
            pass
        add_readers(session)
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


def test_readers_have_letters_and_their_numbers_are_saved(visitor: Visitor, board: str) -> None:
    page = visitor.open(board, Role.ADMIN)
    rows = page.locator("#readers ~ .table-wrap tbody tr")
    expect(rows).to_have_count(8)
    expect(rows.first).to_have_text(re.compile(r"Reader A\s*0\.97\s*10–19\s*20 s\s*10–19"))
    expect(page.locator("#plot-reader-1 ~ svg .mark")).to_have_count(8)
    texts = page.locator("#plot-reader-1 ~ svg text").all_text_contents()
    assert [one for one in texts if one.isalpha()] == list("ABCDEFGH")
    with page.expect_download() as saved:
        page.click("#readers ~ .row a[href*='readers.json']")
    document = json.loads(saved.value.path().read_text("utf-8"))
    assert [one["reader"] for one in document["readers"]] == list("ABCDEFGH")
    assert {one["name"] for one in document["readers"]} == {None}


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
