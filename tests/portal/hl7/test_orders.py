"""Orders by accession number: priority and location, before the picture and after it."""

from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select

from portal.governance import purges
from portal.hl7 import case_view, upkeep
from portal.hl7.case_view import Stated
from portal.models import Hl7Message, HospitalOrder, HospitalReport, OrderPriority, PurgeReason
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import add_node, sent
from tests.support.queries.damaged_pages import overwrite_pages
from tests.support.wait import only_on_sqlite


def stated(clinic: Clinic, study_id: UUID, *, hides: bool = False) -> Stated:
    with clinic.session as session:
        return case_view.of_case(session, clinic.vault, clinic.mate, study_id, hides_findings=hides)


def rows(clinic: Clinic) -> list[HospitalOrder]:
    with clinic.session as session:
        return list(session.scalars(select(HospitalOrder)))


@pytest.mark.parametrize("is_before", [True, False])
@pytest.mark.parametrize(
    ("message", "place"), [(made.orm(), "ED, 12, A"), (made.omi(), "ICU, 3, B")]
)
def test_an_order_is_shown_whether_it_came_before_the_picture_or_after_it(
    clinic: Clinic, is_before: bool, message: bytes, place: str
) -> None:
    add_node(clinic)
    if is_before:
        (ack,) = sent(clinic, message)
        study_id = clinic.submit().study_id
    else:
        study_id = clinic.submit().study_id
        (ack,) = sent(clinic, message)
    assert ack.code == "AA"
    order = stated(clinic, study_id).order
    assert order is not None
    assert (order.priority, order.location) == (OrderPriority.STAT, place)
    assert (order.sender, order.is_cancelled) == ("Information system", False)
    (row,) = rows(clinic)
    assert place.encode() not in row.sealed_location


@pytest.mark.parametrize(
    ("written", "priority"),
    [
        ("S", OrderPriority.STAT),
        ("stat", OrderPriority.STAT),
        ("A", OrderPriority.ASAP),
        ("R", OrderPriority.ROUTINE),
        ("T10", OrderPriority.ROUTINE),
        ("", None),
        ('""', None),
    ],
)
def test_priorities(clinic: Clinic, written: str, priority: OrderPriority | None) -> None:
    add_node(clinic)
    assert {ack.code for ack in sent(clinic, made.orm(written), made.omi(written))} == {"AA"}
    assert [row.priority for row in rows(clinic)] == [priority]


def test_a_change_keeps_what_it_leaves_out_and_a_cancellation_is_shown(clinic: Clinic) -> None:
    add_node(clinic)
    study_id = clinic.submit().study_id
    sent(
        clinic,
        made.orm("S", at="20260304090000"),
        made.orm("", place="", at="20260304091000", control_code="XO"),
        made.orm("R", place="WARD^1", at="20260304080000"),  # older
    )
    order = stated(clinic, study_id).order
    assert order is not None
    assert (order.priority, order.location) == (OrderPriority.STAT, "ED, 12, A")
    sent(clinic, made.orm("", place='""', at="20260304092000", control_code="CA"))
    order = stated(clinic, study_id).order
    assert order is not None
    assert (order.is_cancelled, order.location) == (True, "")


def test_several_orders_of_one_message_are_several_rows(clinic: Clinic) -> None:
    add_node(clinic, accession_field="OBR-3")
    segments = [made.header("ORM^O01"), made.pid()]
    for number, priority in (("A1", "S"), ("A2", "R")):
        segments += [
            f"ORC|NW||||||^^^^^{priority}",
            f"OBR|1||{number}|CXR",
        ]
    (ack,) = sent(clinic, made.message(*segments))
    assert ack.code == "AA"
    assert {row.priority for row in rows(clinic)} == {OrderPriority.STAT, OrderPriority.ROUTINE}


def test_an_order_of_another_patient_is_refused_or_not_shown(clinic: Clinic) -> None:
    add_node(clinic)
    first = clinic.submit().study_id
    stranger = made.pid(number="P-0009^^^HOSP^MR")
    (ack,) = sent(clinic, made.orm(patient=stranger))
    assert (ack.code, ack.reason, rows(clinic)) == ("AE", "another patient", [])
    (ack,) = sent(clinic, made.orm(accession="A-99", patient=stranger))
    assert ack.code == "AA"
    second = clinic.submit(AccessionNumber="A-99").study_id
    found = stated(clinic, second)
    assert (found.order, found.of_another) == (None, True)
    assert stated(clinic, first) == Stated()


def test_an_order_under_an_id_that_is_merged_is_the_exams(clinic: Clinic) -> None:
    add_node(clinic)
    study_id = clinic.submit().study_id
    clinic.submit(PatientID="P-0002", AccessionNumber="A-2")
    acks = sent(
        clinic, made.merged("P-0002", "P-0001"), made.orm(patient=made.pid(number="P-0002"))
    )
    assert [ack.code for ack in acks] == ["AA", "AA"]
    assert stated(clinic, study_id).order is not None


def test_another_team_sees_none_of_it(clinic: Clinic) -> None:
    add_node(clinic)
    elsewhere = clinic.submit(actor=clinic.outsider).study_id
    sent(clinic, made.orm())
    with clinic.session as session:
        found = case_view.of_case(
            session, clinic.vault, clinic.outsider, elsewhere, hides_findings=False
        )
    assert found == Stated()


def test_a_purge_takes_order_and_report_with_it_and_names_them_in_its_proof(
    clinic: Clinic,
) -> None:
    add_node(clinic)
    study_id = clinic.submit().study_id
    sent(clinic, made.orm(), made.oru(), made.orm(accession="A-2"))
    with clinic.session as session:
        proof = purges.purge(
            session,
            clinic.vault,
            clinic.admin,
            study_id,
            after(hours=1),
            reason=PurgeReason.TEST_DATA,
        )
        assert proof is not None
        assert '"sealed_values":4' in proof.proof  # exam, picture, order and report
        assert purges.residual_data(session, clinic.vault, study_id).is_empty
    assert len(rows(clinic)) == 1


def test_an_order_whose_number_another_exam_has_too_survives_a_purge(clinic: Clinic) -> None:
    add_node(clinic)
    study_id, other = clinic.submit().study_id, clinic.submit().study_id
    sent(clinic, made.orm())
    with clinic.session as session:
        purges.purge(
            session,
            clinic.vault,
            clinic.admin,
            study_id,
            after(hours=1),
            reason=PurgeReason.TEST_DATA,
        )
    assert stated(clinic, other).order is not None


def test_what_no_exam_came_for_is_removed_after_its_days(clinic: Clinic) -> None:
    add_node(clinic)
    clinic.submit()
    sent(clinic, made.orm(), made.orm(accession="A-2"), made.oru(accession="A-3"))
    with clinic.session as session:
        assert upkeep.forget_old(session, NOW + timedelta(days=89), 90) == 0
        assert upkeep.forget_old(session, NOW + timedelta(days=91), 90) == 5
    assert len(rows(clinic)) == 1


def test_old_orders_on_a_damaged_page_keep_back_nothing_else(clinic: Clinic) -> None:
    only_on_sqlite(clinic.core.engine)
    add_node(clinic)
    sent(clinic, *(made.orm(accession=f"A-{number}") for number in range(40)))
    sent(clinic, made.oru())
    assert overwrite_pages(clinic.core.engine, rows(clinic)[0].wrapped_key) == 1
    with clinic.session as session:
        gone = upkeep.forget_old(session, NOW + timedelta(days=91), 90)
        assert session.scalars(select(HospitalReport.id)).all() == []
        assert session.scalars(select(Hl7Message.control_key)).all() == []
    assert 41 + 1 < gone < 41 + 1 + 40  # messages, the report, and orders of other pages
