"""worker.client.portal_client: what the worker does when the portal is away, busy, or says no.

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
from celery.exceptions import SoftTimeLimitExceeded

from tests.support.wait import until
from worker.client.portal_client import Portal, Work
from worker.errors import Lost, Permanent, Transient
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


class Script(ThreadingHTTPServer):
    """Answers each path by its list of statuses, the last one for ever; keeps what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.answers: dict[str, list[int]] = {}
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


def portal(address: str, pauses: list[float]) -> Portal:
    """A portal for which only the pauses take time."""
    return Portal(
        settings(address), "render", sleep=pauses.append, clock=lambda: float(sum(pauses))
    )


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def ours(script: Script, pauses: list[float]) -> Iterator[Portal]:
    portal_ = portal(f"http://127.0.0.1:{script.server_port}", pauses)
    yield portal_
    portal_.close()


@pytest.fixture
def work(ours: Portal) -> Work:
    claimed = ours.claim(JOB)
    assert claimed is not None
    return claimed


def test_a_claim_shows_the_workers_token_and_everything_after_it_the_ticket(
    script: Script, work: Work
) -> None:
    work.input("source")
    work.finish({"facts": {"rows": 1}})
    tokens = [asked[1] for asked in script.asked]
    assert tokens == ["Bearer token-of-a-worker"] + 2 * ["Bearer ticket-of-this-attempt"]
    assert json.loads(script.asked[2][3]) == {"facts": {"rows": 1}}


def test_small_outputs_travel_with_the_result_in_one_request(script: Script, work: Work) -> None:
    work.output("pixels", b"\x01\x02", "application/octet-stream")
    work.output("thumb", b"picture", "image/jpeg")
    work.finish({"facts": {"rows": 1}})
    (asked,) = script.asked[1:]
    assert asked[2] == "application/vnd.pleura.result"
    head, _, rest = asked[3].partition(b"\n")
    assert json.loads(head) == {
        "result": {"facts": {"rows": 1}},
        "outputs": [
            {"kind": "pixels", "media_type": "application/octet-stream", "bytes": 2},
            {"kind": "thumb", "media_type": "image/jpeg", "bytes": 7},
        ],
    }
    assert rest == b"\x01\x02picture"


def test_an_output_that_is_too_large_for_the_parcel_goes_at_once(
    script: Script, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.client.portal_client.PARCEL_BYTES", 8)
    work.output("pixels", b"nine bytes", "application/octet-stream")
    assert script.asked[1][2:] == ("application/octet-stream", b"nine bytes")
    work.output("thumb", b"12345678", "image/jpeg")
    work.output("preview", b"9", "image/jpeg")
    work.finish({})
    assert [asked[0].rsplit("/", 1)[-1] for asked in script.asked[1:]] == [
        "pixels",
        "preview",
        "finish",
    ]


@pytest.mark.parametrize("status", [204, 404, 409])
def test_a_job_that_is_not_to_be_had_is_none(script: Script, ours: Portal, status: int) -> None:
    script.answers["claim"] = [status]
    assert ours.claim(JOB) is None


def test_a_refused_token_is_an_error_of_the_set_up(script: Script, ours: Portal) -> None:
    script.answers["claim"] = [401]
    with pytest.raises(Transient, match="worker_token_refused"):
        ours.claim(JOB)


def test_a_broken_portal_is_asked_again_with_longer_pauses_and_the_same_body(
    script: Script, ours: Portal, pauses: list[float], work: Work
) -> None:
    script.answers["finish"] = [503, 429, 500, 204]
    work.output("mask", b"picture", "image/png")
    work.finish({})
    assert pauses == [0.25, 0.5, 1.0]
    assert len(script.asked) == 5
    (sent,) = {asked[2:] for asked in script.asked[1:]}
    assert sent[1].endswith(b"picture")


def test_a_portal_that_stays_away_is_given_up_after_a_quarter_of_the_jobs_time(
    pauses: list[float],
) -> None:
    nobody = portal("http://127.0.0.1:9", pauses)
    with pytest.raises(Transient, match="portal_unreachable"):
        nobody.claim(JOB)
    assert pauses == [0.25, 0.5, 1.0, 2.0]  # with the next one it would be more than 5 s
    assert nobody.hello("cpu", "") is False


def test_a_portal_that_never_answers_costs_no_more_than_one_that_is_away(deaf: str) -> None:
    listening = Portal(settings(deaf, job_seconds=8), "render")
    began = time.monotonic()
    with pytest.raises(Transient, match="portal_unreachable"):
        listening.claim(JOB)
    assert 1 < time.monotonic() - began < 15
    listening.close()


def test_a_claim_that_runs_out_of_time_is_left_to_the_sweep(
    deaf: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Celery's soft limit strikes wherever the task is: here in a pause between two tries."""
    for name, value in (
        ("REDIS_URL", "redis://127.0.0.1:1/0"),
        ("PLEURA_PORTAL_URL", deaf),
        ("PLEURA_WORKER_TOKEN", "token-of-a-worker"),
    ):
        monkeypatch.setenv(name, value)
    from worker import child_process, tasks

    def strike(_: float) -> None:
        raise SoftTimeLimitExceeded

    nobody = Portal(settings("http://127.0.0.1:9"), "render", sleep=strike)
    monkeypatch.setattr(child_process, "_held", child_process._Held(nobody))
    with caplog.at_level("WARNING"):
        tasks._attempt(str(JOB), "render", lambda work: {})
    assert "left to the sweep: timeout" in caplog.text


@pytest.mark.parametrize("status", [401, 403, 404, 409])
def test_a_ticket_that_no_longer_counts_ends_the_work(
    script: Script, work: Work, status: int
) -> None:
    script.answers["finish"] = [status]
    with pytest.raises(Lost):
        work.finish({})


def test_a_result_that_the_portal_refuses_is_not_sent_again(script: Script, work: Work) -> None:
    script.answers["finish"] = [422]
    with pytest.raises(Permanent, match="result_refused"):
        work.finish({})
    assert len(script.asked) == 2


def test_saying_that_it_failed_never_fails(script: Script, work: Work) -> None:
    script.answers["fail"] = [409]
    work.fail(Permanent("decode_failed"))
    assert json.loads(script.asked[1][3]) == {"code": "decode_failed", "kind": "permanent"}


def test_the_lease_is_kept_while_work_goes_on_and_not_longer(script: Script, work: Work) -> None:
    with work.beating():
        assert until(lambda: len(script.asked) >= 3)
    during = len(script.asked)
    time.sleep(0.3)
    assert len(script.asked) == during


def test_work_whose_attempt_is_lost_sends_nothing_more(script: Script, work: Work) -> None:
    script.answers["heartbeat"] = [409]
    with work.beating():
        assert work._lost.wait(60)
        before = len(script.asked)
        with pytest.raises(Lost):
            work.finish({})
    assert len(script.asked) == before
