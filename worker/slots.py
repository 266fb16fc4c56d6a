"""The threads of a worker: each has a process for jobs and does one job at a time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from worker.contract.clock import POLL_SECONDS
from worker.job_process import START_SECONDS, JobProcess, NotReady
from worker.job_source import JobSource
from worker.settings import Settings

log = logging.getLogger(__name__)

# What a step may take beyond its own limit before the worker counts as stuck.
_GRACE_SECONDS = 60.0


class Slot(threading.Thread):
    """One thread. `turned` is called while a job of it goes on; `end` where it can't go on."""

    def __init__(
        self,
        source: JobSource,
        settings: Settings,
        stopping: threading.Event,
        turned: Callable[[], None],
        end: Callable[[str], None],
    ) -> None:
        super().__init__(name="slot", daemon=True)
        self.process = JobProcess(source.queue, settings)
        # Whether it waits for a job; neither while it does one nor while its process loads.
        self.is_idle = False
        self._source, self._settings, self._stopping = source, settings, stopping
        self._turned, self._end = turned, end
        self._due = time.monotonic() + START_SECONDS + _GRACE_SECONDS

    @property
    def is_stuck(self) -> bool:
        """Whether a step takes longer than it may."""
        return self.is_alive() and time.monotonic() > self._due

    def run(self) -> None:
        """Do one job after the other until the worker stops."""
        try:
            while not self._stopping.is_set():
                self._expect(START_SECONDS)
                self.is_idle = self.is_idle and self.process.is_ready
                self.process.start()
                # A claim is repeated for a quarter of the job's time while the portal is down.
                self._expect(POLL_SECONDS + self._settings.job_seconds / 4)
                attempt = self._source.next()
                self.is_idle = attempt is None
                if attempt is None:
                    continue
                # And so is the report of a failure.
                self._expect(self._settings.hard_seconds + self._settings.job_seconds / 4)
                self.process.run(attempt, self._turned)
        except (NotReady, EOFError, OSError) as error:
            self._end(f"it can't start: {error or type(error).__name__}")
        except Exception as error:
            self._end(f"a thread ended: {type(error).__name__}")
        finally:
            self.is_idle = False
            self.process.stop()

    def _expect(self, seconds: float) -> None:
        self._due = time.monotonic() + seconds + _GRACE_SECONDS
