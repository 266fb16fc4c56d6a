"""Who may send: by address, certificate, and application and facility; and what is written of what
was refused.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.hl7.messages import Header, NotTaken
from portal.listeners import peers
from portal.listeners.refusals import Refused
from portal.models import Hl7Node

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who has connected. `certificate`: as it came (DER); None without TLS."""

    address: str
    certificate: bytes | None = field(default=None, repr=False)


def may_connect(session: Session, caller: Caller) -> bool:
    """Whether any node that is switched on calls from there and shows this certificate."""
    database.begin_reading(session)
    nodes = session.scalars(select(Hl7Node).where(Hl7Node.disabled_at.is_(None))).all()
    session.commit()
    return any(_is_node(node, caller) for node in nodes)


def node_of(session: Session, caller: Caller, header: Header) -> Hl7Node:
    """The node that has sent a message; NotTaken `unknown_sender`, whatever does not fit, so that
    nobody learns which.
    """
    database.begin_reading(session)
    found = session.scalars(
        select(Hl7Node)
        .where(Hl7Node.application == header.application, Hl7Node.facility == header.facility)
        .execution_options(populate_existing=True)
    ).one_or_none()
    session.commit()
    if found is None or found.disabled_at is not None or not _is_node(found, caller):
        raise NotTaken("AR", "unknown_sender", 204, "MSH-3")
    return found


def _is_node(node: Hl7Node, caller: Caller) -> bool:
    return peers.lies_in(caller.address, node.networks) and peers.shows(
        node.fingerprint, caller.certificate
    )


class Refusals:
    """Writes refused connections and messages to the access log, not more than a row a minute for
    each reason and address.
    """

    def __init__(self) -> None:
        self._refused = Refused()
        self.counted = self._refused.counted

    def note(
        self, session: Session, address: str, reason: str, now: datetime, node: UUID | None = None
    ) -> None:
        """Count one; write it where the last row is a minute old."""
        due = self._refused.due(reason, address)
        if not due.count:
            return
        _log.warning("refused %d of HL7: %s", due.count, reason)
        audit.append(
            session,
            "hl7_refused",
            now=now,
            subject_id=node,
            address=due.address,
            detail={"reason": reason, "count": due.count},
        )
        session.commit()
