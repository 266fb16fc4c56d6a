"""The sender's process: looks for what is to be sent, and sends it, one send after the other for
each node and all nodes beside each other, until it is stopped.

It opens vault and database as the portal does. While this machine's clock is wrong nothing is
looked for or sent: objects are dated by it, and what has gone to another archive can't be taken
back. Nothing of what is sent is logged.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from portal import database
from portal.dicom_network.association import log_kinds_of_errors, silence
from portal.dicom_network.sending import ledger, preparation, triggers
from portal.dicom_network.sending.ledger import Claim, Lapsed
from portal.dicom_network.sending.preparation import Composes
from portal.dicom_network.sending.transmission import (
    ANSWER_SECONDS,
    SAME_ASSOCIATION_SECONDS,
    Attempt,
)
from portal.governance import clock, scheduler_signs
from portal.listeners import process
from portal.models import SendState
from portal.services import UNAVAILABLE, Services
from portal.vault import NotReadable, VaultError

_log = logging.getLogger(__name__)

_ROUND_SECONDS: Final = 2.0
_LOOK_EVERY: Final = 2  # rounds
_SIGN_EVERY: Final = 5
_MOST_NODES: Final = 16  # at once
_GRACE_SECONDS: Final = 20.0
_DAMAGED_SECONDS: Final = 3600.0


class Sender:
    """Sends what is due. `step` does one send of a node; `run` does all until it is stopped.

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
        self._answer_seconds, self._same_seconds = answer_seconds, same_seconds
        self._services = services
        self._sessions = database.sessions(engine)
        self._composes = composes
        self._busy = dict[UUID, threading.Thread]()
        self._watch = clock.Watch("nothing is sent")
        self.stopping = threading.Event()

    def look(self) -> int:
        """Add the sends of what is new; how many. None while the clock is wrong: what comes later
        would count as looked for.
        """
        with self._sessions() as session:
            if not self._is_clock_right(session):
                return 0
            return triggers.look(session, self._services.clock())

    def step(self, node_id: UUID) -> bool:
        """Do the next send that is due for a node; False where none is."""
        with self._sessions() as session:
            claimed = ledger.claim(session, node_id)
        if claimed is None:
            return False
        try:
            self._do(claimed)
        except Lapsed:
            _log.warning("a send was taken over by another process, or ended meanwhile")
        except NotReadable:
            self._end(claimed, "damaged")
        except (*UNAVAILABLE, VaultError) as error:
            _log.warning("a send waits: %s", type(error).__name__)
            self._put_off(claimed, ledger.PAUSES[0], "not_now")
        except Exception as error:  # its text may quote what was sent
            _log.error("a send failed: %s", type(error).__name__)
            self._put_off(claimed, _DAMAGED_SECONDS, "portal_failed")
        return True

    def _do(self, claimed: Claim) -> None:
        services, now = self._services, self._services.clock()
        with self._sessions() as session:
            row = ledger.of(session, claimed)
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

    def _end(self, claimed: Claim, reason: str) -> None:
        with self._sessions() as session:
            try:
                row = ledger.of(session, claimed)
                ledger.fail(session, row, reason, self._services.clock())
            except Lapsed:
                return

    def _put_off(self, claimed: Claim, seconds: float, reason: str) -> None:
        try:
            with self._sessions() as session:
                row = ledger.of(session, claimed)
                ledger.wait(session, row, row.state, seconds, reason)
        except Exception as error:  # the claim lapses
            _log.warning("a send could not be put off: %s", type(error).__name__)

    def run(self) -> None:
        """Send until `stopping` is set, with signs of life in between."""
        rounds = 0
        while not self.stopping.is_set():
            if rounds % _SIGN_EVERY == 0:
                self._guarded(self._give_sign)
            if rounds % _LOOK_EVERY == 0:
                self._guarded(self.look)
            self._guarded(self.serve_due)
            rounds += 1
            self.stopping.wait(_ROUND_SECONDS)
        for thread in list(self._busy.values()):
            thread.join(_GRACE_SECONDS)

    def _give_sign(self) -> None:
        with self._sessions() as session:
            scheduler_signs.give(session, scheduler_signs.DICOM_SENDER)

    def serve_due(self) -> None:
        """A thread for each node that something is due for: one that hangs keeps back no other.
        None is begun while the clock is wrong.
        """
        self._busy = {node: thread for node, thread in self._busy.items() if thread.is_alive()}
        with self._sessions() as session:
            if not self._is_clock_right(session):
                return
            due = ledger.nodes_with_due(session)
        for node_id in due:
            if node_id in self._busy or len(self._busy) >= _MOST_NODES:
                continue
            thread = threading.Thread(target=self._serve, args=(node_id,), daemon=True)
            self._busy[node_id] = thread
            thread.start()

    def _is_clock_right(self, session: Session) -> bool:
        return self._watch.is_right(session, self._services.clock())

    def _serve(self, node_id: UUID) -> None:
        self._guarded(lambda: self._all_of(node_id))

    def _all_of(self, node_id: UUID) -> None:
        while not self.stopping.is_set() and self.step(node_id):
            with self._sessions() as session:
                if not self._is_clock_right(session):
                    return

    def _guarded(self, do: Callable[[], object]) -> None:
        try:
            do()
        except Exception as error:  # a database that is away: again in the next round
            _log.warning("a round failed: %s", type(error).__name__)


def run(services: Services, engine: Engine, composes: Composes) -> None:
    """Send until SIGTERM or SIGINT."""
    sender = Sender(services, engine, composes)
    process.begin(services.settings.log_level, sender.stopping)
    silence()
    log_kinds_of_errors()
    _log.info("sending to DICOM nodes")
    sender.run()
    _log.info("stopping")
