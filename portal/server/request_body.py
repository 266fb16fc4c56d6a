"""A request's body, read into memory as far as it is wanted and within its time."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from typing import Any

from portal.server import limits
from portal.server.environ import declared_length
from portal.server.memory import Hold

Receive = Callable[[], Awaitable[dict[str, Any]]]


class RequestRefused(Exception):
    """The server answers with this status instead of the portal."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class RequestBody:
    """What has come of a body."""

    def __init__(self, scope: dict[str, Any], receive: Receive) -> None:
        self.declared = declared_length(scope)
        self.complete = self.declared == 0
        self.file = io.BytesIO()
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + limits.BODY_SECONDS

    async def read(self, most: int, hold: Hold | None = None) -> None:
        """Read until the body is complete or longer than this; raises RequestRefused.

        With a hold each part waits until there is memory for it; nothing of it is read meanwhile.
        """
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
            part = message.get("body", b"")
            if hold is not None:
                await self._have_memory(hold, self.file.tell() + len(part))
            size = self.file.write(part)
            self._deadline += size / limits.BYTES_PER_SECOND
            self.complete = not message.get("more_body", False)

    async def _have_memory(self, hold: Hold, size: int) -> None:
        began = self._loop.time()
        try:
            await hold.grow(size)
        except TimeoutError:
            raise RequestRefused(503) from None
        self._deadline += self._loop.time() - began  # it was not the client that waited

    async def drop_rest(self) -> None:
        """Read what is left and drop it: a client that is still sending reads no answer."""
        try:
            async with asyncio.timeout(limits.REST_SECONDS):
                while not self.complete:
                    message = await self._receive()
                    self.complete = not message.get("more_body", False)
        except TimeoutError:
            pass
