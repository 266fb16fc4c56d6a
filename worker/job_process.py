"""The worker's end of a process that does jobs: started, given one job at a time, limited, ended.

The worker renews the job's lease meanwhile and, since it has the ticket, reports the end of a
process that died or was killed by its time limit.
"""

from __future__ import annotations

import logging
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from worker.client.portal_client import Attempt
from worker.contract.clock import HEARTBEAT_SECONDS
from worker.contract.error_codes import ErrorCode
from worker.contract.job import JobKind, Queue
from worker.errors import AttemptLost, Transient
from worker.framing import receive, send
from worker.settings import Settings, job_process_environment

log = logging.getLogger(__name__)

# A process that does not report by then that it has loaded its model is given up.
START_SECONDS = 300.0
# Decoders and allocators grow: a new process now and then costs less than a leak.
JOBS_PER_PROCESS = {JobKind.RENDER: 500, JobKind.SEGMENT: 5000}


class NotReady(Exception):
    """The process could not load what its jobs need; the text gives the reason."""


class JobProcess:
    """One process for jobs of a queue. Only one thread uses it."""

    def __init__(
        self, queue: Queue, settings: Settings, *, heartbeat_seconds: float = HEARTBEAT_SECONDS
    ) -> None:
        self.device = self.model = ""
        self._queue, self._settings = queue, settings
        self._heartbeat_seconds = heartbeat_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._jobs = 0

    @property
    def is_ready(self) -> bool:
        """Whether the process runs, and may do one more job."""
        runs = self._process is not None and self._process.poll() is None
        return runs and self._jobs < JOBS_PER_PROCESS[self._queue]

    def start(self) -> None:
        """Start the process unless it runs; NotReady where it does not get ready."""
        if self.is_ready:
            return
        self.stop()
        self._channel, child_end = socket.socketpair()
        with child_end:
            self._process = subprocess.Popen(  # our own module, our interpreter  # noqa: S603  # nosec B603
                [
                    *(sys.executable, "-m", "worker.child_process"),
                    *(self._queue, str(child_end.fileno())),
                ],
                pass_fds=[child_end.fileno()],
                stdin=subprocess.PIPE,
                env=job_process_environment(),
            )
        self._jobs = 0
        if not self._answers(START_SECONDS):
            self.stop()
            raise NotReady("its process did not get ready in time")
        self._read_answer()

    def run(self, attempt: Attempt, turned: Callable[[], None]) -> None:
        """Let the process do an attempt; `turned` is called while all is well.

        The attempt has ended afterwards: by the process, or by a report of what became of it.
        """
        assert self._channel is not None
        assert self._process is not None
        self._jobs += 1
        began = time.monotonic()
        was_asked = False
        try:
            send(self._channel, attempt.claim.as_json(), attempt.take_inputs())
            while not self._answers(self._heartbeat_seconds):
                seconds = time.monotonic() - began
                if seconds > self._settings.hard_seconds:
                    self._give_up(attempt, ErrorCode.TIMEOUT)
                    return
                if seconds > self._settings.soft_seconds and not was_asked:
                    was_asked = True
                    self._process.send_signal(signal.SIGUSR1)
                if self._is_lost(attempt):
                    log.warning("job %s: attempt %d is lost", attempt.job_id, attempt.number)
                    self.stop()
                    return
                turned()
            self._read_answer()
        except (OSError, EOFError):
            self._give_up(attempt, ErrorCode.PROCESS_LOST)

    def stop(self) -> None:
        """End the process, whatever it does."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            with suppress(OSError):
                self._process.stdin.close()
        self._process = self._channel = None

    def _is_lost(self, attempt: Attempt) -> bool:
        """Renew the lease; whether the job is no longer this attempt's, and the process goes on."""
        try:
            attempt.heartbeat()
        except AttemptLost:
            # Perhaps the process has just ended the job itself, and its answer is on its way.
            return not self._answers(self._heartbeat_seconds)
        return False

    def _answers(self, seconds: float) -> bool:
        """Whether the process sends something, or ends, within so many seconds."""
        assert self._channel is not None
        return bool(select.select([self._channel], [], [], seconds)[0])

    def _read_answer(self) -> None:
        assert self._channel is not None
        head, _ = receive(self._channel)
        if "error" in head:
            raise NotReady(str(head["error"]))
        self.device, self.model = str(head["device"]), str(head["model"])

    def _give_up(self, attempt: Attempt, code: ErrorCode) -> None:
        self.stop()
        log.warning("job %s: attempt %d failed: %s", attempt.job_id, attempt.number, code)
        attempt.fail(Transient(code))
