"""Checks of screens: by person and screen, and noted in each review."""

from typing import Any

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.errors import Invalid
from portal.models import AuditEvent, ScreenCheck
from portal.reading import reviews
from portal.reading.case import open_study
from portal.reading.viewing import screen_checks
from portal.web.present.viewing import screen
from tests.support.clinic import Clinic, after
from tests.support.core import NOW

ONE, OTHER = "1" * 32, "2" * 32
SEEN = {
    "dark": "top_left",
    "dark_at": "top_left",
    "light": "bottom_right",
    "light_at": "bottom_right",
    "lines": "yes",
    "width": "2560",
    "height": "1440",
}


def check(clinic: Clinic, number: str = ONE, actor: Any = None, **changes: str) -> ScreenCheck:
    with clinic.session as session:
        return screen_checks.add(session, actor or clinic.mate, number, SEEN | changes, NOW)


def test_the_last_check_is_that_of_the_person_and_the_screen(clinic: Clinic) -> None:
    first = check(clinic)
    with clinic.session as session:
        found = screen_checks.last(session, clinic.mate, ONE)
        assert found is not None
        assert found.id == first.id
        assert (found.dark, found.light, found.lines, found.width) == (True, True, True, 2560)
        assert screen_checks.last(session, clinic.mate, OTHER) is None
        assert screen_checks.last(session, clinic.outsider, ONE) is None
        assert screen_checks.last(session, clinic.mate, "") is None
        stored = session.scalars(select(ScreenCheck)).one()
        assert ONE not in stored.screen
        events = session.scalars(select(AuditEvent).where(AuditEvent.event == "screen_checked"))
        assert [event.subject_id for event in events] == [first.id]


@pytest.mark.parametrize(
    ("changes", "dark", "light", "lines"),
    [
        ({"dark": "not_seen"}, False, True, True),
        ({"light": "top_left"}, True, False, True),
        ({"lines": "no"}, True, True, False),
    ],
)
def test_what_was_not_seen_is_stored_as_such(
    clinic: Clinic, changes: dict[str, str], dark: bool, light: bool, lines: bool
) -> None:
    found = check(clinic, **changes)
    assert (found.dark, found.light, found.lines) == (dark, light, lines)
    assert screen.result(found)[1] == "warn"


@pytest.mark.parametrize(
    "changes",
    [
        *({name: ""} for name in SEEN),
        {"dark": "middle"},
        {"dark_at": "not_seen"},
        {"lines": "perhaps"},
        {"width": "-1"},
        {"width": "٣٠٠"},
        {"height": "9" * 40},
    ],
)
def test_an_answer_that_is_none_is_refused(clinic: Clinic, changes: dict[str, str]) -> None:
    with pytest.raises(Invalid):
        check(clinic, **changes)
    with clinic.session as session:
        assert session.scalars(select(ScreenCheck)).all() == []


def test_only_a_reader_checks_a_screen(clinic: Clinic) -> None:
    for actor in (clinic.owner, clinic.admin, clinic.auditor):
        with pytest.raises(Denied):
            check(clinic, actor=actor)


def test_a_review_notes_the_last_check_of_its_screen(clinic: Clinic) -> None:
    study_id = clinic.done()
    check(clinic)
    last = check(clinic, lines="no")
    for days, number in ((0, OTHER), (2, ONE)):
        with clinic.session as session:
            reviews.add_review(
                *(session, clinic.vault, clinic.mate, study_id),
                finding="right" if days else "none",
                screen_check=screen_checks.last_id(session, clinic.mate, number),
                now=after(days=days),
            )
    with clinic.session as session:
        view = open_study(session, clinic.vault, clinic.mate, study_id, after(days=3))
    notes = [screen.note(one.screen, one.created) for one in view.reviews]
    assert notes == [
        "screen not checked",
        "screen checked 2 days before, not all of the pattern seen",
    ]
    assert view.reviews[1].screen == screen_checks.as_view(last)
