"""Which pictures count as seen by a reader: those that were drawn in full, for a moment."""

from __future__ import annotations

from uuid import UUID

import pytest
from playwright.sync_api import Route
from sqlalchemy import select

from ml.preparation import phantom
from portal.models import AuditEvent, Role
from portal.models.viewing import PICTURE_SHOWN
from portal.studies import exams
from tests.browser.conftest import Visitor, draw, wait_until

pytestmark = pytest.mark.browser


def _exam(visitor: Visitor, number: int) -> tuple[UUID, list[UUID]]:
    """An exam of two pictures, and their ids."""
    uid = f"1.2.3.4.88.{number}"
    study = UUID(int=0)
    for one in range(2):
        file = phantom.dicom(draw(number + one), study_uid=uid, patient_id=f"SHOWN{number}")
        study = visitor.site.submit(file)
        visitor.site.render(study)
    with visitor.site.core.sessions() as session:
        return study, [row.id for row in exams.pictures(session, [study])[study]]


def _noted(visitor: Visitor, study: UUID) -> set[UUID | None]:
    with visitor.site.core.sessions() as session:
        rows = session.scalars(
            select(AuditEvent).where(
                AuditEvent.study_id == study, AuditEvent.event == PICTURE_SHOWN
            )
        ).all()
    assert {row.actor_id for row in rows} <= {visitor.site.people[Role.READER].id}
    assert len({row.subject_id for row in rows}) == len(rows)
    return {row.subject_id for row in rows}


_FULL = "#film[data-depth=full]"
# Longer than a picture has to stay on the screen.
_LONG = 1500
_AWAY = """
window.isAway = true;
Object.defineProperty(document, "hidden", { get: () => window.isAway });
"""
_BACK = """() => {
    window.isAway = false;
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_picture_counts_once_it_is_drawn_and_each_for_itself(visitor: Visitor) -> None:
    study, (first, second) = _exam(visitor, 301)
    page = visitor.open("/worklist")
    held: list[Route] = []
    page.route("**/blobs/pixels*", lambda route: held.append(route))
    page.goto(f"{visitor.site.url}/studies/{study}?picture={first}")
    wait_until(page, lambda: bool(held))
    page.wait_for_timeout(_LONG)
    assert _noted(visitor, study) == set(), "the page is open, its picture is not there"
    held[0].continue_()
    page.unroute("**/blobs/pixels*")
    page.wait_for_selector(_FULL)
    wait_until(page, lambda: _noted(visitor, study) == {first})
    page.goto(f"{visitor.site.url}/studies/{study}?picture={second}")
    page.wait_for_selector(_FULL)
    wait_until(page, lambda: _noted(visitor, study) == {first, second})
    page.reload()
    page.wait_for_selector(_FULL)
    page.wait_for_timeout(_LONG)
    assert _noted(visitor, study) == {first, second}


def test_a_picture_in_a_window_that_nobody_sees_does_not_count_yet(visitor: Visitor) -> None:
    study, (first, _) = _exam(visitor, 305)
    page = visitor.open("/worklist")
    page.add_init_script(_AWAY)
    page.goto(f"{visitor.site.url}/studies/{study}?picture={first}")
    page.wait_for_selector(_FULL)
    page.wait_for_timeout(_LONG)
    assert _noted(visitor, study) == set()
    page.evaluate(_BACK)
    wait_until(page, lambda: _noted(visitor, study) == {first})
