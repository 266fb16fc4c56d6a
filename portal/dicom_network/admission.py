"""Who may associate: by AE titles, address and certificate; and what is written of the others."""

import hashlib
import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit
from portal.dicom_network import nodes
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
# Of one reason and address the access log gets a row so often, with the number of those between.
_LOGGED_EVERY: Final = 60.0
_MOST_COUNTED: Final = 1000


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
    # Who receives alone reports storage commitment; each service looks for its own right.
    if not found.sends and not found.receives:
        return "sends_nothing"
    if not nodes.sends_from(found, caller.address):
        return "address"
    if not _shows_its_certificate(found, caller.certificate):
        return "certificate"
    return found


def _shows_its_certificate(found: DicomNode, shown: bytes | None) -> bool:
    """By TLS each node shows the certificate that is stated of it, and a node of which one is
    stated speaks TLS.
    """
    if shown is None:
        return found.fingerprint is None
    return hashlib.sha256(shown).hexdigest() == found.fingerprint


class Refusals:
    """Counts refused associations, and writes them to the access log, not more than a row a minute
    for each reason and address: who tries all day does not fill it.
    """

    def __init__(self) -> None:
        self.counted: Counter[Reason] = Counter()
        self._logged: dict[tuple[Reason, str], float] = {}
        self._between: Counter[tuple[Reason, str]] = Counter()
        self._lock = threading.Lock()

    def note(self, session: Session, caller: Caller, reason: Reason, now: datetime) -> None:
        """Count one; write it where the last row is a minute old."""
        of = (reason, caller.address)
        with self._lock:
            self.counted[reason] += 1
            self._between[of] += 1
            moment = time.monotonic()
            if moment - self._logged.get(of, -_LOGGED_EVERY) < _LOGGED_EVERY:
                return
            if len(self._logged) >= _MOST_COUNTED:
                self._logged.clear()
                self._between = Counter({of: self._between[of]})
            self._logged[of] = moment
            count = self._between.pop(of)
        _log.warning("refused %d associations: %s", count, reason)
        titled = DicomNode.ae_title == (caller.calling if nodes.is_ae_title(caller.calling) else "")
        known = session.scalar(select(DicomNode.id).where(titled))
        audit.append(
            session,
            "dicom_association_refused",
            now=now,
            subject_id=known,
            address=caller.address,
            detail={"reason": reason, "count": count},
        )
        session.commit()
