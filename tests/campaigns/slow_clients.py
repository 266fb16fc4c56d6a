"""Slow clients beside people: half requests, half bodies, slow readers, streams, long uploads.

The portal is served as in production (one process, SQLite), with views more for streams and large
answers. 20 people sign in, list cases, open them and load their pictures, each from one address
(sign-ins from one address are limited). The slow clients begin anew when they are cut off. Open
worklists are the streams of readers who have signed in, of lists with the cases that the people
open; what happens there is sent to all of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import re
import select
import socket
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import UUID

import httpx2

from ml.preparation import phantom
from portal.models import JobKind, Role, db
from tests.campaigns.campaign import Arguments, Row
from tests.support.browser_portal import BrowserPortal
from tests.support.core import make_settings
from tests.support.people import Person
from tests.support.portal_app import make_app, make_person
from tests.support.served.portal import REAL_LIMITS, ServedPortal, serve
from tests.support.served.raw_http import connect, read_to_end, request, statuses

Behaviour = Callable[["_Client"], None]
COLUMNS = (
    "beside the people",
    "their requests",
    "failed",
    "p50 ms",
    "p95 ms",
    "p95 to that alone",
    "readiness answered",
    "slow clients' connections and answers",
)
PEOPLE, CASES = 20, 6
LISTS_PER_READER = 5  # as in so many windows: signing in 200 people takes a minute
FACTOR = 2.0
UPLOADS, UPLOAD_SECONDS = 20, 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this campaign."""
    parser.add_argument("--seconds", type=float, default=150.0, help="of each part (150)")
    parser.add_argument("--slow", type=int, default=200, help="slow clients of each kind (200)")


def run(arguments: Arguments) -> list[Row]:
    """The people alone, then beside each kind of slow clients, then beside all of them."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="slow-clients-") as folder:
        portal = BrowserPortal(make_app(make_settings(Path(folder))), "")
        drawn = phantom.draw(arguments.seed, rows=512, columns=512)
        cases = {
            f"/studies/{portal.complete(drawn, patient_id=f'CASE{number}')[0]}"
            for number in range(CASES)
        }
        for number in range(arguments.rounds):
            with serve(Path(folder), REAL_LIMITS, PLEURA_CONNECTIONS_PER_ADDRESS="300") as served:
                part = _Part(arguments, portal, cases, served, number)
                alone = part.row("nobody", [])
                kinds = {
                    "half requests": [_half_request],
                    "half bodies": [_half_body],
                    "readers who do not read": [_slow_reader],
                    "silent event streams": [_stream],
                    "open worklists": [open_list],
                    "open worklists of which nothing is read": [_unread_list],
                    "all of these": [
                        *(_half_request, _half_body, _slow_reader, _stream),
                        *(open_list, _unread_list),
                    ],
                }
                rows.append(alone)
                rows += [part.row(name, clients, alone) for name, clients in kinds.items()]
                rows.append(part.row("uploads of 60 s by 20 workers", [], alone, uploads=True))
    return rows


@dataclass
class _Part:
    """Parts of a round: people and slow clients at one server."""

    arguments: Arguments
    portal: BrowserPortal
    cases: set[str]
    served: ServedPortal
    number: int

    def row(
        self,
        name: str,
        clients: list[Behaviour],
        alone: Row | None = None,
        *,
        uploads: bool = False,
    ) -> Row:
        """One part, or its stored row."""
        return self.arguments.resume.row(
            f"{self.number} {name}", lambda: self._measure(name, clients, alone, uploads)
        )

    def _measure(self, name: str, kinds: list[Behaviour], alone: Row | None, uploads: bool) -> Row:
        options = self.arguments.options
        seconds = max(options.seconds, UPLOAD_SECONDS + 15) if uploads else options.seconds
        chance = random.Random(f"{self.arguments.seed} {name}")
        crowd = _Crowd(self.served, self._people(PEOPLE), self.cases, seconds, chance)
        jobs = [self._job(number) for number in range(UPLOADS)] if uploads else []
        token = self.portal.services.settings.worker_token
        requests = [""]
        if {open_list, _unread_list} & set(kinds):
            requests = self._open_lists(-(-options.slow // LISTS_PER_READER))
        with (
            slow_clients(self.served.port, kinds, options.slow, requests) as slow,
            ThreadPoolExecutor(PEOPLE + len(jobs) + 1) as threads,
        ):
            ends = [threads.submit(_upload, crowd, job, token) for job in jobs]
            threads.submit(crowd.watch_readiness)
            people = [threads.submit(crowd.use, person) for person in crowd.people]
            for person in people:
                person.result()
            crowd.end.set()
        uploaded = Counter(end.result() for end in ends)
        p50, p95 = _quantiles(crowd.took)
        ratio = p95 / float(alone.cells[4]) if alone else 1.0
        ready, asked = crowd.ready
        made, answers = slow.made + len(jobs), slow.answers + uploaded
        return Row(
            (
                name,
                str(len(crowd.took)),
                _counts(Counter(crowd.failed)) or "0",
                f"{p50:.0f}",
                f"{p95:.0f}",
                f"{ratio:.2f}",
                f"{ready} of {asked}",
                f"{made}: {_counts(answers) or 'none'}",
            ),
            not crowd.failed
            and ratio <= FACTOR
            and ready == asked
            and uploaded.get(204, 0) == len(jobs)
            and (kinds != [open_list] or slow.answers == {200: options.slow}),
        )

    def _open_lists(self, readers: int) -> list[str]:
        """Requests of so many readers for the streams of their lists."""
        ids = ",".join(case.rsplit("/", 1)[1] for case in self.cases)
        return [
            list_request(self.served, person, f"127.0.7.{number + 1}", ids)
            for number, person in enumerate(self._people(readers))
        ]

    def _people(self, count: int) -> list[Person]:
        """Of this part alone: a code for signing in counts once in half a minute."""
        people = [make_person(self.portal.app, Role.READER) for _ in range(count)]
        with self.portal.app.app_context():
            db.engine.dispose()
        return people

    def _job(self, number: int) -> UUID:
        """A new render job, for one worker."""
        drawn = phantom.draw(self.arguments.seed, rows=512, columns=512)
        study = self.portal.submit(phantom.dicom(drawn, patient_id=f"{self.number} {number}"))
        return self.portal.jobs.queued(study, JobKind.RENDER).id


@dataclass
class _Crowd:
    """People at the portal, for some time, and what they saw of it."""

    served: ServedPortal
    people: list[Person]
    cases: set[str]
    seconds: float
    random: random.Random
    took: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    ready: tuple[int, int] = (0, 0)
    end: threading.Event = field(default_factory=threading.Event)

    def use(self, person: Person) -> None:
        """Sign in and read cases until the time is over."""
        until = time.monotonic() + self.seconds
        way = httpx2.HTTPTransport(local_address=f"127.0.8.{self.people.index(person) + 1}")
        with httpx2.Client(base_url=self.served.url, timeout=60, transport=way) as browser:
            self.end.wait(self.random.uniform(0, 5))
            try:
                self.sign_in(browser, person)
                while time.monotonic() < until:
                    self._read(browser, until)
            except httpx2.HTTPError as error:
                self.failed.append(type(error).__name__)

    def watch_readiness(self) -> None:
        """Ask twice a second whether the portal is ready."""
        while not self.end.wait(0.5):
            answered, asked = self.ready
            self.ready = (answered + self.served.answers(), asked + 1)

    def sign_in(self, browser: httpx2.Client, person: Person) -> None:
        """By password and code."""
        for page, form in (
            ("/sign-in", {"email": person.email, "password": person.password}),
            ("/sign-in/code", {"code": ""}),
        ):
            found = re.search(r'name="csrf-token" content="([^"]+)"', self._get(browser, page))
            form = {key: value or person.code(datetime.now(UTC)) for key, value in form.items()}
            token = found.group(1) if found else ""
            self._send(browser, "POST", page, {**form, "csrf_token": token})

    def _read(self, browser: httpx2.Client, until: float) -> None:
        """The worklist, a case, its thumbnail and its picture."""
        listed = set(re.findall(r"/studies/[0-9a-f-]{36}", self._get(browser, "/worklist")))
        found = sorted(listed & self.cases)  # those that have their pictures
        if not found:
            self.failed.append("an empty worklist")
            self.end.wait(5)
            return
        case = self.random.choice(found)
        for address in (case, f"{case}/blobs/thumb", f"{case}/blobs/preview"):
            self.end.wait(self.random.uniform(1, 3))
            if time.monotonic() < until:
                self._get(browser, address)
        self.end.wait(self.random.uniform(1, 3))

    def _get(self, browser: httpx2.Client, address: str) -> str:
        return self._send(browser, "GET", address, {})

    def _send(self, browser: httpx2.Client, method: str, address: str, form: dict[str, str]) -> str:
        began = time.perf_counter()
        answer = browser.request(method, address, data=form or None)
        self.took.append(1000 * (time.perf_counter() - began))
        if answer.status_code not in (200, 303) or (method == "GET") != (answer.status_code == 200):
            self.failed.append(f"{method} {answer.status_code}")
        return answer.text if "text" in answer.headers.get("Content-Type", "") else ""


def list_request(served: ServedPortal, person: Person, address: str, ids: str = "") -> str:
    """Sign in from an address; the request for the stream of this person's list."""
    crowd = _Crowd(served, [person], set(), 0.0, random.Random(0))
    way = httpx2.HTTPTransport(local_address=address)
    with httpx2.Client(base_url=served.url, timeout=60, transport=way) as browser:
        crowd.sign_in(browser, person)
        assert not crowd.failed, crowd.failed
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    target = f"/worklist/events?ids={ids}"
    return f"GET {target} HTTP/1.1\r\nHost: pleura.test\r\nCookie: {cookies}\r\n\r\n"


@dataclass
class _Client:
    """A slow client, from an address that few others have. `request`: for the stream of a list."""

    port: int
    end: threading.Event
    address: str
    request: str
    made: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    connection: socket.socket | None = None

    def repeat(self, behave: Behaviour) -> None:
        """Connect and be slow, again and again, until the people have gone."""
        while not self.end.is_set():
            try:
                with connect(self.port, self.address) as self.connection:
                    self.connection.settimeout(None)
                    self.made += 1
                    behave(self)
            except OSError:
                continue

    def send(self, sent: bytes) -> socket.socket:
        """Send bytes; returns the connection."""
        assert self.connection is not None
        self.connection.sendall(sent)
        return self.connection

    def close(self) -> None:
        """Wake up whoever waits at the connection."""
        try:
            if self.connection is not None:
                self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


@dataclass
class Slow:
    """What slow clients did."""

    process: Connection
    made: int = 0
    answers: Counter[int] = field(default_factory=Counter)

    def look(self, *, end: bool = False) -> Counter[int]:
        """The answers so far, which are noted; with `end` the clients end."""
        self.process.send(end)
        self.made, self.answers = self.process.recv()
        return self.answers


@contextmanager
def slow_clients(
    port: int, kinds: list[Behaviour], count: int, requests: list[str]
) -> Iterator[Slow]:
    """So many slow clients of each kind during the block. `requests`: for streams of lists, each
    made by several clients.

    In a process of their own: hundreds of threads that wake up at the same moment would keep the
    people's threads waiting, and not the portal.
    """
    here, there = multiprocessing.Pipe()
    slow = Slow(here)
    arguments = (port, kinds, count, requests, there)
    process = multiprocessing.get_context("spawn").Process(target=_be_slow, args=arguments)
    process.start()
    there.close()
    try:
        here.recv()  # it has begun
        yield slow
        slow.look(end=True)
        process.join()
    finally:
        process.terminate()


def _be_slow(
    port: int, kinds: list[Behaviour], count: int, requests: list[str], other: Connection
) -> None:
    """Be slow until the end comes; send what was done when asked, and then."""
    end = threading.Event()
    clients = [
        _Client(port, end, f"127.0.{kind + 1}.{number % 50 + 2}", requests[number % len(requests)])
        for kind in range(len(kinds))
        for number in range(count)
    ]
    with ThreadPoolExecutor(len(clients) + 1) as threads:
        for index, client in enumerate(clients):
            threads.submit(client.repeat, kinds[index // count])
        other.send(None)
        while not other.recv():
            other.send(_done(clients))
        end.set()
        for client in clients:
            client.close()
    other.send(_done(clients))


def _done(clients: list[_Client]) -> tuple[int, Counter[int]]:
    answers = sum((client.answers.copy() for client in clients), Counter[int]())
    return sum(client.made for client in clients), answers


def _half_request(client: _Client) -> None:
    sent = client.send(b"GET /sign-in HTTP/1.1\r\nHost: a\r\nX-A: ")
    client.answers.update(statuses(read_to_end(sent)))


def _half_body(client: _Client) -> None:
    sent = client.send(request("/sign-in", "Content-Length: 100", method="POST", body=b"email="))
    client.answers.update(statuses(read_to_end(sent)))


def _slow_reader(client: _Client) -> None:
    """Reads nothing of a large answer, until the server ends the connection."""
    _read_nothing(client, request("/test/large"))


def _read_nothing(client: _Client, sent: bytes) -> None:
    poll = select.poll()
    poll.register(client.send(sent), 0)
    while not client.end.is_set():
        if any(event & select.POLLHUP for _, event in poll.poll(500)):
            return


def _stream(client: _Client) -> None:
    sent = client.send(request("/test/events"))
    client.answers.update(statuses(sent.recv(65536)))
    read_to_end(sent)


def open_list(client: _Client) -> None:
    """The stream of a reader's worklist, read as it comes."""
    sent = client.send(client.request.encode())
    client.answers.update(statuses(sent.recv(65536)))
    read_to_end(sent)


def _unread_list(client: _Client) -> None:
    """Reads nothing of the stream of a list, with as little room as the system gives."""
    assert client.connection is not None
    client.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    _read_nothing(client, client.request.encode())


def _upload(crowd: _Crowd, job: UUID, token: str) -> int:
    """A worker stores pixels, a little every second for a minute; the status it gets."""
    url = f"{crowd.served.url}/worker/v1/jobs/{job}"
    header = {"Authorization": f"Bearer {token}"}
    claim = httpx2.post(f"{url}/claim", json={"worker": "slow"}, headers=header, timeout=60)
    pixels = bytes(512 * 512 * 2)
    lines = (f"Authorization: Bearer {claim.json()['ticket']}", f"Content-Length: {len(pixels)}")
    target = f"/worker/v1/jobs/{job}/outputs/pixels"
    kind = "Content-Type: application/octet-stream"
    with connect(crowd.served.port, "127.0.9.9") as connection:
        connection.sendall(request(target, *lines, kind, method="PUT"))
        step = len(pixels) // int(UPLOAD_SECONDS) + 1
        for start in range(0, len(pixels), step):
            connection.sendall(pixels[start : start + step])
            time.sleep(1)
        return statuses(read_to_end(connection))[0]


def _counts(found: Counter[int] | Counter[str]) -> str:
    return ", ".join(f"{count} × {what}" for what, count in found.most_common())


def _quantiles(took: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    return cuts[49], cuts[94]
