"""The portal as gunicorn calls it: bodies are read before a thread is taken, answers sent after.

The event loop does everything that can wait for a client. Views run in threads. Those for workers,
for health checks and for whoever has not signed in are apart from those of people who have: a crowd
of strangers keeps nobody from work. A body of more than a few kilobytes is read only
after the portal has checked who sends it (`guard`), and stays in memory: nothing of it is written
to a disk.
"""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Flask

from portal.server import limits
from portal.server.environ import BadTarget, declared_length, environ_of
from portal.server.own_answers import OwnAnswers
from portal.settings import Settings
from portal.web import create_app
from portal.web.event_stream import EventStream
from portal.web.security import body_check, headers
from portal.web.security.login_cookie import is_of_a_login
from worker.contract.files import OUTPUT_BYTES_MAX

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Environ = dict[str, Any]

logger = logging.getLogger(__name__)


class RequestRefused(Exception):
    """The server answers with this status instead of the portal."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class AppAnswer:
    """What a WSGI call returned."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes | EventStream


class Lane:
    """The threads and the memory for one kind of request."""

    def __init__(self, name: str, threads: int, memory: limits.Memory) -> None:
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self.memory = memory


class Application:
    """An ASGI application around the portal's WSGI application."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._app = app
        self._proxies = settings.trusted_proxies
        secure = settings.base_url.startswith("https://")
        self.own_answers = OwnAnswers(headers.fixed(secure=secure))
        # All that comes by a proxy has the proxy's address: there requests are counted instead.
        most = settings.connections_per_address
        self.connections = limits.Places(limits.CONNECTIONS if self._proxies else most)
        self.requests = limits.Places(most)
        largest = body_check.largest_upload(settings)
        uploads = limits.Memory(limits.LARGEST_BODIES * largest)
        outputs = limits.Memory(limits.LARGEST_BODIES * OUTPUT_BYTES_MAX)
        self._people = Lane("people", limits.PEOPLE_THREADS, uploads)
        self._others = Lane("others", limits.OTHER_THREADS, uploads)
        self._workers = Lane("workers", limits.WORKER_THREADS, outputs)
        self._live = Lane("live", limits.LIVE_THREADS, limits.Memory(0))
        self._health = Lane("health", limits.HEALTH_THREADS, limits.Memory(0))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = _Body(scope, receive)
        client = self._client(scope)
        if not self.requests.take(client):
            await self._send(scope, self._refusal(503), body, receive, send)
            return
        try:  # a client that leaves ends this anywhere
            try:
                answer = await self._answer(scope, body)
            except RequestRefused as refused:
                answer = self._refusal(refused.status)
            await self._send(scope, answer, body, receive, send)
        finally:
            self.requests.give_back(client)

    def _refusal(self, status: int) -> AppAnswer:
        return AppAnswer(status, *self.own_answers.parts(status))

    async def _answer(self, scope: Scope, body: _Body) -> AppAnswer:
        try:
            environ = environ_of(scope)
        except BadTarget:
            raise RequestRefused(400) from None
        lane = self._lane(environ)
        await body.read(limits.UNCHECKED_BYTES)
        if body.complete:
            return await self._call(lane, environ, body.file)
        length = body.declared if body.declared is not None else -1
        checked = {**environ, body_check.CHECK_ONLY: True}
        if length >= 0:
            checked["CONTENT_LENGTH"] = str(length)
        refusal = await self._call(lane, checked, io.BytesIO())
        if body_check.BODY_LIMIT not in checked:
            return refusal
        environ[body_check.CHECKED] = length
        limit: int = checked[body_check.BODY_LIMIT]
        try:
            async with lane.memory.hold(length if length >= 0 else limit):
                await body.read(limit)
                if not body.complete:
                    raise RequestRefused(413)
                return await self._call(lane, environ, body.file)
        except TimeoutError:
            raise RequestRefused(503) from None

    def _lane(self, environ: Environ) -> Lane:
        path = environ["PATH_INFO"]
        if path.startswith("/worker/"):
            return self._workers
        if path == "/health/live":
            return self._live
        if path.startswith("/health/"):
            return self._health
        return self._people if is_of_a_login(self._app, environ) else self._others

    async def _call(self, lane: Lane, environ: Environ, file: io.BytesIO) -> AppAnswer:
        """The portal's answer, made in a thread."""
        if body_check.CHECK_ONLY not in environ and (length := file.seek(0, io.SEEK_END)):
            environ["CONTENT_LENGTH"] = str(length)
        file.seek(0)
        environ["wsgi.input"] = file
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(lane.threads, self._run, environ)
        except Exception as error:  # its text may hold what was sent
            logger.error("The portal failed: %s", type(error).__name__)
            raise RequestRefused(500) from None

    def _run(self, environ: Environ) -> AppAnswer:
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], _error: Any = None
        ) -> Callable[[bytes], object]:
            started.append((status, headers))
            return _no_write

        result = self._app(environ, start_response)
        try:
            body = result if isinstance(result, EventStream) else b"".join(list(result))
        finally:
            if hasattr(result, "close"):
                result.close()
        status, headers = started[-1]
        return AppAnswer(int(status.split(" ", 1)[0]), headers, body)

    async def _send(
        self, scope: Scope, answer: AppAnswer, body: _Body, receive: Receive, send: Send
    ) -> None:
        connection = scope["portal.connection"]
        lines = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in answer.headers]
        names = {name.lower() for name, _ in lines}
        if b"server" not in names:
            lines.append((b"server", b"pleura"))
        if not body.complete and b"connection" not in names:
            lines.append((b"connection", b"close"))
        start = {"type": "http.response.start", "status": answer.status, "headers": lines}
        try:
            await send(start)
            if isinstance(answer.body, EventStream):
                connection.streaming = True
                await _stream(answer.body, receive, send)
                connection.streaming = False
                return
            view = memoryview(answer.body)
            for offset in range(0, max(len(view), 1), limits.ANSWER_PART):
                if connection.has_ended:
                    return
                part = view[offset : offset + limits.ANSWER_PART]
                more = offset + limits.ANSWER_PART < len(view)
                message = {"type": "http.response.body", "body": part, "more_body": more}
                async with asyncio.timeout(limits.ANSWER_SECONDS):
                    await send(message)
            if answer.status != HTTPStatus.REQUEST_TIMEOUT:
                await body.drop_rest()
        except TimeoutError:
            connection.abort()

    def _client(self, scope: Scope) -> str:
        """The client's address, as the trusted proxies report it."""
        peer: str = scope["client"][0] if scope["client"] else ""
        if not self._proxies:
            return peer
        lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        reported = [part.strip() for part in b",".join(lines).decode("latin-1").split(",")]
        known = len(reported) >= self._proxies and reported[-self._proxies]
        return known or peer


class _Body:
    """A request's body, read into memory as far as it is wanted."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.declared = declared_length(scope)
        self.complete = self.declared == 0
        self.file = io.BytesIO()
        self._receive = receive
        self._deadline = asyncio.get_running_loop().time() + limits.BODY_SECONDS

    async def read(self, most: int) -> None:
        """Read until the body is complete or longer than this; raises RequestRefused."""
        if self.declared is not None and self.declared > most:
            return
        while not self.complete and self.file.tell() <= most:
            try:
                async with asyncio.timeout_at(self._deadline):
                    message = await self._receive()
            except TimeoutError:
                raise RequestRefused(408) from None
            if message["type"] != "http.request":
                raise RequestRefused(408)  # nothing came for too long, or nobody is there any more
            size = self.file.write(message.get("body", b""))
            self._deadline += size / limits.BYTES_PER_SECOND
            self.complete = not message.get("more_body", False)

    async def drop_rest(self) -> None:
        """Read what is left and drop it: a client that is still sending reads no answer."""
        try:
            async with asyncio.timeout(limits.REST_SECONDS):
                while not self.complete:
                    message = await self._receive()
                    self.complete = not message.get("more_body", False)
        except TimeoutError:
            pass


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


def _no_write(_data: bytes) -> None:
    raise NotImplementedError("the portal returns its bodies")


def create() -> Application:
    """The portal of this process."""
    app = create_app()
    return Application(app, app.extensions["pleura"].settings)
