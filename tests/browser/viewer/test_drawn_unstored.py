"""Rulers that can't be stored stay on the page, and no finding is stored without them."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from sqlalchemy import func, select

from portal.models import Review, ReviewAnnotations
from tests.browser.conftest import Visitor, draw
from tests.browser.viewer.test_two_windows import items, opened, rule

pytestmark = pytest.mark.browser


def test_a_cut_network_loses_no_ruler_and_no_finding_is_stored_without_it(
    visitor: Visitor,
) -> None:
    visitor.refusals_expected = True
    study, _ = visitor.site.complete(draw(74), patient_name="CUT^NETWORK")
    page = opened(visitor, study)
    page.route("**/annotations", lambda route: route.abort())
    rule(page, 400)
    trouble, status = page.locator("#film-trouble"), page.locator("#review-status")
    expect(trouble).to_contain_text("not stored yet")
    page.keyboard.press("r")
    expect(status).to_contain_text("rulers or arrows could not be stored first")
    page.keyboard.press("Shift+s")
    expect(page.locator("#sign-status")).not_to_be_empty()

    def reviews() -> tuple[int, int]:
        with visitor.site.core.sessions() as session:
            of_study = select(Review.id).where(Review.study_id == study)
            kept = ReviewAnnotations.review_id.in_(of_study)
            drawings = select(func.count()).select_from(ReviewAnnotations).where(kept)
            return len(session.scalars(of_study).all()), session.scalar(drawings) or 0

    assert reviews() == (0, 0)
    page.keyboard.press("q")
    expect(status).to_contain_text("leave again to discard them")
    page.unroute("**/annotations")
    page.keyboard.press("r")
    expect(status).to_contain_text("Saved")
    expect(trouble).not_to_contain_text("not stored yet")
    assert reviews() == (1, 1)
    page.reload()
    page.wait_for_selector("#film[data-depth=full][data-overlay=ready]")
    assert len(items(page)) == 1
