"""Sending pictures in: all or nothing, once, and nothing readable on disk."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from portal import errors
from portal.access import Actor, Denied
from portal.governance import purges
from portal.intake import submission
from portal.intake.check import Limits, Refused
from portal.models import (
    AuditEvent,
    Base,
    Blob,
    Instance,
    Job,
    JobKind,
    JobState,
    PurgeReason,
    Study,
    View,
)
from portal.reading import case, reviews
from portal.reading.lists.history import history
from portal.studies import sealed_fields
from portal.vault import StorageFull, Vault
from tests.campaigns.same_uid import shown
from tests.portal.vault.test_vault import file_limit, files
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.pictures import CANARY, dicom, png


def rows_of(clinic: Clinic) -> dict[str, int]:
    """How many rows each table of a picture has."""
    with clinic.session as session:
        return {
            table.__tablename__: session.scalar(select(func.count()).select_from(table)) or 0
            for table in (Study, Instance, Blob, Job, AuditEvent)
        }


NOTHING = {"studies": 0, "instances": 0, "blobs": 0, "jobs": 0, "audit_events": 0}


def test_a_picture_becomes_rows_a_sealed_file_an_audit_row_and_a_render_job(
    clinic: Clinic,
) -> None:
    sent = clinic.submit()
    assert not sent.duplicate
    assert sent.case_number == sent.study_id.hex[:6].upper()
    assert sent.job_id == clinic.job(sent.study_id).id
    assert clinic.state_of(clinic.job(sent.study_id).id) is JobState.QUEUED
    assert rows_of(clinic) == dict.fromkeys(NOTHING, 1)
    with clinic.session as session:
        row = session.scalars(select(AuditEvent)).one()
    assert (row.event, row.actor_id, row.study_id) == (
        "study_submitted",
        clinic.owner.user_id,
        sent.study_id,
    )


def test_the_same_file_twice_leads_to_the_first_case(clinic: Clinic) -> None:
    data = dicom()
    first, second = clinic.submit(data), clinic.submit(data, now=after(minutes=1))
    assert second.duplicate
    assert second.job_id is None
    assert (second.study_id, second.case_number) == (first.study_id, first.case_number)
    assert len(files(clinic.core.data_dir)) == 1


def test_another_file_with_the_same_sop_instance_uid_is_the_same_picture(clinic: Clinic) -> None:
    first = clinic.submit(dicom(SOPInstanceUID="1.2.3.4"))
    again = clinic.submit(dicom(SOPInstanceUID="1.2.3.4", PatientID="P-0002"))
    assert again.study_id == first.study_id


def test_other_pixels_under_a_known_uid_are_a_case_of_their_own(clinic: Clinic) -> None:
    first, other = clinic.submit(shown(1)), clinic.submit(shown(2, PatientID="P-0002"))
    assert not other.duplicate
    assert (first.same_uid, other.same_uid) == (False, True)
    assert other.study_id != first.study_id
    assert clinic.job(other.study_id).id == other.job_id
    with clinic.session as session:
        row = session.scalars(select(AuditEvent).where(AuditEvent.study_id == other.study_id)).one()
    assert row.detail == f'{{"same_uid_as":"{first.study_id.hex}"}}'
    for shade, known in ((1, first), (2, other)):
        again = clinic.submit(shown(shade, StudyDescription="sent again"))
        assert again.duplicate
        assert again.study_id == known.study_id


def test_another_size_or_tone_under_a_known_uid_is_another_picture(clinic: Clinic) -> None:
    sent = [
        clinic.submit(shown(1)),
        clinic.submit(shown(1, PhotometricInterpretation="MONOCHROME1")),
        clinic.submit(dicom(SOPInstanceUID="1.2.3.4", rows=6, columns=8, pixels=b"\1\0" * 48)),
    ]
    assert len({one.study_id for one in sent}) == 3


def test_a_uid_whose_first_picture_cannot_be_read_hides_no_other(clinic: Clinic) -> None:
    clinic.submit(shown(1))
    (stored,) = files(clinic.core.data_dir)
    stored.write_bytes(stored.read_bytes()[:-1])
    assert not clinic.submit(shown(2)).duplicate


def test_a_colleagues_uid_hides_no_picture_and_names_no_case(clinic: Clinic) -> None:
    clinic.submit(shown(1))
    mine = clinic.submit(shown(2), actor=clinic.colleague)
    assert mine.same_uid
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.colleague, mine.study_id, NOW)
    assert (view.shares_uid, view.same_uid) == (True, [])


def test_both_cases_of_a_uid_point_at_each_other(clinic: Clinic) -> None:
    first, other, alone = clinic.submit(shown(1)), clinic.submit(shown(2)), clinic.submit()
    for here, there in ((first, [other]), (other, [first]), (alone, [])):
        with clinic.session as session:
            view = case.open_study(session, clinic.vault, clinic.mate, here.study_id, NOW)
        assert view.shares_uid == bool(there)
        assert [one.study_id for one in view.same_uid] == [one.study_id for one in there]


def test_two_pictures_of_a_uid_sent_at_once_are_two_cases(clinic: Clinic) -> None:
    with ThreadPoolExecutor(6) as pool:
        sent = list(pool.map(lambda n: clinic.submit(shown(n % 2)), range(6)))
    assert len({one.study_id for one in sent}) == 2
    assert len({one.study_id for one in sent[::2]}) == 1
    assert len(files(clinic.core.data_dir)) == 2


# Exams


def of_exam(shade: int, **tags: Any) -> bytes:
    """A picture of one and the same StudyInstanceUID; each shade has other pixels."""
    named = {"StudyInstanceUID": "1.2.3.5", "SOPInstanceUID": f"1.2.3.5.{shade}"} | tags
    return dicom(pixels=bytes([shade, 0]) * 48, **named)


def test_pictures_of_one_study_uid_are_one_exam(clinic: Clinic) -> None:
    first = clinic.submit(of_exam(1, AcquisitionDate="20260304", AcquisitionTime="0845"))
    other = clinic.submit(
        of_exam(2, ViewPosition="LL", AcquisitionDate="20260304", AcquisitionTime="0830"),
        now=after(minutes=1),
    )
    assert (first.joined, other.joined, other.duplicate) == (False, True, False)
    assert (other.study_id, other.case_number) == (first.study_id, first.case_number)
    with clinic.session as session:
        rows = session.scalars(select(Instance).order_by(Instance.created)).all()
        study = session.scalars(select(Study)).one()
        log = session.scalars(select(AuditEvent).order_by(AuditEvent.seq)).all()
        view = case.open_study(session, clinic.vault, clinic.mate, first.study_id, NOW)
    assert [row.id for row in rows] == [first.instance_id, other.instance_id]
    assert [row.view for row in rows] == [View.PA, View.LL]
    assert rows[0].wrapped_key != rows[1].wrapped_key
    assert rows[0].acquired is not None
    assert rows[1].acquired == rows[0].acquired - 15 * 60 == study.acquired
    assert log[-1].detail == f'{{"picture":"{other.instance_id.hex}"}}'
    assert view.picture.instance_id == first.instance_id
    assert len({row.sealed_phi for row in rows}) == 2


def test_pictures_of_a_new_study_uid_sent_at_once_are_one_exam(clinic: Clinic) -> None:
    with ThreadPoolExecutor(6) as pool:
        sent = list(pool.map(lambda n: clinic.submit(of_exam(n % 2)), range(6)))
    assert len({one.study_id for one in sent}) == 1
    assert len({one.instance_id for one in sent}) == 2
    found = rows_of(clinic)
    assert (found["studies"], found["instances"], found["blobs"], found["jobs"]) == (1, 2, 2, 2)
    assert len(files(clinic.core.data_dir)) == 2


def test_other_pixels_of_a_uid_within_one_exam_are_stored_beside_the_first(clinic: Clinic) -> None:
    first = clinic.submit(of_exam(1, SOPInstanceUID="1.2.3.6"))
    other = clinic.submit(of_exam(2, SOPInstanceUID="1.2.3.6"))
    assert other.study_id == first.study_id
    assert (other.duplicate, other.same_uid) == (False, True)
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, first.study_id, NOW)
    assert (len(view.pictures), view.shares_uid, view.same_uid) == (2, True, [])


def test_a_picture_for_a_purged_exam_makes_a_new_one(clinic: Clinic) -> None:
    first = clinic.submit(of_exam(1))
    with clinic.session as session:
        purges.purge(
            session,
            clinic.vault,
            clinic.admin,
            first.study_id,
            NOW,
            reason=PurgeReason.TEST_DATA,
        )
    assert clinic.submit(of_exam(2)).study_id != first.study_id


def test_an_exam_that_is_purged_while_its_second_picture_is_written_is_not_filled_again(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = clinic.submit(of_exam(1))
    put = Vault.put

    def purging(vault: Vault, data_key: bytes, **parts: Any) -> str:
        monkeypatch.setattr(Vault, "put", put)
        with clinic.session as session:
            purges.purge(
                session,
                clinic.vault,
                clinic.admin,
                first.study_id,
                NOW,
                reason=PurgeReason.TEST_DATA,
            )
        return put(vault, data_key, **parts)

    monkeypatch.setattr(Vault, "put", purging)
    second = clinic.submit(of_exam(2))
    assert second.study_id != first.study_id
    assert not second.joined
    assert len(files(clinic.core.data_dir)) == 1


def test_another_teams_exam_of_the_same_study_uid_is_its_own(clinic: Clinic) -> None:
    first, theirs = clinic.submit(of_exam(1)), clinic.submit(of_exam(2), actor=clinic.outsider)
    assert theirs.study_id != first.study_id


def test_who_sends_a_picture_of_an_exam_sees_it_from_then_on(clinic: Clinic) -> None:
    first = clinic.submit(of_exam(1))
    with clinic.session as session, pytest.raises(Denied):
        case.open_study(session, clinic.vault, clinic.colleague, first.study_id, NOW)
    clinic.submit(of_exam(2), actor=clinic.colleague)
    for actor in (clinic.owner, clinic.colleague):
        with clinic.session as session:
            view = case.open_study(session, clinic.vault, actor, first.study_id, NOW)
            assert len(view.pictures) == 2
            page = history(session, clinic.vault, actor, now=NOW)
        assert [row.study_id for row in page.rows] == [first.study_id]
    again = clinic.submit(of_exam(1), actor=clinic.colleague)
    assert again.duplicate


def test_a_header_that_names_another_patient_is_noted_and_stored(clinic: Clinic) -> None:
    first = clinic.submit(of_exam(1, PatientName="ONE^A", PatientID="P-1"))
    other = clinic.submit(of_exam(2, PatientName="TWO^B", PatientID="P-2"), now=after(minutes=1))
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, first.study_id, NOW)
        row = session.get_one(Instance, other.instance_id)
        own = sealed_fields.open_picture_patient(
            clinic.vault, sealed_fields.instance_key_of(clinic.vault, row), row
        )
    assert view.patient.patient_id == "P-1"
    assert [picture.names_another for picture in view.pictures] == [False, True]
    assert own.patient_id == "P-2"


def test_a_picture_that_comes_after_the_review_makes_the_exam_unread(clinic: Clinic) -> None:
    first = clinic.submit(of_exam(1))
    clinic.segment(clinic.render(first.study_id))

    def add(finding: str) -> None:
        with clinic.session as session:
            reviews.add_review(
                session, clinic.vault, clinic.mate, first.study_id, finding=finding, now=NOW
            )

    def is_read() -> bool:
        with clinic.session as session:
            return session.get_one(Study, first.study_id).is_read

    add("right")
    assert is_read()
    clinic.submit(of_exam(2), now=after(minutes=1))
    assert not is_read()
    add("unsure")
    assert is_read()


def test_a_picture_without_a_uid_is_recognised_by_its_content(clinic: Clinic) -> None:
    first, again = clinic.submit(png()), clinic.submit(png())
    other = clinic.submit(png(rows=9))
    assert again.study_id == first.study_id != other.study_id


def test_a_colleagues_picture_is_a_conflict_that_names_no_case(clinic: Clinic) -> None:
    data = dicom()
    sent = clinic.submit(data)
    with pytest.raises(errors.Conflict) as conflict:
        clinic.submit(data, actor=clinic.colleague)
    assert conflict.value.code == "already_sent"
    for text in (sent.case_number, str(sent.study_id)):
        assert text not in conflict.value.message


def test_a_reader_of_the_team_is_led_to_the_case(clinic: Clinic) -> None:
    data = dicom()
    assert clinic.submit(data).study_id == clinic.submit(data, actor=clinic.mate).study_id


def test_another_team_may_have_the_same_picture(clinic: Clinic) -> None:
    data = dicom()
    first, theirs = clinic.submit(data), clinic.submit(data, actor=clinic.outsider)
    assert not theirs.duplicate
    assert theirs.study_id != first.study_id


@pytest.mark.parametrize("name", ["admin", "auditor"])
def test_who_may_not_submit_is_denied(clinic: Clinic, name: str) -> None:
    with pytest.raises(Denied):
        clinic.submit(actor=getattr(clinic, name))
    assert rows_of(clinic) == NOTHING


def test_a_refused_file_leaves_nothing_behind(clinic: Clinic) -> None:
    with pytest.raises(Refused):
        clinic.submit(dicom(Modality="CT"))
    with pytest.raises(Refused) as refused, clinic.session as session:
        submission.submit(
            session, clinic.vault, clinic.owner, "x", dicom(), NOW, limits=Limits(100)
        )
    assert refused.value.code == "too_large"
    assert rows_of(clinic) == NOTHING
    assert files(clinic.core.data_dir) == []


def test_a_full_disk_leaves_nothing_behind(clinic: Clinic) -> None:
    large = png() + bytes(200_000)
    with file_limit(100_000), pytest.raises(StorageFull):
        clinic.submit(large)
    assert rows_of(clinic) == NOTHING
    assert files(clinic.core.data_dir) == []
    assert not clinic.submit(large).duplicate


def test_a_transaction_that_fails_takes_its_file_with_it(clinic: Clinic) -> None:
    """An actor whose account is gone: the foreign key refuses the row after the file is there."""
    ghost = Actor(
        UUID(int=7), clinic.owner.team_id, clinic.owner.role, clinic.owner.permissions, None
    )
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        clinic.submit(actor=ghost)
    assert rows_of(clinic) == NOTHING
    assert files(clinic.core.data_dir) == []


def test_the_same_picture_sent_ten_times_at_once_is_one_case(clinic: Clinic) -> None:
    data = dicom()
    with ThreadPoolExecutor(5) as pool:
        sent = list(pool.map(lambda _: clinic.submit(data), range(10)))
    assert len({one.study_id for one in sent}) == 1
    assert sum(not one.duplicate for one in sent) == 1
    assert len(files(clinic.core.data_dir)) == 1
    assert rows_of(clinic)["studies"] == 1


def test_nothing_of_the_patient_is_readable_in_database_or_files(clinic: Clinic) -> None:
    """The canary: a patient called ZEBRA, all the way, then a search through everything."""
    sent = clinic.submit(
        dicom(
            PatientName=CANARY,
            PatientID="ZEBRA-ID",
            AccessionNumber="ZEBRA-ACC",
            StudyDescription="ZEBRA THORAX",
            StudyInstanceUID="1.2.826.424242.1",
            SOPInstanceUID="1.2.826.424242.2",
            PatientBirthDate="19610203",
        )
    )
    clinic.segment(clinic.render(sent.study_id))
    with clinic.session as session:
        reviews.add_review(
            session,
            clinic.vault,
            clinic.mate,
            sent.study_id,
            finding="unsure",
            comment="ZEBRA has a drain",
            now=NOW,
        )
    with clinic.session as session:
        view = case.open_study(session, clinic.vault, clinic.mate, sent.study_id, NOW)
    assert view.patient.patient_name == "CANARY, ZEBRA"
    assert view.reviews[0].comment == "ZEBRA has a drain"
    needles = (b"ZEBRA", b"CANARY", b"424242", b"19610203", b"1961-02-03", b"DICM")
    for path in clinic.core.data_dir.parent.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for needle in needles:
                assert needle not in content, f"{needle!r} in {path.name}"
    with clinic.core.engine.connect() as connection:
        for table in Base.metadata.sorted_tables:
            shown = str(connection.execute(select(table)).all())
            for needle in needles:
                assert needle.decode() not in shown, f"{needle!r} in {table.name}"
    assert "ZEBRA" not in repr(view.patient)


def test_a_job_of_the_same_kind_is_made_once_for_a_picture(clinic: Clinic) -> None:
    study_id = clinic.done()
    with clinic.session as session:
        kinds = session.scalars(select(Job.kind).where(Job.study_id == study_id)).all()
    assert sorted(kinds) == [JobKind.RENDER, JobKind.SEGMENT]
