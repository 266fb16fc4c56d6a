"""Whose request it is, as far as the server can tell without a query.

The server chooses a request's threads by it, and which connection gives way where there are too
many, before the portal has looked into its database. Tickets are signed. Logins and tokens are
known for some time after a view has found them genuine (`confirm`), or the database has at the
start, and forgotten when they are refused or end. Nothing is allowed by it; that is the guard's
matter.
"""

import hmac
import logging
import threading
import time
from collections.abc import Callable
from enum import Enum
from hashlib import sha256
from http import HTTPStatus
from typing import Any, NamedTuple

from flask import Flask, request

from portal.accounts import api_tokens, sessions
from portal.jobs import tickets, worker_tokens
from portal.services import DATABASE_ERROR, UNAVAILABLE, Services, db_session
from portal.web.security.login_cookie import token_of
from portal.web.security.request_context import credential_of

# What a view has found out in this request: the sender by token, None for one that has ended.
_FOUND = "portal.found_senders"

logger = logging.getLogger(__name__)


class Sender(Enum):
    """Who is known."""

    PERSON = "a browser with a login that lasts"
    WORKER = "a worker with its token or ticket"
    PROGRAM = "a program with its token"


class Known(NamedTuple):
    """Somebody who is known, and the digest of the login or token by which."""

    sender: Sender
    holder: bytes


def confirm(sender: Sender, raw: str) -> None:
    """The view or the guard has found this login or token of the running request genuine."""
    request.environ.setdefault(_FOUND, {})[raw] = sender


def refuse(raw: str) -> None:
    """The view or the guard has found that this login is none any more, or has ended it."""
    request.environ.setdefault(_FOUND, {})[raw] = None


class _Remembered:
    """A limited number of logins or tokens by digest, those confirmed last at the end."""

    def __init__(self, seconds: float, most: int, clock: Callable[[], float]) -> None:
        self._seconds, self._most, self._clock = seconds, most, clock
        self._known: dict[bytes, tuple[Known, float]] = {}
        self._lock = threading.Lock()  # at the start another thread adds what the database has

    def get(self, digest: bytes) -> Known | None:
        known, until = self._known.get(digest, (None, 0.0))
        return known if self._clock() < until else None

    def add(self, sender: Sender, digest: bytes) -> None:
        with self._lock:
            self._known.pop(digest, None)
            self._known[digest] = Known(sender, digest), self._clock() + self._seconds
            if len(self._known) > self._most:
                del self._known[next(iter(self._known))]

    def forget(self, digest: bytes) -> None:
        with self._lock:
            self._known.pop(digest, None)


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
        """Remember at most so many logins and so many tokens, for so long once confirmed."""
        self._app = app
        self._services: Services = app.extensions["pleura"]
        self._most = most
        self._logins = _Remembered(seconds, most, clock)
        self._tokens = _Remembered(seconds, most, clock)

    def of(self, environ: dict[str, Any]) -> Known | None:
        """Who sends the request with this environment; None for a stranger."""
        credential = _credential(environ)
        known = self._of_credential(credential) if credential else None
        if known is not None:
            return known
        login = token_of(self._app, environ, self._services.settings.session_absolute)
        return self._logins.get(_digest(login)) if login else None

    def _of_credential(self, credential: str) -> Known | None:
        settings = self._services.settings
        given, shared = credential.encode("utf-8", "surrogatepass"), settings.worker_token.encode()
        digest = _digest(credential)
        if settings.shared_worker_token and hmac.compare_digest(given, shared):
            return Known(Sender.WORKER, digest)
        if tickets.is_genuine(settings, credential, self._services.clock()):
            return Known(Sender.WORKER, digest)
        return self._tokens.get(digest)

    def learn(self, environ: dict[str, Any], status: int) -> None:
        """Remember who was confirmed, forget who was refused with this status or has ended."""
        if status == HTTPStatus.UNAUTHORIZED and (credential := _credential(environ)):
            self._tokens.forget(_digest(credential))
        found: dict[str, Sender | None] = environ.get(_FOUND, {})
        for raw, sender in found.items():
            if sender is None:
                self._logins.forget(_digest(raw))
            elif sender is Sender.PERSON:
                self._logins.add(sender, _digest(raw))
            elif status != HTTPStatus.UNAUTHORIZED:
                self._tokens.add(sender, _digest(raw))

    def read_database(self) -> None:
        """Know those whose logins and tokens work now; nobody where the database is away.

        At the start of a process: nobody has to show a login or token to a view first.
        """
        now, idle = self._services.clock(), self._services.settings.session_idle
        try:
            with self._app.app_context():
                session = db_session()
                logins = sessions.live_hashes(session, now, self._most, idle=idle)
                programs = api_tokens.live_hashes(session, now, self._most)
                workers = worker_tokens.live_hashes(session, now, self._most)
        except (*UNAVAILABLE, DATABASE_ERROR) as error:
            logger.warning("Who is signed in could not be read: %s", type(error).__name__)
            return
        for one in logins:
            self._logins.add(Sender.PERSON, bytes.fromhex(one))
        for one in programs:
            self._tokens.add(Sender.PROGRAM, bytes.fromhex(one))
        for one in workers:
            self._tokens.add(Sender.WORKER, bytes.fromhex(one))


def _digest(raw: str) -> bytes:
    """The same as of the rows: `sessions.hash_token`."""
    return sha256(raw.encode("utf-8", "surrogatepass")).digest()


def _credential(environ: dict[str, Any]) -> str:
    return credential_of(environ.get("HTTP_AUTHORIZATION", ""))
