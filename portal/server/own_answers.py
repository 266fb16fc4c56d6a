"""Errors that the server answers itself, before or instead of the portal."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus

_TEXTS = {
    400: "The request could not be read.",
    408: "The request took too long.",
    413: "The request is too large.",
    414: "The address is too long.",
    431: "The headers are too large.",
    429: "That was asked too often. Try again in a moment.",
    500: "Internal error.",
    501: "The server does not support this.",
    503: "The server is busy. Try again in a moment.",
    505: "The server supports HTTP/1.1.",
}
# Seconds.
_RETRY_AFTER: dict[int, str] = {
    HTTPStatus.SERVICE_UNAVAILABLE: "5",
    HTTPStatus.TOO_MANY_REQUESTS: "1",
}


class OwnAnswers:
    """The server's own answers, with the portal's security headers."""

    def __init__(self, security_headers: dict[str, str]) -> None:
        self._headers = security_headers

    def parts(self, status: int) -> tuple[list[tuple[str, str]], bytes]:
        """Headers and body of the answer; the connection ends after it."""
        body = f"{_TEXTS.get(status, 'The request was refused.')}\n".encode()
        headers = [
            *self._headers.items(),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        if status in _RETRY_AFTER:
            headers.append(("Retry-After", _RETRY_AFTER[status]))
        return headers, body

    def whole(self, status: int) -> bytes:
        """The whole answer as it is written to a connection."""
        headers, body = self.parts(status)
        headers = [("Date", formatdate(usegmt=True)), *headers]
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        reason = HTTPStatus(status).phrase
        return f"HTTP/1.1 {status} {reason}\r\n{lines}\r\n".encode("latin-1") + body
