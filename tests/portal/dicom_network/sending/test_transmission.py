"""Sending to a PACS that behaves, and to those that do not: what each send and object ends as."""

from io import BytesIO

import pytest
from pydicom import dcmread
from sqlalchemy import select, update

from portal.audit.verification import verify
from portal.database import DatabaseTime
from portal.dicom_network import classes
from portal.dicom_network.sending import proofs
from portal.models import AuditEvent, DicomSend, Instance, SendProof, SendState, SentState
from portal.sends import queue
from portal.studies import sealed_fields
from tests.portal.dicom_network.test_commitment import own_address
from tests.portal.reports.test_objects import analysed
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.dicom.listening import listening
from tests.support.dicom.pacs import SEG, Pacs, running
from tests.support.dicom.sending import again, objects, receiver, sending, sent, the_send

FOUND_KINDS = {"sr", "seg", "sc", "pr", "pdf"}


@pytest.fixture
def address() -> str:
    return own_address()


def events(clinic: Clinic) -> list[str]:
    with clinic.session as session:
        query = select(AuditEvent.event).order_by(AuditEvent.seq)
        return [one for one in session.scalars(query) if one.startswith("dicom_send")]


def states(clinic: Clinic) -> set[tuple[SentState, SendProof | None]]:
    return {(one.state, one.proof) for one in objects(clinic, the_send(clinic)).values()}


def test_what_a_pacs_commits_to_on_the_same_association_is_proven(
    clinic: Clinic, address: str
) -> None:
    with running(Pacs(), address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address)
        analysed(clinic)
        send = sent(clinic, sender, node)
    assert (send.state, send.reason) == (SendState.PROVEN, "")
    assert set(objects(clinic, send)) == FOUND_KINDS
    assert states(clinic) == {(SentState.PROVEN, SendProof.COMMITMENT)}
    assert len(pacs.stored) == len(FOUND_KINDS)
    assert events(clinic) == ["dicom_send_begun", "dicom_send_proven"]
    capture = next(uid for uid, ts in pacs.syntaxes.items() if ts.endswith(".4.50"))
    file = classes.as_file(
        classes.SECONDARY_CAPTURE, capture, pacs.syntaxes[capture], pacs.stored[capture]
    )
    assert dcmread(BytesIO(file)).pixel_array.shape[2] == 3  # as it was compressed
    with clinic.session as session:
        assert verify(session).is_whole


def test_a_report_on_a_new_association_reaches_the_ledger(clinic: Clinic, address: str) -> None:
    with (
        listening(clinic) as listens,
        running(Pacs(commits="new", reports_to=listens.port), address) as pacs,
        sending(clinic, address, pacs) as sender,
    ):
        node = receiver(clinic, pacs, address)
        analysed(clinic)
        assert sent(clinic, sender, node).state is SendState.PROVING
        assert pacs.reported.wait(30)
    assert the_send(clinic).state is SendState.PROVEN
    assert states(clinic) == {(SentState.PROVEN, SendProof.COMMITMENT)}


def test_a_pacs_that_never_commits_is_asked_by_c_find(clinic: Clinic, address: str) -> None:
    with running(Pacs(commits="never"), address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address)
        analysed(clinic)
        assert sent(clinic, sender, node).state is SendState.PROVING
        assert again(clinic, sender, node).state is SendState.PROVEN
    assert states(clinic) == {(SentState.PROVEN, SendProof.FOUND)}
    assert len(pacs.taken) == len(FOUND_KINDS)  # nothing was sent twice


def test_without_commitment_and_query_it_is_sent_without_proof(
    clinic: Clinic, address: str
) -> None:
    plain = Pacs(commits="", finds=False)
    with running(plain, address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address)
        analysed(clinic)
        send = sent(clinic, sender, node)
    assert send.state is SendState.UNPROVEN
    assert states(clinic) == {(SentState.UNPROVEN, None)}
    assert events(clinic)[-1] == "dicom_send_unproven"


@pytest.mark.parametrize(("commits", "code"), [("same", "not_committed"), ("", "not_found")])
def test_what_is_taken_and_not_stored_is_sent_again_and_fails_in_the_end(
    clinic: Clinic, address: str, commits: str, code: str
) -> None:
    forgetful = Pacs(commits=commits, forgets=True)
    with running(forgetful, address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address, objects=("sr",))
        analysed(clinic)
        send = sent(clinic, sender, node)
        if not commits:
            assert send.state is SendState.PROVING  # it may be filed in a moment
            send = again(clinic, sender, node)
        assert (send.state, send.reason) == (SendState.WAITING, code)
        assert objects(clinic, send)["sr"].code == code
        with clinic.session as session:
            session.execute(update(DicomSend).values(attempts=queue.MOST_ATTEMPTS - 1))
            session.commit()
        send = again(clinic, sender, node)
        if not commits:
            send = again(clinic, sender, node)
    assert (send.state, send.reason) == (SendState.FAILED, code)
    assert len(set(pacs.taken)) == 1  # under the same UID each time


def test_out_of_resources_waits_and_the_next_attempt_stores_it(
    clinic: Clinic, address: str
) -> None:
    full = Pacs(statuses=[0xA700], comment="Disk full, see 20261201 of P-0001")
    with running(full, address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address, objects=("sr",))
        study = analysed(clinic)
        send = sent(clinic, sender, node)
        assert (send.state, send.reason, send.attempts) == (SendState.WAITING, "put_off", 1)
        entry = objects(clinic, send)["sr"]
        assert (entry.state, entry.status) == (SentState.WAITING, 0xA700)
        with clinic.session as session:
            instance = session.scalars(select(Instance).where(Instance.study_id == study)).one()
            key = sealed_fields.instance_key_of(clinic.vault, instance)
            assert sealed_fields.open_answer(clinic.vault, key, entry) == "Disk full, see … of …"
            later = session.scalar(
                select(DicomSend.id).where(DicomSend.next_at > DatabaseTime(50.0))
            )
        assert later == send.id
        assert not sender.step(node.id)  # not before its pause is over
        assert again(clinic, sender, node).state is SendState.PROVEN


def test_a_refused_class_and_a_refused_object_fail_beside_what_is_stored(
    clinic: Clinic, address: str
) -> None:
    odd = Pacs(refused=(SEG,), statuses=[0xC123])
    with running(odd, address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address, objects=("sr", "seg", "pdf"))
        analysed(clinic)
        send = sent(clinic, sender, node)
    found = objects(clinic, send)
    assert send.state is SendState.FAILED
    assert (found["seg"].state, found["seg"].code) == (SentState.FAILED, "context_refused")
    refused = {one.code: one.status for one in found.values() if one.status}
    assert refused == {"refused": 0xC123}
    assert sorted(one.state for one in found.values()) == ["failed", "failed", "proven"]


@pytest.mark.parametrize("fault", ["hangs", "drops"])
def test_a_pacs_that_hangs_or_drops_is_called_again(
    clinic: Clinic, address: str, fault: str
) -> None:
    with (
        running(Pacs(hangs=fault == "hangs", drops=fault == "drops"), address) as pacs,
        sending(clinic, address, pacs, answer_seconds=1.0) as sender,
    ):
        node = receiver(clinic, pacs, address, objects=("sr",))
        analysed(clinic)
        send = sent(clinic, sender, node)
        assert send.state is SendState.WAITING
        assert send.reason in ("no_answer", "ended")
        pacs.hangs = False
        assert again(clinic, sender, node).state is SendState.PROVEN
    assert len(set(pacs.taken)) == 1


def test_a_pacs_that_is_away_or_not_allowed_is_tried_again(clinic: Clinic, address: str) -> None:
    away = Pacs()
    with running(away, address):
        pass
    with sending(clinic, address, away) as sender:
        node = receiver(clinic, away, address, objects=("sr",))
        analysed(clinic)
        send = sent(clinic, sender, node)
        assert (send.state, send.reason) == (SendState.WAITING, "no_association")
    with sending(clinic, address, away, PLEURA_OUTGOING_HOSTS="") as sender:
        assert again(clinic, sender, node).reason == "not_allowed"
    with running(away, address), sending(clinic, address, away) as sender:
        assert again(clinic, sender, node).state is SendState.PROVEN


def test_nothing_of_a_patient_is_logged_or_lies_on_the_disk(
    clinic: Clinic, address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with running(Pacs(), address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address)
        analysed(clinic)
        sent(clinic, sender, node)
    secrets = [uid.encode() for uid in pacs.stored] + [b"DICM"]
    for path in clinic.core.data_dir.rglob("*"):
        if path.is_file() and "sqlite" not in path.name and ".db" not in path.name:
            data = path.read_bytes()
            assert not any(one in data for one in secrets), path
    assert not any(uid in caplog.text for uid in pacs.stored)


def test_a_report_that_comes_after_its_sender_was_killed_counts(
    clinic: Clinic, address: str
) -> None:
    with running(Pacs(commits="never"), address) as pacs, sending(clinic, address, pacs) as sender:
        node = receiver(clinic, pacs, address)
        analysed(clinic)
        send = sent(clinic, sender, node)
        with clinic.session as session:
            # As a sender leaves it that is killed once it has asked.
            session.execute(update(DicomSend).values(state=SendState.WAITING))
            session.commit()
            assert send.commitment_id is not None
            report = proofs.Report(send.commitment_id, frozenset(pacs.stored), {})
            assert proofs.apply(session, clinic.vault, node.id, report, NOW, settles=True)
        assert again(clinic, sender, node).state is SendState.PROVEN
    assert len(pacs.taken) == len(FOUND_KINDS)
    assert events(clinic).count("dicom_send_begun") == 1
