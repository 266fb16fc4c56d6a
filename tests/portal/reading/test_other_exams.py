"""Exams that a case page names beside its own: in the order in which they were taken."""

import json
from uuid import UUID

import pytest
from sqlalchemy import select

from portal.models import AuditEvent, CriticalFinding, Study
from portal.reading import case, other_exams
from portal.reading.case_records import Prior
from portal.reading.viewing import beside
from tests.portal.reading.lists.test_around_damage import damage
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.pictures import dicom
from tests.support.second_reads.readers import state


def send(clinic: Clinic, day: str | None, minutes: float) -> UUID:
    """A picture of the same patient, taken on a day and arriving later and later."""
    time = None if day is None else "0900"
    data = dicom(StudyDate=day, StudyTime=time, PatientID="P-1")
    return clinic.submit(data, now=after(minutes=minutes)).study_id


def priors_of(clinic: Clinic, study_id: UUID) -> list[Prior]:
    with clinic.session as session:
        return case.open_study(session, clinic.vault, clinic.mate, study_id, NOW).priors


def test_priors_stand_in_the_order_in_which_they_were_taken(clinic: Clinic) -> None:
    """Films of years ago may arrive after today's; those without a time come last."""
    here = send(clinic, "20260304", 1)
    undated = send(clinic, None, 2)
    old = send(clinic, "20180115", 3)
    later = send(clinic, "20260305", 0)
    recent = send(clinic, "20251224", 4)
    found = priors_of(clinic, here)
    assert [row.study_id for row in found] == [later, recent, old, undated]
    dates = [row.exam_date for row in found]
    assert dates == ["2026-03-05", "2025-12-24", "2018-01-15", ""]
    assert [row.is_later for row in found] == [True, False, False, None]


def test_a_damaged_record_hides_no_other_prior(clinic: Clinic) -> None:
    here, damaged, whole = (
        send(clinic, day, n) for n, day in enumerate(("20260304", "20260303", "20260302"))
    )
    with clinic.session as session:
        session.get_one(Study, damaged).sealed_phi = b"x" * 60
        session.commit()
    found = priors_of(clinic, here)
    assert [(row.study_id, row.exam_date) for row in found] == [
        (damaged, ""),
        (whole, "2026-03-02"),
    ]


def test_the_log_names_the_exams_whose_dates_were_shown(clinic: Clinic) -> None:
    here, prior = send(clinic, "20260304", 1), send(clinic, "20260303", 2)
    priors_of(clinic, here)
    with clinic.session as session:
        opened = select(AuditEvent.detail).where(AuditEvent.event == "study_opened")
        (detail,) = session.scalars(opened).all()
    assert json.loads(detail)["studies"] == [prior.hex]


def test_a_prior_whose_row_cannot_be_read_keeps_no_exam_from_being_read(clinic: Clinic) -> None:
    """The page states that one may be missing; what may be new is critical."""
    if clinic.core.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL reads a table of few rows whole")
    lost = send(clinic, "20260301", 0)
    for number in range(12):
        clinic.submit(PatientID=f"P-other-{number}", now=after(minutes=number))
    whole, here = send(clinic, "20260302", 20), send(clinic, "20260304", 21)
    clinic.segment(clinic.render(here))
    clinic.segment(clinic.render(lost))
    state(clinic, clinic.mate, lost, "right")
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, here, NOW)
        assert ([one.study_id for one in view.priors], view.priors_may_lack) == (
            [whole, lost],
            False,
        )
    damage(clinic, lost)
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, here, NOW)
        assert ([one.study_id for one in view.priors], view.priors_may_lack) == ([whole], True)
        found = beside.open_beside(session, clinic.vault, clinic.mate, here, None, None, NOW)
        assert found.shown is None
    state(clinic, clinic.mate, here, "right", after(minutes=30))
    with clinic.session as session:
        rows = session.scalars(select(CriticalFinding.study_id)).all()
    assert rows == [here], "the earlier one was an older exam"


def test_of_many_exams_the_nearest_earlier_ones_are_listed_and_the_others_counted(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_exams, "MOST", 6)
    monkeypatch.setattr(other_exams, "_NOT_EARLIER", 2)
    old, prior = send(clinic, "20200101", 0), send(clinic, "20210101", 1)
    here = send(clinic, "20210201", 2)
    later = [send(clinic, f"202103{day:02}", day) for day in range(10, 18)]
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, here, NOW)
        listed = [one.study_id for one in view.priors]
        assert (listed, view.priors_more) == ([*reversed(later[:4]), prior, old], 4)
        last = case.open_study(session, clinic.vault, clinic.mate, later[-1], NOW)
        listed = [one.study_id for one in last.priors]
        assert (listed, last.priors_more) == ([*reversed(later[1:-1])], 4)
        few = case.open_study(session, clinic.vault, clinic.mate, later[3], NOW)
        ids = [one.study_id for one in few.priors]
        assert ids == [*reversed(later[4:6]), *reversed(later[:3]), here]
