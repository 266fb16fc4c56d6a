"""Storage commitment: which of the named objects are stored here, and the report that states it.

A picture counts as stored where its row, its key and its encrypted file are there.
"""

from dataclasses import dataclass
from typing import Final

from pydicom.dataset import Dataset
from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.models import Blob, BlobKind, DicomNode, DicomObject, Instance
from portal.vault import Vault, VaultError

ALL_STORED: Final = 1
SOME_FAILED: Final = 2
NO_SUCH_INSTANCE: Final = 0x0112
PROCESSING_FAILURE: Final = 0x0110
_AT_ONCE: Final = 500

Reference = tuple[str, str]
"""The UIDs of a class and of an instance."""


@dataclass(frozen=True, slots=True)
class Result:
    """Which of the references are stored, and why the others count as failed."""

    stored: list[Reference]
    failed: list[tuple[Reference, int]]

    @property
    def event_type(self) -> int:
        """The Event Type ID of the report (PS3.4 J.3.3.1)."""
        return SOME_FAILED if self.failed else ALL_STORED


def look_up(session: Session, vault: Vault, node: DicomNode, named: list[Reference]) -> Result:
    """What is stored of these in the node's team."""
    keys = {one: vault.lookup("sop_uid", one[1]) for one in named if all(one)}
    found = dict[str, str]()
    wanted = sorted(set(keys.values()))
    for start in range(0, len(wanted), _AT_ONCE):
        found |= _files(session, node, wanted[start : start + _AT_ONCE])
    session.commit()
    result = Result([], [])
    for one in named:
        name = found.get(keys.get(one, ""))
        if name is None:
            result.failed.append((one, NO_SUCH_INSTANCE))
            continue
        try:
            is_there = vault.has(name)
        except VaultError:
            result.failed.append((one, PROCESSING_FAILURE))
            continue
        if is_there:
            result.stored.append(one)
        else:
            result.failed.append((one, NO_SUCH_INSTANCE))
    return result


def _files(session: Session, node: DicomNode, keys: list[str]) -> dict[str, str]:
    """The names of the encrypted files, by the keys of the objects."""
    pictures = (
        select(Instance.sop_key, Blob.name)
        .join(Blob, Blob.instance_id == Instance.id)
        .where(
            Instance.team_id == node.team_id,
            Instance.sop_key.in_(keys),
            Instance.wrapped_key.is_not(None),
            Blob.kind == BlobKind.SOURCE,
            Blob.current,
        )
    )
    objects = (
        select(DicomObject.sop_key, Blob.name)
        .join(Blob, Blob.id == DicomObject.blob_id)
        .where(DicomObject.team_id == node.team_id, DicomObject.sop_key.in_(keys))
    )
    found = {key: name for query in (pictures, objects) for key, name in session.execute(query)}
    return {key: name for key, name in found.items() if key is not None}


def report(transaction: str, result: Result) -> Dataset:
    """The Event Information of the N-EVENT-REPORT (PS3.4 J.3.3)."""
    information = Dataset()
    information.TransactionUID = transaction
    information.ReferencedSOPSequence = [_item(one) for one in result.stored]
    if result.failed:
        information.FailedSOPSequence = [_item(one, reason) for one, reason in result.failed]
    if not result.stored:
        del information.ReferencedSOPSequence
    return information


def _item(reference: Reference, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = reference
    if reason is not None:
        item.FailureReason = reason
    return item
