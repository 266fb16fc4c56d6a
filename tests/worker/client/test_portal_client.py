"""worker.client.portal_client: what the worker does when the portal is away, busy, or refuses.

The portal here is a small HTTP server that answers by a script: its faults are what is tested. The
real portal and the real worker meet in tests/faults.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import uuid4

import pytest

from worker.client.portal_client import ANSWER_SECONDS, Attempt, PortalClient
from worker.contract import claim_bundle
from worker.contract.claim_bundle import CLAIM_BUNDLE
from worker.contract.error_codes import ErrorCode
from worker.contract.facts import Facts
from worker.contract.files import FileKind
from worker.contract.job import Claim, JobKind
from worker.contract.result import RenderResult
from worker.errors import AttemptLost, Permanent, Transient
from worker.settings import Settings

JOB = uuid4()
CLAIM = {
    "job": str(JOB),
    "kind": "render",
    "attempt": 1,
    "ticket": "ticket-of-this-attempt",
    "lease_seconds": 0.4,
    "soft_seconds": 5,
    "inputs": {},
    "facts": None,
}
RESULT = RenderResult(facts=Facts(rows=1, columns=2, bits=8, windows=[]))
FACTS = {"facts": {"rows": 1, "columns": 2, "bits": 8, "windows": []}}


class Script(ThreadingHTTPServer):
    """Answers each path by its list of statuses, the last one for ever; records all requests."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.answers: dict[str, list[int]] = {}
        # Sent along with a claim; without any it is sent alone, as by the version before.
        self.inputs: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str, bytes]] = []

    def status(self, path: str) -> int:
        statuses = self.answers.get(path.rsplit("/", 1)[-1], [200])
        return statuses.pop(0) if len(statuses) > 1 else statuses[0]


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Script

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.headers.get("Content-Type", "")
        self.server.asked.append((self.path, self.headers["Authorization"], kind, body))
        status = self.server.status(self.path)
        answer = json.dumps(CLAIM).encode() if status == 200 else b""
        self.send_response(status)
        if status == 200 and self.server.inputs and self.headers["Accept"] == CLAIM_BUNDLE:
            listed = {
                kind: {"bytes": len(data), "media_type": "a/b"}
                for kind, data in self.server.inputs.items()
            }
            claim = Claim.parse({**CLAIM, "inputs": listed})
            answer = claim_bundle.pack(claim, self.server.inputs)
            self.send_header("Content-Type", CLAIM_BUNDLE)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = _answer

    def log_message(self, format: str, *_: object) -> None:
        return


@pytest.fixture
def script() -> Iterator[Script]:
    server = Script()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def settings(address: str, job_seconds: int = 20) -> Settings:
    return Settings.from_env(
        {
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "PLEURA_PORTAL_URL": address,
            "PLEURA_WORKER_TOKEN": "token-of-a-worker",
            "PLEURA_WORKER_NAME": "one",
            "JOB_SECONDS": str(job_seconds),
        }
    )


def portal(address: str, pauses: list[float]) -> PortalClient:
    """A portal for which only the pauses take time."""
    return PortalClient(
        settings(address), JobKind.RENDER, sleep=pauses.append, clock=lambda: float(sum(pauses))
    )


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def client(script: Script, pauses: list[float]) -> Iterator[PortalClient]:
    portal_ = portal(f"http://127.0.0.1:{script.server_port}", pauses)
    yield portal_
    portal_.close()


@pytest.fixture
def attempt(client: PortalClient) -> Attempt:
    claimed = client.claim(JOB)
    assert claimed is not None
    return claimed


def test_a_claim_shows_the_workers_token_and_everything_after_it_the_ticket(
    script: Script, attempt: Attempt
) -> None:
    attempt.read_input(FileKind.SOURCE)
    attempt.finish(RESULT)
    tokens = [asked[1] for asked in script.asked]
    assert tokens == ["Bearer token-of-a-worker"] + 2 * ["Bearer ticket-of-this-attempt"]
    assert json.loads(script.asked[2][3]) == FACTS


@pytest.mark.parametrize("way", ["claim", "claim_next"])
def test_inputs_that_came_with_the_claim_are_not_asked_for(
    script: Script, client: PortalClient, way: str
) -> None:
    script.inputs = {"source": b"a\npicture"}
    attempt = client.claim(JOB) if way == "claim" else client.claim_next()
    assert attempt is not None
    assert attempt.read_input(FileKind.SOURCE) == b"a\npicture"
    assert len(script.asked) == 1
    attempt.read_input(FileKind.SOURCE)  # it is not kept
    assert script.asked[1][0].endswith("/inputs/source")


def test_the_inputs_of_a_claim_are_handed_on_once(script: Script, client: PortalClient) -> None:
    script.inputs = {"source": b"picture", "pixels": b""}
    attempt = client.claim(JOB)
    assert attempt is not None
    assert attempt.take_inputs() == [b"picture", b""]
    assert attempt.take_inputs() == []


def test_small_outputs_are_sent_with_the_result_in_one_request(
    script: Script, attempt: Attempt
) -> None:
    attempt.store_output(FileKind.PIXELS, b"\x01\x02")
    attempt.store_output(FileKind.THUMB, b"picture")
    attempt.finish(RESULT)
    (asked,) = script.asked[1:]
    assert asked[2] == "application/vnd.pleura.result"
    head, _, rest = asked[3].partition(b"\n")
    assert json.loads(head) == {
        "result": FACTS,
        "outputs": [
            {"kind": "pixels", "media_type": "application/octet-stream", "bytes": 2},
            {"kind": "thumb", "media_type": "image/jpeg", "bytes": 7},
        ],
    }
    assert rest == b"\x01\x02picture"


def test_an_output_that_is_too_large_for_the_bundle_is_sent_at_once(
    script: Script, attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.client.portal_client.BUNDLE_OUTPUT_BYTES", 8)
    attempt.store_output(FileKind.PIXELS, b"nine bytes")
    assert script.asked[1][2:] == ("application/octet-stream", b"nine bytes")
    attempt.store_output(FileKind.THUMB, b"12345678")
    attempt.store_output(FileKind.PREVIEW, b"9")
    attempt.finish(RESULT)
    assert [asked[0].rsplit("/", 1)[-1] for asked in script.asked[1:]] == [
        "pixels",
        "preview",
        "finish",
    ]


@pytest.mark.parametrize("status", [204, 404, 409])
def test_a_job_that_cannot_be_claimed_is_none(
    script: Script, client: PortalClient, status: int
) -> None:
    script.answers["claim"] = [status]
    assert client.claim(JOB) is None


@pytest.mark.parametrize("wrong", [{"attempt": 0}, {"ticket": None}, {"kind": "unknown"}])
def test_a_claim_that_breaks_the_contract_is_left_to_the_sweep(
    client: PortalClient, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, object]
) -> None:
    monkeypatch.setitem(globals(), "CLAIM", {**CLAIM, **wrong})
    with pytest.raises(Transient, match="portal_broken"):
        client.claim(JOB)


def test_a_newer_portals_claim_may_hold_more(
    client: PortalClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "CLAIM", {**CLAIM, "subject": {"more": 1}})
    claimed = client.claim(JOB)
    assert claimed is not None
    assert (claimed.kind, claimed.number) == (JobKind.RENDER, 1)


def test_a_refused_token_is_an_error_of_its_own(script: Script, client: PortalClient) -> None:
    script.answers["claim"] = [401]
    with pytest.raises(Transient, match="worker_token_refused"):
        client.claim(JOB)


def test_a_broken_portal_is_asked_again_with_longer_pauses_and_the_same_body(
    script: Script, client: PortalClient, pauses: list[float], attempt: Attempt
) -> None:
    script.answers["finish"] = [503, 429, 500, 204]
    attempt.store_output(FileKind.THUMB, b"picture")
    attempt.finish(RESULT)
    assert pauses == [0.25, 0.5, 1.0]
    assert len(script.asked) == 5
    (sent,) = {asked[2:] for asked in script.asked[1:]}
    assert sent[1].endswith(b"picture")


def test_a_portal_that_stays_away_is_given_up_after_a_quarter_of_the_jobs_time(
    pauses: list[float],
) -> None:
    absent = portal("http://127.0.0.1:9", pauses)
    with pytest.raises(Transient, match="portal_unreachable"):
        absent.claim(JOB)
    assert pauses == [0.25, 0.5, 1.0, 2.0]  # with the next one it would be more than 5 s
    assert absent.hello("cpu", "", 1) is False


def test_a_portal_that_never_answers_costs_no_more_than_one_that_is_away(silent: str) -> None:
    waiting = PortalClient(settings(silent, job_seconds=8), JobKind.RENDER)
    began = time.monotonic()
    with pytest.raises(Transient, match="portal_unreachable"):
        waiting.claim(JOB)
    assert 1 < time.monotonic() - began < ANSWER_SECONDS
    waiting.close()


def test_a_worker_that_asks_names_its_queue_and_gets_a_job_or_none(
    script: Script, client: PortalClient
) -> None:
    script.answers["claim"] = [200, 204]
    attempt = client.claim_next()
    assert attempt is not None
    assert attempt.job_id == JOB
    assert client.claim_next() is None
    path, token, _, body = script.asked[0]
    assert (path, token) == ("/worker/v1/claim", "Bearer token-of-a-worker")
    sent = json.loads(body)
    assert set(sent.pop("kinds")) == {"drift", "encode", "render", "report"}
    assert sent == {"worker": "render@one", "queue": "render"}


@pytest.mark.parametrize(
    ("status", "code"), [(503, "portal_broken"), (401, "worker_token_refused")]
)
def test_a_question_for_a_job_is_not_repeated(
    script: Script, client: PortalClient, status: int, code: str
) -> None:
    script.answers["claim"] = [status, 200]
    with pytest.raises(Transient, match=code):
        client.claim_next()
    assert len(script.asked) == 1
    with pytest.raises(Transient, match="portal_unreachable"):
        portal("http://127.0.0.1:9", []).claim_next()


@pytest.mark.parametrize("status", [401, 403, 404, 409])
def test_a_ticket_that_is_no_longer_valid_ends_the_attempt(
    script: Script, attempt: Attempt, status: int
) -> None:
    script.answers["finish"] = [status]
    with pytest.raises(AttemptLost):
        attempt.finish(RESULT)


def test_a_result_that_the_portal_refuses_is_not_sent_again(
    script: Script, attempt: Attempt
) -> None:
    script.answers["finish"] = [422]
    with pytest.raises(Permanent, match="result_refused"):
        attempt.finish(RESULT)
    assert len(script.asked) == 2


def test_reporting_a_failure_never_fails(script: Script, attempt: Attempt) -> None:
    script.answers["fail"] = [409]
    attempt.fail(Permanent(ErrorCode.DECODE_FAILED))
    assert json.loads(script.asked[1][3]) == {"code": "decode_failed", "kind": "permanent"}


def test_a_heartbeat_is_sent_once_and_a_lost_attempt_noticed(
    script: Script, attempt: Attempt
) -> None:
    script.answers["heartbeat"] = [200, 503, 409]
    assert attempt.heartbeat()
    assert not attempt.heartbeat(), "the portal is away: the next one is soon"
    with pytest.raises(AttemptLost):
        attempt.heartbeat()
    assert [asked[0].rsplit("/", 1)[-1] for asked in script.asked[1:]] == 3 * ["heartbeat"]
    assert {asked[1] for asked in script.asked[1:]} == {"Bearer ticket-of-this-attempt"}
