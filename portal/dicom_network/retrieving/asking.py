"""The objects that a node is asked for: each is taken while it is waited for, and no other.

A row is written before its object is asked for, so the listener knows it, whichever process it is
in. What became of the object is written down when it is stored or refused.
"""

from collections import Counter
from typing import Final
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from portal.database import DatabaseTime
from portal.dicom_network.storing import NO_RESOURCES, PROCESSING_FAILURE, Answer
from portal.models import AskedState, DicomAskedObject, DicomRetrieval
from portal.vault import Vault

# What has an end of its own; an object that did not come is asked for again.
ENDED: Final = (AskedState.STORED, AskedState.REFUSED)


def key_of(vault: Vault, sop_uid: str) -> str:
    """The keyed digest of an object's SOPInstanceUID."""
    return vault.lookup("dicom_asked", sop_uid)


def begin(
    session: Session, retrieval: DicomRetrieval, key: str, patient_key: str, seconds: float
) -> None:
    """Let an object be taken from the node for so many seconds; in the caller's transaction."""
    found = session.get(DicomAskedObject, (retrieval.id, key), populate_existing=True)
    if found is None:
        found = DicomAskedObject(retrieval_id=retrieval.id, asked_key=key)
        session.add(found)
    found.node_id, found.patient_key = retrieval.node_id, patient_key
    found.state, found.code = AskedState.WAITING, ""
    found.until = DatabaseTime(seconds)


def open_one(
    session: Session, vault: Vault, node_id: UUID, sop_uid: str
) -> DicomAskedObject | None:
    """The row of an object that the node is asked for just now; commits."""
    found = session.scalars(
        select(DicomAskedObject)
        .where(
            DicomAskedObject.node_id == node_id,
            DicomAskedObject.asked_key == key_of(vault, sop_uid),
            DicomAskedObject.state == AskedState.WAITING,
            DicomAskedObject.until > DatabaseTime(),
        )
        .limit(1)
    ).first()
    session.commit()
    return found


def note(session: Session, asked: DicomAskedObject, answer: Answer) -> None:
    """Write down what became of an object that came; commits."""
    if not answer.code:
        state = AskedState.STORED
    elif answer.status in (NO_RESOURCES, PROCESSING_FAILURE):
        state = AskedState.FAILED
    else:
        state = AskedState.REFUSED
    _write(session, asked.retrieval_id, asked.asked_key, state, answer.code)
    session.commit()


def close(session: Session, retrieval_id: UUID, key: str, code: str) -> None:
    """Take the object no more: one that still waits has not come, because of `code`; commits."""
    _write(session, retrieval_id, key, AskedState.FAILED, code)
    session.commit()


def of(session: Session, retrieval_id: UUID) -> dict[str, AskedState]:
    """How far the objects of a retrieval are, by their keys."""
    rows = session.execute(
        select(DicomAskedObject.asked_key, DicomAskedObject.state).where(
            DicomAskedObject.retrieval_id == retrieval_id
        )
    )
    return dict(rows.all())


def counts(session: Session, retrieval_id: UUID) -> Counter[AskedState]:
    """How many objects of a retrieval there are of each state."""
    rows = session.execute(
        select(DicomAskedObject.state, func.count())
        .where(DicomAskedObject.retrieval_id == retrieval_id)
        .group_by(DicomAskedObject.state)
    )
    return Counter(dict(rows.all()))


def why_failed(session: Session, retrieval_id: UUID) -> str:
    """Why an object of a retrieval did not come; empty where all have."""
    code = session.scalars(
        select(DicomAskedObject.code)
        .where(
            DicomAskedObject.retrieval_id == retrieval_id,
            DicomAskedObject.state == AskedState.FAILED,
        )
        .order_by(DicomAskedObject.asked_key)
        .limit(1)
    ).first()
    return code or ""


def forget_failed(session: Session, retrieval_id: UUID) -> None:
    """Remove the rows of objects that did not come, in the caller's transaction: they are asked for
    again.
    """
    session.execute(
        delete(DicomAskedObject).where(
            DicomAskedObject.retrieval_id == retrieval_id,
            DicomAskedObject.state == AskedState.FAILED,
        )
    )


def forget(session: Session, retrieval_id: UUID) -> None:
    """Remove the rows of a retrieval, in the caller's transaction."""
    session.execute(delete(DicomAskedObject).where(DicomAskedObject.retrieval_id == retrieval_id))


def _write(session: Session, retrieval_id: UUID, key: str, state: AskedState, code: str) -> None:
    session.execute(
        update(DicomAskedObject)
        .where(
            DicomAskedObject.retrieval_id == retrieval_id,
            DicomAskedObject.asked_key == key,
            DicomAskedObject.state == AskedState.WAITING,
        )
        .values(state=state, code=code, until=DatabaseTime()),
        execution_options={"synchronize_session": False},
    )
