"""A report in a real browser: asked for by keyboard, waited for, and downloaded."""

from pathlib import Path

from portal.models import Role
from tests.browser.conftest import Visitor, draw, wait_until
from tests.browser.world import made_report


def test_a_report_is_asked_for_by_a_key_and_is_there_without_a_reload(
    visitor: Visitor,
) -> None:
    study, _ = visitor.site.complete(draw(41), patient_name="CANARY^ZEBRA")
    page = visitor.open(f"/studies/{study}", Role.READER)
    page.wait_for_selector("#film[data-depth=full]")
    page.wait_for_selector("#review[data-ready=yes]")
    page.fill("#review-comment", "not saved yet")
    page.keyboard.press("Escape")
    page.locator(".film-stage").focus()
    page.keyboard.press("Shift+R")
    page.wait_for_selector("#report-panel[data-waiting]")
    assert page.inner_text("#report-status") == "The report is being made."
    made_report(visitor.site, study)
    page.wait_for_selector("#report-panel li a")
    assert page.inner_text("#report-status").endswith("is ready.")
    assert page.input_value("#review-comment") == "not saved yet"
    with page.expect_download() as download:
        page.focus("#report-panel li a")
        page.keyboard.press("Enter")
    saved = download.value
    assert saved.suggested_filename.startswith("report-")
    assert Path(saved.path()).read_bytes().startswith(b"%PDF-")
    # The same once more is the same report.
    page.focus("#report-make")
    page.keyboard.press("Enter")
    wait_until(page, lambda: page.locator("#report-make[aria-disabled]").count() == 0)
    assert page.locator("#report-panel li").count() == 1
