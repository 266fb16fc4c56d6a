"""The state of one worker process: the portal's client, and a decoder or a segmenter.

It is set up after Celery's fork, so that nothing heavy is loaded in the parent. Every 20 seconds
the process says hello to the portal and touches a file, whose age probes read.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from worker.client.portal_client import Attempt, PortalClient
from worker.contract.job import JobKind, Queue
from worker.contract.result import Result
from worker.errors import Transient
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.render.pictures import Decoder
    from worker.segment.segmenter import Segmenter

log = logging.getLogger(__name__)

HELLO_SECONDS = 20.0
# The engine's process is ready within these seconds.
LOADING_SECONDS = 240.0
# A probe counts a worker as dead after three missed hellos.
ALIVE_SECONDS = 3 * HELLO_SECONDS + 10


@dataclass
class ProcessState:
    """What the tasks of this process use."""

    portal: PortalClient
    decoder: Decoder | None = None
    segmenter: Segmenter | None = None


_state: ProcessState | None = None


def start(queue: Queue, settings: Settings) -> None:
    """Load what the queue's jobs need; a worker that can't is stopped with a log line."""
    global _state
    state = ProcessState(PortalClient(settings, queue))
    device = "cpu"
    try:
        if queue is JobKind.RENDER:
            from worker.render.pictures import Decoder

            state.decoder = Decoder(settings)
        else:
            state.segmenter = _load_segmenter(settings)
            device = state.segmenter.device
    except Exception as error:
        # Celery would start such a child again and again: end the worker, its parent decides.
        log.critical("the %s worker can't start: %s: %s", queue, type(error).__name__, error)
        os.kill(os.getppid(), signal.SIGTERM)
        return
    _state = state
    threading.Thread(
        target=_say_hello,
        args=(state, device, alive_file(settings, queue)),
        name="hello",
        daemon=True,
    ).start()


def _load_segmenter(settings: Settings) -> Segmenter:
    """The segmenter. A shared engine may end while this process starts, and is then restarted."""
    from worker.segment.segmenter import Segmenter

    end = time.monotonic() + LOADING_SECONDS
    while True:
        try:
            return Segmenter(settings)
        except Transient:
            if time.monotonic() > end:
                raise
            time.sleep(1.0)


def portal() -> PortalClient:
    """The portal's client of this process."""
    return _started().portal


def render(attempt: Attempt) -> Result:
    """Do a render job with this process's decoder."""
    from worker.render.pictures import render as render_with

    decoder = _started().decoder
    assert decoder is not None, "a render task reached a process of another queue"
    return render_with(attempt, decoder)


def segment(attempt: Attempt) -> Result:
    """Do a segment job with this process's models."""
    segmenter = _started().segmenter
    assert segmenter is not None, "a segment task reached a process of another queue"
    return segmenter.segment(attempt)


def alive_file(settings: Settings, queue: str) -> Path:
    """The file whose age shows a probe whether the queue's worker is alive."""
    return settings.state_dir / f"{settings.name}-{queue}.alive"


def is_alive(settings: Settings, queue: str, now: float) -> bool:
    """Whether a worker of that queue (``*``: of any) has touched its file recently."""
    files = settings.state_dir.glob(f"{settings.name}-{queue}.alive")
    return any(now - file.stat().st_mtime < ALIVE_SECONDS for file in files)


def _started() -> ProcessState:
    if _state is None:
        raise RuntimeError("the worker process has not started")
    return _state


def _say_hello(state: ProcessState, device: str, path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    reached = True
    while True:
        # Alive means able to work: a portal that is away for a moment does not make it dead.
        path.touch()
        reaches = state.portal.hello(device, state.segmenter.model if state.segmenter else "")
        if reaches != reached:
            level = logging.INFO if reaches else logging.WARNING
            log.log(level, "the portal accepts hello: %s", reaches)
        reached = reaches
        time.sleep(HELLO_SECONDS if reaches else HELLO_SECONDS / 10)
