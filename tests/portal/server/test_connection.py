"""Requests as bytes: what is malformed is refused, whatever is slow ends, and threads stay free."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.portal.web.security.test_headers import ALWAYS
from tests.support.served.portal import ServedPortal
from tests.support.served.raw_http import (
    answer_of,
    connect,
    exchange,
    read_to_end,
    request,
    statuses,
)

HOST = b"Host: pleura.test\r\n"
CLOSE = HOST + b"Connection: close\r\n"
NEXT = b"GET /health/live HTTP/1.1\r\n" + CLOSE + b"\r\n"
UPGRADE = b"Connection: upgrade, close\r\nUpgrade: websocket\r\n"
UPGRADE += b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def get(headers: bytes, target: bytes = b"/health/live", version: bytes = b"1.1") -> bytes:
    return b"GET %s HTTP/%s\r\n%s\r\n" % (target, version, headers)


def post(headers: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    """A form without a token, which the portal refuses with 400, and another request."""
    return b"POST /sign-in HTTP/%s\r\n%s%s\r\n%s" % (version, HOST, headers, body + NEXT)


def coding(value: bytes, version: bytes = b"1.1") -> bytes:
    """An empty form with this Transfer-Encoding."""
    return post(b"Transfer-Encoding: " + value + b"\r\n", b"0\r\n\r\n", version)


def chunk(sent: bytes) -> bytes:
    """A form of this chunk."""
    return post(CHUNKED, sent + b"\r\n0\r\n\r\n")


# What two servers could read differently: one answer, and nothing after it is read as a request.
REFUSED = {
    "length and chunked": (400, post(b"Content-Length: 5\r\n" + CHUNKED, b"0\r\n\r\n")),
    "two lengths": (400, post(b"Content-Length: 0\r\nContent-Length: 5\r\n")),
    "the same length twice": (400, post(b"Content-Length: 0\r\nContent-Length: 0\r\n")),
    "lengths in a list": (400, post(b"Content-Length: 0, 0\r\n")),
    "a length with a sign": (400, post(b"Content-Length: +0\r\n")),
    "a negative length": (400, post(b"Content-Length: -1\r\n")),
    "a length that is no number": (400, post(b"Content-Length: 0x5\r\n")),
    "a length of 5000 digits": (400, post(b"Content-Length: " + b"1" * 5000 + b"\r\n")),
    "a space before the colon": (400, post(b"Content-Length : 5\r\n")),
    "chunked with 1.0": (400, coding(b"chunked", b"1.0")),
    "chunked twice": (400, coding(b"chunked, chunked")),
    "chunked, then identity": (400, coding(b"chunked, identity")),
    "gzip alone": (400, coding(b"gzip")),
    "an unknown coding": (501, coding(b"xchunked")),
    "a coding after a vertical tab": (400, coding(b"\x0bchunked")),
    "a chunk size that is no number": (400, chunk(b"zz\r\na")),
    "a chunk size with a sign": (400, chunk(b"+1\r\na")),
    "a chunk longer than its size": (400, chunk(b"1\r\nab")),
    "a bare line feed in an extension": (400, chunk(b"1;a\nb\r\na")),
    "a folded header": (400, get(HOST + b"X-A: b\r\n c: d\r\n")),
    "a header without a colon": (400, get(HOST + b"nonsense\r\n")),
    "a NUL in a value": (400, get(HOST + b"X-A: b\0c\r\n")),
    "a NUL in a name": (400, get(HOST + b"X-\0A: b\r\n")),
    "a NUL in the target": (400, get(HOST, b"/\0")),
    "a bare carriage return in a value": (400, get(HOST + b"X-A: b\rX-B: c\r\n")),
    "lines that end with a line feed": (400, b"GET / HTTP/1.1\nHost: a\n\n" + NEXT),
    "two hosts": (400, get(HOST + b"Host: other\r\n")),
    "no version": (400, b"GET /\r\n\r\n"),
    "version 2": (400, get(HOST, version=b"2.0")),
    "nonsense": (400, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n"),
    "a host in the target that is not the header's": (400, get(HOST, b"http://evil/") + NEXT),
    "a target without a path": (400, b"CONNECT evil:443 HTTP/1.1\r\n" + HOST + b"\r\n" + NEXT),
    "a long target": (414, get(HOST, b"/" + b"a" * 5000)),
    "a long header": (431, get(HOST + b"X-A: " + b"b" * 9000 + b"\r\n")),
    "many headers": (431, get(HOST + b"X-A: b\r\n" * 101)),
}
ACCEPTED = {
    "a plain request": (200, NEXT),
    "chunks with extensions": (
        400,
        chunk(b"1;a=b\r\na").replace(CHUNKED, b"Connection: close\r\n" + CHUNKED),
    ),
    "a whole address": (200, get(CLOSE, b"http://pleura.test/health/live")),
    "100 headers": (200, get(CLOSE + b"X-A: b\r\n" * 98)),
    "version 1.0": (200, get(b"", version=b"1.0")),
    "an upgrade that is not offered": (400, get(HOST + UPGRADE, b"/sign-in")),
    "any method": (405, b"TRACE /health/live HTTP/1.1\r\n" + CLOSE + b"\r\n"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_could_be_read_in_two_ways_is_refused(
    served: ServedPortal, name: str
) -> None:
    status, sent = REFUSED[name]
    received = exchange(served.port, sent)
    assert statuses(received) == [status]
    answer = answer_of(received)
    for header, value in ALWAYS.items():
        assert answer.headers[header] == value, header
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["Permissions-Policy"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert "gunicorn" not in received.decode("latin-1").lower()
    assert b"evil" not in received


@pytest.mark.parametrize("name", ACCEPTED)
def test_others_reach_the_portal(served: ServedPortal, name: str) -> None:
    status, sent = ACCEPTED[name]
    assert statuses(exchange(served.port, sent)) == [status]


def test_two_requests_sent_at_once_get_two_answers(served: ServedPortal) -> None:
    first = b"GET /health/live HTTP/1.1\r\nHost: pleura.test\r\n\r\n"
    assert statuses(exchange(served.port, first + NEXT)) == [200, 200]


@pytest.mark.parametrize(
    "line", ["SCRIPT_NAME: /evil", "PATH_INFO: /health/live", "Script-Name: /evil"]
)
def test_no_header_sets_where_the_portal_is(served: ServedPortal, line: str) -> None:
    """Gunicorn takes the first two from loopback by default, for a proxy there."""
    received = exchange(served.port, request("/worklist", line))
    answer = answer_of(received)
    assert answer.status == 303
    assert answer.headers["Location"] == "/sign-in?next=/worklist"
    assert b"evil" not in received


@pytest.mark.parametrize(
    "target", ["/static//css/base.css?a=b", "http://evil/static//css/base.css?a=b"]
)
def test_a_redirect_to_the_right_address_names_no_host(served: ServedPortal, target: str) -> None:
    sent = f"GET {target} HTTP/1.1\r\nHost: evil\r\nConnection: close\r\n\r\n"
    received = exchange(served.port, sent.encode())
    answer = answer_of(received)
    assert (answer.status, answer.headers["Location"]) == (308, "/static/css/base.css?a=b")
    assert b"evil" not in received


def test_a_scheme_is_taken_from_counted_proxies_only(served: ServedPortal) -> None:
    answer = answer_of(exchange(served.port, request("/sign-in", "X-Forwarded-Proto: https")))
    assert answer.headers["Strict-Transport-Security"] is None


def test_a_connection_without_a_complete_header_is_closed_and_takes_no_thread(
    served: ServedPortal,
) -> None:
    """Eight of them stopped the portal: it has eight threads."""
    with ExitStack() as stack:
        halves = [stack.enter_context(connect(served.port)) for _ in range(40)]
        for number, half in enumerate(halves):
            half.sendall(b"GET /sign-in HTTP/1.1\r\nHost: a\r\n"[: 5 + number % 25])
        assert served.answers("/sign-in")
        assert served.answers("/health/ready")
        for half in halves:
            assert statuses(read_to_end(half)) == [408]


def test_a_header_that_comes_byte_by_byte_has_to_be_complete_in_time(served: ServedPortal) -> None:
    with connect(served.port) as connection:
        connection.settimeout(0.2)
        received = b""
        for byte in b"GET /health/live HTTP/1.1\r\nX-A: " + b"b" * 200:
            try:
                connection.sendall(bytes([byte]))
                received += connection.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
            if received:
                break
        assert statuses(received) == [408]


def test_a_header_is_limited_as_a_whole(served: ServedPortal) -> None:
    """Each of its lines is short, and there are fewer than a hundred."""
    lines = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 4000) for number in range(20))
    with connect(served.port) as connection:
        connection.sendall(b"GET /sign-in HTTP/1.1\r\nHost: a\r\n" + lines)
        refused = answer_of(read_to_end(connection))
    assert (refused.status, refused.headers["Cache-Control"]) == (431, "no-store")


def test_half_requests_and_streams_do_not_hold_up_the_end(served: ServedPortal) -> None:
    """The last test of this file: it ends the server."""
    with connect(served.port) as half, connect(served.port) as stream:
        half.sendall(b"GET /")
        stream.sendall(request("/test/events"))
        received = b""
        while b"begun" not in received:
            received += stream.recv(65536)
        served.process.terminate()
        assert served.process.wait(timeout=60) == 0
        assert "Forcing close" not in served.log.read_text(), "after gunicorn's graceful timeout"
