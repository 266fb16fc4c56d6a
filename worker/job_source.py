"""Where a worker's jobs come from: ids from Redis at once and, in silence, the portal itself.

Redis only makes things quick. A message that is lost, late or sent twice changes nothing: which job
is whose, the portal's database decides.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from uuid import UUID

from worker.client.portal_client import Attempt, PortalClient
from worker.contract.clock import POLL_SECONDS
from worker.contract.job import Queue
from worker.errors import Transient

log = logging.getLogger(__name__)

# Even while messages come, the portal is asked so often: a job whose message was lost is older.
FAIR_SECONDS = 15.0
_STEP_SECONDS = 0.25


class JobSource:
    """The next job for the threads of a worker. `stopping` ends all waiting.

    `heard` is called whenever the portal was asked: with "" where it gave a job or had none, else
    with the code of why it gave no answer.
    """

    def __init__(
        self,
        of_queue: Queue,
        portal: PortalClient,
        stopping: threading.Event,
        clock: Callable[[], float] = time.monotonic,
        heard: Callable[[str], None] = lambda refused: None,
    ) -> None:
        self.queue = of_queue
        self._portal, self._stopping, self._clock = portal, stopping, clock
        self._heard = heard
        self._ids: queue.Queue[UUID] = queue.Queue(maxsize=1)
        self._lock = threading.Lock()
        self._ask_at = clock()
        self._asked_at = clock()
        self.last_message = clock()
        self._refused = ""

    def announce(self, job_id: UUID) -> None:
        """Hand over a job's id from Redis; waits while every thread is busy."""
        self.last_message = self._clock()
        while not self._stopping.is_set():
            try:
                self._ids.put(job_id, timeout=_STEP_SECONDS)
            except queue.Full:
                continue
            self.last_message = self._clock()
            return

    def next(self) -> Attempt | None:
        """A claimed attempt; None when a moment has gone by without one."""
        try:
            wait = min(max(self._ask_at - self._clock(), 0.0), POLL_SECONDS)
            job_id = self._ids.get(timeout=wait) if wait else self._ids.get_nowait()
        except queue.Empty:
            return self._ask()
        with self._lock:
            self._ask_at = self._clock() + POLL_SECONDS
            fair = self._clock() - self._asked_at > FAIR_SECONDS
            if fair:
                self._ask_at = self._clock()
        return self._ask() if fair else self._claim(job_id)

    def _ask(self) -> Attempt | None:
        """The job that comes first. One thread asks at a time, and again at once after a job."""
        with self._lock:
            if self._stopping.is_set() or self._clock() < self._ask_at:
                return None
            self._asked_at = self._clock()
            self._ask_at = self._asked_at + POLL_SECONDS
        try:
            attempt = self._portal.claim_next()
        except Transient as error:
            self._note(error.code)
            return None
        self._note("")
        if attempt is not None:
            self._ask_at = self._clock()
        return attempt

    def _claim(self, job_id: UUID) -> Attempt | None:
        try:
            attempt = self._portal.claim(job_id)
        except Transient as error:
            log.warning("job %s: left to the sweep: %s", job_id, error.code)
            self._heard(error.code)
            return None
        if attempt is None:
            log.info("job %s: nothing to claim", job_id)
        else:
            self._heard("")
        return attempt

    def _note(self, refused: str) -> None:
        """Pass on why the portal gave no answer, and log it once."""
        self._heard(refused)
        if refused and refused != self._refused:
            log.warning("the portal gives no jobs: %s", refused)
        self._refused = refused
