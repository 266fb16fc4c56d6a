"""Answers that go on for as long as the client listens (server-sent events).

The view that returns one is done at once: the server's event loop sends what follows, so that a
silent stream takes no thread and no database session.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from flask import Response


class EventStream:
    """The body of such an answer, made by an asynchronous generator of bytes.

    The generator runs outside of any request: what it needs is passed to it. It sends something
    every few seconds (a line that begins with a colon is ignored by clients), because nothing else
    shows that a client has gone without a word.

    `holds`: how many bytes it has in memory at most until its reader has taken them; 0 for events.
    """

    def __init__(self, events: Callable[[], AsyncGenerator[bytes, None]], holds: int = 0) -> None:
        self.events = events
        self.holds = holds

    def __iter__(self) -> Iterator[bytes]:
        """The same for a server without an event loop, such as that of tests."""
        # In a thread of its own: this one may have a loop that runs.
        with ThreadPoolExecutor(1) as thread:
            runner = thread.submit(asyncio.Runner).result()
            events = self.events()
            try:
                while (
                    event := thread.submit(runner.run, anext(events, None)).result()
                ) is not None:
                    yield event
            finally:
                thread.submit(runner.run, events.aclose()).result()
                thread.submit(runner.close).result()


def event_stream(events: Callable[[], AsyncGenerator[bytes, None]]) -> Response:
    """The answer that sends these events."""
    return Response(EventStream(events), content_type="text/event-stream", direct_passthrough=True)
