"""Corrected patient data and merged IDs: which exams follow, what stays, who did it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from portal.governance import patient_merges
from portal.hl7 import patients, upkeep
from portal.models import AuditEvent, Hl7Merge, Hl7Node, PatientMerge, Sex, Study
from portal.reading import case, worklist
from portal.reading.case_records import StudyView
from portal.studies import sealed_fields
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import add_node, sent
from tests.support.queries.damaged_pages import overwrite_pages
from tests.support.wait import only_on_sqlite


def opened(clinic: Clinic, study_id: UUID) -> StudyView:
    with clinic.session as session:
        return case.open_study(session, clinic.vault, clinic.mate, study_id, NOW)


def taken(clinic: Clinic, *messages: bytes) -> None:
    assert {ack.code for ack in sent(clinic, *messages)} == {"AA"}


def found(clinic: Clinic, query: str) -> list[UUID]:
    with clinic.session as session:
        page = worklist.worklist(session, clinic.vault, clinic.mate, now=NOW, query=query)
    return [row.study_id for row in page.rows]


@pytest.mark.parametrize("event", ["A08", "A31"])
def test_the_patients_exams_show_what_was_corrected(clinic: Clinic, event: str) -> None:
    add_node(clinic)
    exam = clinic.submit().study_id
    second = clinic.submit(StudyDate="20250304").study_id
    other = clinic.submit(PatientID="P-0002").study_id
    elsewhere = clinic.submit(actor=clinic.outsider).study_id
    new = made.pid("NEWNAME^ANNA^MARIA", born="19530601", sex="M")
    taken(clinic, made.adt(event, new))
    for study_id, age in ((exam, "72Y"), (second, "71Y")):
        view = opened(clinic, study_id)
        patient = view.patient
        assert (patient.patient_name, patient.birth_date) == ("NEWNAME, ANNA MARIA", "1953-06-01")
        assert (patient.sex, patient.age, patient.corrected) == ("M", age, "2026-03-04")
        assert not view.picture.names_another
    assert opened(clinic, other).patient.patient_name == "PHANTOM, ONE"
    assert set(found(clinic, "newname")) == {exam, second}
    assert found(clinic, "phantom") == [other]
    with clinic.session as session:
        row = session.get_one(Study, exam)
        assert (row.sex, row.age_band) == (Sex.MALE, 70)
        phi = sealed_fields.open_phi(clinic.vault, sealed_fields.key_of(clinic.vault, row), row)
        assert (phi["header_patient_name"], phi["header_sex"]) == ("PHANTOM, ONE", "F")
        outside = session.get_one(Study, elsewhere)
        key = sealed_fields.key_of(clinic.vault, outside)
        assert sealed_fields.open_patient(clinic.vault, key, outside).patient_name == "PHANTOM, ONE"
        node = session.scalars(select(Hl7Node)).one()
        rows = session.scalars(
            select(AuditEvent).where(AuditEvent.event == "patient_data_corrected")
        ).all()
    assert {one.study_id for one in rows} == {exam, second}
    assert {(one.actor_id, one.via, one.subject_id) for one in rows} == {
        (node.user_id, "hl7", node.id)
    }
    assert rows[0].detail == '{"fields":["birth_date","patient_name","sex"]}'


def test_what_is_left_out_stays_and_a_delete_deletes(clinic: Clinic) -> None:
    add_node(clinic)
    exam = clinic.submit().study_id
    taken(clinic, made.adt(patient="PID|1||P-0001||||||"))
    assert opened(clinic, exam).patient.corrected == ""
    taken(clinic, made.adt(patient='PID|1||P-0001||||""|""'))
    patient = opened(clinic, exam).patient
    assert (patient.patient_name, patient.birth_date, patient.sex) == ("PHANTOM, ONE", "", "")
    taken(clinic, made.adt(patient='PID|1||P-0001||""||1950|U', at="20260304100000"))
    assert opened(clinic, exam).patient.patient_name == "PHANTOM, ONE"


def test_an_older_message_changes_nothing(clinic: Clinic) -> None:
    add_node(clinic)
    exam = clinic.submit().study_id
    taken(
        clinic,
        made.adt(patient=made.pid("NEWER^A"), at="20260304110000"),
        made.adt(patient=made.pid("OLDER^A"), at="20260304100000"),
    )
    assert opened(clinic, exam).patient.patient_name == "NEWER, A"


def test_the_legal_name_counts_among_several(clinic: Clinic) -> None:
    add_node(clinic)
    exam = clinic.submit().study_id
    taken(clinic, made.adt(patient=made.pid("MAIDEN^A^^^^^M~LEGAL^A^^^^^L")))
    assert opened(clinic, exam).patient.patient_name == "LEGAL, A"


def test_a_picture_that_names_a_third_person_is_still_marked(clinic: Clinic) -> None:
    add_node(clinic)
    uid = "1.2.3.4"
    first = clinic.submit(StudyInstanceUID=uid)
    strange = clinic.submit(StudyInstanceUID=uid, PatientName="STRANGER^X")
    fitting = clinic.submit(StudyInstanceUID=uid, PatientName="NEWNAME^ANNA")
    taken(clinic, made.adt(patient=made.pid("NEWNAME^ANNA")))
    marks = {one.instance_id: one.names_another for one in opened(clinic, first.study_id).pictures}
    assert marks == {
        first.instance_id: False,
        strange.instance_id: True,
        fitting.instance_id: False,
    }


@pytest.mark.parametrize(
    ("numbers", "stated", "fits"),
    [
        ("P-0001^^^HOSP^MR", {}, True),
        ("X1^^^OTHER^SS~P-0001^^^HOSP^MR", {}, True),
        ("X1^^^OTHER^MR~P-0001^^^HOSP^MR", {}, False),  # the first one counts
        ("X1^^^OTHER^MR~P-0001^^^HOSP^MR", {"authority": "HOSP"}, True),
        ("P-0001^^^OTHER^MR", {"authority": "HOSP"}, None),
        ("P-0001", {}, True),
    ],
)
def test_whose_id_counts_is_stated_of_the_node(
    clinic: Clinic, numbers: str, stated: dict[str, Any], fits: bool | None
) -> None:
    add_node(clinic, **stated)
    exam = clinic.submit().study_id
    (ack,) = sent(clinic, made.adt(patient=made.pid("NEWNAME^A", number=numbers)))
    assert ack.code == ("AE" if fits is None else "AA")
    assert (opened(clinic, exam).patient.patient_name == "NEWNAME, A") is bool(fits)


def test_an_exam_whose_header_names_the_issuer_is_found_by_both(clinic: Clinic) -> None:
    add_node(clinic)
    exam = clinic.submit(IssuerOfPatientID="HOSP").study_id
    other = clinic.submit(IssuerOfPatientID="OTHER").study_id
    taken(clinic, made.adt(patient=made.pid("NEWNAME^A")))
    assert opened(clinic, exam).patient.patient_name == "NEWNAME, A"
    assert opened(clinic, other).patient.patient_name == "PHANTOM, ONE"


def test_an_id_that_stands_for_many_patients_changes_none(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patients, "_MOST_EXAMS", 2)
    add_node(clinic)
    exams = [clinic.submit(PatientID="UNKNOWN").study_id for _ in range(3)]
    (ack,) = sent(clinic, made.adt(patient=made.pid("NEWNAME^A", number="UNKNOWN")))
    assert (ack.code, ack.reason) == ("AE", "too many exams")
    assert opened(clinic, exams[0]).patient.patient_name == "PHANTOM, ONE"


def merges(clinic: Clinic) -> list[PatientMerge]:
    with clinic.session as session:
        return list(session.scalars(select(PatientMerge)))


def test_merged_ids_are_one_patients_by_a_row_that_a_reader_can_undo(clinic: Clinic) -> None:
    node = add_node(clinic)
    one, other = clinic.submit().study_id, clinic.submit(PatientID="P-0002").study_id
    taken(clinic, made.merged(), made.merged())
    (row,) = merges(clinic)
    assert {row.one_id, row.other_id} == {one, other}
    assert row.author_id == node.user_id
    assert [prior.study_id for prior in opened(clinic, one).priors] == [other]
    with clinic.session as session:
        view = patient_merges.view(session, clinic.vault, clinic.mate, one, NOW)
        assert [merge.author for merge in view.merges] == ["Information system"]
        patient_merges.undo(session, clinic.mate, row.id, after(hours=1))
    assert opened(clinic, one).priors == []


def waiting(clinic: Clinic) -> int:
    with clinic.session as session:
        return len(session.scalars(select(Hl7Merge)).all())


def merge_waiting(clinic: Clinic) -> int:
    with clinic.session as session:
        return patients.merge_waiting(session, clinic.vault, NOW)


def test_a_merge_waits_for_the_exams(clinic: Clinic) -> None:
    add_node(clinic)
    one = clinic.submit().study_id
    taken(clinic, made.merged(), made.merged())
    assert (merges(clinic), merge_waiting(clinic)) == ([], 0)
    assert waiting(clinic) == 4  # with and without the issuer of each
    other = clinic.submit(PatientID="P-0002", IssuerOfPatientID="HOSP").study_id
    assert (merge_waiting(clinic), merge_waiting(clinic)) == (1, 0)
    assert [prior.study_id for prior in opened(clinic, one).priors] == [other]
    with clinic.session as session:
        upkeep.forget_old(session, NOW + timedelta(days=91), 90)
    assert waiting(clinic) == 0


def test_a_merge_of_another_team_is_none_here(clinic: Clinic) -> None:
    add_node(clinic, team_id=clinic.outsider.team_id)
    clinic.submit()
    clinic.submit(PatientID="P-0002")
    taken(clinic, made.merged())
    assert merges(clinic) == []


def test_a_message_merges_at_most_a_hundred_pairs(clinic: Clinic) -> None:
    add_node(clinic)

    def message(pairs: int) -> bytes:
        segments = [made.header("ADT^A40^ADT_A39"), "EVN|A40|20260304090000"]
        for number in range(pairs):
            segments += [made.pid(number=f"A{number}"), f"MRG|B{number}"]
        return made.message(*segments)

    (ack,) = sent(clinic, message(101))
    assert (ack.code, ack.reason, waiting(clinic)) == ("AE", "too many merges", 0)
    taken(clinic, message(100))
    assert waiting(clinic) == 100


def test_a_merge_that_cannot_be_read_keeps_back_no_other(clinic: Clinic) -> None:
    only_on_sqlite(clinic.core.engine)
    add_node(clinic)
    taken(clinic, made.merged("P-8", "P-9"))
    with clinic.session as session:
        session.execute(text("UPDATE hl7_merges SET created = '0'"))
        session.commit()
    taken(clinic, made.merged())
    for number in ("P-0001", "P-0002", "P-8", "P-9"):
        clinic.submit(PatientID=number)
    assert merge_waiting(clinic) == 1
    assert len(merges(clinic)) == 1
    assert merge_waiting(clinic) == 0


def test_a_merge_whose_exam_is_on_a_damaged_page_keeps_back_no_other(clinic: Clinic) -> None:
    only_on_sqlite(clinic.core.engine)
    add_node(clinic)
    exam = clinic.submit(PatientID="P-9").study_id
    for number in range(40):
        clinic.submit(PatientID=f"X-{number}")
    taken(clinic, made.merged("P-8", "P-9"), made.merged())
    for number in ("P-0001", "P-0002", "P-8"):
        clinic.submit(PatientID=number)
    with clinic.session as session:
        mark = session.get_one(Study, exam).wrapped_key
    assert mark is not None
    assert overwrite_pages(clinic.core.engine, mark) == 1
    assert merge_waiting(clinic) == 1
    assert len(merges(clinic)) == 1
