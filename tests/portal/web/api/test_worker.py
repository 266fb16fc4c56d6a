"""The workers' way in: one token, one ticket, one job, one attempt."""

import json
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import URLSafeSerializer
from werkzeug.test import TestResponse

from portal.jobs import overview
from portal.jobs.claims import Claimed
from portal.jobs.files import inputs_of
from portal.models import JobKind, db
from portal.web import create_app
from tests.support.core import NOW, Clock
from tests.support.hostile_files.damage import other_letter
from tests.support.jobs import MEDIA_TYPES, Jobs
from tests.support.people import Person
from tests.support.pictures import picture
from tests.support.portal_app import (
    FACTS,
    PREDICTION,
    RENDERED,
    SEGMENTED,
    HttpWorker,
    analyse,
    core_of,
    end_leases,
    job_of,
    make_study,
    sign_in,
)
from worker.contract.claim_bundle import BUNDLE_INPUT_BYTES, CLAIM_BUNDLE, unpack
from worker.contract.job import Claim, InputFile


@pytest.fixture
def owner(technologist: Person) -> Person:
    return technologist


@pytest.fixture
def worker(app: Flask) -> HttpWorker:
    return HttpWorker(app)


@pytest.fixture
def job_id(app: Flask, owner: Person) -> UUID:
    return job_of(app, make_study(app, owner))


def ticket_for(worker: HttpWorker, job_id: UUID) -> str:
    """Claim a job that waits."""
    answer = worker.claim(job_id)
    assert answer.status_code == 200
    ticket: str = answer.json["ticket"]
    return ticket


def test_hello_is_seen_by_the_admin(worker: HttpWorker, admin_client: FlaskClient) -> None:
    body = {"name": "render@box", "queue": "render", "engine": "cpu", "model": ""}
    assert worker.call("POST", "hello", json=body).status_code == 204
    page = admin_client.get("/admin/jobs").text
    assert "render@box" in page
    assert "No segment worker is running" in page
    assert "No render worker is running" not in page


def test_a_worker_that_takes_inputs_along_gets_them_with_the_claim(
    worker: HttpWorker, job_id: UUID
) -> None:
    answer = claim_with(worker, job_id, CLAIM_BUNDLE)
    assert answer.content_type == CLAIM_BUNDLE
    claim, inputs = unpack(answer.data)
    assert inputs == {"source": picture()}
    source = worker.call("GET", f"jobs/{job_id}/inputs/source", claim.ticket)
    assert source.data == picture()


@pytest.mark.parametrize("accept", ["*/*", "", f"text/html, {CLAIM_BUNDLE}"])
def test_a_worker_of_the_version_before_gets_the_claim_alone(
    worker: HttpWorker, job_id: UUID, accept: str
) -> None:
    answer = claim_with(worker, job_id, accept)
    assert answer.content_type == "application/json"
    assert answer.json["inputs"]["source"]["bytes"] == len(picture())


def test_the_next_job_comes_with_its_inputs_too(worker: HttpWorker, job_id: UUID) -> None:
    body = {"worker": "render@test", "queue": "render"}
    answer = worker.call("POST", "claim", json=body, headers={"Accept": CLAIM_BUNDLE})
    assert unpack(answer.data)[0].job == job_id


def test_an_input_that_is_gone_leaves_the_claim_as_it_is(
    app: Flask, worker: HttpWorker, job_id: UUID
) -> None:
    for path in (core_of(app).data_dir / "blobs").rglob("*-0"):
        path.unlink()
    answer = claim_with(worker, job_id, CLAIM_BUNDLE)
    assert answer.content_type == "application/json"
    source = worker.call("GET", f"jobs/{job_id}/inputs/source", answer.json["ticket"])
    assert (source.status_code, source.json["code"]) == (503, "damaged")


def test_large_inputs_are_not_sent_with_the_claim(app: Flask) -> None:
    vault = core_of(app).vault
    for size, expected in ((BUNDLE_INPUT_BYTES + 1, None), (0, {})):
        listed = {"pixels": InputFile(bytes=size, media_type="a/b")} if size else {}
        claim = Claim(
            job=uuid4(),
            kind=JobKind.SEGMENT,
            attempt=1,
            ticket="",
            lease_seconds=1.0,
            soft_seconds=1.0,
            inputs=listed,
        )
        assert inputs_of(vault, Claimed(claim, {})) == expected


def claim_with(worker: HttpWorker, job_id: UUID, accept: str) -> TestResponse:
    body = {"worker": "render@test"}
    return worker.call("POST", f"jobs/{job_id}/claim", json=body, headers={"Accept": accept})


def test_from_the_upload_to_the_result(
    app: Flask, worker: HttpWorker, owner: Person, clock: Clock
) -> None:
    study_id = make_study(app, owner)
    render = job_of(app, study_id)
    claimed = worker.claim(render).json
    assert set(claimed) == {
        "job",
        "kind",
        "attempt",
        "ticket",
        "lease_seconds",
        "age_min",
        "soft_seconds",
        "inputs",
        "facts",
        "model",
    }
    assert claimed["inputs"]["source"]["bytes"] == len(picture())
    source = worker.call("GET", f"jobs/{render}/inputs/source", claimed["ticket"])
    assert source.data == picture()
    beat = worker.call("POST", f"jobs/{render}/heartbeat", claimed["ticket"])
    assert beat.json == {"lease_seconds": claimed["lease_seconds"]}
    stored = worker.store(render, claimed["ticket"], RENDERED)
    assert [answer.status_code for answer in stored] == [204] * 3
    done = worker.finish(render, claimed["ticket"], {"facts": FACTS})
    assert done.status_code == 204

    segment = job_of(app, study_id, JobKind.SEGMENT)
    claimed = worker.claim(segment).json
    assert claimed["facts"]["rows"] == 640
    pixels = worker.call("GET", f"jobs/{segment}/inputs/pixels", claimed["ticket"])
    assert pixels.data == RENDERED["pixels"]
    assert worker.call("GET", f"jobs/{segment}/inputs/source", claimed["ticket"]).status_code == 422
    worker.store(segment, claimed["ticket"], SEGMENTED)
    done = worker.finish(segment, claimed["ticket"], {"prediction": PREDICTION})
    assert done.status_code == 204

    state = sign_in(app, owner).get(f"/studies/{study_id}/state").json
    assert state["state"] == "done"


def bundle(result: object, outputs: dict[str, bytes]) -> bytes:
    listed = [
        {"kind": kind, "media_type": MEDIA_TYPES[kind], "bytes": len(data)}
        for kind, data in outputs.items()
    ]
    head = json.dumps({"result": result, "outputs": listed}).encode()
    return head + b"\n" + b"".join(outputs.values())


def send_bundle(worker: HttpWorker, job_id: UUID, ticket: str, body: bytes) -> TestResponse:
    return worker.call(
        "POST",
        f"jobs/{job_id}/finish",
        ticket,
        data=body,
        content_type="application/vnd.pleura.result",
    )


def stored_files(app: Flask) -> list[str]:
    blobs = app.extensions["pleura"].settings.data_dir / "blobs"
    return sorted(path.name for path in blobs.glob("*/*"))


def test_outputs_may_come_along_with_the_result(
    app: Flask, worker: HttpWorker, job_id: UUID
) -> None:
    ticket = ticket_for(worker, job_id)
    before = stored_files(app)
    body = bundle({"facts": FACTS}, RENDERED)
    assert send_bundle(worker, job_id, ticket, body).status_code == 204
    after = stored_files(app)
    assert len(after) == len(before) + 3
    assert send_bundle(worker, job_id, ticket, body).status_code == 204  # sent twice, stored once
    assert stored_files(app) == after


def test_a_later_output_takes_an_earlier_ones_place(
    app: Flask, worker: HttpWorker, job_id: UUID
) -> None:
    ticket = ticket_for(worker, job_id)
    before = stored_files(app)
    worker.store(job_id, ticket, RENDERED)
    body = bundle({"facts": FACTS}, RENDERED)
    assert send_bundle(worker, job_id, ticket, body).status_code == 204
    assert len(stored_files(app)) == len(before) + 3


GOOD = bundle({"facts": FACTS}, RENDERED)
BAD_BUNDLES = [
    (b"", 400),
    (b"{}\n", 400),
    (b"[]\nx", 400),
    (b"\xff\n", 400),
    (GOOD[:-1], 400),
    (GOOD + b"x", 400),
    (GOOD.replace(b"\n", b"", 1), 400),
    (bundle([], RENDERED), 400),
    (GOOD.replace(b'"bytes": ', b'"bytes": -', 1), 400),
    (GOOD.replace(b'"bytes": ', b'"bytes": 1.', 1), 400),
    (bundle({"facts": {}}, RENDERED), 422),
    (bundle({"facts": FACTS}, {**RENDERED, "mask": b"x"}), 422),
    (GOOD.replace(b'"preview"', b'"thumb"', 1), 422),
]


@pytest.mark.parametrize(("body", "status"), BAD_BUNDLES, ids=range(len(BAD_BUNDLES)))
def test_a_bundle_that_cannot_be_leaves_nothing_behind(
    app: Flask, worker: HttpWorker, job_id: UUID, body: bytes, status: int
) -> None:
    ticket = ticket_for(worker, job_id)
    before = stored_files(app)
    assert send_bundle(worker, job_id, ticket, body).status_code == status
    assert stored_files(app) == before
    assert send_bundle(worker, job_id, ticket, GOOD).status_code == 204


def test_a_bundle_without_a_required_output_leaves_the_job_to_another_worker(
    app: Flask, worker: HttpWorker, job_id: UUID
) -> None:
    ticket = ticket_for(worker, job_id)
    before = stored_files(app)
    lacking = bundle({"facts": FACTS}, {"thumb": RENDERED["thumb"]})
    assert send_bundle(worker, job_id, ticket, lacking).status_code == 422
    assert stored_files(app) == before
    assert send_bundle(worker, job_id, ticket, GOOD).status_code == 409
    assert send_bundle(worker, job_id, ticket_for(worker, job_id), GOOD).status_code == 204


def test_a_bundle_of_a_lost_attempt_leaves_nothing_behind(
    app: Flask, worker: HttpWorker, job_id: UUID, clock: Clock
) -> None:
    old = ticket_for(worker, job_id)
    end_leases(app)
    ticket_for(worker, job_id)
    before = stored_files(app)
    assert send_bundle(worker, job_id, old, GOOD).status_code == 409
    assert stored_files(app) == before


@pytest.mark.parametrize(
    "token", ["", "wrong", "x" * 5000, "ü\udcff".encode("utf-8", "replace").decode()]
)
def test_nobody_claims_without_the_token(app: Flask, job_id: UUID, token: str) -> None:
    answer = HttpWorker(app, token or " ").claim(job_id)
    assert (answer.status_code, answer.json["code"]) == (401, "worker_token")
    assert answer.content_type == "application/problem+json"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_a_browser_session_is_no_worker(admin_client: FlaskClient, job_id: UUID) -> None:
    assert (
        admin_client.post(f"/worker/v1/jobs/{job_id}/claim", json={"worker": "x"}).status_code
        == 401
    )


def test_the_worker_token_opens_no_job(worker: HttpWorker, job_id: UUID) -> None:
    ticket_for(worker, job_id)
    for method, what in EVERY_CALL:
        answer = worker.call(method, f"jobs/{job_id}/{what}", worker.token, json={})
        assert (answer.status_code, answer.json["code"]) == (401, "ticket"), what


EVERY_CALL = [
    ("GET", "inputs/source"),
    ("PUT", "outputs/pixels"),
    ("POST", "heartbeat"),
    ("POST", "finish"),
    ("POST", "fail"),
]


@pytest.mark.parametrize(("method", "what"), EVERY_CALL)
def test_a_ticket_that_is_not_good_is_refused(
    app: Flask,
    worker: HttpWorker,
    owner: Person,
    job_id: UUID,
    method: str,
    what: str,
) -> None:
    ticket = ticket_for(worker, job_id)
    other = ticket_for(worker, job_of(app, make_study(app, owner, shade=7)))
    claims = [job_id.hex, 1, 2**33]
    forged = URLSafeSerializer("not the secret", salt="pleura.ticket").dumps(claims)
    for bad in ("", "x.y.z", other_letter(ticket), ticket.swapcase(), other, forged, "\u20ac"):
        answer = worker.call(
            method, f"jobs/{job_id}/{what}", bad.encode().decode("latin-1") or "-", json={}
        )
        assert answer.status_code == 401, bad


def test_a_lost_attempt_is_refused_and_changes_nothing(
    app: Flask, worker: HttpWorker, job_id: UUID, clock: Clock
) -> None:
    old = ticket_for(worker, job_id)
    end_leases(app)
    new = ticket_for(worker, job_id)
    assert worker.call("POST", f"jobs/{job_id}/heartbeat", old).status_code == 409
    assert worker.call("GET", f"jobs/{job_id}/inputs/source", old).status_code == 409
    assert {a.status_code for a in worker.store(job_id, old, RENDERED)} == {409}
    lost = worker.finish(job_id, old, {"facts": FACTS})
    assert (lost.status_code, lost.json["code"]) == (409, "lost")
    worker.store(job_id, new, RENDERED)
    assert worker.finish(job_id, new, {"facts": FACTS}).status_code == 204


def test_a_claimed_job_is_not_claimed_again(worker: HttpWorker, job_id: UUID) -> None:
    ticket_for(worker, job_id)
    again = worker.claim(job_id)
    assert (again.status_code, again.data) == (204, b"")
    assert worker.claim(uuid4()).status_code == 204


BAD_FACTS = [
    {},
    {"facts": None},
    {"facts": []},
    {"facts": {**FACTS, "rows": 641}},
    {"facts": {**FACTS, "rows": -1}},
    {"facts": {**FACTS, "rows": "640"}},
    {"facts": {**FACTS, "windows": "none"}},
    {"facts": {**FACTS, "more": "x" * 500_000}},
    {"prediction": PREDICTION},
]


@pytest.mark.parametrize("result", BAD_FACTS, ids=range(len(BAD_FACTS)))
def test_a_result_that_cannot_be_is_refused(
    worker: HttpWorker, job_id: UUID, result: dict[str, object]
) -> None:
    ticket = ticket_for(worker, job_id)
    worker.store(job_id, ticket, RENDERED)
    answer = worker.finish(job_id, ticket, result)
    assert (answer.status_code, answer.json["code"]) == (422, "bad_result")
    assert worker.finish(job_id, ticket, {"facts": FACTS}).status_code == 204


BAD_PREDICTIONS = [
    {"probability": 1.2},
    {"probability": float("nan")},
    {"band": "certain"},
    {"map": {"rows": 5, "columns": 4}},
    {"model": {"name": "x", "version": "1", "sha256": "short"}},
    {"measurements": {"side": "middle"}},
    {"quality": {"verdict": "refused", "reasons": []}},
    {"quality": None},
]


@pytest.mark.parametrize("change", BAD_PREDICTIONS, ids=range(len(BAD_PREDICTIONS)))
def test_a_prediction_that_cannot_be_is_refused(
    app: Flask, worker: HttpWorker, owner: Person, change: dict[str, object]
) -> None:
    study_id = make_study(app, owner)
    worker.do(job_of(app, study_id))
    job_id = job_of(app, study_id, JobKind.SEGMENT)
    ticket = ticket_for(worker, job_id)
    worker.store(job_id, ticket, SEGMENTED)
    answer = worker.finish(job_id, ticket, {"prediction": {**PREDICTION, **change}})
    assert answer.status_code == 422


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b'{"facts": NaN'])
def test_a_body_that_is_no_json_object_is_refused(
    worker: HttpWorker, job_id: UUID, body: bytes
) -> None:
    ticket = ticket_for(worker, job_id)
    for path, token in ((f"jobs/{job_id}/finish", ticket), ("hello", worker.token)):
        answer = worker.call("POST", path, token, data=body, content_type="application/json")
        assert (answer.status_code, answer.json["code"]) == (400, "bad_json")


@pytest.mark.parametrize(
    ("kind", "data", "media_type"),
    [
        ("pixels", bytes(640 * 512 * 8 + 1), "application/octet-stream"),
        ("pixels", b"", "application/octet-stream"),
        ("preview", b"<html>", "image/jpeg"),
        ("preview", RENDERED["preview"], "text/html"),
        ("preview", b"\xff\xd8\xff" + bytes(9 * 1024 * 1024), "image/jpeg"),
        ("thumb", b"\xff\xd8\xffthumb", "image/jpeg"),
        ("mask", SEGMENTED["mask"], "image/png"),
        ("source", b"x", "application/octet-stream"),
        ("nothing", b"x", "application/octet-stream"),
    ],
)
def test_an_output_that_does_not_belong_is_refused(
    worker: HttpWorker, job_id: UUID, kind: str, data: bytes, media_type: str
) -> None:
    ticket = ticket_for(worker, job_id)
    path = f"jobs/{job_id}/outputs/{kind}"
    answer = worker.call("PUT", path, ticket, data=data, content_type=media_type)
    assert (answer.status_code, answer.json["code"]) == (422, "bad_result")


def test_bodies_have_a_limit(worker: HttpWorker, job_id: UUID) -> None:
    ticket = ticket_for(worker, job_id)
    announced = {"CONTENT_LENGTH": str(300 * 1024 * 1024)}
    answer = worker.call(
        "PUT", f"jobs/{job_id}/outputs/pixels", ticket, data=b"x", environ_overrides=announced
    )
    assert answer.status_code == 413
    big = {"facts": "x" * 25 * 1024 * 1024}
    assert worker.finish(job_id, ticket, big).status_code == 413
    assert worker.finish(job_id, ticket, {"facts": {"x": "x" * 2_000_000}}).status_code == 422


def test_jobs_that_wait_for_a_model_are_shown_with_the_workers_that_lack_it(
    app: Flask, worker: HttpWorker, owner: Person, reader: Person, admin_client: FlaskClient
) -> None:
    """Until a worker comes that has it; nobody is told that a worker does not consume."""
    notice = "job waits for a worker that has the model in use."
    study_id, people = make_study(app, owner), sign_in(app, reader)
    worker.do(job_of(app, study_id))
    hello = {"name": "segment@old", "queue": "segment", "engine": "cpu", "model": "older"}
    assert worker.call("POST", "hello", json=hello).status_code == 204
    segment = job_of(app, study_id, JobKind.SEGMENT)
    assert notice not in admin_client.get("/admin/jobs").text
    answer = worker.claim(segment, name="segment@old")
    lacks = {"code": "model_missing", "kind": "permanent"}
    assert (
        worker.call("POST", f"jobs/{segment}/fail", answer.json["ticket"], json=lacks).status_code
        == 204
    )
    Jobs(core_of(app)).pass_time(NOW + timedelta(seconds=40))
    page = admin_client.get("/admin/jobs").text
    assert notice in page
    assert "segment@old</bdi>" in page
    assert "without the model" in page
    assert "jobs are not taken although a worker is idle" not in page
    ready = admin_client.get("/health/ready").json
    assert (ready["status"], ready["checks"]["jobs"]) == ("degraded", "waiting_for_model")
    assert (
        "Waiting for a worker that has the model in use." in people.get(f"/studies/{study_id}").text
    )
    listed = people.get("/worklist").text
    assert "waiting for a worker that has the model" in listed
    assert "No worker takes jobs" not in listed
    state = people.get(f"/studies/{study_id}/state").json
    assert state["waiting_for"] == "model"
    assert worker.call("POST", "hello", json=hello | {"name": "segment@new"}).status_code == 204
    assert admin_client.get("/health/ready").json["checks"]["jobs"] == "stalled"
    assert worker.claim(segment, name="segment@new").status_code == 200
    assert admin_client.get("/health/ready").json["checks"]["jobs"] == "ok"
    assert notice not in admin_client.get("/admin/jobs").text


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_portal_with_another_clock_accepts_tickets_and_signs_of_life(
    app: Flask, job_id: UUID, worker: HttpWorker, admin_client: FlaskClient, minutes: int
) -> None:
    """Two portals over one database: its clock counts, for leases, tickets and workers."""
    services = app.extensions["pleura"]
    there = create_app(
        services.settings, clock=lambda: services.clock() + timedelta(minutes=minutes)
    )
    other = HttpWorker(there)
    hello = {"name": "render@test", "queue": "render", "engine": "cpu", "model": ""}
    assert other.call("POST", "hello", json=hello).status_code == 204
    assert "No render worker is running" not in admin_client.get("/admin/jobs").text
    ticket = ticket_for(other, job_id)
    assert worker.call("POST", f"jobs/{job_id}/heartbeat", ticket).status_code == 200
    assert [answer.status_code for answer in worker.store(job_id, ticket, RENDERED)] == [204] * 3
    assert worker.finish(job_id, ticket, {"facts": FACTS}).status_code == 204


def test_jobs_that_an_idle_worker_does_not_take_are_shown_where_people_look(
    app: Flask, worker: HttpWorker, job_id: UUID, admin_client: FlaskClient
) -> None:
    hello = {"name": "render@test", "queue": "render", "engine": "cpu", "model": ""}
    notice = "Render jobs are not taken although a worker is idle."
    assert worker.call("POST", "hello", json=hello).status_code == 204
    assert notice not in admin_client.get("/admin/jobs").text
    Jobs(core_of(app)).pass_time(NOW + timedelta(seconds=31))
    assert notice in admin_client.get("/admin/jobs").text
    ready = admin_client.get("/health/ready")
    assert (ready.status_code, ready.json["status"]) == (200, "degraded")
    assert ready.json["checks"]["jobs"] == "stalled"
    assert worker.claim(job_id).status_code == 200
    assert notice not in admin_client.get("/admin/jobs").text, "the worker is busy with it"
    assert admin_client.get("/health/ready").json["checks"]["jobs"] == "ok"


def test_a_job_that_failed_is_shown_with_its_reason_and_tried_again(
    worker: HttpWorker, job_id: UUID, admin_client: FlaskClient
) -> None:
    ticket = ticket_for(worker, job_id)
    failed = worker.call(
        "POST", f"jobs/{job_id}/fail", ticket, json={"code": "truncated", "kind": "permanent"}
    )
    assert failed.status_code == 204
    client = admin_client
    page = client.get("/admin/jobs").text
    assert "cut off" in page
    assert "CANARY" not in page
    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    assert client.post(f"/admin/jobs/{job_id}/retry", data={"csrf_token": token}).status_code == 303
    again = client.post(f"/admin/jobs/{job_id}/retry", data={"csrf_token": token})
    assert again.status_code == 409
    assert worker.claim(job_id).status_code == 200


@pytest.mark.parametrize(
    "body", [{"code": "A B", "kind": "permanent"}, {"code": "x", "kind": "y"}, {}]
)
def test_an_odd_failure_is_refused(worker: HttpWorker, job_id: UUID, body: dict[str, str]) -> None:
    answer = worker.call("POST", f"jobs/{job_id}/fail", ticket_for(worker, job_id), json=body)
    assert answer.status_code == 422


def test_analysing_helps_other_tests(app: Flask, owner: Person) -> None:
    study_id = make_study(app, owner)
    analyse(app, study_id)
    with app.app_context():
        board = overview.board(db.session())
    done = {queue.kind: queue.done for queue in board.queues if queue.done}
    assert done == {JobKind.RENDER: 1, JobKind.SEGMENT: 1}
