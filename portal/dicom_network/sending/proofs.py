"""Reports of storage commitment: by them an object is proven to be stored, or to be sent again.

A report comes on the association on which it was asked for, or on a new one to the listener; also
when the send is over already.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.dicom_network.sending import ledger
from portal.formats.refusals import Refused
from portal.intake import check
from portal.models import DicomSend, DicomSentObject, SendProof, SendState, SentState
from portal.vault import Vault

SUCCESS: Final = 0x0000
INVALID_ARGUMENT: Final = 0x0115
_BEGINNING: Final = "2.25."
_MOST_DIGITS: Final = 39


@dataclass(frozen=True, slots=True)
class Report:
    """What a node reports: the transaction, the UIDs of what it has stored, and of what it has not,
    with its reasons (PS3.4 J.3.3).
    """

    commitment_id: UUID
    stored: frozenset[str]
    failed: dict[str, int]


def transaction_uid(commitment_id: UUID) -> str:
    """The Transaction UID of a commitment (PS3.5 B.2)."""
    return f"{_BEGINNING}{commitment_id.int}"


def read(data: bytes) -> Report | None:
    """A report, as `peer.encoded_report` has it; None for one about nothing of ours."""
    try:
        found = check.commitment(data)
    except Refused:
        return None
    number = found.transaction.removeprefix(_BEGINNING)
    if number == found.transaction or not number.isdecimal() or len(number) > _MOST_DIGITS:
        return None
    if int(number) >= 1 << 128:
        return None
    failed = {uid: reason for _, uid, reason in found.not_stored if uid}
    stored = {uid for _, uid in found.named if uid} - failed.keys()
    return Report(UUID(int=int(number)), frozenset(stored), failed)


def apply(
    session: Session,
    vault: Vault,
    node_id: UUID,
    report: Report,
    now: datetime,
    *,
    settles: bool,
) -> bool:
    """Write down what a node has reported of its own objects; False where it is about none of them.

    `settles`: the send is settled by it; otherwise whoever has its claim does that.
    """
    row = session.scalars(
        select(DicomSend)
        .where(DicomSend.commitment_id == report.commitment_id, DicomSend.node_id == node_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None:
        session.commit()
        return False
    stored = {vault.lookup("sop_uid", uid) for uid in report.stored}
    failed = {vault.lookup("sop_uid", uid): reason for uid, reason in report.failed.items()}
    objects = ledger.objects_of(session, row.id)
    was = row.state
    for one in objects:
        if one.sop_key in stored:
            ledger.prove(one, SendProof.COMMITMENT, now)
        elif one.sop_key in failed and one.state in (SentState.TAKEN, SentState.UNPROVEN):
            _failed(one, failed[one.sop_key], now)
    session.flush()
    is_open = was is SendState.PROVING and not any(o.state is SentState.TAKEN for o in objects)
    is_late = was is SendState.UNPROVEN
    if settles and (is_open or is_late):
        row.finished_at = None
        ledger.settle(session, row, now, proof_seconds=0.0)
    else:
        session.commit()
    return True


def _failed(one: DicomSentObject, reason: int, now: datetime) -> None:
    """The node does not have what it has taken: it is sent again."""
    one.state, one.proof, one.changed = SentState.WAITING, None, now
    one.status, one.code, one.sealed_comment = reason, "not_committed", None
