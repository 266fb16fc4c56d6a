"""The served portal of tests: the real one with other limits and a few views more."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncGenerator

from flask import Flask, Response

from portal.server import limits
from portal.server.application import Application
from portal.web import create_app
from portal.web.event_stream import event_stream
from portal.web.security import guard
from tests.support.served.raw_http import PATIENCE

HEADER_SECONDS = 1.0
BODY_SECONDS = 2.0
ANSWER_SECONDS = 2.0
FEW_CONNECTIONS = 100
FEW_PER_SENDER = 20
FEW_BYTES = 1024 * 1024
# Made once: what is tried is a reader who does not read, not the cost of making an answer.
LARGE_ANSWER = bytes(16 * 1024 * 1024)


def create() -> Application:
    """The portal of this process, which gives up soon."""
    limits.HEADER_SECONDS = HEADER_SECONDS  # type: ignore[misc]
    limits.BODY_SECONDS = BODY_SECONDS  # type: ignore[misc]
    limits.ANSWER_SECONDS = ANSWER_SECONDS  # type: ignore[misc]
    limits.CLOSE_SECONDS = 1.0  # type: ignore[misc]
    limits.REST_SECONDS = 1.0  # type: ignore[misc]
    return create_with_real_limits()


def create_with_few_places() -> Application:
    """The portal of this process, patient, with little room for connections and memory."""
    limits.CONNECTIONS = FEW_CONNECTIONS  # type: ignore[misc]
    limits.RESERVED_CONNECTIONS = FEW_CONNECTIONS // 5  # type: ignore[misc]
    limits.WORKERS_CONNECTIONS = FEW_CONNECTIONS // 10  # type: ignore[misc]
    limits.HEALTH_CONNECTIONS = FEW_CONNECTIONS // 20  # type: ignore[misc]
    limits.KNOWN_PER_SENDER = FEW_PER_SENDER  # type: ignore[misc]
    limits.CROWD = FEW_CONNECTIONS // 5  # type: ignore[misc]
    limits.STRANGERS_BYTES = FEW_BYTES  # type: ignore[misc]
    limits.MEMORY_SECONDS = 1.0  # type: ignore[misc]
    limits.ANSWER_SECONDS = 600.0  # type: ignore[misc]
    return create_with_real_limits()


def create_with_real_limits() -> Application:
    """The portal of this process, with the views of `add_views`."""
    app = create_app()
    add_views(app)
    return Application(app, app.extensions["pleura"].settings)


def add_views(app: Flask) -> None:
    """Views for everybody that stream, take their time and answer at length."""
    release, free = threading.Event(), threading.Event()
    held: list[int] = []

    @guard.public
    def events() -> Response:
        async def ticks() -> AsyncGenerator[bytes, None]:
            yield b"data: begun\n\n"
            while not release.is_set():
                await asyncio.sleep(0.2)
                yield b": still here\n\n"
            yield b"data: done\n\n"

        return event_stream(ticks)

    @guard.public
    def end_events() -> str:
        release.set()
        return "ended"

    @guard.public
    def hold() -> str:
        held.append(threading.get_ident())
        free.wait(PATIENCE)
        return "held"

    @guard.public
    def take_time() -> str:
        time.sleep(0.3)
        return "done"

    @guard.public
    def held_threads() -> str:
        return str(len(held))

    @guard.public
    def free_threads() -> str:
        free.set()
        return "free"

    @guard.public
    def large() -> bytes:
        return LARGE_ANSWER

    @guard.public
    def frozen() -> str:
        return str(gc.get_freeze_count())

    for view in (events, end_events, hold, take_time, large, frozen):
        app.add_url_rule(f"/test/{view.__name__}", view.__name__, view)
    app.add_url_rule("/worker/test/hold", "hold_as_worker", hold)
    app.add_url_rule("/worker/test/held", "held_threads", held_threads)
    app.add_url_rule("/worker/test/free", "free_threads", free_threads)
