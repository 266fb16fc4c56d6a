"""Whether a worker works, shown by what it consumes: jobs, or answers that there is none.

The file whose age probes read, and the hello to the portal, follow from that alone; a second file
has the code of why the portal gave no answer. A worker that does not consume any more, or can't
acknowledge a message, ends with status 1, to be started anew.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from worker.client.portal_client import PortalClient
from worker.settings import Settings
from worker.slots import Slot

log = logging.getLogger(__name__)

HELLO_SECONDS = 20.0
# A probe counts a worker as dead after three missed hellos.
ALIVE_SECONDS = 3 * HELLO_SECONDS + 10
# A message that Redis does not take back for so long: the connection is gone.
ACKNOWLEDGE_SECONDS = 5.0
# How often an idle worker checks whether messages wait in Redis; it ends after two such checks.
LOOK_SECONDS = 10.0
_TICK_SECONDS = 1.0


def alive_file(settings: Settings, queue: str) -> Path:
    """The file whose age shows a probe whether the queue's worker is alive."""
    return settings.state_dir / f"{settings.name}-{queue}.alive"


def trouble_file(settings: Settings, queue: str) -> Path:
    """The file that has the code of why the portal gives the queue's worker no answer, if any."""
    return alive_file(settings, queue).with_suffix(".trouble")


class Consumer:
    """Finds out whether a worker still gets its messages, by what it has received."""

    def __init__(self) -> None:
        self._look_at: float | None = None
        self._missed = 0

    def fault(
        self,
        now: float,
        *,
        unacknowledged: float,
        silent: float,
        idle: bool,
        waiting: Callable[[], int],
    ) -> str | None:
        """Why the worker has to be started anew; None while all is well.

        `unacknowledged`: seconds for which a message could not be acknowledged; `silent`: seconds
        since the last message; `waiting`: how many are in Redis, looked at now and then.
        """
        if unacknowledged > ACKNOWLEDGE_SECONDS:
            return "a message can't be acknowledged"
        if self._look_at is None:
            self._look_at = now + LOOK_SECONDS
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            missed = idle and silent > LOOK_SECONDS and waiting() > 0
            self._missed = self._missed + 1 if missed else 0
        return "messages wait in Redis and do not arrive" if self._missed >= 2 else None


class Life:
    """The sign of life of one worker, and its end where it does not work any more."""

    def __init__(self, settings: Settings, queue: str, portal: PortalClient) -> None:
        self.stopping = threading.Event()
        self._file = alive_file(settings, queue)
        self._trouble = trouble_file(settings, queue)
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._settings, self._queue, self._portal = settings, queue, portal
        self._turned_at = 0.0
        self._ending = threading.Lock()
        self._slots: Sequence[Slot] = ()

    def turned(self) -> None:
        """A thread has consumed something, or does a job, which has a limit of time."""
        self._turned_at = time.monotonic()
        self._file.touch()

    def heard(self, refused: str) -> None:
        """The portal was asked for a job: "" where it answered, else the code of why not."""
        if refused:
            self._trouble.write_text(refused, "ascii")
        else:
            self._trouble.unlink(missing_ok=True)
            self.turned()

    def ended(self) -> None:
        """The worker does no jobs any more: probes see none."""
        for file in (self._file, self._trouble):
            file.unlink(missing_ok=True)

    def watch(
        self,
        slots: Sequence[Slot],
        unacknowledged: Callable[[], float],
        last_message: Callable[[], float],
        messages_waiting: Callable[[], int],
    ) -> None:
        """Look after these threads from now on, and after their consumer of messages.

        `unacknowledged`: seconds for which a message could not be acknowledged; `last_message`:
        when one came; `messages_waiting`: how many wait in Redis, 0 where it is down.
        """
        self._slots = slots
        looks = (unacknowledged, last_message, messages_waiting)
        threading.Thread(target=self._say_hello, name="hello", daemon=True).start()
        threading.Thread(target=self._watch, args=looks, name="watch", daemon=True).start()

    def end(self, reason: str) -> None:
        """End the worker with status 1 once its jobs have ended."""
        if not self._ending.acquire(blocking=False):
            return
        log.critical("the %s worker ends: %s", self._queue, reason)
        self.stopping.set()
        threading.Thread(target=self._exit, name="end").start()

    def _exit(self) -> None:
        # Not by way of the main thread, which may hang in its connection to Redis.
        for slot in self._slots:
            while slot.is_alive() and not slot.is_stuck:
                slot.join(_TICK_SECONDS)
        for slot in self._slots:
            slot.process.stop()
        self.ended()
        logging.shutdown()
        os._exit(1)

    def _watch(
        self,
        unacknowledged: Callable[[], float],
        last_message: Callable[[], float],
        messages_waiting: Callable[[], int],
    ) -> None:
        consumer = Consumer()
        while not self.stopping.wait(_TICK_SECONDS):
            now = time.monotonic()
            fault = consumer.fault(
                now,
                unacknowledged=unacknowledged(),
                silent=now - last_message(),
                idle=any(slot.is_idle for slot in self._slots),
                waiting=messages_waiting,
            )
            if any(slot.is_stuck for slot in self._slots):
                fault = "a job's process is stuck"
            if fault is not None:
                self.end(fault)

    def _say_hello(self) -> None:
        reached = True
        while not self.stopping.is_set():
            pause = _TICK_SECONDS
            if self._turned_at and time.monotonic() - self._turned_at < ALIVE_SECONDS:
                process = self._slots[0].process
                reaches = self._portal.hello(process.device, process.model, len(self._slots))
                if reaches != reached:
                    level = logging.INFO if reaches else logging.WARNING
                    log.log(level, "the portal accepts hello: %s", reaches)
                reached = reaches
                pause = HELLO_SECONDS if reaches else HELLO_SECONDS / 10
            self.stopping.wait(pause)
