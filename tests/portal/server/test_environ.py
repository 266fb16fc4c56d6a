"""A request's environment: what comes from headers, and what never does."""

from __future__ import annotations

from typing import Any

import pytest

from portal.server.environ import BadTarget, declared_length, environ_of


def scope(target: str = "/a", *headers: tuple[str, str]) -> dict[str, Any]:
    """An ASGI request as gunicorn makes it."""
    path, _, query = target.partition("?")
    return {
        "method": "GET",
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
    }


def test_the_path_is_unquoted_as_bytes() -> None:
    environ = environ_of(scope("/caf%C3%A9%FF/b%2Fc?q=%41"))
    assert environ["PATH_INFO"].encode("latin-1") == b"/caf\xc3\xa9\xff/b/c"
    assert environ["QUERY_STRING"] == "q=%41"


def test_headers_that_came_several_times_are_joined() -> None:
    sent = (("X-A", "1"), ("Cookie", "a=1"), ("X-A", "2"), ("Cookie", "b=2"))
    environ = environ_of(scope("/", *sent))
    assert (environ["HTTP_X_A"], environ["HTTP_COOKIE"]) == ("1,2", "a=1; b=2")


@pytest.mark.parametrize(
    "name", ["SCRIPT_NAME", "PATH_INFO", "REMOTE_ADDR", "X_Forwarded_For", "HTTP_HOST"]
)
def test_no_header_takes_the_place_of_the_servers_own_values(name: str) -> None:
    plain, sent = environ_of(scope()), environ_of(scope("/a", (name, "evil")))
    assert sent == plain


def test_framing_is_the_servers_matter() -> None:
    sent = (("Transfer-Encoding", "chunked"), ("Content-Type", "text/plain"))
    environ = environ_of(scope("/", *sent))
    assert environ["CONTENT_TYPE"] == "text/plain"
    assert not {"HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_TYPE", "CONTENT_LENGTH"} & set(environ)
    assert declared_length(scope("/", *sent)) is None
    assert declared_length(scope("/", ("Content-Length", "12"))) == 12
    assert declared_length(scope("/")) == 0


def test_a_whole_address_is_taken_for_the_host_of_the_header_alone() -> None:
    host = ("Host", "pleura.test")
    assert environ_of(scope("http://pleura.test/a?b", host))["PATH_INFO"] == "/a"
    assert environ_of(scope("http://pleura.test", host))["PATH_INFO"] == "/"
    for target in ("http://evil/a", "ftp://pleura.test/a", "pleura.test:443", "http://[/a"):
        with pytest.raises(BadTarget):
            environ_of(scope(target, host))
