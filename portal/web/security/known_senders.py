"""Whose request it is, as far as the server can tell without a query.

The server chooses a request's threads by it, and which connection gives way where there are too
many, before the portal has looked into its database. Logins and tickets are signed. Tokens are not:
one is known for some time after a view has found it genuine (`confirm`). Nothing is allowed by it;
that is the guard's matter.
"""

import hmac
import time
from collections.abc import Callable
from enum import Enum
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from flask import Flask, request

from portal.jobs import tickets
from portal.services import Services
from portal.web.security.login_cookie import is_of_a_login
from portal.web.security.request_context import credential_of

_CONFIRMED = "portal.confirmed"


class Sender(Enum):
    """Who is known."""

    PERSON = "a browser with a login, now or before"
    WORKER = "a worker with its token or ticket"
    PROGRAM = "a program with its token"


def confirm(sender: Sender) -> None:
    """The view or the guard has found the token of the running request genuine."""
    request.environ[_CONFIRMED] = sender


class KnownSenders:
    """The senders that a process of the portal knows."""

    def __init__(
        self,
        app: Flask,
        *,
        seconds: float,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember at most so many tokens, each for so long after it was confirmed."""
        self._app = app
        self._services: Services = app.extensions["pleura"]
        self._seconds, self._most, self._clock = seconds, most, clock
        # By digest, the one that was confirmed last at the end.
        self._tokens: dict[bytes, tuple[Sender, float]] = {}

    def of(self, environ: dict[str, Any]) -> Sender | None:
        """Who sends the request with this environment; None for a stranger."""
        credential = _credential(environ)
        sender = self._of_credential(credential) if credential else None
        if sender is None and is_of_a_login(self._app, environ):
            return Sender.PERSON
        return sender

    def _of_credential(self, credential: str) -> Sender | None:
        settings = self._services.settings
        given, shared = credential.encode("utf-8", "surrogatepass"), settings.worker_token.encode()
        if settings.shared_worker_token and hmac.compare_digest(given, shared):
            return Sender.WORKER
        if tickets.is_genuine(settings, credential, self._services.clock()):
            return Sender.WORKER
        sender, until = self._tokens.get(sha256(given).digest(), (None, 0.0))
        return sender if self._clock() < until else None

    def learn(self, environ: dict[str, Any], status: int) -> None:
        """Remember a token that was confirmed, forget one that was refused with this status."""
        if not (credential := _credential(environ)):
            return
        digest = sha256(credential.encode("utf-8", "surrogatepass")).digest()
        refused = status == HTTPStatus.UNAUTHORIZED
        if refused or _CONFIRMED in environ:
            self._tokens.pop(digest, None)
        if not refused and _CONFIRMED in environ:
            self._tokens[digest] = environ[_CONFIRMED], self._clock() + self._seconds
            if len(self._tokens) > self._most:
                del self._tokens[next(iter(self._tokens))]


def _credential(environ: dict[str, Any]) -> str:
    return credential_of(environ.get("HTTP_AUTHORIZATION", ""))
