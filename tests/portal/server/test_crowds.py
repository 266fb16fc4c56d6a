"""Crowds of strangers at a server with few places: whoever is known is served, and health is."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest
from flask import Flask

from portal.accounts import sessions
from portal.models import Role, db
from portal.server import limits
from tests.support import wait
from tests.support.people import Person
from tests.support.portal_app import make_person, make_token, sign_in
from tests.support.served.application import FEW_BYTES, FEW_CONNECTIONS, FEW_PER_SENDER
from tests.support.served.portal import (
    CONNECTIONS_PER_ADDRESS,
    FEW_PLACES,
    ServedPortal,
    serve,
)
from tests.support.served.raw_http import (
    answer_of,
    connect,
    exchange,
    read_to_end,
    request,
    statuses,
)

ADDRESSES = 3
MB = 1024 * 1024


@pytest.fixture(scope="module")
def narrow(app: Flask) -> Iterator[ServedPortal]:
    """With the largest upload of 10 MB, so that two answers of 16 MB are too much."""
    small = {"PLEURA_MAX_UPLOAD_MB": "10", "PLEURA_MAX_ARCHIVE_MB": "10"}
    with serve(app.extensions["pleura"].settings.data_dir, FEW_PLACES, **small) as served:
        yield served


@pytest.fixture
def person_beside(app: Flask) -> Person:
    return make_person(app, Role.TECHNOLOGIST)


def crowd(
    stack: ExitStack, port: int, sent: bytes, addresses: int = ADDRESSES
) -> list[socket.socket]:
    """More connections of strangers than there are places, none of which goes on."""
    assert ADDRESSES * CONNECTIONS_PER_ADDRESS > FEW_CONNECTIONS
    made = []
    for number in range(ADDRESSES * CONNECTIONS_PER_ADDRESS):
        connection = stack.enter_context(connect(port, f"127.0.1.{number % addresses + 1}"))
        try:
            connection.sendall(sent)
        except OSError:  # the server has refused it already
            continue
        made.append(connection)
    return made


@pytest.mark.parametrize(
    "half",
    [
        request("/sign-in", "Content-Length: 100", method="POST", body=b"email="),
        request("/worker/v1/hello", "Content-Length: 100", method="POST", body=b"{"),
        request("/health/ready", "Content-Length: 100", method="POST", body=b"{"),
        b"GET /sign-in HTTP/1.1\r\nHost: a\r\nX-A: ",
        b"",
    ],
    ids=["bodies", "workers' bodies", "bodies for health", "headers", "nothing"],
)
def test_a_crowd_of_halves_stops_neither_health_workers_nor_people(
    narrow: ServedPortal, app: Flask, technologist: Person, half: bytes
) -> None:
    cookie = sign_in(app, technologist).get_cookie("pleura")
    with app.app_context():
        db.engine.dispose()
    assert cookie is not None
    token = app.extensions["pleura"].settings.worker_token
    with ExitStack() as stack:
        crowd(stack, narrow.port, half)
        assert narrow.answers("/health/ready")
        worker = {"Authorization": f"Bearer {token}"}
        claim = {"worker": "gpu-1", "queue": "render"}
        url = f"{narrow.url}/worker/v1/claim"
        assert httpx2.post(url, json=claim, headers=worker, timeout=60).status_code == 204
        own = {"Cookie": f"pleura={cookie.value}"}
        assert httpx2.get(f"{narrow.url}/worklist", headers=own, timeout=60).status_code == 200
        assert narrow.answers("/sign-in"), "of another address than the crowd"


@pytest.mark.parametrize("addresses", [ADDRESSES, ADDRESSES * CONNECTIONS_PER_ADDRESS])
def test_a_crowd_of_whole_requests_keeps_no_other_stranger_out(
    narrow: ServedPortal, addresses: int
) -> None:
    """They wait for threads, more of them than there are places: the sign-in page does not."""
    with ExitStack() as stack:
        made = crowd(stack, narrow.port, request("/test/take_time"), addresses)
        newcomer = exchange(narrow.port, request("/sign-in"), "127.0.2.1")
        assert statuses(newcomer) == [200]
        assert not all(map(_has_answer, made)), "before all of the crowd"


def test_a_connection_ends_after_the_servers_own_503(narrow: ServedPortal, app: Flask) -> None:
    """Workers hold all places but the last; a stranger's request is refused, not its connection."""
    token = app.extensions["pleura"].settings.worker_token
    given = (f"Authorization: Bearer {token}", "Content-Length: 100")
    half = request("/worker/v1/hello", *given, method="POST", body=b"{")
    with ExitStack() as stack:
        crowd(stack, narrow.port, half)
        sent = b"GET /sign-in HTTP/1.1\r\nHost: pleura.test\r\n\r\n"
        received = exchange(narrow.port, sent + request(), "127.0.2.1")
        assert statuses(received) == [503], "the next request of the connection gets no answer"
        assert answer_of(received).headers.get_all("Connection") == ["close"]


def half_of(app: Flask, person: Person) -> tuple[bytes, dict[str, str]]:
    """Half a body with the cookie of a new login, and the cookie alone."""
    cookie = sign_in(app, person).get_cookie("pleura")
    with app.app_context():
        db.engine.dispose()
    assert cookie is not None
    sent = f"pleura={cookie.value}"
    headers = ("Content-Length: 100", f"Cookie: {sent}")
    return request("/sign-in", *headers, method="POST", body=b"email="), {"Cookie": sent}


def test_the_cookie_of_a_login_that_has_ended_is_a_strangers(
    narrow: ServedPortal, app: Flask, technologist: Person
) -> None:
    half, own = half_of(app, technologist)
    worklist = f"{narrow.url}/worklist"
    assert httpx2.get(worklist, headers=own, timeout=60).status_code == 200
    with app.app_context():
        now = app.extensions["pleura"].clock()
        sessions.close_sessions(db.session(), technologist.id, now)
        db.session.commit()
        db.engine.dispose()
    assert httpx2.get(worklist, headers=own, timeout=60).status_code == 303
    with ExitStack() as stack:
        made = crowd(stack, narrow.port, half)
        assert narrow.answers("/health/ready")
        assert narrow.answers("/sign-in")
        others = [exchange(narrow.port, request(), f"127.0.2.{n}") for n in range(3)]
        assert [statuses(one) for one in others] == [[200]] * 3
        kept = sum(not _has_answer(one) for one in made)
        assert kept < FEW_CONNECTIONS, "they give way"


def test_a_login_that_lasts_keeps_a_limited_number_of_places(
    narrow: ServedPortal, app: Flask, technologist: Person, person_beside: Person
) -> None:
    """Half bodies from many addresses, as many as there are places, with one cookie."""
    half, own = half_of(app, technologist)
    _, neighbours = half_of(app, person_beside)
    for cookie in (own, neighbours):
        worklist = httpx2.get(f"{narrow.url}/worklist", headers=cookie, timeout=60)
        assert worklist.status_code == 200
    token = app.extensions["pleura"].settings.worker_token
    worker = {"Authorization": f"Bearer {token}"}
    claim = {"worker": "gpu-1", "queue": "render"}
    with ExitStack() as stack:
        made = crowd(stack, narrow.port, half)
        assert narrow.answers("/health/ready")
        url = f"{narrow.url}/worker/v1/claim"
        assert httpx2.post(url, json=claim, headers=worker, timeout=60).status_code == 204
        for cookie in (own, neighbours):
            worklist = httpx2.get(f"{narrow.url}/worklist", headers=cookie, timeout=60)
            assert worklist.status_code == 200
        assert narrow.answers("/sign-in")
        for _ in range(2):
            crowd(stack, narrow.port, b"GET ")
        assert wait.until(lambda: len(made) - sum(map(_has_answer, made)) <= FEW_PER_SENDER)
        assert narrow.answers("/sign-in")
        assert len(made) - sum(map(_has_answer, made)) == FEW_PER_SENDER, "these stay"


def test_an_address_has_a_limited_number_of_connections_and_its_oldest_gives_way(
    narrow: ServedPortal,
) -> None:
    with ExitStack() as stack:
        silent = [
            stack.enter_context(connect(narrow.port, "127.0.0.9"))
            for _ in range(CONNECTIONS_PER_ADDRESS)
        ]
        last = exchange(narrow.port, request(), "127.0.0.9")
        assert statuses(last) == [200]
        refused = answer_of(read_to_end(silent[0]))
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
        assert refused.headers["X-Content-Type-Options"] == "nosniff"
        assert not any(map(_has_answer, silent[1:]))


def test_a_person_whose_upload_has_begun_keeps_the_place(
    narrow: ServedPortal, app: Flask, technologist: Person
) -> None:
    """The oldest connection of the crowd's address; its beginning shows who sends it."""
    token = make_token(app, technologist, "studies:write")
    body = b"--b\r\n" + bytes(200_000)
    kind = "Content-Type: multipart/form-data; boundary=b"
    length = f"Content-Length: {len(body)}"
    given = (f"Authorization: Bearer {token}", kind, length, "Expect: 100-continue")
    with ExitStack() as stack:
        upload = stack.enter_context(connect(narrow.port, "127.0.1.1"))
        upload.sendall(request("/api/v1/studies", *given, method="POST"))
        assert statuses(upload.recv(65536)) == [100]
        crowd(stack, narrow.port, b"GET ")
        upload.sendall(body)
        assert 400 <= answer_of(upload.recv(65536)).status < 500


def test_halves_hold_a_bounded_amount_of_memory(narrow: ServedPortal) -> None:
    size = limits.HEADER_BYTES - 4096
    line = b"X-A: %s\r\n" % (b"a" * 4000)
    half = b"GET /sign-in HTTP/1.1\r\nHost: a\r\n" + line * (size // len(line))
    with ExitStack() as stack:
        halves = crowd(stack, narrow.port, half)[: 2 * FEW_BYTES // len(half)]
        allowed = FEW_BYTES // len(half)
        assert wait.until(lambda: len(halves) - sum(map(_has_answer, halves)) <= allowed)
        refused = next(connection for connection in halves if _has_answer(connection))
        assert set(statuses(read_to_end(refused))) <= {503}
        assert narrow.answers()


def test_a_slow_reader_gives_way_when_answers_are_too_many(narrow: ServedPortal) -> None:
    """The server's limits of time are far away."""
    with connect(narrow.port) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(request("/test/large"))
        assert slow.recv(1) == b"H", "its answer has begun"
        whole = answer_of(exchange(narrow.port, request("/test/large")))
        assert len(whole.body) >= 16 * MB
        assert wait.until(lambda: _was_cut_off(slow))


def test_who_was_cut_off_waits_for_the_next_answer(narrow: ServedPortal) -> None:
    """Readers who are cut off and come again at once kept the event loop busy."""
    before = _cut_off_twice(narrow, "127.0.3.1")
    with connect(narrow.port, "127.0.3.1") as again:
        again.sendall(request("/sign-in"))
        other = exchange(narrow.port, request("/sign-in"), "127.0.3.2")
        assert statuses(other) == [200]
        assert statuses(read_to_end(again)) == [200]
    assert time.monotonic() - before >= limits.CUT_OFF_SECONDS


def test_a_worker_that_was_cut_off_waits_for_no_answer(narrow: ServedPortal, app: Flask) -> None:
    """All workers of a hospital may have one token: one that is slow keeps no other waiting."""
    worker = f"Authorization: Bearer {app.extensions['pleura'].settings.worker_token}"
    before = _cut_off_twice(narrow, "127.0.3.3", worker)
    hello = request("/worker/v1/hello", worker, "Content-Length: 2", method="POST", body=b"{}")
    assert statuses(exchange(narrow.port, hello, "127.0.3.3"))[0] < 500
    assert time.monotonic() - before < limits.CUT_OFF_SECONDS


def _cut_off_twice(narrow: ServedPortal, address: str, *lines: str) -> float:
    """A reader of large answers gives way to others, the second time with a pause; when it was."""
    for _ in range(2):
        before = time.monotonic()
        with connect(narrow.port, address) as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.sendall(request("/test/large", *lines))
            assert slow.recv(1) == b"H", "its answer has begun"
            exchange(narrow.port, request("/test/large"), "127.0.3.2")
            assert wait.until(lambda slow=slow: _was_cut_off(slow))
    return before


def test_bodies_that_are_announced_keep_no_others_waiting(
    narrow: ServedPortal, app: Flask, technologist: Person
) -> None:
    """Four of the largest size have begun; all memory would be theirs."""
    token = make_token(app, technologist, "studies:write")
    kind = "Content-Type: multipart/form-data; boundary=b"

    def upload(size: int) -> bytes:
        sent = (f"Authorization: Bearer {token}", kind, f"Content-Length: {size}")
        return request("/api/v1/studies", *sent, method="POST")

    with ExitStack() as stack:
        for _ in range(limits.LARGEST_BODIES + 1):
            begun = stack.enter_context(connect(narrow.port))
            begun.sendall(upload(10 * MB) + bytes(100_000))
        assert narrow.answers()
        whole = exchange(narrow.port, upload(MB) + bytes(MB))
        assert statuses(whole) != [503]
        assert 400 <= answer_of(whole).status < 500


def _has_answer(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def _was_cut_off(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))
