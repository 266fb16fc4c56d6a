"""worker.job_process: a job's process is limited, its lease renewed, and its end reported.

The processes are real; the portal is the small HTTP server of `test_portal_client`, which here
answers for the picture only when it is allowed to.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.support.wait import until
from tests.worker.client.test_portal_client import JOB, Script, settings
from worker.client.portal_client import PortalClient
from worker.contract.job import JobKind
from worker.job_process import JobProcess


class SlowScript(Script):
    """The picture is sent only once `release` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def status(self, path: str) -> int:
        if path.endswith("inputs/source"):
            self.release.wait(60)
        return super().status(path)

    def sent(self, what: str) -> list[bytes]:
        """The bodies of all requests of that name."""
        return [asked[3] for asked in self.asked if asked[0].rsplit("/", 1)[-1] == what]


class Job:
    """A job that a process does while a test looks on."""

    def __init__(self, script: SlowScript, process: JobProcess, pool: ThreadPoolExecutor) -> None:
        self.script, self.process = script, process
        client = PortalClient(settings(f"http://127.0.0.1:{script.server_port}"), JobKind.RENDER)
        attempt = client.claim(JOB)
        assert attempt is not None
        self.turns: list[None] = []
        self.end: Future[None] = pool.submit(process.run, attempt, lambda: self.turns.append(None))
        assert until(lambda: bool(script.sent("source")))

    @property
    def pid(self) -> int:
        assert self.process._process is not None
        return self.process._process.pid

    def failures(self) -> list[str]:
        self.end.result(60)
        return [json.loads(body)["code"] for body in self.script.sent("fail")]


@pytest.fixture
def script() -> Iterator[SlowScript]:
    server = SlowScript()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def process(script: SlowScript, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobProcess]:
    given = settings(f"http://127.0.0.1:{script.server_port}")
    monkeypatch.setenv("PLEURA_PORTAL_URL", given.portal_url)
    limits = given.model_copy(update={"job_seconds": 1})
    found = JobProcess(JobKind.RENDER, limits, heartbeat_seconds=0.1)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def unlimited(process: JobProcess) -> JobProcess:
    process._settings = process._settings.model_copy(update={"job_seconds": 120})
    return process


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def test_a_process_that_dies_is_reported_at_once_and_another_does_the_next_job(
    script: SlowScript, unlimited: JobProcess, pool: ThreadPoolExecutor
) -> None:
    job = Job(script, unlimited, pool)
    assert until(lambda: len(script.sent("heartbeat")) >= 2), "its lease is renewed meanwhile"
    assert job.turns
    first = job.pid
    os.kill(first, signal.SIGKILL)
    assert job.failures() == ["process_lost"]
    script.release.set()
    unlimited.start()
    again = Job(script, unlimited, pool)
    assert again.pid != first
    assert again.failures()[1:] == ["not_an_image"], "what the script sends is no picture"


def test_a_job_without_a_lease_is_stopped_and_not_reported(
    script: SlowScript, unlimited: JobProcess, pool: ThreadPoolExecutor
) -> None:
    script.answers["heartbeat"] = [200, 409]
    job = Job(script, unlimited, pool)
    pid = job.pid
    assert job.failures() == []
    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("is_stuck", [False, True])
def test_a_job_that_takes_too_long_is_stopped_and_if_need_be_killed(
    script: SlowScript, process: JobProcess, pool: ThreadPoolExecutor, is_stuck: bool
) -> None:
    job = Job(script, process, pool)
    if is_stuck:
        os.kill(job.pid, signal.SIGSTOP)
    assert set(job.failures()) == {"timeout"}


def test_a_process_ends_with_its_worker(unlimited: JobProcess) -> None:
    running = unlimited._process
    assert running is not None
    assert running.stdin is not None
    running.stdin.close()  # as the kernel does when the worker is killed
    assert running.wait(60) == 0


def test_the_inputs_of_a_claim_reach_the_process_and_are_not_asked_for(
    script: SlowScript, unlimited: JobProcess
) -> None:
    script.inputs = {"source": b"no picture"}
    client = PortalClient(settings(f"http://127.0.0.1:{script.server_port}"), JobKind.RENDER)
    attempt = client.claim(JOB)
    assert attempt is not None
    unlimited.run(attempt, lambda: None)
    assert script.sent("source") == []
    assert [json.loads(body)["code"] for body in script.sent("fail")] == ["not_an_image"]
