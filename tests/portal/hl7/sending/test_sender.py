"""Reports that are sent: accepted, tried again or failed by the target's answer, and by none."""

import logging
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select

from portal.access import Denied
from portal.errors import Conflict
from portal.hl7.case_view import of_case
from portal.hl7.sending import ledger, overview, targets
from portal.models import (
    AuditEvent,
    ReportMoment,
    ReportSend,
    ReportTarget,
    SendState,
)
from portal.sends import queue
from tests.portal.reading.test_signing import sign
from tests.support.clinic import Clinic, after
from tests.support.core import NOW, Clock
from tests.support.hl7.listening import CANARY, add_node, listening
from tests.support.hl7.receiving import (
    Answer,
    Receiver,
    ack,
    add_target,
    due,
    own_address,
    running,
    sending,
    sends,
    sent,
)


def events(clinic: Clinic, beginning: str = "report_send_") -> list[str]:
    with clinic.session as session:
        found = session.scalars(
            select(AuditEvent.event)
            .where(AuditEvent.event.startswith(beginning))
            .order_by(AuditEvent.seq)
        )
        return [one.removeprefix(beginning) for one in found]


def one_attempt(clinic: Clinic, *answers: Answer | None, holds: bool = True) -> ReportSend:
    """A signed exam's report, sent once to who answers so."""
    with (
        running(Receiver(*answers, holds=holds)) as receiver,
        sending(clinic, receiver.port, seconds=0.5) as sender,
    ):
        target = add_target(clinic, receiver.port)
        sign(clinic, clinic.done())
        return sent(clinic, sender, target)


def test_a_signed_exam_is_sent_once_as_a_final_report(clinic: Clinic) -> None:
    with (
        running(Receiver()) as receiver,
        sending(clinic, receiver.port) as sender,
    ):
        target = add_target(clinic, receiver.port)
        sign(clinic, clinic.done())
        send = sent(clinic, sender, target)
        assert sender.look() == 0
        assert not sender.step(target.id)
    assert (send.state, send.reason, send.answer, send.attempts) == (
        SendState.PROVEN,
        "",
        "AA",
        1,
    )
    (message,) = receiver.messages
    assert message.msh.msh_9.to_er7() == "ORU^R01^ORU_R01"
    assert message.msh.msh_5.to_er7() == "RIS"
    text = receiver.raw[0].decode()
    assert "|P-0001^^^HOSP^MR|" in text
    assert "PHANTOM^ONE" in text
    assert "Research use only" in text
    assert events(clinic) == ["begun", "accepted"]


@pytest.mark.parametrize(
    ("answer", "reason", "codes"),
    [
        (ack("AE", "Busy"), "answered_error", "AE"),
        (ack("AE", "", "ERR||PID^1^3|102^Type^HL70357|E"), "answered_error", "AE 102 PID-3"),
        (ack("AE", "", "ERR||MSH^1^18|103^Set^HL70357|E"), "answered_error", "AE 103 MSH-18"),
        (None, "no_answer", ""),
        (lambda one: ack()(one)[:-2], "no_answer", ""),
        (lambda one: ack()(one)[:-2] + b"\x1c\x0b", "torn_answer", ""),
        (lambda one: b"HTTP/1.1 400 Bad Request\r\n\r\n", "torn_answer", ""),
        (lambda one: b"\x0bPID|1\r\x1c\x0d", "no_answer_message", ""),
        (ack("AA", control="ANOTHER"), "other_control_id", ""),
        (ack("AA", "Grün", charset="ASCII"), "answer_charset", ""),
        (ack("XX"), "no_answer_message", ""),
    ],
)  # fmt: skip
def test_an_error_and_an_answer_that_is_none_are_tried_again(
    clinic: Clinic, answer: Answer | None, reason: str, codes: str
) -> None:
    send = one_attempt(clinic, answer)
    assert (send.state, send.reason, send.answer) == (SendState.WAITING, reason, codes)
    assert send.finished_at is None
    assert events(clinic) == ["begun"]


def test_a_connection_that_is_ended_is_tried_again(clinic: Clinic) -> None:
    cut = one_attempt(clinic, lambda one: ack()(one)[:20], holds=False)
    assert (cut.state, cut.reason) == (SendState.WAITING, "torn_answer")


def test_a_refusal_fails_with_its_reason_and_can_be_tried_again(clinic: Clinic) -> None:
    refusal = ack("AR", "Unknown order for PHANTOM", "ERR||OBR^1^3|204^Unknown key^HL70357|E")
    with (
        running(Receiver(refusal, ack())) as receiver,
        sending(clinic, receiver.port) as sender,
    ):
        target = add_target(clinic, receiver.port)
        sign(clinic, clinic.done())
        send = sent(clinic, sender, target)
        assert (send.state, send.reason) == (SendState.FAILED, "answered_refused")
        with clinic.session as session:
            (line,) = overview.sends(session, clinic.vault, clinic.admin, NOW).lines
            assert (line.answer, line.remark) == ("AR 204 OBR-3", "Unknown order for …")
            assert line.can_be_tried
            for actor in (clinic.mate, clinic.owner, clinic.auditor):
                with pytest.raises(Denied):
                    overview.again(session, actor, send.id, NOW)
            overview.again(session, clinic.admin, send.id, NOW)
        assert sent(clinic, sender, target).state is SendState.PROVEN
        with clinic.session as session, pytest.raises(Conflict):
            overview.again(session, clinic.admin, send.id, NOW)
    first, second = receiver.messages
    assert first.msh.msh_10.to_er7() == second.msh.msh_10.to_er7()  # it may have the first one
    assert events(clinic) == ["begun", "failed", "again", "begun", "accepted"]


def test_what_was_dropped_hides_nothing_that_failed(clinic: Clinic) -> None:
    with running(Receiver(ack("AR"))) as receiver, sending(clinic, receiver.port) as sender:
        target = add_target(clinic, receiver.port)
        study_id = clinic.done()
        sign(clinic, study_id)
        failed = sent(clinic, sender, target)
        with clinic.session as session:
            for _ in range(overview.MOST):
                because = (ReportMoment.RETRACTION, uuid4(), after(hours=1))
                ledger.add(session, target.id, study_id, *because)
            session.flush()
            for one in session.scalars(select(ReportSend).where(ReportSend.attempts == 0)).all():
                ledger.settle_dropped(session, one, "unchanged", after(hours=1))
            session.commit()
            found = overview.sends(session, clinic.vault, clinic.admin, after(hours=2))
    assert found.lines[0].id == failed.id
    assert len(found.lines) == overview.MOST


def test_after_the_last_attempt_it_has_failed(clinic: Clinic) -> None:
    with sending(clinic, 9) as sender:
        target = add_target(clinic, 9)
        sign(clinic, clinic.done())
        sender.look()
        for _ in range(queue.MOST_ATTEMPTS):
            due(clinic)
            assert sender.step(target.id)
        assert not sender.step(target.id)
    (send,) = sends(clinic)
    assert (send.state, send.reason) == (SendState.FAILED, "no_connection")


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"PLEURA_OUTGOING_HOSTS": "private:10.9.9.9:2575"}, "not_allowed"),
        ({"PLEURA_HL7_PLAIN": "no"}, "plain_not_allowed"),
    ],
)
def test_who_may_not_be_called_is_not_called(
    clinic: Clinic, environ: dict[str, str], reason: str
) -> None:
    with (
        running(Receiver()) as receiver,
        sending(clinic, receiver.port, **environ) as sender,
    ):
        target = add_target(clinic, receiver.port)
        sign(clinic, clinic.done())
        send = sent(clinic, sender, target)
    assert (send.state, send.reason, receiver.raw) == (SendState.WAITING, reason, [])


def test_a_target_that_is_off_gets_what_came_meanwhile_and_one_that_ended_nothing(
    clinic: Clinic,
) -> None:
    with (
        running(Receiver()) as receiver,
        sending(clinic, receiver.port) as sender,
    ):
        target = add_target(clinic, receiver.port)
        with clinic.session as session:
            targets.switch(session, clinic.admin, target.id, NOW, on=False)
        sign(clinic, clinic.done())
        assert sender.look() == 0
        with clinic.session as session:
            targets.switch(session, clinic.admin, target.id, NOW, on=True)
        assert sender.look() == 1
        with clinic.session as session:
            targets.end(session, clinic.admin, target.id, NOW)
        assert not sender.step(target.id)
        sign(clinic, clinic.done(), finding="left")
        assert sender.look() == 0
    (send,) = sends(clinic)
    assert (send.state, send.reason, receiver.raw) == (SendState.DROPPED, "target_ended", [])


def test_while_the_clock_is_wrong_nothing_is_sent(clinic: Clinic) -> None:
    clock = Clock()
    with (
        running(Receiver()) as receiver,
        sending(clinic, receiver.port, clock) as sender,
    ):
        target = add_target(clinic, receiver.port)
        sign(clinic, clinic.done())
        assert sender.look() == 1
        clock.forward(days=30)
        assert sender.look() == 0
        assert sender.step(target.id)
        (send,) = sends(clinic)
        assert (send.state, send.reason, receiver.raw) == (SendState.WAITING, "clock", [])
        clock.forward(days=-30)
        assert sent(clinic, sender, target).state is SendState.PROVEN


def test_our_own_listener_takes_our_reports(clinic: Clinic) -> None:
    study_id = clinic.done()
    add_node(clinic, application="PLEURA", facility="PLEURA", networks=own_address())
    with (
        listening(clinic, PLEURA_HL7_HOST=own_address(), PLEURA_HL7_PLAIN="yes") as listens,
        sending(clinic, listens.port) as sender,
    ):
        target = add_target(clinic, listens.port)
        sign(clinic, study_id)
        assert sent(clinic, sender, target).state is SendState.PROVEN
    with clinic.session as session:
        stated = of_case(session, clinic.vault, clinic.mate, study_id, hides_findings=False)
    (report,) = stated.reports
    assert report.text.startswith("Chest X-ray report\nFinal – signed by Test mate")
    assert report.text.endswith("Research use only – not a medical device.")


def test_nothing_of_a_patient_is_in_logs_rows_or_files(
    clinic: Clinic,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    caplog.set_level(logging.DEBUG)
    named = {
        "PatientName": f"{CANARY}^ANN",
        "PatientID": f"P{CANARY}",
        "AccessionNumber": f"A{CANARY}",
    }
    study_id = clinic.submit(**named).study_id
    clinic.segment(clinic.render(study_id))
    refusal = ack("AR", f"No order of {CANARY}, A{CANARY}", f"ERR||{CANARY}^1^3|{CANARY}^x|E")
    answers = (ack("AE", CANARY), ack("AA", control=CANARY), lambda one: CANARY.encode(), refusal)
    with (
        running(Receiver(*answers)) as receiver,
        sending(clinic, receiver.port) as sender,
    ):
        target = add_target(clinic, receiver.port)
        sign(clinic, study_id, comment=f"Says {CANARY}")
        for _ in answers:
            sent(clinic, sender, target)
    assert len(receiver.raw) == len(answers)
    assert all(one.count(CANARY.encode()) > 3 for one in receiver.raw)
    assert CANARY not in caplog.text
    assert list(temporary.iterdir()) == []
    stored = [path for path in clinic.core.data_dir.rglob("*") if path.is_file()]
    assert stored
    assert [path for path in stored if CANARY.encode() in path.read_bytes()] == []
    (send,) = sends(clinic)
    assert (send.state, send.answer) == (SendState.FAILED, "AR")
    with clinic.session as session:
        for table in (AuditEvent, ReportSend, ReportTarget):
            rows = session.execute(select(*table.__table__.columns)).all()
            assert CANARY not in repr(rows)
        (line,) = overview.sends(session, clinic.vault, None, after(minutes=1)).lines
    assert line.remark.startswith("No order of …")
    assert CANARY not in line.remark
