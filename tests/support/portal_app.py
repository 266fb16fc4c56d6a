"""A portal's pages and APIs for tests: the app over a core, signed-in clients, a worker over HTTP.

Plain functions, to be imported by any test.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from portal import database
from portal.accounts import api_tokens, sessions
from portal.intake import submission
from portal.models import JobKind, Passkey, Role, User, db
from portal.settings import Settings
from portal.web import create_app
from tests.support.core import NOW, Core, migrate
from tests.support.jobs import (
    MEDIA_TYPES,
    PNG_FACTS,
    UNMEASURED,
    Jobs,
    facts_of,
    prediction_of,
    rendered,
    segmented,
)
from tests.support.people import Person, add_account, add_person
from tests.support.pictures import picture

# What `HttpWorker` sends for a `picture`.
RENDERED = rendered(640, 512)
SEGMENTED = segmented(640, 512)
FACTS = facts_of(640, 512, **PNG_FACTS)
PREDICTION = prediction_of(**UNMEASURED)


class _CompiledOnce(BytecodeCache):
    """Templates as the first portal of this process compiled them: each test has its own portal."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._compiled:
            bucket.bytecode_from_string(self._compiled[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key] = bucket.bytecode_to_string()


_TEMPLATES = _CompiledOnce()


def make_app(settings: Settings, clock: Callable[[], datetime] | None = None) -> Flask:
    """The portal on a migrated database."""
    migrate(settings, clock() if clock else None)
    app = create_app(settings, clock=clock)
    app.jinja_env.bytecode_cache = _TEMPLATES
    return app


def core_of(app: Flask) -> Core:
    """The core that the app is built over."""
    services = app.extensions["pleura"]
    with app.app_context():
        return Core(services.settings, services.vault, db.engine, database.sessions(db.engine))


def make_person(app: Flask, role: Role, *, team: str = "Radiology", name: str = "") -> Person:
    """A person with a password and a second factor."""
    core, now = core_of(app), app.extensions["pleura"].clock()
    with core.sessions() as session:
        number = session.scalar(select(func.count()).select_from(User))
        email = f"{role}.{number}@example.org"
        user = add_person(session, role, email, name=name, team=team, now=now)
        session.commit()
    return add_account(core, user, now)


def sign_in(
    app: Flask, person: Person, client: FlaskClient | None = None, *, proved: bool = True
) -> FlaskClient:
    """A client with a login session of this person, created without the pages.

    Unless `proved`, it has given the password and not yet the code.
    """
    client = client or app.test_client()
    with core_of(app).sessions() as session:
        raw = sessions.start_session(
            session,
            session.get_one(User, person.id),
            address="127.0.0.1",
            agent="Firefox on Linux",
            now=app.extensions["pleura"].clock(),
            proved=proved,
        )
    with client.session_transaction() as cookie:
        cookie["login"] = raw
    return client


def sign_in_by_pages(client: FlaskClient, person: Person, now: datetime) -> TestResponse:
    """Sign in through both pages; returns the last response."""
    first = post(
        client, "/sign-in", {"email": person.email, "password": person.password}, page="/sign-in"
    )
    if first.status_code != 303:
        return first
    return post(client, "/sign-in/code", {"code": person.code(now)}, page="/sign-in/code")


def csrf_of(client: FlaskClient, page: str = "/account") -> str:
    """The form token of a page that the client may see."""
    found = re.search(r'name="csrf-token" content="([^"]+)"', client.get(page).text)
    assert found is not None, f"{page} has no form token"
    return found.group(1)


def post(
    client: FlaskClient,
    url: str,
    data: dict[str, Any] | None = None,
    *,
    page: str = "/account",
    **more: Any,
) -> TestResponse:
    """Post a form as the page would."""
    return client.post(url, data={"csrf_token": csrf_of(client, page), **(data or {})}, **more)


def make_token(app: Flask, person: Person, *scopes: str) -> str:
    """An API token of this person, as text."""
    with core_of(app).sessions() as session:
        _, raw = api_tokens.create_token(
            session,
            session.get_one(User, person.id),
            scopes=scopes,
            name="test",
            lifetime=timedelta(days=1),
            now=app.extensions["pleura"].clock(),
        )
    return raw


def make_passkey(app: Flask, person: Person) -> UUID:
    """A passkey of this person, as if registered by a device."""
    with core_of(app).sessions() as session:
        row = Passkey(
            user_id=person.id,
            credential_key=uuid4().hex,
            credential_id=b"unused",
            public_key=b"unused",
            sign_count=0,
            transports=[],
            name="test",
            created=app.extensions["pleura"].clock(),
            last_used_at=None,
        )
        session.add(row)
        session.commit()
        return row.id


def make_study(app: Flask, person: Person, shade: int = 0, *, data: bytes | None = None) -> UUID:
    """A study that this person has just uploaded; its render job is queued."""
    core, now = core_of(app), app.extensions["pleura"].clock()
    with core.sessions() as session:
        actor = sessions.actor_of(session.get_one(User, person.id))
        name = "CANARY^ZEBRA.png"
        data = data or picture(shade)
        return submission.submit(session, core.vault, actor, name, data, now).study_id


_DONE: dict[JobKind, tuple[dict[str, bytes], dict[str, Any]]] = {
    JobKind.RENDER: (RENDERED, {"facts": FACTS}),
    JobKind.SEGMENT: (SEGMENTED, {"prediction": PREDICTION}),
}


class HttpWorker:
    """A client of the worker's HTTP interface."""

    def __init__(self, app: Flask, token: str | None = None) -> None:
        self.client = app.test_client()
        self.token = token or app.extensions["pleura"].settings.worker_token

    def call(self, method: str, path: str, token: str | None = None, **parts: Any) -> TestResponse:
        """One call under /worker/v1 with a bearer credential."""
        headers = {"Authorization": f"Bearer {token or self.token}", **parts.pop("headers", {})}
        return self.client.open(f"/worker/v1/{path}", method=method, headers=headers, **parts)

    def claim(self, job_id: UUID, name: str = "render@test") -> TestResponse:
        """Ask for a job."""
        return self.call("POST", f"jobs/{job_id}/claim", json={"worker": name})

    def store(self, job_id: UUID, ticket: str, outputs: Mapping[str, bytes]) -> list[TestResponse]:
        """Store the attempt's outputs, each with its right media type."""
        return [
            self.call(
                "PUT",
                f"jobs/{job_id}/outputs/{kind}",
                ticket,
                data=data,
                content_type=MEDIA_TYPES[kind],
            )
            for kind, data in outputs.items()
        ]

    def finish(self, job_id: UUID, ticket: str, result: dict[str, Any]) -> TestResponse:
        """Finish the attempt."""
        return self.call("POST", f"jobs/{job_id}/finish", ticket, json=result)

    def do(self, job_id: UUID, **changes: Any) -> None:
        """Do a whole job successfully; `changes` are of a segment job's prediction."""
        claimed = self.claim(job_id).json
        assert claimed is not None
        outputs, result = _DONE[JobKind(claimed["kind"])]
        if claimed["kind"] == JobKind.SEGMENT:
            result = {"prediction": result["prediction"] | changes}
        stored = self.store(job_id, claimed["ticket"], outputs)
        assert [answer.status_code for answer in stored] == [204] * len(outputs)
        assert self.finish(job_id, claimed["ticket"], result).status_code == 204


def job_of(app: Flask, study_id: UUID, kind: JobKind = JobKind.RENDER) -> UUID:
    """The id of a study's job."""
    return Jobs(core_of(app)).job(study_id, kind).id


def end_leases(app: Flask) -> None:
    """Let the lease of every attempt have ended: leases run by the database's clock."""
    Jobs(core_of(app)).pass_time(NOW + timedelta(minutes=5))


def analyse(app: Flask, study_id: UUID, **changes: Any) -> None:
    """Do both jobs of a study as workers would, over HTTP; `changes` are of the prediction."""
    worker = HttpWorker(app)
    for kind in (JobKind.RENDER, JobKind.SEGMENT):
        worker.do(job_of(app, study_id, kind), **changes)
