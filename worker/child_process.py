"""What one worker process holds from its first moment on: the portal, and a decoder or an engine.

Owns its beginning (after Celery's fork, so that nothing heavy is ever loaded in the parent) and its
sign of life: every 20 seconds a hello to the portal and the time of it in a file, for probes.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.client.portal_client import Portal, Work
from worker.errors import Transient
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.render.pictures import Decoder
    from worker.segment.engine import Engine

log = logging.getLogger(__name__)

HELLO_SECONDS = 20.0
# An engine's process is there within these seconds.
LOADING_SECONDS = 240.0
# A probe calls a worker dead after three hellos that did not happen.
LIFE_SECONDS = 3 * HELLO_SECONDS + 10


@dataclass
class _Held:
    portal: Portal
    decoder: Decoder | None = None
    engine: Engine | None = None


_held: _Held | None = None


def begin(queue: str, settings: Settings) -> None:
    """Load what the queue's jobs need; a worker that can't is stopped with a sentence."""
    global _held
    held = _Held(Portal(settings, queue))
    kind = "cpu"
    try:
        if queue == "render":
            from worker.render.pictures import Decoder

            held.decoder = Decoder(settings)
        else:
            held.engine = _engine(settings)
            kind = held.engine.kind
    except Exception as error:
        # Celery would start such a child again and again: end the worker, its parent decides.
        log.critical("the %s worker can't start: %s: %s", queue, type(error).__name__, error)
        os.kill(os.getppid(), signal.SIGTERM)
        return
    _held = held
    threading.Thread(
        target=_say_hello,
        args=(held, kind, life_file(settings, queue)),
        name="hello",
        daemon=True,
    ).start()


def _engine(settings: Settings) -> Engine:
    """The engine. One that is shared may die while this process begins, and is begun anew."""
    from worker.segment.engine import Engine

    until = time.monotonic() + LOADING_SECONDS
    while True:
        try:
            return Engine(settings)
        except Transient:
            if time.monotonic() > until:
                raise
            time.sleep(1.0)


def portal() -> Portal:
    """The portal of this process."""
    return _ready().portal


def render(work: Work) -> dict[str, Any]:
    """Do a render job with this process's decoder."""
    from worker.render.pictures import render as render_with

    decoder = _ready().decoder
    assert decoder is not None, "a render task reached a process of another queue"
    result: dict[str, Any] = render_with(work, decoder)
    return result


def segment(work: Work) -> dict[str, Any]:
    """Do a segment job with this process's engine."""
    engine = _ready().engine
    assert engine is not None, "a segment task reached a process of another queue"
    return engine.segment(work)


def life_file(settings: Settings, queue: str) -> Path:
    """The file whose age tells a probe whether the queue's worker is alive."""
    return settings.state_dir / f"{settings.name}-{queue}.alive"


def is_alive(settings: Settings, queue: str, now: float) -> bool:
    """Whether a worker of that queue (``*``: of any) showed a sign of life lately."""
    files = settings.state_dir.glob(f"{settings.name}-{queue}.alive")
    return any(now - file.stat().st_mtime < LIFE_SECONDS for file in files)


def _ready() -> _Held:
    if _held is None:
        raise RuntimeError("the worker process has not begun")
    return _held


def _say_hello(held: _Held, kind: str, path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    heard = True
    while True:
        # Alive means able to work: a portal that is away for a moment does not make it dead.
        path.touch()
        hears = held.portal.hello(kind, held.engine.model if held.engine else "")
        if hears != heard:
            log.log(logging.INFO if hears else logging.WARNING, "portal heard hello: %s", hears)
        heard = hears
        time.sleep(HELLO_SECONDS if hears else HELLO_SECONDS / 10)
