"""What is sent of which case, and when: moments, what is held back, and what has changed since."""

from uuid import UUID

import pytest
from sqlalchemy import select, update

from portal.governance import purges
from portal.models import (
    AiShown,
    AuditEvent,
    DicomDestination,
    DicomSentObject,
    ModelVersion,
    ProofMethod,
    PurgeReason,
    Review,
    SendMoment,
    SendState,
    TeamChoices,
)
from portal.reading import case, signing
from tests.portal.dicom_network.test_commitment import own_address
from tests.portal.reports.test_objects import analysed
from tests.support.clinic import Clinic, after
from tests.support.core import NOW
from tests.support.dicom.pacs import Pacs, running
from tests.support.dicom.sending import (
    again,
    due,
    objects,
    prepared,
    receiver,
    review,
    sending,
    sends,
    sent,
    the_send,
    work,
)
from tests.support.second_reads.readers import ask as ask_for_second


@pytest.fixture
def address() -> str:
    return own_address()


def set_policy(clinic: Clinic, policy: AiShown) -> None:
    with clinic.session as session:
        team = clinic.owner.team_id
        row = session.get(TeamChoices, team) or TeamChoices(team_id=team)
        row.ai_shown = policy
        session.add(row)
        session.commit()


def retract(clinic: Clinic) -> None:
    with clinic.session as session:
        session.execute(update(ModelVersion).values(retracted_at=NOW))
        session.commit()


def sign(clinic: Clinic, study: UUID, finding: str = "right") -> None:
    with clinic.session as session:
        opened = case.open_study(session, clinic.vault, clinic.mate, study, NOW)
        newest = session.scalar(
            select(Review.id).where(Review.study_id == study).order_by(Review.created.desc())
        )
        signing.sign(
            *(session, clinic.vault, clinic.mate, study),
            finding=finding,
            shown=opened.shown,
            after=newest.hex if newest else "",
            proof=signing.Proof(ProofMethod.PASSWORD_CODE, NOW),
            now=NOW,
        )


def test_each_moment_is_sent_once_for_what_happens_then(clinic: Clinic, address: str) -> None:
    with running(Pacs(), address) as pacs, sending(clinic, address, pacs) as sender:
        receiver(clinic, pacs, address, moments=("result", "verdict", "signature"))
        study = analysed(clinic)
        assert sender.look() == 1
        assert sender.look() == 0
        review(clinic, study)
        assert sender.look() == 1
        sign(clinic, study)
        sender.look()
    found = [one.moment for one in sends(clinic)]
    assert set(found) == {SendMoment.RESULT, SendMoment.VERDICT, SendMoment.SIGNATURE}


def test_what_happened_in_another_team_is_not_sent(clinic: Clinic, address: str) -> None:
    pacs = Pacs()
    with sending(clinic, address, pacs) as sender:
        receiver(clinic, pacs, address, team_id=clinic.outsider.team_id)
        analysed(clinic)
        assert sender.look() == 0


def test_what_happened_before_the_choice_is_not_sent(clinic: Clinic, address: str) -> None:
    pacs = Pacs()
    with sending(clinic, address, pacs) as sender:
        receiver(clinic, pacs, address)
        analysed(clinic)
        with clinic.session as session:
            session.execute(update(DicomDestination).values(since=after(hours=1)))
            session.commit()
        assert sender.look() == 0
        with clinic.session as session:
            session.execute(update(DicomDestination).values(since=NOW))
            session.commit()
        assert sender.look() == 1


def test_a_result_that_was_retracted_before_is_not_sent(clinic: Clinic, address: str) -> None:
    with running(Pacs(), address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address)
        analysed(clinic)
        prepared(clinic, sender, node)
        retract(clinic)
        send = again(clinic, sender, node)
    assert (send.state, send.reason, pacs.taken) == (SendState.DROPPED, "retracted", [])


def test_a_send_of_a_purged_case_ends_with_that_reason(clinic: Clinic, address: str) -> None:
    with (
        running(Pacs(statuses=[0xA700]), address) as pacs,
        sending(clinic, address, pacs) as sender,
    ):
        node = receiver(clinic, pacs, address, objects=("sr",))
        study = analysed(clinic)
        assert sent(clinic, sender, node).state is SendState.WAITING
        with clinic.session as session:
            purges.purge(
                session, clinic.vault, clinic.admin, study, NOW, reason=PurgeReason.TEST_DATA
            )
        due(clinic)
        assert not sender.step(node.id)
    send = the_send(clinic)
    assert (send.state, send.reason, len(pacs.taken)) == (SendState.DROPPED, "purged", 1)
    with clinic.session as session:
        assert session.scalars(select(DicomSentObject)).all() == []


@pytest.mark.parametrize("was_tried", [False, True])
def test_a_case_that_changes_before_it_is_sent_gets_new_objects(
    clinic: Clinic, address: str, was_tried: bool
) -> None:
    with (
        running(Pacs(statuses=[0xA700]), address) as pacs,
        sending(clinic, address, pacs) as sender,
    ):
        node = receiver(clinic, pacs, address, objects=("sr",))
        study = analysed(clinic)
        if was_tried:
            assert sent(clinic, sender, node).state is SendState.WAITING
        else:
            prepared(clinic, sender, node)
            pacs.statuses = []
        first = the_send(clinic).report_id
        review(clinic, study)
        for _ in range(2 + was_tried):
            due(clinic)
            sender.step(node.id)
            work(clinic)
        send = again(clinic, sender, node)
    assert send.state is SendState.PROVEN
    assert send.report_id != first
    assert len(set(pacs.taken)) == 1 + was_tried


def test_something_newer_of_the_same_case_is_sent_instead(clinic: Clinic, address: str) -> None:
    with running(Pacs(), address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address, moments=("result", "verdict"))
        study = analysed(clinic)
        sender.look()
        review(clinic, study)
        sender.look()
        for _ in range(2):
            due(clinic)
            sender.step(node.id)
    ended = {one.moment: one.reason for one in sends(clinic) if one.finished_at is not None}
    assert list(ended.values()) == ["superseded"]


@pytest.mark.parametrize(
    ("policy", "state", "reason"),
    [
        (AiShown.NEVER, SendState.DROPPED, "ai_hidden"),
        (AiShown.AFTER_VERDICT, SendState.PREPARING, "verdict_first"),
    ],
)
def test_what_a_team_hides_is_not_sent_at_once(
    clinic: Clinic, address: str, policy: AiShown, state: SendState, reason: str
) -> None:
    with running(Pacs(), address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address, objects=("sr",))
        set_policy(clinic, policy)
        study = analysed(clinic)
        sender.look()
        due(clinic)
        sender.step(node.id)
        send = the_send(clinic)
        assert (send.state, send.reason) == (state, reason)
        if policy is AiShown.AFTER_VERDICT:
            review(clinic, study)
            assert sent(clinic, sender, node).state is SendState.PROVEN


def test_signed_objects_are_verified_and_unsigned_ones_are_not(
    clinic: Clinic, address: str
) -> None:
    with running(Pacs(), address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address, objects=("sr",), moments=("result", "signature"))
        study = analysed(clinic)
        assert sent(clinic, sender, node).state is SendState.PROVEN
        unread = dict(pacs.stored)
        sign(clinic, study)
        prepared(clinic, sender, node)
        due(clinic)
        sender.step(node.id)
    assert all(b"UNVERIFIED" in data for data in unread.values())
    (signed,) = (data for uid, data in pacs.stored.items() if uid not in unread)
    assert b"UNVERIFIED" not in signed
    assert b"VERIFIED" in signed
    assert {one.state for one in sends(clinic)} == {SendState.PROVEN}


def test_only_the_chosen_objects_are_sent(clinic: Clinic, address: str) -> None:
    with running(Pacs(), address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address, objects=("ko",))
        analysed(clinic)
        send = sent(clinic, sender, node)
    assert (send.state, send.reason) == (SendState.DROPPED, "nothing_to_send")
    assert objects(clinic, send) == {}


def test_the_access_log_names_the_node_that_made_report_and_objects(
    clinic: Clinic, address: str
) -> None:
    pacs = Pacs()
    with sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address)
        analysed(clinic)
        prepared(clinic, sender, node)
    with clinic.session as session:
        rows = session.execute(
            select(AuditEvent.event, AuditEvent.session_id, AuditEvent.via)
            .where(AuditEvent.event.in_(("report_requested", "objects_requested")))
            .order_by(AuditEvent.seq)
        ).all()
    assert [tuple(row) for row in rows] == [
        ("report_requested", node.id, "dicom_out"),
        ("objects_requested", node.id, "dicom_out"),
    ]


def test_a_case_that_waits_for_a_second_reader_is_held(clinic: Clinic, address: str) -> None:
    with running(Pacs(), address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address, objects=("sr",))
        study = analysed(clinic)
        review(clinic, study)
        ask_for_second(clinic, clinic.mate, study)
        sender.look()
        due(clinic)
        sender.step(node.id)
    send = the_send(clinic)
    assert (send.state, send.reason, pacs.taken) == (SendState.PREPARING, "second_read", [])
