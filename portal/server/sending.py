"""An answer on its way to its reader: in parts, each within its time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from portal.server import limits
from portal.server.memory import WaitingAnswers
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


async def send_answer(
    connection: Connection,
    answer: AppAnswer,
    waiting: WaitingAnswers,
    receive: Receive,
    send: Send,
    *,
    ends: bool,
) -> None:
    """Send it; TimeoutError if its reader is too slow. `ends`: the connection ends after it."""
    lines = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in answer.headers]
    names = {name.lower() for name, _ in lines}
    if b"server" not in names:
        lines.append((b"server", b"pleura"))
    if ends and b"connection" not in names:
        lines.append((b"connection", b"close"))
    connection.has_answered = connection.answering = True
    await send({"type": "http.response.start", "status": answer.status, "headers": lines})
    if isinstance(answer.body, EventStream):
        connection.streaming = True
        await _stream(answer.body, receive, send)
        connection.streaming = False
    else:
        await _send_bytes(connection, answer.body, waiting, send)
    connection.answering = False


async def _send_bytes(
    connection: Connection, body: bytes, waiting: WaitingAnswers, send: Send
) -> None:
    view = memoryview(body)
    with waiting.wait(len(view), connection.abort, asyncio.get_running_loop().time()) as here:
        for offset in range(0, max(len(view), 1), limits.ANSWER_PART):
            if connection.has_ended:
                return
            part = view[offset : offset + limits.ANSWER_PART]
            more = offset + limits.ANSWER_PART < len(view)
            async with asyncio.timeout(limits.ANSWER_SECONDS):
                await send({"type": "http.response.body", "body": part, "more_body": more})
            here.take(len(part))


async def _stream(body: EventStream, receive: Receive, send: Send) -> None:
    """Send events until there are no more or the client has gone."""
    events = body.events()
    gone = asyncio.ensure_future(_until_gone(receive))
    try:
        while True:
            following = asyncio.ensure_future(anext(events, None))
            await asyncio.wait({gone, following}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                following.cancel()
                await asyncio.wait({following})
                return
            event = following.result()
            async with asyncio.timeout(limits.ANSWER_SECONDS):
                more = event is not None
                await send({"type": "http.response.body", "body": event or b"", "more_body": more})
            if event is None:
                return
    finally:
        gone.cancel()
        await events.aclose()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
