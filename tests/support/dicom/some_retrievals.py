"""Retrievals of every kind that the nodes' page lists, for pictures of it."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from portal.dicom_network.retrieving import ledger
from portal.models import RetrievalState

# State, reason, attempts; found, here before, retrieved, refused, not received.
_RETRIEVALS = (
    (RetrievalState.WAITING, "destination_unknown", 3, (3, 0, 0, 0, 3)),
    (RetrievalState.DONE, "", 1, (4, 1, 2, 1, 0)),
    (RetrievalState.FAILED, "too_many_answers", 1, (0, 0, 0, 0, 0)),
    (RetrievalState.DROPPED, "not_queried", 0, (0, 0, 0, 0, 0)),
)


def add_some(session: Session, node_id: UUID, study_id: UUID, now: datetime) -> None:
    """One retrieval of each state, about one exam."""
    for number, (state, reason, attempts, counts) in enumerate(_RETRIEVALS):
        row = ledger.add(session, node_id, study_id, None, now - timedelta(hours=number))
        session.flush()
        row.state, row.reason, row.attempts = state, reason, attempts
        row.found, row.known, row.retrieved, row.refused, row.failed = counts
        row.next_at = now + timedelta(minutes=30)
        row.finished_at = None if state is RetrievalState.WAITING else now
    session.commit()
