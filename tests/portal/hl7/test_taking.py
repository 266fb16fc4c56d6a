"""What becomes of a message: AA after the commit, AE, AR, and the same message again."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select, text

from portal import database
from portal.hl7 import admission, taking
from portal.hl7.admission import Caller
from portal.models import AuditEvent, Hl7Message, HospitalOrder, Study
from portal.services import Services
from tests.support.clinic import Clinic
from tests.support.core import Clock
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import (
    CANARY,
    Ack,
    add_node,
    connected,
    listening,
    settings_of,
)
from tests.support.queries.damaged_pages import overwrite_pages
from tests.support.wait import only_on_postgresql, only_on_sqlite, stopped_once


@pytest.fixture
def take(clinic: Clinic) -> Callable[..., Ack]:
    """Give a message to the part behind the socket."""
    settings = settings_of(clinic)
    services = Services.open(settings, Clock())
    refusals = admission.Refusals()

    def give(raw: bytes, address: str = "127.0.0.1") -> Ack:
        caller = Caller(address)
        answer = taking.take(services, clinic.core.sessions, settings.hl7, refusals, caller, raw)
        return Ack(answer)

    return give


def count(clinic: Clinic, table: Any) -> int:
    with clinic.session as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def events(clinic: Clinic, event: str) -> list[AuditEvent]:
    with clinic.session as session:
        rows = select(AuditEvent).where(AuditEvent.event == event).order_by(AuditEvent.seq)
        return list(session.scalars(rows))


@pytest.mark.parametrize(
    ("raw", "code", "reason", "error"),
    [
        (made.adt(application="NOBODY"), "AR", "unknown sender", "MSH^1^3|204^"),
        (made.adt(facility="OTHER"), "AR", "unknown sender", "MSH^1^3|204^"),
        (made.adt(version="2.2"), "AR", "version", "MSH^1^12|203^"),
        (made.adt(version="3"), "AR", "version", "MSH^1^12|203^"),
        (made.adt(processing="T"), "AR", "processing id", "MSH^1^11|202^"),
        (made.adt("A01"), "AR", "event", "MSH^1^9|201^"),
        (made.message(made.header("SIU^S12")), "AR", "type", "MSH^1^9|200^"),
        (made.message(made.header("")), "AR", "type", "MSH^1^9|200^"),
        (made.adt(patient="PID|1||||A^B"), "AE", "no patient id", "PID^1^3|101^"),
        (made.adt(patient=made.pid(born="1963-XX")), "AE", "bad birth date", "PID^1^7|102^"),
        (made.adt("A40"), "AE", "no patient id", "MRG^1^1|101^"),
        (made.merged("P-1", "P-1"), "AE", "same patient", "MRG^1^1|207^"),
        (made.orm(accession=""), "AE", "no accession", "OBR^1^18|101^"),
        (made.message(made.header("ORM^O01"), made.pid()), "AE", "no order", "OBR^1^1|100^"),
        (made.oru(state="P"), "AE", "not final", "OBR^1^25|103^"),
        (made.oru(kind="ED"), "AE", "no text", "OBX^1^5|101^"),
        (made.adt(charset="UNICODE"), "AE", "charset unknown", "MSH^1^18|103^"),
        (made.adt(patient=made.pid("MÜLLER")), "AE", "wrong charset", "MSH^1^18|102^"),
    ],
)
def test_what_is_not_taken_has_its_answer(
    clinic: Clinic, take: Callable[..., Ack], raw: bytes, code: str, reason: str, error: str
) -> None:
    add_node(clinic)
    ack = take(raw)
    assert (ack.code, ack.reason) == (code, reason)
    assert error in ack.error
    assert count(clinic, Hl7Message) == 0
    (row,) = events(clinic, "hl7_refused")
    assert row.detail == f'{{"count":1,"reason":"{reason.replace(" ", "_")}"}}'


def test_an_answer_names_who_sent_what_and_repeats_the_control_id(
    clinic: Clinic, take: Callable[..., Ack]
) -> None:
    add_node(clinic)
    ack = take(made.adt(control="K-1"))
    assert (ack.code, ack.control_id, ack.error) == ("AA", "K-1", "")
    first = ack.raw.split(b"\r")[0].decode().split("|")
    assert first[2:6] == ["PLEURA", "PLEURA", "RIS", "HOSP"]
    assert (first[8], first[10], first[11]) == ("ACK^A08^ACK", "P", "2.5.1")


@pytest.mark.parametrize("version", ["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.8"])
def test_the_other_end_reads_answers_of_every_version(
    clinic: Clinic, take: Callable[..., Ack], version: str
) -> None:
    add_node(clinic)
    assert take(made.adt(version=version)).code == "AA"
    refused = take(made.adt(version=version, patient="PID|1"))
    assert refused.code == "AE"
    assert "101" in refused.error


def test_the_same_message_again_is_answered_and_not_applied_again(
    clinic: Clinic, take: Callable[..., Ack]
) -> None:
    add_node(clinic)
    clinic.submit()
    for at in ("20260304090000", "20260304090100"):  # its time may be that of the second try
        ack = take(made.adt(control="K1", at=at, patient=made.pid("OTHER^NAME")))
        assert (ack.code, ack.control_id) == ("AA", "K1")
    assert len(events(clinic, "patient_data_corrected")) == 1
    assert count(clinic, Hl7Message) == 1


def test_the_same_message_that_comes_meanwhile_on_another_connection_is_no_failure(
    clinic: Clinic, take: Callable[..., Ack]
) -> None:
    """It is noted between the look for it and the note. SQLite lets nobody write meanwhile."""
    only_on_postgresql(clinic.core.engine)
    add_node(clinic)
    message, others = made.orm(control="K1"), list[str]()

    def on_another() -> None:
        others.append(take(message).code)

    with stopped_once(clinic.core.engine, "FROM hl7_messages", on_another):
        assert take(message).code == "AA"
    assert others == ["AA"]
    assert (count(clinic, Hl7Message), count(clinic, HospitalOrder)) == (1, 1)


def test_a_control_id_of_another_message_is_an_error_and_no_duplicate(
    clinic: Clinic, take: Callable[..., Ack]
) -> None:
    add_node(clinic)
    assert take(made.orm("S", control="K1")).code == "AA"
    other = take(made.orm("R", control="K1"))
    assert (other.code, other.reason) == ("AE", "control id used")
    add_node(clinic, application="HIS")
    assert take(made.orm("R", control="K1", application="HIS")).code == "AA"  # its own numbers


def test_what_failed_is_tried_again_under_the_same_control_id(
    clinic: Clinic, take: Callable[..., Ack]
) -> None:
    node = add_node(clinic, accession_field="OBR-2")
    raw = made.message(made.header("ORM^O01", control="K1"), made.pid(), "ORC|NW", "OBR|1||F77|CXR")
    assert take(raw).reason == "no accession"
    with clinic.session as session:
        session.execute(text("UPDATE hl7_nodes SET accession_field = 'OBR-3'"))
        session.commit()
    assert take(raw).code == "AA"
    assert node.accession_field == "OBR-2"
    assert count(clinic, HospitalOrder) == 1


def test_an_address_a_switched_off_node_and_a_stranger_look_alike(
    clinic: Clinic, take: Callable[..., Ack]
) -> None:
    add_node(clinic)
    add_node(clinic, application="TLS", fingerprint="a" * 64)
    errors = {
        take(made.adt(control="1", application=name), address).error
        for name, address in (
            ("RIS", "10.0.0.1"),
            ("TLS", "127.0.0.1"),
            ("NOBODY", "127.0.0.1"),
        )
    }
    with clinic.session as session:
        session.execute(text("UPDATE hl7_nodes SET disabled_at = created"))
        session.commit()
    errors.add(take(made.adt(control="1")).error)
    assert len(errors) == 1


def test_where_the_database_fails_nothing_is_half_stored_and_the_sender_tries_again(
    clinic: Clinic, take: Callable[..., Ack]
) -> None:
    add_node(clinic)
    study_id = clinic.submit().study_id
    with clinic.session as session:
        before = session.get_one(Study, study_id).sealed_phi
        session.execute(text("ALTER TABLE hl7_messages RENAME TO elsewhere"))
        session.commit()
    raw = made.adt(control="K1", patient=made.pid("OTHER^NAME"))
    ack = take(raw)
    assert (ack.code, "OTHER" in ack.raw.decode()) == ("AE", False)
    with clinic.session as session:
        session.execute(text("ALTER TABLE elsewhere RENAME TO hl7_messages"))
        session.commit()
        assert session.get_one(Study, study_id).sealed_phi == before
    assert take(raw).code == "AA"


def test_refusals_fill_no_log(clinic: Clinic, take: Callable[..., Ack]) -> None:
    add_node(clinic)
    for _ in range(20):
        assert take(made.adt("A01")).code == "AR"
    assert len(events(clinic, "hl7_refused")) == 1


def test_an_error_that_nobody_expected_is_named_by_its_kind_alone(
    clinic: Clinic,
    take: Callable[..., Ack],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    add_node(clinic)

    def fail(_context: Any, message: Any) -> Any:
        raise ValueError(message.segment("PID").text(5))

    monkeypatch.setitem(taking.APPLIED, ("ADT", "A08"), fail)
    ack = take(made.adt(patient=made.pid(CANARY)))
    assert (ack.code, ack.reason) == ("AE", "failed")
    assert "ValueError" in caplog.text
    assert CANARY not in caplog.text + ack.raw.decode()


def test_beyond_its_quota_a_node_is_to_try_again_and_no_other_is(clinic: Clinic) -> None:
    add_node(clinic)
    add_node(clinic, application="HIS")
    clock = Clock()
    with (
        listening(clinic, clock, PLEURA_HL7_MESSAGES_PER_HOUR="3") as listens,
        connected(listens) as peer,
    ):
        assert [peer.send(made.orm()).code for _ in range(3)] == ["AA"] * 3
        again = made.orm()
        ack = peer.send(again)
        assert (ack.code, ack.reason) == ("AE", "too many messages")
        assert peer.send(made.orm(application="HIS")).code == "AA"
        clock.forward(minutes=21)
        assert peer.send(again).code == "AA"


@pytest.mark.parametrize(
    ("table", "column", "message"),
    [
        ("hospital_orders", "wrapped_key", made.orm("R", at="20260304100000")),
        ("hospital_orders", "sealed_location", made.orm("R", place="", at="20260304100000")),
        ("hospital_reports", "sealed_text", made.oru()),
        ("studies", "sealed_phi", made.adt(patient=made.pid("OTHER^NAME"))),
    ],
)
def test_what_is_damaged_here_has_a_final_answer_and_holds_up_no_other(
    clinic: Clinic, take: Callable[..., Ack], table: str, column: str, message: bytes
) -> None:
    add_node(clinic)
    clinic.submit()
    assert [take(one).code for one in (made.orm(), made.oru())] == ["AA", "AA"]
    with clinic.session as session:
        session.execute(text(f"UPDATE {table} SET {column} = :bad"), {"bad": b"x" * 60})
        session.commit()
    ack = take(message)
    assert (ack.code, ack.reason) == ("AR", "damaged")
    assert take(made.orm(accession="A-2")).code == "AA"


def test_a_damaged_page_has_a_final_answer_and_a_database_that_is_away_has_none(
    clinic: Clinic, take: Callable[..., Ack], monkeypatch: pytest.MonkeyPatch
) -> None:
    only_on_sqlite(clinic.core.engine)
    add_node(clinic)
    assert take(made.orm()).code == "AA"
    with monkeypatch.context() as patch:
        patch.setattr(database, "_BUSY_SECONDS", 0.1)
        with clinic.core.engine.begin():
            assert take(made.orm("R", at="20260304100000")).reason == "not now"
    with clinic.session as session:
        mark = session.scalars(select(HospitalOrder.wrapped_key)).one()
    assert overwrite_pages(clinic.core.engine, mark) == 1
    ack = take(made.orm("R", at="20260304100000"))
    assert (ack.code, ack.reason) == ("AR", "damaged")
