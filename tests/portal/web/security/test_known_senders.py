"""The server tells workers, programs and people from strangers without a query."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask, Response
from werkzeug.test import Client

from portal.accounts import sessions
from portal.jobs import tickets, worker_tokens
from portal.jobs.tickets import Ticket
from portal.models import JobKind, Role, db
from portal.web import create_app
from portal.web.security.known_senders import KnownSenders, Sender
from tests.support.core import make_settings
from tests.support.people import Person
from tests.support.portal_app import make_app, make_person, make_token, sign_in

SECONDS = 60.0


class Process:
    """What a process of the portal knows; its time goes on when it is set."""

    def __init__(self, app: Flask, most: int = 3) -> None:
        self.app, self.time = app, 0.0
        self.services = app.extensions["pleura"]
        self.senders = KnownSenders(app, seconds=SECONDS, most=most, clock=lambda: self.time)

    def of(self, token: str, **more: str) -> Sender | None:
        known = self.senders.of({"HTTP_AUTHORIZATION": f"Bearer {token}", **more})
        return known and known.sender

    def has_login(self, cookie: str) -> bool:
        known = self.senders.of({"HTTP_COOKIE": f"pleura={cookie}"})
        return known is not None and known.sender is Sender.PERSON

    def call(self, path: str, token: str, method: str = "GET", **parts: Any) -> int:
        """A program's request."""
        return self._call(path, {"Authorization": f"Bearer {token}"}, method, **parts)

    def visit(self, path: str, cookie: str) -> int:
        """A browser's request."""
        return self._call(path, {"Cookie": f"pleura={cookie}"}, "GET")

    def _call(self, path: str, headers: dict[str, str], method: str, **parts: Any) -> int:
        """A request as the server makes it: it learns from the environment and the answer."""
        seen: list[dict[str, Any]] = []

        def application(environ: dict[str, Any], start_response: Any) -> Any:
            seen.append(environ)
            return self.app.wsgi_app(environ, start_response)

        answer = Client(application, Response, use_cookies=False).open(
            path, method=method, headers=headers, **parts
        )
        self.senders.learn(seen[0], answer.status_code)
        return answer.status_code


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    return make_app(make_settings(tmp_path_factory.mktemp("app")))


@pytest.fixture
def process(app: Flask) -> Process:
    return Process(app)


def worker_token(app: Flask) -> tuple[worker_tokens.WorkerToken, str]:
    with app.app_context():
        token, raw = worker_tokens.create(
            db.session(),
            name="gpu-1",
            queue=JobKind.RENDER,
            lifetime=timedelta(days=1),
            now=app.extensions["pleura"].clock(),
        )
        db.session.expunge(token)
        return token, raw


def test_the_shared_token_and_tickets_are_known_at_once(process: Process) -> None:
    settings, now = process.services.settings, process.services.clock()
    assert process.of(settings.worker_token) is Sender.WORKER
    ticket = tickets.issue(settings, Ticket(uuid4(), 1), now)
    assert process.of(ticket) is Sender.WORKER
    old = tickets.issue(settings, Ticket(uuid4(), 1), now - timedelta(days=30))
    assert process.of(old) is None
    changed = ticket[:-4] + ("AAAA" if ticket[-4:] != "AAAA" else "BBBB")
    assert process.of(changed) is None


@pytest.mark.parametrize("token", ["", "x", "plw_" + "A" * 43, "plr_" + "A" * 43, "\xff" * 5000])
def test_who_shows_anything_else_is_a_stranger(process: Process, token: str) -> None:
    assert process.of(token) is None
    assert process.senders.of({}) is None


def login(app: Flask, person: Person, *, proved: bool = True) -> str:
    cookie = sign_in(app, person, proved=proved).get_cookie("pleura")
    assert cookie is not None
    return cookie.value


def end_logins(app: Flask, person: Person) -> None:
    with app.app_context():
        sessions.close_sessions(db.session(), person.id, app.extensions["pleura"].clock())
        db.session.commit()


def test_a_login_is_known_after_a_view_has_found_it_to_last(app: Flask, process: Process) -> None:
    cookie = login(app, make_person(app, Role.READER))
    assert not process.has_login(cookie), "a signature shows no more than that it lasted once"
    assert process.visit("/worklist", cookie) == 200
    assert process.has_login(cookie)
    assert process.of("x", HTTP_COOKIE=f"pleura={cookie}") is Sender.PERSON, "whatever else is sent"
    process.time = SECONDS - 1
    assert process.has_login(cookie)
    process.time = SECONDS
    assert not process.has_login(cookie), "until a view has found it again"


def test_a_login_that_has_ended_is_forgotten_when_it_is_shown(app: Flask, process: Process) -> None:
    person = make_person(app, Role.READER)
    cookie = login(app, person)
    process.visit("/worklist", cookie)
    end_logins(app, person)
    assert process.visit("/worklist", cookie) == 303
    assert not process.has_login(cookie)


def test_a_password_alone_makes_nobody_known(app: Flask, process: Process) -> None:
    cookie = login(app, make_person(app, Role.READER), proved=False)
    assert process.visit("/worklist", cookie) == 303
    assert process.visit("/sign-in/code", cookie) == 200
    assert not process.has_login(cookie)


def test_what_works_is_known_from_the_start_of_a_process(app: Flask, process: Process) -> None:
    person, gone = make_person(app, Role.TECHNOLOGIST), make_person(app, Role.READER)
    cookie, ended = login(app, person), login(app, gone)
    half = login(app, person, proved=False)
    end_logins(app, gone)
    used, new = (make_token(app, person, "studies:read") for _ in range(2))
    process.call("/api/v1/studies", used)
    (_, own), (revoked, other) = worker_token(app), worker_token(app)
    with app.app_context():
        worker_tokens.revoke(db.session(), None, revoked.id, app.extensions["pleura"].clock())
    fresh = Process(app, most=100)
    fresh.senders.read_database()
    assert [fresh.has_login(one) for one in (cookie, ended, half)] == [True, False, False]
    assert (fresh.of(used), fresh.of(new)) == (Sender.PROGRAM, None)
    assert (fresh.of(own), fresh.of(other)) == (Sender.WORKER, None)


def test_without_its_database_a_process_starts_and_knows_nobody(tmp_path: Path) -> None:
    bare = Process(create_app(make_settings(tmp_path)))
    bare.senders.read_database()
    assert bare.of("x") is None


def test_a_workers_own_token_is_known_after_it_was_found_genuine(
    app: Flask, process: Process
) -> None:
    token, raw = worker_token(app)
    assert process.of(raw) is None
    claim = {"worker": "gpu-1", "queue": "render"}
    assert process.call("/worker/v1/claim", raw, "POST", json=claim) == 204
    assert process.of(raw) is Sender.WORKER
    process.time = SECONDS - 1
    assert process.of(raw) is Sender.WORKER
    process.time = SECONDS
    assert process.of(raw) is None, "until it is found genuine again"
    process.call("/worker/v1/claim", raw, "POST", json=claim)
    with app.app_context():
        now = app.extensions["pleura"].clock()
        worker_tokens.revoke(db.session(), None, token.id, now)
    assert process.call("/worker/v1/claim", raw, "POST", json=claim) == 401
    assert process.of(raw) is None


@pytest.mark.parametrize("path", ["/worker/v1/claim", "/worker/nothing", "/api/v1/studies", "/"])
def test_no_answer_makes_a_made_up_token_known(process: Process, path: str) -> None:
    for made_up in ("plw_" + "A" * 43, "plr_" + "A" * 43):
        process.call(path, made_up, "POST" if "claim" in path else "GET")
        assert process.of(made_up) is None


def test_a_program_is_known_after_its_token_was_found_genuine(app: Flask, process: Process) -> None:
    raw = make_token(app, make_person(app, Role.TECHNOLOGIST), "studies:read")
    assert process.of(raw) is None
    assert process.call("/api/v1/studies", raw) == 200
    assert process.of(raw) is Sender.PROGRAM


def test_of_many_tokens_those_that_were_seen_last_are_remembered(app: Flask) -> None:
    process = Process(app, most=2)
    person = make_person(app, Role.TECHNOLOGIST)
    raws = [make_token(app, person, "studies:read") for _ in range(3)]
    for raw in (raws[0], raws[1], raws[0], raws[2]):
        process.call("/api/v1/studies", raw)
    assert [process.of(raw) for raw in raws] == [Sender.PROGRAM, None, Sender.PROGRAM]
