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
import threading
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from flask import Flask

from portal.server import limits
from portal.server.environ import BadTarget, environ_of
from portal.server.health_answers import HealthAnswers
from portal.server.lanes import Lane, Lanes
from portal.server.memory import WaitingAnswers
from portal.server.own_answers import OwnAnswers
from portal.server.places import Connections, Full, Place, Requests, network_of
from portal.server.request_body import Receive, RequestBody, RequestRefused
from portal.server.sending import AppAnswer, Send, send_answer
from portal.server.turns import Turn
from portal.settings import Settings
from portal.web import create_app
from portal.web.event_stream import EventStream
from portal.web.security import body_check, headers
from portal.web.security.known_senders import KnownSenders, Sender

Scope = dict[str, Any]
Environ = dict[str, Any]

logger = logging.getLogger(__name__)


class Application:
    """An ASGI application around the portal's WSGI application."""

    def __init__(self, app: Flask, settings: Settings) -> None:
        self._app = app
        self._proxies = settings.trusted_proxies
        secure = settings.base_url.startswith("https://")
        self.own_answers = OwnAnswers(headers.fixed(secure=secure))
        # All that comes by a proxy has the proxy's address: there requests are counted instead.
        most = settings.connections_per_address
        self.connections = Connections(limits.CONNECTIONS if self._proxies else most)
        self.requests = Requests(most)
        largest = body_check.largest_upload(settings)
        self._lanes = Lanes(largest)
        self._answers = WaitingAnswers(limits.LARGEST_ANSWERS * largest)
        self._health = HealthAnswers(self._check_health, "https" if secure else "http")
        self._senders = KnownSenders(app, seconds=limits.KNOWN_SECONDS, most=limits.KNOWN_SENDERS)
        # Beside the start, which waits for no database.
        threading.Thread(target=self._senders.read_database, daemon=True).start()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body = RequestBody(scope, receive)
        client = self._client(scope)
        place: Place = scope["portal.place"]
        has_begun = self.requests.take(client)
        try:  # a client that leaves ends this anywhere
            try:
                if not has_begun:
                    raise Full
                answer = await self._answer(scope, body, client, place)
            except RequestRefused as refused:
                answer = self._refusal(refused.status)
            except Full:
                answer = self._refusal(503)
            await self._send(scope, answer, body, receive, send)
        finally:
            if has_begun:
                self.requests.give_back(client)
            self.connections.finish(place)

    def _refusal(self, status: int) -> AppAnswer:
        return AppAnswer(status, *self.own_answers.parts(status), ends=True)

    async def _answer(
        self, scope: Scope, body: RequestBody, client: str, place: Place
    ) -> AppAnswer:
        try:
            environ = environ_of(scope)
        except BadTarget:
            raise RequestRefused(400) from None
        known = self._senders.of(environ)
        place.sender = known.holder if known else network_of(client)
        self.connections.set_known(place, known)
        if body.complete and self._health.are_asked_for(environ):
            return await self._health.answer(environ, client)
        lane = self._lanes.of(environ["PATH_INFO"], known)
        if known is None or known.sender is not Sender.WORKER:
            await self._pause(place)
        await body.read(limits.UNCHECKED_BYTES)
        if body.complete:
            return await self._work(place, lane, environ, body.file)
        length = body.declared if body.declared is not None else -1
        checked = {**environ, body_check.CHECK_ONLY: True}
        if length >= 0:
            checked["CONTENT_LENGTH"] = str(length)
        refusal = await self._work(place, lane, checked, io.BytesIO())
        if body_check.BODY_LIMIT not in checked:
            return refusal
        environ[body_check.CHECKED] = length
        self.connections.set_known(place, self._senders.of(environ))  # the guard has confirmed it
        async with lane.memory.hold() as hold:
            await body.read(checked[body_check.BODY_LIMIT], hold)
            if not body.complete:
                raise RequestRefused(413)
            return await self._work(place, lane, environ, body.file)

    async def _pause(self, place: Place) -> None:
        if pause := self._answers.pause(place.sender):
            await asyncio.sleep(pause)

    async def _work(
        self, place: Place, lane: Lane, environ: Environ, file: io.BytesIO
    ) -> AppAnswer:
        async with lane.turn(place) as turn:
            with self.connections.work(place):
                answer = await self._call(lane, environ, file, turn)
        self._senders.learn(environ, answer.status)
        return answer

    async def _check_health(self, environ: Environ) -> AppAnswer:
        return await self._call(self._lanes.health, environ, io.BytesIO(), Turn())

    async def _call(self, lane: Lane, environ: Environ, file: io.BytesIO, turn: Turn) -> AppAnswer:
        """The portal's answer, made in a thread."""
        if body_check.CHECK_ONLY not in environ and (length := file.seek(0, io.SEEK_END)):
            environ["CONTENT_LENGTH"] = str(length)
        file.seek(0)
        environ["wsgi.input"] = file
        try:
            turn.work = lane.threads.submit(self._run, environ)
            return await asyncio.wrap_future(turn.work)
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
        self, scope: Scope, answer: AppAnswer, body: RequestBody, receive: Receive, send: Send
    ) -> None:
        connection = scope["portal.connection"]
        place: Place = scope["portal.place"]
        connection.ends = answer.ends or not body.complete
        try:
            await send_answer(connection, answer, self._answers, place.sender, receive, send)
            if (
                not body.complete
                and answer.status != HTTPStatus.REQUEST_TIMEOUT
                and not connection.has_ended
            ):
                await body.drop_rest()
        except TimeoutError:
            self._answers.cut_off(place.sender)
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


def _no_write(_data: bytes) -> None:
    raise NotImplementedError("the portal returns its bodies")


def create() -> Application:
    """The portal of this process."""
    app = create_app()
    return Application(app, app.extensions["pleura"].settings)
