"""Exams that a case page names beside its own: in the order in which they were taken."""

import json
from uuid import UUID

from sqlalchemy import select

from portal.models import AuditEvent, Study
from portal.reading import case
from portal.reading.case_records import Prior
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.pictures import dicom


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
