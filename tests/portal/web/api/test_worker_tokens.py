"""A worker with a token of its own: its queue, its job, until it is revoked."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.jobs import worker_tokens
from portal.models import JobKind, Role, db
from tests.support.core import Clock, make_settings
from tests.support.people import Person
from tests.support.portal_app import (
    FACTS,
    RENDERED,
    HttpWorker,
    end_leases,
    job_of,
    make_app,
    make_person,
    make_study,
    post,
    sign_in,
)


def with_token(app: Flask, queue: JobKind = JobKind.RENDER) -> tuple[UUID, HttpWorker]:
    """A worker whose token was just made."""
    with app.app_context():
        token, raw = worker_tokens.create(
            db.session(),
            name=f"{queue.value}-7",
            queue=queue,
            lifetime=timedelta(days=30),
            now=app.extensions["pleura"].clock(),
        )
        return token.id, HttpWorker(app, raw)


@pytest.fixture
def job_id(app: Flask, technologist: Person) -> UUID:
    return job_of(app, make_study(app, technologist))


def test_it_does_its_queues_jobs(app: Flask, job_id: UUID, admin_client: FlaskClient) -> None:
    _, worker = with_token(app)
    hello = {"name": "r", "queue": "render", "engine": "cpu", "model": ""}
    assert worker.call("POST", "hello", json=hello).status_code == 204
    worker.do(job_id)
    page = admin_client.get("/admin/jobs").text
    assert "render-7" in page
    assert worker.token not in page


def test_it_gets_the_next_job_of_its_queue_alone(app: Flask, job_id: UUID) -> None:
    ask = {"worker": "w", "queue": "render"}
    _, other = with_token(app, JobKind.SEGMENT)
    refused = other.call("POST", "claim", json=ask)
    assert (refused.status_code, refused.json["code"]) == (403, "queue")
    assert other.call("POST", "claim", json=ask | {"queue": "segment"}).status_code == 204
    _, worker = with_token(app)
    assert worker.call("POST", "claim", "plw_" + "x" * 43, json=ask).status_code == 401
    found = worker.call("POST", "claim", json=ask)
    assert (found.status_code, found.json["job"]) == (200, str(job_id))
    beat = worker.call("POST", f"jobs/{job_id}/heartbeat", found.json["ticket"])
    assert beat.status_code == 200
    assert worker.call("POST", "claim", json=ask).status_code == 204
    assert worker.call("POST", "claim", json={"worker": "w", "queue": "send"}).status_code == 422


def test_it_reaches_no_job_of_the_other_queue(app: Flask, job_id: UUID) -> None:
    _, worker = with_token(app, JobKind.SEGMENT)
    assert worker.claim(job_id).status_code == 204
    hello = {"name": "r", "queue": "render", "engine": "cpu", "model": ""}
    refused = worker.call("POST", "hello", json=hello)
    assert (refused.status_code, refused.json["code"]) == (403, "queue")


def test_it_takes_no_worker_of_the_other_queue_away(app: Flask, admin_client: FlaskClient) -> None:
    for queue in (JobKind.SEGMENT, JobKind.RENDER):
        _, worker = with_token(app, queue)
        hello = {"name": "segment@gpu", "queue": queue.value, "engine": "", "model": ""}
        assert worker.call("POST", "hello", json=hello).status_code == 204
    assert "No segment worker is running" not in admin_client.get("/admin/jobs").text


def test_its_ticket_is_for_one_job(app: Flask, job_id: UUID, technologist: Person) -> None:
    other = job_of(app, make_study(app, technologist, 5))
    _, worker = with_token(app)
    ticket = worker.claim(job_id).json["ticket"]
    for path in (f"jobs/{other}/inputs/source", f"jobs/{other}/heartbeat"):
        method = "GET" if "inputs" in path else "POST"
        assert worker.call(method, path, ticket).status_code == 401


def test_revoked_in_the_middle_of_a_job_it_delivers_nothing(
    app: Flask, job_id: UUID, admin_client: FlaskClient, clock: Clock
) -> None:
    token_id, worker = with_token(app)
    ticket = worker.claim(job_id).json["ticket"]
    assert worker.call("GET", f"jobs/{job_id}/inputs/source", ticket).status_code == 200
    done = post(admin_client, f"/admin/workers/{token_id}/revoke", page="/admin/jobs")
    assert done.status_code == 303
    answers = [
        worker.claim(job_id),
        worker.call("GET", f"jobs/{job_id}/inputs/source", ticket),
        *worker.store(job_id, ticket, RENDERED),
        worker.finish(job_id, ticket, {"facts": FACTS}),
        worker.call("POST", f"jobs/{job_id}/heartbeat", ticket),
        worker.call("POST", f"jobs/{job_id}/fail", ticket, json={"code": "x", "kind": "permanent"}),
    ]
    assert [answer.status_code for answer in answers] == [401] * len(answers)
    end_leases(app)
    _, another = with_token(app)
    again = another.claim(job_id).json
    assert again["attempt"] == 2
    assert "render-7" in admin_client.get("/admin/jobs").text


def test_expired_it_opens_nothing(app: Flask, job_id: UUID, clock: Clock) -> None:
    _, worker = with_token(app)
    clock.forward(days=30)
    answer = worker.claim(job_id)
    assert (answer.status_code, answer.json["code"]) == (401, "worker_token")


def test_revoking_needs_a_fresh_proof(app: Flask, admin: Person, clock: Clock) -> None:
    token_id, worker = with_token(app)
    client = sign_in(app, admin)
    clock.forward(minutes=11)
    answer = post(client, f"/admin/workers/{token_id}/revoke", page="/admin/jobs")
    assert answer.status_code == 303
    assert answer.location.startswith("/confirm")
    hello = {"name": "r", "queue": "render", "engine": "cpu", "model": ""}
    assert worker.call("POST", "hello", json=hello).status_code == 204


def test_it_opens_nothing_but_the_workers_api(app: Flask) -> None:
    _, worker = with_token(app)
    headers = {"Authorization": f"Bearer {worker.token}"}
    for path in ("/api/v1/studies", "/admin/jobs", "/worklist"):
        assert app.test_client().get(path, headers=headers).status_code in (303, 401)


def test_the_shared_token_can_be_switched_off(tmp_path: Path) -> None:
    app = make_app(make_settings(tmp_path), Clock())
    person = make_person(app, Role.TECHNOLOGIST)
    job_id = job_of(app, make_study(app, person))
    before = HttpWorker(app).claim(job_id).json["ticket"]
    closed = make_app(make_settings(tmp_path, PLEURA_SHARED_WORKER_TOKEN="no"), Clock())
    shared = HttpWorker(closed)
    assert shared.claim(job_id).status_code == 401
    assert shared.call("GET", f"jobs/{job_id}/inputs/source", before).status_code == 401
    _, own = with_token(closed)
    second = job_of(closed, make_study(closed, person, 3))
    own.do(second)
