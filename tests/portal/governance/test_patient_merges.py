"""Two patient IDs of one patient: merged by a row, undone, and priors follow."""

from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.errors import Conflict, Invalid
from portal.governance import patient_merges, purges
from portal.models import AuditEvent, PatientMerge, PurgeReason
from portal.reading import case
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.pictures import dicom


def exam(clinic: Clinic, patient: str, day: int, name: str = "A^B") -> UUID:
    data = dicom(PatientID=patient, PatientName=name, StudyDate=f"2026030{day}")
    return clinic.submit(data, now=after(minutes=day)).study_id


def priors(clinic: Clinic, study_id: UUID) -> list[UUID]:
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, study_id, NOW)
    return [prior.study_id for prior in view.priors]


def merge(clinic: Clinic, one: UUID, other: UUID, reason: str = "two_ids") -> UUID:
    with clinic.session as session:
        row = patient_merges.merge(session, clinic.mate, one, other, reason, NOW)
        assert (row.author_id, row.reason.value) == (clinic.mate.user_id, reason)
        return row.id


def undo(clinic: Clinic, merge_id: UUID) -> None:
    with clinic.session as session:
        patient_merges.undo(session, clinic.mate, merge_id, after(hours=1))


def test_priors_follow_a_merge_and_its_undoing(clinic: Clinic) -> None:
    a1, a2 = exam(clinic, "A", 1), exam(clinic, "A", 3)
    b1, b2, c = exam(clinic, "B", 2), exam(clinic, "B", 4), exam(clinic, "C", 4)
    assert (priors(clinic, a1), priors(clinic, b1)) == ([a2], [b2])
    first = merge(clinic, a1, b2)
    assert priors(clinic, a1) == [b2, a2, b1]
    assert priors(clinic, b1) == [b2, a2, a1]
    second = merge(clinic, b1, c)
    assert set(priors(clinic, a2)) == {a1, b1, b2, c}  # by way of B
    assert set(priors(clinic, c)) == {a1, a2, b1, b2}
    undo(clinic, first)
    assert (priors(clinic, a1), set(priors(clinic, c))) == ([a2], {b1, b2})
    undo(clinic, second)
    assert (priors(clinic, c), priors(clinic, b1)) == ([], [b2])
    with clinic.session as session:
        rows = session.execute(
            select(AuditEvent.event, AuditEvent.subject_id).order_by(AuditEvent.seq)
        ).all()
    assert [(event, subject) for event, subject in rows if "merge" in event] == [
        ("patients_merged", first),
        ("patients_merged", second),
        ("merge_undone", first),
        ("merge_undone", second),
    ]


def test_what_cannot_be_merged_is_refused_with_the_reason(clinic: Clinic) -> None:
    one, same, other = exam(clinic, "A", 1), exam(clinic, "A", 2), exam(clinic, "B", 3)
    nobody = clinic.submit(dicom(PatientID=None)).study_id
    theirs = clinic.submit(dicom(PatientID="B"), actor=clinic.outsider).study_id
    merge(clinic, one, other)
    for second, code in (
        (one, "same_case"),
        (same, "already_merged"),
        (other, "already_merged"),
        (nobody, "no_patient_id"),
        (theirs, "no_such_case"),  # of another team
        (uuid4(), "no_such_case"),
    ):
        with pytest.raises(Conflict) as refused:
            merge(clinic, one, second)
        assert refused.value.code == code
    with pytest.raises(Invalid):
        merge(clinic, one, other, "because")
    with clinic.session as session:
        for actor in (clinic.outsider, clinic.owner, clinic.admin):
            with pytest.raises(Denied):
                patient_merges.merge(session, actor, one, other, "two_ids", NOW)
        assert len(session.scalars(select(PatientMerge)).all()) == 1


def test_only_the_team_undoes_a_merge_and_only_once(clinic: Clinic) -> None:
    merge_id = merge(clinic, exam(clinic, "A", 1), exam(clinic, "B", 2))
    with clinic.session as session:
        for actor in (clinic.outsider, clinic.owner):
            with pytest.raises(Denied):
                patient_merges.undo(session, actor, merge_id, NOW)
        with pytest.raises(Denied):
            patient_merges.undo(session, clinic.mate, uuid4(), NOW)
    undo(clinic, merge_id)
    with pytest.raises(Conflict):
        undo(clinic, merge_id)


def test_the_page_shows_both_patients_before_they_are_merged(clinic: Clinic) -> None:
    one, other = exam(clinic, "A", 1, "One^X"), exam(clinic, "B", 2, "Two^X")
    with clinic.session as session:

        def view(other_case: str = "") -> patient_merges.PatientView:
            return patient_merges.view(
                session, clinic.vault, clinic.mate, one, NOW, other=other_case
            )

        assert view().other is None
        compared = view(str(other))
        assert compared.other is not None
        assert (compared.case.patient.patient_name, compared.other.patient.patient_name) == (
            "One, X",
            "Two, X",
        )
        row = session.scalars(select(AuditEvent).order_by(AuditEvent.seq.desc())).first()
        assert row is not None
        assert (row.event, row.study_id, other.hex in row.detail) == ("patient_opened", one, True)
        with pytest.raises(Conflict):
            view("nonsense")
        session.rollback()
        merge(clinic, one, other)
        (listed,) = view().merges
        assert (listed.author, listed.reason.value) == ("Test mate", "two_ids")


def purge(clinic: Clinic, study_id: UUID) -> None:
    with clinic.session as session:
        purges.purge(
            *(session, clinic.vault, clinic.admin, study_id, NOW), reason=PurgeReason.TEST_DATA
        )
        assert purges.residual_data(session, clinic.vault, study_id).is_empty


def test_a_merge_outlives_the_exams_that_it_named(clinic: Clinic) -> None:
    one, other, third = exam(clinic, "A", 1), exam(clinic, "B", 2), exam(clinic, "B", 3)
    stranger = exam(clinic, "C", 4)
    merge_id = merge(clinic, one, other)
    purge(clinic, other)
    assert (priors(clinic, one), priors(clinic, third)) == ([third], [one])
    assert priors(clinic, stranger) == []
    with clinic.session as session:
        moved = session.execute(
            select(AuditEvent.subject_id, AuditEvent.study_id).where(
                AuditEvent.event == "merge_goes_on"
            )
        ).all()
    assert [tuple(row) for row in moved] == [(merge_id, third)]
    undo(clinic, merge_id)
    assert priors(clinic, one) == []


def test_without_another_exam_of_a_patient_a_purge_ends_the_merge(clinic: Clinic) -> None:
    one, other = exam(clinic, "A", 1), exam(clinic, "B", 2)
    merge(clinic, one, other)
    purge(clinic, other)
    assert priors(clinic, one) == []
    assert priors(clinic, exam(clinic, "B", 3)) == []
