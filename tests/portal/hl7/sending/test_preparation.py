"""What is sent of an exam, and what is not: final and corrected, what the policy hides, and why a
send waits or is dropped.
"""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from portal.governance import purges
from portal.hl7.sending import overview
from portal.models import (
    AiShown,
    Language,
    ModelVersion,
    PurgeReason,
    ReportSend,
    ReportTarget,
    RetractionReason,
    SendState,
    Study,
    TeamChoices,
)
from portal.operations import integrity
from tests.portal.reading.test_signing import add, another_reader, sign
from tests.support.clinic import Clinic, after
from tests.support.core import NOW, Clock
from tests.support.hl7.receiving import (
    Receiver,
    ack,
    add_target,
    due,
    running,
    sending,
    sends,
    sent,
)
from tests.support.second_reads.readers import ask


def choose(clinic: Clinic, **values: Any) -> None:
    with clinic.session as session:
        team = clinic.owner.team_id
        row = session.get(TeamChoices, team) or TeamChoices(team_id=team)
        for name, value in values.items():
            setattr(row, name, value)
        session.add(row)
        session.commit()


def retract(clinic: Clinic, now: Any = None) -> None:
    with clinic.session as session:
        session.execute(
            update(ModelVersion).values(
                retracted_at=now or after(minutes=5),
                retraction_reason=RetractionReason.WRONG_RESULTS,
            )
        )
        session.commit()


def parts(message: Any) -> dict[str, str]:
    """The observations of a message: value and unit by code and way."""
    found = {}
    for line in message.to_er7().split("\r"):
        fields = line.split("|")
        if fields[0] == "OBX":
            way = fields[17].split("^")[0]
            found[f"{fields[3].split('^')[0]} {way}"] = f"{fields[5]} {fields[6]}".strip()
    return found


def states(receiver: Receiver) -> list[str]:
    return [
        line.split("|")[25]
        for one in receiver.raw
        for line in one.decode().split("\r")
        if line.startswith("OBR")
    ]


def one_message(clinic: Clinic, study_id: UUID, **values: Any) -> tuple[Any, str]:
    """The message about an exam that is signed, parsed and as text."""
    with running(Receiver()) as receiver, sending(clinic, receiver.port) as sender:
        target = add_target(clinic, receiver.port)
        sign(clinic, study_id, **values)
        assert sent(clinic, sender, target).state is SendState.PROVEN
    (message,) = receiver.messages
    return message, receiver.raw[0].decode()


def test_the_verdict_the_result_and_the_measurements_are_coded(clinic: Clinic) -> None:
    measured = {
        "area_px": 4,
        "area_mm2": 12.5,
        "side": "right",
        "side_assumed": False,
        "zones": ["apical"],
        "zones_by": "lung_field",
        "distance_px": 2.0,
        "distance_mm": 14.25,
        "components": [],
        "spacing": None,
    }
    message, text = one_message(clinic, clinic.done(measurements=measured), size="below_10")
    found = parts(message)
    assert found["36118008 reader"] == "52101004^Present^SCT"
    assert found["272741003 reader"] == "24028007^Right^SCT"
    assert found["size-by-eye reader"] == "below-10^under 10 %^99PLEURA"
    assert found["111017 123110"] == "111242^All algorithms succeeded; with findings^DCM"
    assert found["111012 123110"].endswith("%^percent^UCUM")
    assert found["42798000 123110"] == "12.5 mm2^square millimeter^UCUM"
    assert found["greatest-distance 123110"] == "14.25 mm^millimeter^UCUM"
    assert "operating-point 123110" in found
    assert "36118008^Pneumothorax^SCT^RID5352^pneumothorax^RADLEX" in text
    assert "30745-4^XR Chest Views^LN" in text
    assert "|A-77|" in text
    assert "Model" in text
    assert "Operating point" in text


@pytest.mark.parametrize(
    ("finding", "coded"), [("none", "2667000^Absent^SCT"), ("unsure", "82334004^Indeterminate^SCT")]
)
def test_no_pneumothorax_and_an_unsure_reader_are_no_finding(
    clinic: Clinic, finding: str, coded: str
) -> None:
    reason = {"reason": "other"} if finding == "none" else {}
    found = parts(one_message(clinic, clinic.done(), finding=finding, **reason)[0])
    assert found["36118008 reader"] == coded
    assert "272741003 reader" not in found


def test_what_the_policy_hides_of_the_ai_is_not_sent(clinic: Clinic) -> None:
    choose(clinic, ai_shown=AiShown.NEVER)
    message, text = one_message(clinic, clinic.done())
    found = parts(message)
    assert [one for one in found if one.endswith(" 123110")] == []
    assert "AI" not in text.replace("AIR", "")
    assert found["36118008 reader"] == "52101004^Present^SCT"


def test_the_text_is_in_the_teams_language(clinic: Clinic) -> None:
    choose(clinic, language=Language.DE)
    _, text = one_message(clinic, clinic.done())
    assert "Nur für die Forschung" in text
    assert "Signed" not in text


def test_an_amended_verdict_and_an_addendum_are_corrections(clinic: Clinic) -> None:
    clock = Clock()
    with running(Receiver()) as receiver, sending(clinic, receiver.port, clock) as sender:
        target = add_target(clinic, receiver.port)
        study_id = clinic.done()
        sign(clinic, study_id)
        sent(clinic, sender, target)
        clock.forward(minutes=3)
        sign(clinic, study_id, another_reader(clinic), finding="left", now=after(minutes=3))
        sent(clinic, sender, target)
        clock.forward(minutes=2)
        add(clinic, study_id, "Called the ward.", now=after(minutes=4))
        send = sent(clinic, sender, target)
    assert (send.state, states(receiver)) == (SendState.PROVEN, ["F", "C", "C"])
    assert "7771000^Left^SCT" in receiver.raw[1].decode()
    assert "Called the ward." in receiver.raw[2].decode()
    assert len(receiver.messages) == 3


def test_a_retracted_result_is_sent_as_such(clinic: Clinic) -> None:
    clock = Clock()
    with running(Receiver()) as receiver, sending(clinic, receiver.port, clock) as sender:
        target = add_target(clinic, receiver.port)
        sign(clinic, clinic.done())
        unsent = clinic.done()
        sent(clinic, sender, target)
        clock.forward(minutes=6)
        retract(clinic)
        assert sent(clinic, sender, target).state is SendState.PROVEN
        assert len(sends(clinic)) == 2, unsent  # of an exam of which nothing was sent: nothing
    found = parts(receiver.messages[1])
    assert found["111017 123110"] == "retracted^Retracted^99PLEURA"
    assert "111012 123110" not in found
    assert "its results were found to be wrong" in receiver.raw[1].decode()
    assert states(receiver) == ["F", "C"]


def restore(clinic: Clinic) -> None:
    with clinic.session as session:
        session.execute(update(ModelVersion).values(retracted_at=None, retraction_reason=None))
        session.commit()


def test_a_second_retraction_is_sent_like_the_first(clinic: Clinic) -> None:
    clock = Clock()
    with running(Receiver()) as receiver, sending(clinic, receiver.port, clock) as sender:
        target = add_target(clinic, receiver.port)
        study_id = clinic.done()
        sign(clinic, study_id)
        sent(clinic, sender, target)
        clock.forward(minutes=6)
        retract(clinic)
        sent(clinic, sender, target)
        restore(clinic)
        add(clinic, study_id, "Restored.", now=after(minutes=7))
        clock.forward(minutes=2)
        sent(clinic, sender, target)
        assert "111012 123110" in parts(receiver.messages[2])
        retract(clinic, after(minutes=9))
        clock.forward(minutes=2)
        for _ in range(2):
            sent(clinic, sender, target)
    assert states(receiver) == ["F", "C", "C", "C"]
    found = parts(receiver.messages[3])
    assert found["111017 123110"] == "retracted^Retracted^99PLEURA"
    assert "111012 123110" not in found
    assert {one.state for one in sends(clinic)} == {SendState.PROVEN}


def test_what_a_target_may_have_without_its_answer_is_put_right(clinic: Clinic) -> None:
    clock = Clock()
    answers = Receiver(ack(), None, ack(), holds=False)
    with running(answers) as receiver, sending(clinic, receiver.port, clock) as sender:
        target = add_target(clinic, receiver.port)
        sign(clinic, clinic.done())
        sent(clinic, sender, target)
        clock.forward(minutes=6)
        retract(clinic)
        assert sent(clinic, sender, target).reason == "ended"
        restore(clinic)
        assert sent(clinic, sender, target).state is SendState.PROVEN
    assert [parts(one).get("111017 123110", "")[:9] for one in receiver.messages] == [
        *("111242^Al", "retracted", "111242^Al"),
    ]


def test_a_time_without_a_day_is_left_out(clinic: Clinic) -> None:
    with running(Receiver()) as receiver, sending(clinic, receiver.port) as sender:
        target = add_target(clinic, receiver.port)
        study_id = clinic.submit(StudyDate=None, StudyTime="084500").study_id
        clinic.segment(clinic.render(study_id))
        sign(clinic, study_id)
        assert sent(clinic, sender, target).state is SendState.PROVEN
    (request,) = [one for one in receiver.raw[0].decode().split("\r") if one.startswith("OBR")]
    assert request.split("|")[7] == ""


def test_a_remark_about_an_exam_that_was_joined_into_another_is_shown(clinic: Clinic) -> None:
    with (
        running(Receiver(ack("AR", "Not wanted"))) as receiver,
        sending(clinic, receiver.port) as sender,
    ):
        target = add_target(clinic, receiver.port)
        study_id, other = clinic.done(), clinic.done()
        sign(clinic, study_id)
        sender.look()
        with clinic.session as session:
            session.execute(update(Study).where(Study.id == study_id).values(joined_into=other))
            session.commit()
        due(clinic)
        assert sender.step(target.id)
        with clinic.session as session:
            (line,) = overview.sends(session, clinic.vault, clinic.admin, NOW).lines
            assert (line.state, line.remark) == (SendState.FAILED, "Not wanted")
            assert integrity.sample(session, clinic.vault, 10).findings == []


def test_a_retraction_that_changes_nothing_of_the_report_is_not_sent(clinic: Clinic) -> None:
    choose(clinic, ai_shown=AiShown.NEVER)
    clock = Clock()
    with running(Receiver()) as receiver, sending(clinic, receiver.port, clock) as sender:
        target = add_target(clinic, receiver.port)
        sign(clinic, clinic.done())
        sent(clinic, sender, target)
        clock.forward(minutes=6)
        retract(clinic)
        send = sent(clinic, sender, target)
    assert (send.state, send.reason) == (SendState.DROPPED, "unchanged")
    assert len(receiver.raw) == 1


@pytest.mark.parametrize(
    ("tag", "reason"), [("AccessionNumber", "no_accession"), ("PatientID", "no_patient_id")]
)
def test_without_accession_number_or_patient_id_nothing_is_sent(
    clinic: Clinic, tag: str, reason: str
) -> None:
    with running(Receiver()) as receiver, sending(clinic, receiver.port) as sender:
        target = add_target(clinic, receiver.port)
        study_id = clinic.submit(**{tag: None}).study_id
        clinic.segment(clinic.render(study_id))
        sign(clinic, study_id)
        send = sent(clinic, sender, target)
    assert (send.state, send.reason, receiver.raw) == (SendState.DROPPED, reason, [])


def test_a_character_that_the_target_lacks_is_not_replaced(clinic: Clinic) -> None:
    with running(Receiver()) as receiver, sending(clinic, receiver.port) as sender:
        target = add_target(clinic, receiver.port, charset="8859/1")
        study_id = clinic.submit(PatientName="ŁUKASZ^JAN").study_id
        clinic.segment(clinic.render(study_id))
        sign(clinic, study_id)
        send = sent(clinic, sender, target)
    assert (send.state, send.reason, receiver.raw) == (SendState.FAILED, "charset_lacks", [])


def test_a_report_that_has_no_room_in_a_message_is_not_cut_off(clinic: Clinic) -> None:
    with running(Receiver()) as receiver, sending(clinic, receiver.port) as sender:
        target = add_target(clinic, receiver.port)
        study_id = clinic.done()
        sign(clinic, study_id)
        for number in range(26):
            add(clinic, study_id, f"{number} " + "x" * 1990, now=after(minutes=2, seconds=number))
        sent(clinic, sender, target)
    assert {(one.state, one.reason) for one in sends(clinic)} == {
        (SendState.FAILED, "too_long"),
        (SendState.DROPPED, "superseded"),
    }
    assert receiver.raw == []


def test_the_older_of_two_that_wait_is_not_sent(clinic: Clinic) -> None:
    clock = Clock()
    with running(Receiver()) as receiver, sending(clinic, receiver.port, clock) as sender:
        target = add_target(clinic, receiver.port)
        study_id = clinic.done()
        sign(clinic, study_id)
        sender.look()
        clock.forward(minutes=3)
        add(clinic, study_id, "Later.")
        sent(clinic, sender, target)
    first, second = sends(clinic)
    assert (first.state, first.reason) == (SendState.DROPPED, "superseded")
    assert (second.state, states(receiver)) == (SendState.PROVEN, ["F"])


def test_an_exam_that_waits_for_a_second_reader_waits(clinic: Clinic) -> None:
    with running(Receiver()) as receiver, sending(clinic, receiver.port) as sender:
        target = add_target(clinic, receiver.port)
        study_id = clinic.done()
        sign(clinic, study_id)
        ask(clinic, clinic.mate, study_id)
        send = sent(clinic, sender, target)
    assert (send.state, send.reason, receiver.raw) == (SendState.WAITING, "second_read", [])


def test_what_happened_before_or_in_another_team_is_not_sent(clinic: Clinic) -> None:
    with sending(clinic, 9) as sender:
        sign(clinic, clinic.done(), now=NOW)
        add_target(clinic, 9, team_id=clinic.outsider.team_id)
        assert sender.look() == 0


def test_a_purge_ends_what_waits_and_removes_what_was_remarked(clinic: Clinic) -> None:
    with (
        running(Receiver(ack("AE", "Not now, please"))) as receiver,
        sending(clinic, receiver.port) as sender,
    ):
        target = add_target(clinic, receiver.port)
        study_id = clinic.done()
        sign(clinic, study_id)
        assert sent(clinic, sender, target).sealed_remark is not None
        with clinic.session as session:
            assert integrity.sample(session, clinic.vault, 10).findings == []
            purges.purge(
                session, clinic.vault, None, study_id, NOW, reason=PurgeReason.PATIENT_REQUEST
            )
        due(clinic)
        assert not sender.step(target.id)
    with clinic.session as session:
        row = session.scalars(select(ReportSend)).one()
        assert (row.state, row.reason) == (SendState.DROPPED, "purged")
        assert (row.sealed_remark, row.content_key) == (None, None)
        assert session.get_one(ReportTarget, target.id).ended_at is None
