"""Reports of storage commitment: only a node's own sends, and nothing that is no report."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import pytest
from pydicom.dataset import Dataset
from pynetdicom.dsutils import encode

from portal.dicom_network import classes
from portal.dicom_network.sending import ledger, proofs
from portal.models import (
    DicomNode,
    DicomSend,
    DicomSentObject,
    SendMoment,
    SendProof,
    SendState,
    SentState,
)
from tests.support.clinic import Clinic
from tests.support.core import NOW
from tests.support.dicom.pacs import Pacs
from tests.support.dicom.sending import objects, receiver, the_send
from xray_files import kinds

SR = "1.2.840.10008.5.1.4.1.1.88.34"


def file_of(transaction: str, stored: list[str], failed: Sequence[tuple[str, int]] = ()) -> bytes:
    """A report as it comes, behind file meta information."""
    report = Dataset()
    report.TransactionUID = transaction
    report.ReferencedSOPSequence = [_item(uid) for uid in stored]
    report.FailedSOPSequence = [_item(uid, reason) for uid, reason in failed]
    data = encode(report, is_implicit_vr=False, is_little_endian=True)
    assert data is not None
    return classes.as_file(
        classes.COMMITMENT, classes.COMMITMENT_INSTANCE, kinds.EXPLICIT, bytes(data)
    )


def _item(uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = SR, uid
    if reason is not None:
        item.FailureReason = reason
    return item


def proving(clinic: Clinic, state: SendState = SendState.PROVING) -> tuple[DicomNode, UUID]:
    """A send of two objects that a node has taken; the commitment that was asked for."""
    node, commitment_id = receiver(clinic, Pacs(), "10.1.2.3"), uuid4()
    sent = clinic.submit()
    with clinic.session as session:
        ledger.add(session, node.id, sent.study_id, SendMoment.RESULT, uuid4(), NOW)
        session.flush()
        row = session.query(DicomSend).one()
        row.state, row.commitment_id, row.attempts = state, commitment_id, 1
        if state is SendState.UNPROVEN:
            row.finished_at = NOW
        for uid in ("2.25.1", "2.25.2"):
            session.add(
                DicomSentObject(
                    send_id=row.id,
                    sop_key=clinic.vault.lookup("sop_uid", uid),
                    instance_id=sent.instance_id,
                    kind=f"k{uid[-1]}",
                    sop_class=SR,
                    state=SentState.UNPROVEN if row.finished_at else SentState.TAKEN,
                    changed=NOW,
                )
            )
        session.commit()
    return node, commitment_id


def apply(clinic: Clinic, node_id: UUID, data: bytes) -> bool:
    report = proofs.read(data)
    if report is None:
        return False
    with clinic.session as session:
        return proofs.apply(session, clinic.vault, node_id, report, NOW, settles=True)


@pytest.mark.parametrize("state", [SendState.PROVING, SendState.UNPROVEN])
def test_a_report_proves_also_what_had_ended_without_proof(
    clinic: Clinic, state: SendState
) -> None:
    node, commitment_id = proving(clinic, state)
    uid = proofs.transaction_uid(commitment_id)
    assert apply(clinic, node.id, file_of(uid, ["2.25.1", "2.25.2"]))
    send = the_send(clinic)
    assert (send.state, send.finished_at is not None) == (SendState.PROVEN, True)
    assert {one.proof for one in objects(clinic, send).values()} == {SendProof.COMMITMENT}


def test_what_it_does_not_have_is_sent_again_with_its_reason(clinic: Clinic) -> None:
    node, commitment_id = proving(clinic)
    uid = proofs.transaction_uid(commitment_id)
    assert apply(clinic, node.id, file_of(uid, ["2.25.1"], [("2.25.2", 0x0112)]))
    send = the_send(clinic)
    assert (send.state, send.reason) == (SendState.WAITING, "not_committed")
    found = objects(clinic, send)
    assert found["k1"].state is SentState.PROVEN
    assert (found["k2"].state, found["k2"].status) == (SentState.WAITING, 0x0112)


def test_what_a_report_names_both_ways_counts_as_failed(clinic: Clinic) -> None:
    node, commitment_id = proving(clinic)
    both = file_of(
        proofs.transaction_uid(commitment_id), ["2.25.1", "2.25.2"], [("2.25.2", 0x0110)]
    )
    assert apply(clinic, node.id, both)
    assert the_send(clinic).state is SendState.WAITING


def test_another_nodes_report_or_one_of_another_transaction_proves_nothing(
    clinic: Clinic,
) -> None:
    _node, commitment_id = proving(clinic)
    other = receiver(clinic, Pacs(), "10.1.2.4", ae_title="OTHER")
    stored = ["2.25.1", "2.25.2"]
    assert not apply(clinic, other.id, file_of(proofs.transaction_uid(commitment_id), stored))
    assert not apply(clinic, _node.id, file_of(proofs.transaction_uid(uuid4()), stored))
    assert the_send(clinic).state is SendState.PROVING


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a data set",
        file_of("1.2.3", ["2.25.1"]),
        file_of("2.25.", ["2.25.1"]),
        file_of(f"2.25.{1 << 128}", ["2.25.1"]),
        file_of("2.25.1", [])[:-3],
    ],
)
def test_what_is_no_report_of_ours_is_refused(data: bytes) -> None:
    found = proofs.read(data)
    assert found is None or found.stored == frozenset()
