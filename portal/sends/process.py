"""A process that sends: it looks for what is to be sent, and sends it, one send after the other for
each receiver and all receivers beside each other, until it is stopped. Nothing of what is sent is
logged.

While this machine's clock is wrong nothing is looked for or sent: what is sent is dated by it, and
can't be taken back.
"""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Generic
from uuid import UUID

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from portal import database
from portal.governance import clock, scheduler_signs
from portal.sends import queue
from portal.sends.queue import Claim, Lapsed, Queue, Row
from portal.services import UNAVAILABLE, Services
from portal.vault import NotReadable, VaultError

_log = logging.getLogger(__name__)

_ROUND_SECONDS: Final = 2.0
_LOOK_EVERY: Final = 2  # rounds
_SIGN_EVERY: Final = 5
_MOST_RECEIVERS: Final = 16  # at once
_GRACE_SECONDS: Final = 20.0
_DAMAGED_SECONDS: Final = 3600.0


class Sending(ABC, Generic[Row]):
    """Sends what is due. `step` does one send of a receiver; `run` does all until it is stopped.

    `sign`: under which name it gives signs of life.
    """

    def __init__(self, services: Services, engine: Engine, of: Queue[Row], sign: str) -> None:
        self._services = services
        self._sessions = database.sessions(engine)
        self._queue: Queue[Row] = of
        self._sign = sign
        self._watch = clock.Watch("nothing is sent")
        self._busy = dict[UUID, threading.Thread]()
        self.stopping = threading.Event()

    @abstractmethod
    def look(self) -> int:
        """Add the sends of what is new; how many. None while the clock is wrong: what comes later
        would count as looked for.
        """

    @abstractmethod
    def _do(self, claimed: Claim) -> None:
        """One attempt of a send."""

    @abstractmethod
    def _fail(self, session: Session, row: Row, reason: str) -> None:
        """End a send that failed for good; commits."""

    def step(self, receiver_id: UUID) -> bool:
        """Do the next send that is due for a receiver; False where none is."""
        with self._sessions() as session:
            claimed = self._queue.claim(session, receiver_id)
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
            self._put_off(claimed, queue.PAUSES[0], "not_now")
        except Exception as error:  # its text may quote what was sent
            _log.error("a send failed: %s", type(error).__name__)
            self._put_off(claimed, _DAMAGED_SECONDS, "portal_failed")
        return True

    def _end(self, claimed: Claim, reason: str) -> None:
        with self._sessions() as session:
            try:
                self._fail(session, self._queue.of(session, claimed), reason)
            except Lapsed:
                return

    def _put_off(self, claimed: Claim, seconds: float, reason: str) -> None:
        try:
            with self._sessions() as session:
                row = self._queue.of(session, claimed)
                self._queue.wait(session, row, row.state, seconds, reason)
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
            scheduler_signs.give(session, self._sign)

    def serve_due(self) -> None:
        """A thread for each receiver with something due: one that hangs keeps back no other. None
        is begun while the clock is wrong.
        """
        self._busy = {one: thread for one, thread in self._busy.items() if thread.is_alive()}
        with self._sessions() as session:
            if not self._is_clock_right(session):
                return
            due = self._queue.receivers_with_due(session)
        for receiver_id in due:
            if receiver_id in self._busy or len(self._busy) >= _MOST_RECEIVERS:
                continue
            thread = threading.Thread(target=self._serve, args=(receiver_id,), daemon=True)
            self._busy[receiver_id] = thread
            thread.start()

    def _serve(self, receiver_id: UUID) -> None:
        self._guarded(lambda: self._all_of(receiver_id))

    def _all_of(self, receiver_id: UUID) -> None:
        while not self.stopping.is_set() and self.step(receiver_id):
            with self._sessions() as session:
                if not self._is_clock_right(session):
                    return

    def _is_clock_right(self, session: Session) -> bool:
        return self._watch.is_right(session, self._services.clock())

    def _guarded(self, do: Callable[[], object]) -> None:
        try:
            do()
        except Exception as error:  # a database that is away: again in the next round
            _log.warning("a round failed: %s", type(error).__name__)
