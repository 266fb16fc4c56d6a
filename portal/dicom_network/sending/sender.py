"""The sender's process: it looks for what DICOM nodes are to get, and sends it (`sends.process`).

It opens vault and database as the portal does.
"""

import logging

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from portal.dicom_network.association import log_kinds_of_errors, silence
from portal.dicom_network.sending import ledger, preparation, triggers
from portal.dicom_network.sending.preparation import Composes
from portal.dicom_network.sending.transmission import (
    ANSWER_SECONDS,
    SAME_ASSOCIATION_SECONDS,
    Attempt,
)
from portal.governance import scheduler_signs
from portal.listeners import process
from portal.models import DicomSend, SendState
from portal.sends.process import Sending
from portal.sends.queue import Claim
from portal.services import Services

_log = logging.getLogger(__name__)


class Sender(Sending[DicomSend]):
    """Sends what is due for DICOM nodes.

    `answer_seconds`: how long a node may take for each answer; `same_seconds`: how long its report
    of storage commitment is waited for on the association on which it was asked.
    """

    def __init__(
        self,
        services: Services,
        engine: Engine,
        composes: Composes,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        same_seconds: float = SAME_ASSOCIATION_SECONDS,
    ) -> None:
        super().__init__(services, engine, ledger.QUEUE, scheduler_signs.DICOM_SENDER)
        self._answer_seconds, self._same_seconds = answer_seconds, same_seconds
        self._composes = composes

    def look(self) -> int:
        """Add the sends of what is new; how many. None while the clock is wrong: what comes later
        would count as looked for.
        """
        with self._sessions() as session:
            if not self._is_clock_right(session):
                return 0
            return triggers.look(session, self._services.clock())

    def _fail(self, session: Session, row: DicomSend, reason: str) -> None:
        ledger.fail(session, row, reason, self._services.clock())

    def _do(self, claimed: Claim) -> None:
        services, now = self._services, self._services.clock()
        with self._sessions() as session:
            row = ledger.QUEUE.of(session, claimed)
            state = row.state
            session.commit()
            if state is SendState.PREPARING:
                is_ready = preparation.prepare(services, session, self._composes, claimed, now)
            elif state is SendState.WAITING:
                is_ready = preparation.is_to_be_sent(session, services.vault, claimed, now)
            else:
                is_ready = True
        if not is_ready:
            return
        attempt = Attempt(
            services,
            self._sessions,
            claimed,
            answer_seconds=self._answer_seconds,
            same_seconds=self._same_seconds,
        )
        if state is SendState.PROVING:
            attempt.prove()
        else:
            attempt.send()


def run(services: Services, engine: Engine, composes: Composes) -> None:
    """Send until SIGTERM or SIGINT."""
    sender = Sender(services, engine, composes)
    process.begin(services.settings.log_level, sender.stopping)
    silence()
    log_kinds_of_errors()
    _log.info("sending to DICOM nodes")
    sender.run()
    _log.info("stopping")
