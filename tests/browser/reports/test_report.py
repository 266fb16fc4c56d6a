"""A report in a real browser: asked for by keyboard, waited for, and downloaded."""

import zipfile
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from portal.jobs import claims
from portal.models import JobKind, Role
from tests.browser.conftest import Visitor, draw, wait_until
from tests.browser.world import made_report
from tests.support.browser_portal import BrowserPortal
from tests.support.jobs import Jobs
from worker.encode import encode_process
from worker.encode.inputs import joined


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


def test_its_dicom_objects_are_asked_for_in_place_and_downloaded(visitor: Visitor) -> None:
    study, _ = visitor.site.complete(draw(42))
    page = visitor.open(f"/studies/{study}/reports", Role.READER)
    page.click("#report-make")
    page.wait_for_selector("#report-panel[data-waiting]")
    made_report(visitor.site, study)
    page.wait_for_selector("#objects-1")
    page.focus("#objects-1")
    page.keyboard.press("Enter")
    page.wait_for_selector("#report-panel[data-waiting]")
    assert page.inner_text("#report-status") == "The DICOM objects are being made."
    made_objects(visitor.site, study)
    link = page.wait_for_selector("#report-panel li a[href$='/dicom']")
    assert link is not None
    with page.expect_download() as download:
        link.click()
    saved = download.value
    assert saved.suggested_filename.startswith("dicom-")
    with zipfile.ZipFile(saved.path()) as archive:
        assert "picture-1-sr.dcm" in archive.namelist()


def made_objects(site: BrowserPortal, study: UUID) -> None:
    """Do the case's encode job as a worker would."""
    jobs, now = Jobs(site.core), datetime.now(UTC)
    jobs.time = None
    job = jobs.queued(study, JobKind.ENCODE)
    settings, vault = site.core.settings, site.core.vault
    with site.core.sessions() as session:
        claimed = claims.claim(session, settings, vault, job.id, "w", now)
    assert claimed is not None
    kinds = ("report_content", "source")
    content, source = vault.get_many([claimed.inputs[kind] for kind in kinds])
    assert content is not None
    assert source is not None
    head, (data,) = encode_process.answer(joined(content, source))
    ticket = claims.open_ticket(settings, claimed.claim.ticket, job.id)
    jobs.store(ticket, now, types={"report": "application/zip"}, report=data)
    jobs.finish(ticket, head, now)
