"""Gunicorn's worker process and its connections, with limits of time and number.

Gunicorn parses requests and frames answers (`gunicorn.asgi`). Added here: a header has to arrive in
time and is limited as a whole, connections are limited and some give way to others (`places`), a
closed connection ends even if nobody reads its answer, and the server's own errors carry the
portal's security headers.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

from gunicorn.asgi.protocol import ASGIProtocol
from gunicorn.workers import gasgi

from portal.server import limits
from portal.server.places import Place

if TYPE_CHECKING:
    from portal.server.application import Application


class Connection(ASGIProtocol):  # type: ignore[misc]  # gunicorn has no types
    """One connection of a browser, a program or a worker."""

    app: Application
    transport: asyncio.Transport

    def __init__(self, worker: GunicornWorker) -> None:
        super().__init__(worker)
        # Its place among all connections; none for one that was refused.
        self._place: Place | None = None
        self._header_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        # Whether there was an answer, whether one is being sent, and whether it is without end.
        self.has_answered = False
        self.answering = False
        self.streaming = False
        # Whether it ends after the answer, whatever the client asked for.
        self.ends = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Serve the connection, unless its address has too many."""
        peer = transport.get_extra_info("peername")
        address = peer[0] if isinstance(peer, tuple) else ""
        self._place = self.app.connections.take(address, self._give_way)
        if self._place is None:
            transport.write(self.app.own_answers.whole(503))
            transport.close()
            return
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits.SEND_BUFFER)
        self.worker.connections.add(self)
        self._header_timer = self.worker.loop.call_later(limits.HEADER_SECONDS, self._header_late)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived; those of a refused connection are dropped."""
        if self._place is not None and not self._closed:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        if self._place is None or self._conn_lost_handled:
            return
        self.app.connections.give_back(self._place)
        self.worker.connections.discard(self)
        self._stop_header_timer()
        if self._close_timer is not None:
            self._close_timer.cancel()
        super().connection_lost(exc)
        # What waits for the reader goes on, sees that there is none, and lets go of its answer.
        self.resume_writing()

    @property
    def has_ended(self) -> bool:
        """Whether nobody is at the other side any more: what is sent would be lost."""
        return self._conn_lost_handled or self.transport.is_closing()

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self._current_request is None or self.streaming

    def close(self) -> None:
        """End the connection after what is already written."""
        self._close_transport()

    def abort(self) -> None:
        """End the connection now, and drop what the other side has not taken."""
        self._closed = True
        if not self._conn_lost_handled:
            # Otherwise the system keeps its buffers and goes on trying to send them.
            connection = self.transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _give_way(self) -> None:
        """End it for a new connection, and answer a request that is unfinished or may be coming.

        After an answer whoever is there would take another for that of their next request.
        """
        assert self._place is not None
        if not self.answering and (self._place.received or not self.has_answered):
            self._send_error_response(503, "")
        if self.transport.get_write_buffer_size():
            self.abort()
        else:
            self._close_transport()
        self._request_ready.set()

    def _feed_callback_parser(self, data: bytes) -> bool:
        assert self._place is not None
        try:
            goes_on: bool = super()._feed_callback_parser(data)
        except Exception:  # what gunicorn's parser does not expect is malformed too
            return self._refuse(400)
        self.app.connections.receive(self._place, len(data))
        if self._place.has_ended:
            return False
        if goes_on and self._current_request is None and self._place.received > limits.HEADER_BYTES:
            return self._refuse(431)
        return goes_on

    def _refuse(self, status: int) -> bool:
        self._send_error_response(status, "")
        self._close_transport()
        return False

    def _on_headers_complete(self) -> bool:
        self._stop_header_timer()
        assert self._place is not None
        self._place.is_unread = True
        skip_body: bool = super()._on_headers_complete()
        return skip_body

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _header_late(self) -> None:
        self._refuse(408)
        self._request_ready.set()

    def _will_close(self, request: object, requires_close: bool) -> bool:
        closes: bool = super()._will_close(request, requires_close)
        return self.ends or closes

    def _is_websocket_upgrade(self, _request: object) -> bool:
        return False

    def _build_http_scope(self, *arguments: Any) -> dict[str, Any]:
        scope: dict[str, Any] = super()._build_http_scope(*arguments)
        scope["portal.connection"] = self
        scope["portal.place"] = self._place
        return scope

    def _send_error_response(self, status: int, _message: str, _more: Any = ()) -> None:
        """The message may quote the request and is left out."""
        self._safe_write(self.app.own_answers.whole(status))

    def _close_transport(self) -> None:
        is_new = not self._closed
        super()._close_transport()
        if is_new and not self._conn_lost_handled:
            self._close_timer = self.worker.loop.call_later(limits.CLOSE_SECONDS, self.abort)


class GunicornWorker(gasgi.ASGIWorker):  # type: ignore[misc]  # gunicorn has no types
    """A process of gunicorn: one event loop, and the threads of `Application`."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.connections: set[Connection] = set()

    def init_process(self) -> None:
        """Start serving."""
        limits.allow_enough_files()
        super().init_process()

    async def _shutdown(self) -> None:
        """Requests in progress are answered; whoever sends or wants nothing is not waited for."""
        for connection in list(self.connections):
            if connection.idle:
                connection.close()
        await super()._shutdown()


# The worker has no setting for it.
gasgi.ASGIProtocol = Connection
