"""A portal for tests: a migrated database, people of every role, signed-in clients.

Plain functions, to be imported by any test: `make_settings`, `make_app`, `make_person`, `sign_in`,
`sign_in_by_pages`, `csrf_of`, `post`, `make_token`, `make_study`, `analyse`.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zlib import crc32

import pyotp
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.accounts import api_tokens, invitations, people, sessions, totp
from portal.intake import submission
from portal.models import Job, JobKind, Passkey, Role, User, db
from portal.operations import first_start
from portal.settings import Settings
from portal.web import create_app
from tests.support.pictures import jpeg

PASSWORD = "blue kettle on tuesday"
START = datetime(2026, 3, 4, 9, 0, tzinfo=UTC)


class Clock:
    """A clock that stands still until a test moves it forward."""

    def __init__(self, start: datetime = START) -> None:
        self.time = start

    def __call__(self) -> datetime:
        return self.time

    def forward(self, **amount: float) -> None:
        """Move on: `clock.forward(minutes=16)`."""
        self.time += timedelta(**amount)


@dataclass(frozen=True)
class Person:
    """A person with an account, and everything needed to sign in."""

    id: UUID
    email: str
    password: str
    secret: str
    recovery_codes: tuple[str, ...]

    def code(self, now: datetime) -> str:
        """What the authenticator app shows."""
        return pyotp.TOTP(self.secret).at(now)


def make_settings(folder: Path, **environ: str) -> Settings:
    """Settings of a portal for tests, all its files under `folder`."""
    return Settings.from_env(
        {"PLEURA_ENV": "test", "PLEURA_DATA_DIR": str(folder), "PLEURA_LOG_LEVEL": "ERROR"}
        | environ
    )


def make_app(settings: Settings, clock: Callable[[], datetime] | None = None) -> Flask:
    """The portal on a migrated database."""
    first_start.migrate(settings)
    first_start.upgrade_rows(settings, progress=lambda _done, _all: None)
    return create_app(settings, clock=clock)


def make_person(
    app: Flask,
    role: Role,
    *,
    team: str = "Radiology",
    name: str = "",
    password: str = PASSWORD,
    enrolled: bool = True,
) -> Person:
    """A person who accepted an invitation and, if `enrolled`, set up the second factor."""
    services = app.extensions["pleura"]
    now: datetime = services.clock()
    email = f"{role}.{len(_all_people(app))}@example.org"
    with app.app_context():
        session = db.session()
        _, link = invitations.invite(
            session, None, name=name or f"Test {role}", email=email, role=role, team=team, now=now
        )
        user = invitations.accept_invitation(session, link, password=password, now=now)
        secret, _ = totp.begin_totp(session, services.vault, user, now)
        codes: list[str] = []
        if enrolled:
            # A code of the step before, so that the present one can still be used.
            code = pyotp.TOTP(secret).at(now - timedelta(seconds=30))
            codes = totp.confirm_totp(session, services.vault, user, code, now)
        return Person(user.id, email, password, secret, tuple(codes))


def sign_in(app: Flask, person: Person, client: FlaskClient | None = None) -> FlaskClient:
    """A client with a login session of this person, created without the pages."""
    client = client or app.test_client()
    with app.app_context():
        session = db.session()
        raw = sessions.start_session(
            session,
            session.get_one(User, person.id),
            address="127.0.0.1",
            agent="Firefox on Linux",
            now=app.extensions["pleura"].clock(),
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
    with app.app_context():
        session = db.session()
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
    with app.app_context():
        session = db.session()
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


def _all_people(app: Flask) -> list[User]:
    with app.app_context():
        return people.people(db.session())


def picture(shade: int = 0) -> bytes:
    """A grey PNG of the size of a small X-ray; each shade is another picture."""
    rows, columns = 640, 512
    lines = b"".join(b"\0" + bytes([(row + shade) % 256]) * columns for row in range(rows))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(name + data))

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def make_study(app: Flask, person: Person, shade: int = 0) -> UUID:
    """A study that this person has just uploaded; its render job is queued."""
    services = app.extensions["pleura"]
    with app.app_context():
        session = db.session()
        actor = sessions.actor_of(session.get_one(User, person.id))
        sent = submission.submit(
            session, services.vault, actor, "CANARY^ZEBRA.png", picture(shade), services.clock()
        )
    return sent.study_id


RENDERED = {
    "pixels": (bytes(640 * 512 * 2), "application/octet-stream"),
    "preview": (jpeg(rows=640, columns=512, inside=b"preview"), "image/jpeg"),
    "thumb": (jpeg(rows=96, columns=77, inside=b"thumb"), "image/jpeg"),
}
SEGMENTED = {
    "probability": (bytes(4 * 4), "application/octet-stream"),
    "mask": (picture(1), "image/png"),
    "overlay": (picture(2), "image/png"),
}
FACTS: dict[str, Any] = {
    "rows": 640,
    "columns": 512,
    "bits": 8,
    "spacing": None,
    "windows": [[128.0, 256.0, "automatic"]],
    "view": None,
    "modality": None,
    "body_part": None,
    "photometric": "MONOCHROME2",
    "orientation": [],
    "patient_age_years": None,
    "patient_sex": None,
    "media_type": "image/png",
}
PREDICTION: dict[str, Any] = {
    "model": {"name": "test", "version": "1", "sha256": "ab" * 32},
    "probability": 0.91,
    "band": "likely",
    "threshold": 0.5,
    "operating_point": "balanced",
    "map": {"rows": 4, "columns": 4},
    "measurements": {"area_px": 900, "area_mm2": None, "side": "right", "distance_px": 120.0},
    "quality": {"verdict": "fit", "reasons": []},
    "statistics": {},
    "seconds": 0.3,
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

    def claim(self, job_id: UUID) -> TestResponse:
        """Ask for a job."""
        return self.call("POST", f"jobs/{job_id}/claim", json={"worker": "render@test"})

    def store(
        self, job_id: UUID, ticket: str, outputs: dict[str, tuple[bytes, str]]
    ) -> list[TestResponse]:
        """Store the attempt's outputs."""
        return [
            self.call(
                "PUT", f"jobs/{job_id}/outputs/{kind}", ticket, data=data, content_type=media_type
            )
            for kind, (data, media_type) in outputs.items()
        ]

    def finish(self, job_id: UUID, ticket: str, result: dict[str, Any]) -> TestResponse:
        """Finish the attempt."""
        return self.call("POST", f"jobs/{job_id}/finish", ticket, json=result)

    def do(self, job_id: UUID) -> None:
        """Do a whole job successfully."""
        claimed = self.claim(job_id).json
        assert claimed is not None
        render = claimed["kind"] == "render"
        stored = self.store(job_id, claimed["ticket"], RENDERED if render else SEGMENTED)
        assert [answer.status_code for answer in stored] == [204, 204, 204]
        result = {"facts": FACTS} if render else {"prediction": PREDICTION}
        assert self.finish(job_id, claimed["ticket"], result).status_code == 204


def job_of(app: Flask, study_id: UUID, kind: JobKind = JobKind.RENDER) -> UUID:
    """The id of a study's job."""
    with app.app_context():
        query = db.select(Job.id).where(Job.study_id == study_id, Job.kind == kind)
        job_id: UUID = db.session.execute(query).scalar_one()
    return job_id


def analyse(app: Flask, study_id: UUID) -> None:
    """Do both jobs of a study as workers would, over HTTP."""
    worker = HttpWorker(app)
    for kind in (JobKind.RENDER, JobKind.SEGMENT):
        worker.do(job_of(app, study_id, kind))
