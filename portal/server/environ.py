"""An ASGI request as the environment of a WSGI call."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

# What a body is framed by: the server has taken the framing off.
_FRAMING = frozenset({b"content-length", b"content-type", b"transfer-encoding"})


class BadTarget(ValueError):
    """The request's target names no resource of this server."""


def environ_of(scope: dict[str, Any]) -> dict[str, Any]:
    """The environment, without a body; raises BadTarget.

    Only the server sets CGI's own variables: a header becomes `HTTP_…`, and one with an underscore
    in its name, which would look the same as one with a hyphen, is dropped.
    """
    host, port = scope["server"] or ("", 0)
    headers = _joined(scope["headers"])
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(_path(scope, headers)).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0] if scope["client"] else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if b"content-type" in headers:
        environ["CONTENT_TYPE"] = headers[b"content-type"].decode("latin-1")
    for name, value in headers.items():
        if name not in _FRAMING and b"_" not in name:
            key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
            environ[key] = value.decode("latin-1")
    return environ


def declared_length(scope: dict[str, Any]) -> int | None:
    """The length of the request's body in bytes; None where only its end will show it."""
    headers = dict(scope["headers"])
    if b"transfer-encoding" in headers:
        return None
    return int(headers.get(b"content-length", b"0"))


def _joined(headers: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """The headers by name; those that came several times in one (RFC 9110, 5.3)."""
    joined: dict[bytes, bytes] = {}
    for name, value in headers:
        between = b"; " if name == b"cookie" else b","
        joined[name] = joined[name] + between + value if name in joined else value
    return joined


def _path(scope: dict[str, Any], headers: dict[bytes, bytes]) -> bytes:
    """The path of the target, still quoted.

    A target may be a whole address (RFC 9112, 3.2.2). Its host has to be the one of the header: the
    portal would see only one of the two.
    """
    target: bytes = scope["raw_path"]
    if target.startswith(b"/") or target == b"*":
        return target
    try:
        address = urlsplit(target)
    except ValueError:
        raise BadTarget from None
    if address.scheme not in (b"http", b"https") or address.netloc != headers.get(b"host"):
        raise BadTarget
    return address.path or b"/"
