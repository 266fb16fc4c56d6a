"""Who may associate: by AE titles, address and certificate; and what is written of the others."""

import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.dicom_network import nodes
from portal.dicom_network.retrieving import sources
from portal.listeners import peers
from portal.listeners.refusals import Refused
from portal.models import DicomNode

_log = logging.getLogger(__name__)

Reason = Literal[
    "called_ae_title", "calling_ae_title", "switched_off", "sends_nothing", "address",
    "certificate", "too_many",
]  # fmt: skip
# Result, source and reason of a refused association (PS3.8 9.3.4). Who is known by title alone gets
# the answer that a stranger gets.
_UNKNOWN: Final = (1, 1, 3)
ANSWERS: Final[dict[Reason, tuple[int, int, int]]] = {
    "called_ae_title": (1, 1, 7),
    "calling_ae_title": _UNKNOWN,
    "switched_off": _UNKNOWN,
    "sends_nothing": _UNKNOWN,
    "address": _UNKNOWN,
    "certificate": _UNKNOWN,
    "too_many": (2, 3, 2),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for an association. `certificate`: as it came (DER); None without TLS."""

    calling: str
    called: str
    address: str
    certificate: bytes | None = field(default=None, repr=False)


def judge(session: Session, caller: Caller, own_title: str) -> DicomNode | Reason:
    """The node that asks, or why it may not associate."""
    if caller.called != own_title:
        return "called_ae_title"
    database.begin_reading(session)
    found = session.scalars(
        select(DicomNode).where(
            DicomNode.ae_title == (caller.calling if nodes.is_ae_title(caller.calling) else "")
        )
    ).one_or_none()
    session.commit()
    if found is None:
        return "calling_ae_title"
    if found.disabled_at is not None:
        return "switched_off"
    # Who receives alone reports storage commitment, who is queried alone sends what it was asked
    # for; each service looks for its own right.
    if not found.sends and not found.receives and not sources.are_moved_by(session, found):
        return "sends_nothing"
    if not nodes.sends_from(found, caller.address):
        return "address"
    if not peers.shows(found.fingerprint, caller.certificate):
        return "certificate"
    return found


class Refusals:
    """Counts refused associations, and writes them to the access log, not more than a row a minute
    for each reason and address.
    """

    def __init__(self) -> None:
        self._refused = Refused()
        self.counted = self._refused.counted

    def note(self, session: Session, caller: Caller, reason: Reason, now: datetime) -> None:
        """Count one; write it where the last row is a minute old."""
        due = self._refused.due(reason, caller.address)
        if not due.count:
            return
        _log.warning("refused %d associations: %s", due.count, reason)
        titled = DicomNode.ae_title == (caller.calling if nodes.is_ae_title(caller.calling) else "")
        known = session.scalar(select(DicomNode.id).where(titled))
        audit.append(
            session,
            "dicom_association_refused",
            now=now,
            subject_id=known,
            address=due.address,
            detail={"reason": reason, "count": due.count},
        )
        session.commit()
