"""Bodies, answers and streams over real connections: who waits takes no thread."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from flask import Flask

from portal.models import db
from portal.server import limits
from portal.server.application import Application
from tests.portal.server.test_environ import scope
from tests.support import wait
from tests.support.dicomweb import sent
from tests.support.people import Person
from tests.support.pictures import dicom, jpeg
from tests.support.portal_app import make_token, sign_in
from tests.support.served.portal import ServedPortal
from tests.support.served.raw_http import (
    answer_of,
    connect,
    exchange,
    read_to_end,
    request,
    statuses,
)

MB = 1024 * 1024
THREADS = (
    limits.PEOPLE_THREADS + limits.OTHER_THREADS + limits.WORKER_THREADS + limits.HEALTH_THREADS
)


@pytest.fixture(scope="module")
def token(app: Flask, technologist: Person) -> str:
    return make_token(app, technologist, "studies:write")


def upload(token: str, size: int, *lines: str) -> bytes:
    """The beginning of an upload of so many bytes."""
    kind = "Content-Type: multipart/form-data; boundary=b"
    given = (f"Authorization: Bearer {token}", kind, f"Content-Length: {size}", *lines)
    return request("/api/v1/studies", *given, method="POST")


def form(data: bytes) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="one.jpg"\r\n\r\n'
    return head + data + b"\r\n--b--\r\n"


@pytest.mark.parametrize("chunked", [False, True])
def test_instances_are_stored_by_stow_rs_over_a_real_connection(
    served: ServedPortal, app: Flask, technologist: Person, chunked: bool
) -> None:
    headers = {
        "Authorization": f"Bearer {make_token(app, technologist, 'dicomweb:write')}",
        "Content-Type": sent.RELATED,
    }
    files = [dicom(rows=512, columns=512, pixels=bytes([n]) * 524288) for n in range(1, 5)]
    body = sent.body_of(files)
    parts = (body[at : at + 65536] for at in range(0, len(body), 65536))
    answer = httpx2.post(
        f"{served.url}/dicomweb/studies",
        content=parts if chunked else body,
        headers=headers,
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["00081199"]["Value"]) == len(files)
    stranger = headers | {"Authorization": "Bearer nobody"}
    refused = httpx2.post(f"{served.url}/dicomweb/studies", content=body, headers=stranger)
    assert refused.status_code == 401


def test_half_bodies_take_no_thread_and_end(served: ServedPortal) -> None:
    half = request("/sign-in", "Content-Length: 100", method="POST", body=b"email=")
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(served.port)) for _ in range(2 * THREADS)]
        for connection in connections:
            connection.sendall(half)
        assert served.answers("/sign-in")
        assert served.answers("/health/ready")
        for connection in connections:
            answer = answer_of(read_to_end(connection))
            assert (answer.status, answer.headers["Cache-Control"]) == (408, "no-store")


def test_readers_that_do_not_read_take_no_thread_and_are_cut_off(served: ServedPortal) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(served.port)) for _ in range(12)]
        for connection in connections:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(request("/test/large"))
        assert served.answers("/sign-in")
        for connection in connections:
            assert wait.until(lambda connection=connection: _was_cut_off(connection))


def test_silent_streams_take_no_thread(served: ServedPortal) -> None:
    with ExitStack() as stack:
        streams = [stack.enter_context(connect(served.port)) for _ in range(2 * THREADS)]
        for stream in streams:
            stream.sendall(request("/test/events"))
        received = dict.fromkeys(streams, b"")
        for stream in streams:
            while b"data: begun" not in received[stream]:
                received[stream] += stream.recv(65536)
        assert answer_of(received[streams[0]]).headers["Content-Type"] == "text/event-stream"
        assert served.answers("/sign-in")
        streams[0].close()  # one that goes away is no fault
        assert httpx2.get(f"{served.url}/test/end_events").text == "ended"
        for stream in streams[1:]:
            assert b"data: done" in read_to_end(stream)


def test_an_upload_that_takes_its_time_takes_no_thread(served: ServedPortal, token: str) -> None:
    """As long as bytes keep coming; the picture is taken in at the end."""
    body = form(jpeg() + bytes(2 * MB))
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(served.port)) for _ in range(THREADS)]
        for connection in connections:
            connection.sendall(upload(token, len(body)))
        for start in range(0, len(body), len(body) // 5 + 1):
            for connection in connections:
                connection.sendall(body[start : start + len(body) // 5 + 1])
            assert served.answers("/sign-in")
        found = [answer_of(read_to_end(connection)).status for connection in connections]
    assert set(found) <= {202, 409, 415, 422}
    assert len(found) == THREADS


def test_people_workers_and_health_checks_do_not_wait_for_others(
    served: ServedPortal, app: Flask, technologist: Person
) -> None:
    """Strangers, also with forged cookies or tokens or at workers' addresses, take their own
    threads alone; and so do people."""
    cookie = sign_in(app, technologist).get_cookie("pleura")
    with app.app_context():
        db.engine.dispose()
    assert cookie is not None
    own = {"Cookie": f"pleura={cookie.value}"}
    known = httpx2.get(f"{served.url}/worklist", headers=own, timeout=60)
    assert known.status_code == 200, "from now on the server knows the login"
    forged = {"Cookie": f"pleura={cookie.value[:-4]}AAAA"}
    shared_token = app.extensions["pleura"].settings.worker_token
    worker = {"Authorization": f"Bearer {shared_token}"}
    no_worker = {"Authorization": f"Bearer {shared_token[::-1]}"}
    crowd = 2 * limits.OTHER_THREADS

    def held() -> int:
        asked = httpx2.get(f"{served.url}/worker/test/held", headers=worker, timeout=60)
        return int(asked.text)

    def hold(headers: dict[str, str], path: str = "/test/hold") -> str:
        return httpx2.get(served.url + path, headers=headers, timeout=60).text

    with ThreadPoolExecutor(4 * crowd + limits.PEOPLE_THREADS) as clients:
        busy = [clients.submit(hold, headers) for headers in ({}, forged) for _ in range(crowd)]
        for headers in ({}, no_worker):
            busy += [clients.submit(hold, headers, "/worker/test/hold") for _ in range(crowd)]
        assert wait.until(lambda: held() == limits.OTHER_THREADS)
        worklist = httpx2.get(f"{served.url}/worklist", headers=own, timeout=60)
        assert worklist.status_code == 200
        busy += [clients.submit(hold, own) for _ in range(limits.PEOPLE_THREADS)]
        assert wait.until(lambda: held() == limits.OTHER_THREADS + limits.PEOPLE_THREADS)
        assert served.answers("/health/ready")
        hello = httpx2.post(f"{served.url}/worker/v1/hello", json={}, headers=worker, timeout=60)
        assert hello.status_code == 422
        assert not any(one.done() for one in busy)
        free = httpx2.get(f"{served.url}/worker/test/free", headers=worker, timeout=60)
        assert free.text == "free"
        assert {one.result() for one in busy} == {"held"}


def test_a_reader_who_reads_nothing_is_sent_little(served: ServedPortal) -> None:
    with connect(served.port) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(request("/test/large"))
        port = connection.getsockname()[1]
        assert wait.until(lambda: _waiting_to_be_sent(served.port, port) > 0)
        before = -1
        while before != (before := _waiting_to_be_sent(served.port, port)):
            time.sleep(0.2)
        assert before < 4 * limits.SEND_BUFFER


def test_a_client_that_leaves_before_its_answer_gives_its_place_back(app: Flask) -> None:
    settings = app.extensions["pleura"].settings
    half = scope("/sign-in", ("Content-Length", "100")) | {"client": ("192.0.2.1", 1)}
    ended: list[None] = []

    async def never(*_: object) -> dict[str, object]:
        return await asyncio.get_running_loop().create_future()

    async def run() -> bool:
        application = Application(app, settings)
        for _ in range(settings.connections_per_address):
            place = application.connections.take("192.0.2.1", lambda: ended.append(None))
            begun = half | {"portal.place": place}
            request = asyncio.ensure_future(application(begun, never, never))
            await asyncio.sleep(0)
            request.cancel()  # as gunicorn does three seconds after a client has left
            await asyncio.wait({request})
        return application.requests.take("192.0.2.1") and not ended

    # In a thread, because a browser's event loop may be running in this one.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, run()).result()


def test_an_answer_whose_reader_has_gone_is_given_up(served: ServedPortal) -> None:
    for received in range(20):  # it goes while parts wait, or between two of them
        with connect(served.port) as connection:
            connection.sendall(request("/test/large"))
            for _ in range(received):
                connection.recv(65536)
    assert served.answers("/sign-in")
    assert served.answers("/sign-in")
    assert "socket.send() raised exception" not in served.log.read_text()


def test_what_was_loaded_is_left_out_of_the_search_for_unreachable_objects(
    served: ServedPortal,
) -> None:
    assert int(httpx2.get(f"{served.url}/test/frozen", timeout=60).text) > 10_000


def _waiting_to_be_sent(port: int, other: int) -> int:
    """Bytes that the system holds for a connection's reader."""
    for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
        _, here, there, _, queues, *_ = line.split()
        if (int(here.split(":")[1], 16), int(there.split(":")[1], 16)) == (port, other):
            return int(queues.split(":")[0], 16)
    return 0


def test_nobody_unknown_gets_a_large_body_read(served: ServedPortal) -> None:
    wrong = exchange(served.port, upload("plr_wrong", 30 * MB, "Expect: 100-continue"))
    assert statuses(wrong) == [401], "without 100 (Continue)"
    for target in ("/sign-in", "/worker/v1/hello"):
        large = request(target, f"Content-Length: {MB}", method="POST", body=bytes(MB))
        assert statuses(exchange(served.port, large)) == [413], target
    endless = request("/sign-in", "Transfer-Encoding: chunked", method="POST")
    with connect(served.port) as connection:
        connection.sendall(endless + b"%x\r\n%s\r\n" % (MB, bytes(MB)))
        assert statuses(read_to_end(connection)) == [413]


def test_a_person_who_is_signed_out_is_sent_to_sign_in_before_an_upload(
    served: ServedPortal,
) -> None:
    sent = request("/studies", f"Content-Length: {30 * MB}", method="POST")
    answer = answer_of(exchange(served.port, sent))
    assert (answer.status, answer.headers["Location"]) == (303, "/sign-in")


def test_somebody_known_gets_as_much_read_as_the_view_takes(
    served: ServedPortal, token: str
) -> None:
    too_large = exchange(served.port, upload(token, 3000 * MB))
    assert statuses(too_large) == [413]
    go_on = upload(token, MB, "Expect: 100-continue")
    with connect(served.port) as connection:
        connection.sendall(go_on)
        assert statuses(connection.recv(65536)) == [100]
        connection.sendall(form(bytes(MB - len(form(b"")))))
        assert statuses(read_to_end(connection)) == [415]


def test_no_part_of_an_upload_is_written_to_a_disk(served: ServedPortal, token: str) -> None:
    """The server has no other file open while it reads a body."""
    mark = b"PATIENT-" * 64
    body = form(mark * (4 * MB // len(mark)))
    before = set(_open_files(served.process.pid))
    with connect(served.port) as connection:
        connection.sendall(upload(token, len(body)) + body[:-100])
        assert served.answers()
        during = set(_open_files(served.process.pid))
        connection.sendall(body[-100:])
        assert statuses(read_to_end(connection)) == [415]
    assert {name for name in during - before if "pleura.db" not in name} == set()


def _was_cut_off(connection: socket.socket) -> bool:
    """Whether the server has ended the connection; reads nothing."""
    poll = select.poll()
    poll.register(connection, 0)
    return any(event & select.POLLHUP for _, event in poll.poll(0))


def _open_files(parent: int) -> Iterator[str]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for process in children:
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            try:
                name = str(descriptor.readlink())
            except OSError:
                continue
            if name.startswith("/"):
                yield name
