"""The retriever: looks for what is to be retrieved, and retrieves it, so many of a node at once as
it may have and all nodes beside each other, until it is stopped. It runs in the sender's process.

While this machine's clock is wrong nothing is looked for or retrieved: what arrives is dated by it.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from sqlalchemy import Engine

from portal import database
from portal.dicom_network.retrieving import archive, backfills, ledger, triggers
from portal.dicom_network.retrieving.attempt import ANSWER_SECONDS, Attempt
from portal.dicom_network.retrieving.ledger import Claim
from portal.governance import clock
from portal.sends.queue import PAUSES, Lapsed
from portal.services import UNAVAILABLE, Services
from portal.vault import VaultError

_log = logging.getLogger(__name__)

_ROUND_SECONDS: Final = 4.0
_MOST_AT_ONCE: Final = 8
_GRACE_SECONDS: Final = 10.0
_DAMAGED_SECONDS: Final = 3600.0


class Retriever:
    """Retrieves what is due. `step` does one retrieval of a node; `run` does all until it is
    stopped.

    `answer_seconds`: how long a node may take for each answer; `search_seconds`: for one search.
    """

    def __init__(
        self,
        services: Services,
        engine: Engine,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        search_seconds: float = archive.SEARCH_SECONDS,
    ) -> None:
        self._services = services
        self._sessions = database.sessions(engine)
        self._answer_seconds, self._search_seconds = answer_seconds, search_seconds
        self._busy = dict[UUID, list[threading.Thread]]()
        self._watch = clock.Watch("nothing is retrieved")
        self.stopping = threading.Event()

    def look(self) -> int:
        """Add the retrievals of exams that are new, and of the next days of back-fills; how
        many. None while the clock is wrong.
        """
        now = self._services.clock()
        with self._sessions() as session:
            if not self._watch.is_right(session, now):
                return 0
            return triggers.look(session, now) + backfills.look(session, now)

    def step(self, node_id: UUID) -> bool:
        """Do the next retrieval that is due for a node; False where none is."""
        with self._sessions() as session:
            claimed = ledger.claim(session, node_id)
        if claimed is None:
            return False
        attempt = Attempt(
            self._services,
            self._sessions,
            claimed,
            answer_seconds=self._answer_seconds,
            search_seconds=self._search_seconds,
        )
        try:
            attempt.run()
        except Lapsed:
            _log.warning("a retrieval was taken over by another process, or ended meanwhile")
        except (*UNAVAILABLE, VaultError) as error:
            _log.warning("a retrieval waits: %s", type(error).__name__)
            self._put_off(attempt.claimed, PAUSES[0], "not_now")
        except Exception as error:  # its text may quote what was answered
            _log.error("a retrieval failed: %s", type(error).__name__)
            self._put_off(attempt.claimed, _DAMAGED_SECONDS, "portal_failed")
        return True

    def _put_off(self, claimed: Claim, seconds: float, reason: str) -> None:
        try:
            with self._sessions() as session:
                ledger.wait(session, ledger.of(session, claimed), seconds, reason)
        except Exception as error:  # the claim lapses
            _log.warning("a retrieval could not be put off: %s", type(error).__name__)

    def run(self) -> None:
        """Retrieve until `stopping` is set."""
        while not self.stopping.is_set():
            self._guarded(self.look)
            self._guarded(self.serve_due)
            self.stopping.wait(_ROUND_SECONDS)
        for threads in list(self._busy.values()):
            for thread in threads:
                thread.join(_GRACE_SECONDS)

    def serve_due(self) -> None:
        """Threads for each node that something is due for: one that hangs keeps back no other.
        None is begun while the clock is wrong.
        """
        self._busy = {
            node: alive
            for node, threads in self._busy.items()
            if (alive := [one for one in threads if one.is_alive()])
        }
        with self._sessions() as session:
            if not self._watch.is_right(session, self._services.clock()):
                return
            due = ledger.nodes_with_due(session)
        for node_id, at_once in due.items():
            threads = self._busy.setdefault(node_id, [])
            while len(threads) < at_once and sum(map(len, self._busy.values())) < _MOST_AT_ONCE:
                thread = threading.Thread(target=self._serve, args=(node_id,), daemon=True)
                threads.append(thread)
                thread.start()

    def _serve(self, node_id: UUID) -> None:
        self._guarded(lambda: self._all_of(node_id))

    def _all_of(self, node_id: UUID) -> None:
        while not self.stopping.is_set() and self.step(node_id):
            with self._sessions() as session:
                if not self._watch.is_right(session, self._services.clock()):
                    return

    def _guarded(self, do: Callable[[], object]) -> None:
        try:
            do()
        except Exception as error:  # a database that is away: again in the next round
            _log.warning("a round failed: %s", type(error).__name__)


@contextmanager
def running(services: Services, engine: Engine) -> Iterator[Retriever]:
    """A retriever that works in a thread until the end of the block."""
    retriever = Retriever(services, engine)
    thread = threading.Thread(target=retriever.run, name="retriever", daemon=True)
    thread.start()
    try:
        yield retriever
    finally:
        retriever.stopping.set()
        thread.join(2 * _GRACE_SECONDS)
