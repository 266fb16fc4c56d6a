"""Reports of the hospital's by accession number: sealed, shown, corrected, and hidden at first."""

import pytest
from sqlalchemy import select

from portal.models import HospitalReport, HospitalReportState
from tests.portal.hl7.test_orders import stated
from tests.support.clinic import Clinic
from tests.support.core import Clock
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import CANARY, add_node, connected, listening, sent


def rows(clinic: Clinic) -> list[HospitalReport]:
    with clinic.session as session:
        return list(session.scalars(select(HospitalReport)))


@pytest.mark.parametrize("is_before", [True, False])
def test_the_text_of_a_report_is_sealed_and_shown(clinic: Clinic, is_before: bool) -> None:
    add_node(clinic)
    message = made.oru(f"Line one {CANARY}.\nZwei: Ärger.", charset="UNICODE UTF-8")
    if is_before:
        assert [ack.code for ack in sent(clinic, message)] == ["AA"]
    study_id = clinic.submit().study_id
    if not is_before:
        assert [ack.code for ack in sent(clinic, message)] == ["AA"]
    (report,) = stated(clinic, study_id).reports
    assert report.text == f"Line one {CANARY}.\nZwei: Ärger."
    assert (report.state, report.sender) == (HospitalReportState.FINAL, "Information system")
    (row,) = rows(clinic)
    assert CANARY.encode() not in row.sealed_text


def test_a_correction_stands_before_the_first_and_a_repetition_is_no_second(
    clinic: Clinic,
) -> None:
    add_node(clinic)
    study_id = clinic.submit().study_id
    clock = Clock()
    with listening(clinic, clock) as listens, connected(listens) as peer:
        for text, state in (("First.", "F"), ("First.", "F"), ("Second.", "C")):
            assert peer.send(made.oru(text, state=state)).code == "AA"
            clock.forward(minutes=1)
    found = stated(clinic, study_id).reports
    assert [(one.text, one.state.value) for one in found] == [
        ("Second.", "corrected"),
        ("First.", "final"),
    ]


@pytest.mark.parametrize("state", ["P", "R", "I", "X", ""])
def test_what_is_not_final_is_not_stored(clinic: Clinic, state: str) -> None:
    add_node(clinic)
    (ack,) = sent(clinic, made.oru(state=state))
    assert (ack.code, ack.reason, rows(clinic)) == ("AE", "not final", [])


def test_a_report_is_bounded(clinic: Clinic) -> None:
    add_node(clinic)
    (ack,) = sent(clinic, made.oru("\n".join(["x" * 20_000] * 2)))
    assert (ack.code, ack.reason, rows(clinic)) == ("AE", "too long", [])


def test_several_reports_of_one_message_go_each_to_its_exam_or_none_does(clinic: Clinic) -> None:
    add_node(clinic, accession_field="OBR-3")
    one = clinic.submit(AccessionNumber="A1").study_id
    two = clinic.submit(AccessionNumber="A2").study_id

    def message(second: str) -> bytes:
        pairs = []
        for number, state in (("A1", "F"), ("A2", second)):
            pairs += [f"OBR|1||{number}|CXR" + "|" * 21 + state, f"OBX|1|TX|R||Text {number}"]
        return made.message(made.header("ORU^R01"), made.pid(), *pairs)

    (ack,) = sent(clinic, message("P"))
    assert (ack.code, rows(clinic)) == ("AE", [])
    (ack,) = sent(clinic, message("F"))
    assert ack.code == "AA"
    assert [report.text for report in stated(clinic, one).reports] == ["Text A1"]
    assert [report.text for report in stated(clinic, two).reports] == ["Text A2"]


def test_a_report_of_another_patient_is_refused(clinic: Clinic) -> None:
    add_node(clinic)
    clinic.submit()
    (ack,) = sent(clinic, made.oru(patient=made.pid(number="P-0009")))
    assert (ack.code, ack.reason, rows(clinic)) == ("AE", "another patient", [])


def test_whom_findings_are_hidden_from_learns_that_there_is_one(clinic: Clinic) -> None:
    add_node(clinic)
    study_id = clinic.submit().study_id
    sent(clinic, made.oru(), made.orm())
    found = stated(clinic, study_id, hides=True)
    assert (found.reports, found.hides_report) == ((), True)
    assert found.order is not None
