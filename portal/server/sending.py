"""An answer on its way to its reader: in parts, each within its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from portal.server import limits
from portal.server.memory import Reader, WaitingAnswers
from portal.server.request_body import Receive
from portal.web.event_stream import EventStream

if TYPE_CHECKING:
    from portal.server.connection import Connection

Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class AppAnswer:
    """What a WSGI call returned."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes | EventStream
    # Whether the connection ends after it.
    ends: bool = False


async def send_answer(
    connection: Connection,
    answer: AppAnswer,
    waiting: WaitingAnswers,
    reader: Reader,
    receive: Receive,
    send: Send,
) -> None:
    """Send it; TimeoutError if its reader is too slow."""
    lines = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in answer.headers]
    if all(name.lower() != b"server" for name, _ in lines):
        lines.append((b"server", b"pleura"))
    connection.has_answered = connection.answering = True
    await send({"type": "http.response.start", "status": answer.status, "headers": lines})
    if isinstance(answer.body, EventStream):
        connection.streaming = True
        await _stream(connection, answer.body, waiting, reader, receive, send)
        connection.streaming = False
    else:
        await _send_bytes(connection, answer.body, waiting, reader, send)
    connection.answering = False


async def _send_bytes(
    connection: Connection, body: bytes, waiting: WaitingAnswers, reader: Reader, send: Send
) -> None:
    view = memoryview(body)
    with waiting.wait(len(view), reader, connection.abort) as here:
        for offset in range(0, max(len(view), 1), limits.ANSWER_PART):
            if connection.has_ended:  # the loop does not learn of it while no part has to wait
                break
            part = view[offset : offset + limits.ANSWER_PART]
            more = offset + limits.ANSWER_PART < len(view)
            async with asyncio.timeout(limits.ANSWER_SECONDS):
                await send({"type": "http.response.body", "body": part, "more_body": more})
            here.take(len(part))


async def _stream(
    connection: Connection,
    body: EventStream,
    waiting: WaitingAnswers,
    reader: Reader,
    receive: Receive,
    send: Send,
) -> None:
    """Send events until there are no more or the client has gone.

    What the stream holds in memory waits for its reader as a whole answer does; events hold nothing
    and never give way. Two tasks for the whole stream: a task for each event cost more than the
    event.
    """
    if not body.holds:
        await _until_the_end(body.events(), receive, send, _count_nothing)
        return
    with waiting.wait(body.holds, reader, connection.abort) as here:
        await _until_the_end(body.events(), receive, send, here.take)


def _count_nothing(_size: int) -> None:
    pass


async def _until_the_end(
    events: AsyncGenerator[bytes, None], receive: Receive, send: Send, take: Callable[[int], None]
) -> None:
    sending = asyncio.ensure_future(_send_events(events, send, take))
    gone = asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (gone, sending):
            task.cancel()
        await asyncio.wait({gone, sending})
        await events.aclose()
    if not sending.cancelled():
        sending.result()


async def _send_events(
    events: AsyncGenerator[bytes, None], send: Send, take: Callable[[int], None]
) -> None:
    async for event in events:
        async with asyncio.timeout(limits.ANSWER_SECONDS):
            await send({"type": "http.response.body", "body": event, "more_body": True})
        take(len(event))
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
