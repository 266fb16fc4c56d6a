"""Health checks: made once a second for all who ask, so that asking often costs next to nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final

from portal.accounts.throttle import origin
from portal.server import limits
from portal.server.request_body import RequestRefused
from portal.server.sending import AppAnswer

Environ = dict[str, Any]
_PATHS: Final = frozenset({"/health/live", "/health/ready"})


class HealthAnswers:
    """The portal's last answers, and how often each address has asked for them.

    `make` lets the portal answer a request with this environment.
    """

    def __init__(self, make: Callable[[Environ], Awaitable[AppAnswer]], scheme: str) -> None:
        self._make = make
        self._scheme = scheme
        self._made: dict[str, tuple[float, asyncio.Future[AppAnswer]]] = {}
        self._asked: Counter[str] = Counter()
        self._asked_since = 0.0

    @staticmethod
    def are_asked_for(environ: Environ) -> bool:
        """Whether a request without a body is a health check."""
        return environ["PATH_INFO"] in _PATHS and environ["REQUEST_METHOD"] in ("GET", "HEAD")

    async def answer(self, environ: Environ, client: str) -> AppAnswer:
        """The answer, of this second or a new one; RequestRefused for who asks too often."""
        now = asyncio.get_running_loop().time()
        self._count(client, now)
        path = environ["PATH_INFO"]
        since, made = self._made.get(path, (now, None))
        is_old = now - since >= limits.HEALTH_SECONDS
        if made is None or (made.done() and (is_old or _failed(made))):
            made = asyncio.ensure_future(self._make(self._neutral(environ)))
            made.add_done_callback(_failed)  # whoever asked may have left
            self._made[path] = now, made
        answer = await asyncio.shield(made)  # who leaves does not end it for the others
        return replace(answer, body=b"") if environ["REQUEST_METHOD"] == "HEAD" else answer

    def _count(self, client: str, now: float) -> None:
        if now - self._asked_since >= 1:
            self._asked.clear()
            self._asked_since = now
        self._asked[origin(client)] += 1
        if self._asked[origin(client)] > limits.HEALTH_CHECKS_PER_SECOND:
            raise RequestRefused(429)

    def _neutral(self, environ: Environ) -> Environ:
        """The request without what the client sent: its answer goes to others too."""
        server = {k: v for k, v in environ.items() if not k.startswith("HTTP_")}
        host = f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
        return server | {
            "REQUEST_METHOD": "GET",
            "QUERY_STRING": "",
            "HTTP_HOST": host,
            "wsgi.url_scheme": self._scheme,
        }


def _failed(made: asyncio.Future[AppAnswer]) -> bool:
    return made.cancelled() or made.exception() is not None
