"""The listener beside real connections: who is let in, torn frames, no answer, TLS, its limits, and
that nothing of a patient lies anywhere in the clear.
"""

import logging
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hl7apy.core import Message
from sqlalchemy import func, select

from portal.governance import clock, scheduler_signs
from portal.hl7 import listener, taking
from portal.models import AuditEvent, Hl7Merge, Hl7Message, Hl7Node, HospitalOrder, HospitalReport
from portal.services import Services
from tests.support.clinic import Clinic, after
from tests.support.core import Clock
from tests.support.dicom.certificates import made as certificates_made
from tests.support.hl7 import messages as made
from tests.support.hl7.listening import (
    CANARY,
    Ack,
    add_node,
    connected,
    listening,
    sent,
    settings_of,
)


def count(clinic: Clinic, table: Any) -> int:
    with clinic.session as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def refused(clinic: Clinic) -> list[str]:
    with clinic.session as session:
        rows = select(AuditEvent.detail).where(AuditEvent.event == "hl7_refused")
        found = session.scalars(rows.order_by(AuditEvent.seq)).all()
    return [detail.split('"reason":"')[1].split('"')[0] for detail in found]


def waits_for(condition: Any) -> bool:
    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        if condition():
            return True
        time.sleep(0.02)
    return False


def made_by_hl7apy() -> bytes:
    """An ADT A08 that the other end's package has built and found valid."""
    message = Message("ADT_A01", version="2.5.1")
    message.msh.msh_3, message.msh.msh_4 = "RIS", "HOSP"
    message.msh.msh_7, message.msh.msh_9 = "20260304090000", "ADT^A08^ADT_A01"
    message.msh.msh_10, message.msh.msh_11, message.msh.msh_18 = "API-1", "P", "UNICODE UTF-8"
    message.evn.evn_2 = "20260304090000"
    message.pid.pid_3 = "P-0001^^^HOSP^MR"
    message.pid.pid_5 = "MÜLLER^Ånna"
    message.pv1.pv1_2 = "E"
    message.validate()
    return message.to_er7().encode()


def test_what_the_other_end_has_built_is_taken_and_it_reads_the_answer(clinic: Clinic) -> None:
    node = add_node(clinic)
    study_id = clinic.submit().study_id
    (ack,) = sent(clinic, made_by_hl7apy())
    assert (ack.code, ack.control_id) == ("AA", "API-1")
    with clinic.session as session:
        row = session.scalars(
            select(AuditEvent).where(AuditEvent.event == "hl7_message_taken")
        ).one()
    assert (row.study_id, row.subject_id, row.address) == (study_id, node.id, "127.0.0.1")


def test_many_messages_go_on_one_connection_and_on_several_at_once(clinic: Clinic) -> None:
    add_node(clinic)
    codes = list[str]()
    with listening(clinic) as listens:

        def send(number: int) -> None:
            with connected(listens) as peer:
                for one in range(5):
                    ack = peer.send(
                        made.orm(accession=f"N{number}-{one}", control=f"{number}-{one}")
                    )
                    codes.append(ack.code)

        threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert codes == ["AA"] * 20
    assert count(clinic, HospitalOrder) == 20


def test_the_same_message_on_several_connections_at_once_is_applied_once(clinic: Clinic) -> None:
    add_node(clinic)
    codes = list[str]()
    message = made.oru(control="SAME")
    with listening(clinic) as listens:

        def send() -> None:
            with connected(listens) as peer:
                codes.append(peer.send(message).code)

        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert codes == ["AA"] * 6
    assert (count(clinic, HospitalReport), count(clinic, Hl7Message)) == (1, 1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x0b" + made.oru(f"Torn {CANARY}"), "torn"),
        (b"\x0b" + made.oru() + b"\x1c", "torn"),
        (made.oru(), "outside_frame"),
        (b"\x0b" + made.oru()[:50] + b"\x0b" + made.oru() + b"\x1c\r", "begun_again"),
        (b"\x0b" + made.oru() + b"\x1c\n", "bad_end"),
    ],
)
def test_a_torn_frame_is_not_answered_and_nothing_of_it_is_stored(
    clinic: Clinic, data: bytes, reason: str
) -> None:
    add_node(clinic)
    with listening(clinic) as listens, connected(listens) as peer:
        peer.write(data)
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.answer() == b""
        assert waits_for(lambda: refused(clinic) == [reason])
    assert (count(clinic, HospitalReport), count(clinic, Hl7Message)) == (0, 0)


def test_a_sender_that_got_no_answer_sends_again_and_nothing_is_applied_twice(
    clinic: Clinic,
) -> None:
    """Its connection ends before the answer, as by a firewall or a restart."""
    add_node(clinic)
    message = made.oru(control="K1")
    with listening(clinic) as listens:
        with connected(listens) as peer:
            peer.write(b"\x0b" + message + b"\x1c\r")
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert waits_for(lambda: count(clinic, Hl7Message) == 1)
        with connected(listens) as peer:
            assert peer.send(message).code == "AA"
    assert count(clinic, HospitalReport) == 1


def test_a_message_that_is_too_large_is_rejected_and_the_connection_ended(clinic: Clinic) -> None:
    add_node(clinic)
    with listening(clinic, PLEURA_HL7_MAX_MESSAGE_KB="4") as listens:
        with connected(listens) as peer:
            ack = peer.send(made.oru("x" * 5000, control="K1"))
            assert (ack.code, ack.reason, ack.control_id) == ("AR", "too large", "K1")
            assert peer.answer() == b""
        with connected(listens) as peer:
            assert peer.send(made.oru("x" * 3000)).code == "AA"
    assert refused(clinic) == ["too_large"]


def test_who_does_not_finish_a_message_is_left(clinic: Clinic) -> None:
    add_node(clinic)
    with listening(clinic, PLEURA_HL7_FRAME_SECONDS="1") as listens, connected(listens) as peer:
        peer.write(b"\x0bMSH|")
        assert peer.answer() == b""
        assert waits_for(lambda: refused(clinic) == ["too_slow"])


def test_an_address_of_no_node_is_not_read_from(clinic: Clinic) -> None:
    add_node(clinic, networks="10.1.2.3")
    with listening(clinic) as listens, connected(listens) as peer:
        peer.write(b"\x0b" + made.adt() + b"\x1c\r")
        assert peer.answer() == b""
        assert waits_for(lambda: refused(clinic) == ["connection"])


def test_more_connections_than_the_limit_are_closed(clinic: Clinic) -> None:
    add_node(clinic)
    with listening(clinic, PLEURA_HL7_MAX_CONNECTIONS="1") as listens, connected(listens) as first:
        assert first.send(made.adt()).code == "AA"
        with connected(listens) as second:
            assert second.answer() == b""
        assert first.send(made.adt()).code == "AA"
        assert waits_for(lambda: refused(clinic) == ["too_many"])


def client(files: Any, shows: Any | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files.authority))
    context.check_hostname = False
    if shows is not None:
        context.load_cert_chain(shows.certificate, shows.key)
    return context


def tls_options(files: Any) -> dict[str, str]:
    return {
        "PLEURA_HL7_CERTIFICATE_FILE": str(files.ours.certificate),
        "PLEURA_HL7_KEY_FILE": str(files.ours.key),
        "PLEURA_HL7_CA_FILE": str(files.authority),
    }


def test_by_tls_a_sender_shows_the_certificate_that_is_stated_of_it(
    clinic: Clinic, tmp_path: Path
) -> None:
    files = certificates_made(tmp_path)
    add_node(clinic, fingerprint=files.node.fingerprint)
    with listening(clinic, **tls_options(files)) as listens:
        with connected(listens, client(files, files.node)) as peer:
            assert peer.send(made.adt()).code == "AA"
        with connected(listens, client(files, files.other)) as peer:
            peer.write(b"\x0b" + made.adt() + b"\x1c\r")
            assert peer.answer() == b""
        with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):  # noqa: SIM117
            with connected(listens, client(files, None)) as peer:
                peer.send(made.adt())
        with connected(listens) as peer:  # without TLS
            peer.write(b"\x0b" + made.adt() + b"\x1c\r")
            assert not peer.answer().startswith(b"MSH")
        assert waits_for(lambda: set(refused(clinic)) == {"connection", "tls"})
        with connected(listens, client(files, files.node)) as peer:
            assert peer.send(made.adt()).code == "AA"
    assert count(clinic, Hl7Message) == 2


def test_by_tls_nobody_is_read_from_without_a_certificate(clinic: Clinic, tmp_path: Path) -> None:
    """Not even in the name of a node of which none is stated."""
    files = certificates_made(tmp_path)
    add_node(clinic)
    with listening(clinic, **tls_options(files)) as listens:
        for _ in range(2):
            with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):  # noqa: SIM117
                with connected(listens, client(files, None)) as peer:
                    peer.send(made.adt())
        assert waits_for(lambda: listens.counted["tls"] == 2)
    assert count(clinic, Hl7Message) == 0


def test_a_stop_waits_for_what_is_being_taken(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_node(clinic)
    begun = threading.Event()
    real = taking.APPLIED["ORU", "R01"]

    def slow(*given: Any) -> Any:
        begun.set()
        time.sleep(0.5)
        return real(*given)

    monkeypatch.setitem(taking.APPLIED, ("ORU", "R01"), slow)
    with listening(clinic) as listens, connected(listens) as peer:
        peer.write(b"\x0b" + made.oru() + b"\x1c\r")
        assert begun.wait(20)
        listens.stop()
        assert count(clinic, HospitalReport) == 1
        assert Ack(peer.answer()).code == "AA"


def test_it_gives_a_sign_merges_what_waits_and_removes_what_is_old(clinic: Clinic) -> None:
    add_node(clinic)
    settings = settings_of(clinic)
    services = Services.open(settings, Clock())
    with clinic.session as session:
        assert scheduler_signs.hl7_is_silent(session)
    clinic.submit()
    sent(clinic, made.merged())
    clinic.submit(PatientID="P-0002")
    listener.sign(services, clinic.core.engine, settings.hl7, 0)
    with clinic.session as session:
        assert scheduler_signs.hl7_works(session)
        assert not scheduler_signs.hl7_is_silent(session)
        events = session.scalars(select(AuditEvent.event)).all()
    assert "patients_merged" in events
    services.broker.close()


def test_a_clock_years_ahead_removes_nothing(clinic: Clinic) -> None:
    add_node(clinic)
    sent(clinic, made.orm(), made.oru(), made.merged())
    tables = (HospitalOrder, HospitalReport, Hl7Merge, Hl7Message)
    before = [count(clinic, table) for table in tables]
    assert all(before)
    settings = settings_of(clinic)
    services = Services.open(settings, lambda: after(days=4000))
    listener.sign(services, clinic.core.engine, settings.hl7, 0)
    assert [count(clinic, table) for table in tables] == before
    with clinic.session as session:
        assert scheduler_signs.hl7_works(session)
        clock.confirm(session, clinic.admin, after(days=4000))
    listener.sign(services, clinic.core.engine, settings.hl7, 0)
    assert [count(clinic, table) for table in tables] == [0, 0, 0, 0]
    services.broker.close()


def test_nothing_of_a_patient_is_in_logs_database_files_or_answers(
    clinic: Clinic,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One word in every place of every message, good ones, refused ones and torn ones."""
    caplog.set_level(logging.DEBUG)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    add_node(clinic)
    clinic.submit(AccessionNumber=f"A{CANARY}", PatientID=f"P{CANARY}")
    number = f"P{CANARY}^^^{CANARY}^MR"
    patient = made.pid(f"{CANARY}^{CANARY}\\Q{CANARY}\\", number=number)
    place = f"{CANARY}^{CANARY}"
    usual = {"patient": patient, "accession": f"A{CANARY}"}
    every = [
        made.adt(patient=patient),
        made.adt(patient=made.pid(CANARY, number=number, born=CANARY)),
        made.adt(patient=made.pid("Ü" + CANARY)),
        made.adt(CANARY[:3], patient),
        made.adt(patient=patient, application=CANARY),
        made.adt(patient=patient, version=CANARY),
        made.adt(patient=patient, charset=CANARY),
        made.adt(patient=f"{patient}\r{CANARY}|{CANARY}"),
        made.merged(f"P{CANARY}", f"Q{CANARY}"),
        made.orm(place=place, **usual),
        made.omi(place=place, **usual),
        made.orm(place=place, patient=made.pid(number=f"X{CANARY}"), accession=f"A{CANARY}"),
        made.oru(f"{CANARY} \\C2842\\ \\M{CANARY}\\", **usual),
        made.oru(f"{CANARY}", state=CANARY, **usual),
    ]
    with listening(clinic) as listens:
        with connected(listens) as peer:
            answers = [peer.send(one) for one in every]
        for torn in (b"\x0b" + every[-1], CANARY.encode()):
            with connected(listens) as peer:
                peer.write(torn)
                peer.socket.shutdown(socket.SHUT_WR)
                peer.answer()
    assert [one.code for one in answers].count("AA") == 5
    # What names the sender and the type is repeated to it; nothing else is.
    for index, ack in enumerate(answers):
        assert index in (3, 4) or CANARY.encode() not in ack.raw
    assert CANARY not in caplog.text
    assert list(temporary.iterdir()) == []
    stored = [path for path in clinic.core.data_dir.rglob("*") if path.is_file()]
    assert stored
    assert [path for path in stored if CANARY.encode() in path.read_bytes()] == []
    with clinic.session as session:
        for table in (AuditEvent, Hl7Message, Hl7Node, HospitalOrder, HospitalReport):
            rows = session.execute(select(*table.__table__.columns)).all()
            assert CANARY not in repr(rows)
