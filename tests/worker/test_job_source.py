"""worker.job_source: ids from Redis are claimed at once; in silence the portal itself is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.worker.client.test_portal_client import JOB, Script, portal, script
from worker.contract.job import JobKind
from worker.job_source import JobSource

__all__ = ["script"]


class Time:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def source(script: Script, time: Time) -> Iterator[JobSource]:
    client = portal(f"http://127.0.0.1:{script.server_port}", [])
    yield JobSource(JobKind.RENDER, client, threading.Event(), time)
    client.close()


def paths(script: Script) -> list[str]:
    return [asked[0].removeprefix("/worker/v1/") for asked in script.asked]


def test_in_silence_the_portal_is_asked_every_few_seconds(
    script: Script, source: JobSource, time: Time
) -> None:
    script.answers["claim"] = [204]
    for _ in range(3):
        assert source.next() is None
        time.now += 3.0
    assert paths(script) == 3 * ["claim"]


def test_after_a_job_the_portal_is_asked_again_at_once(
    script: Script, source: JobSource, time: Time
) -> None:
    script.answers["claim"] = [200, 200, 204]
    assert [source.next() is not None for _ in range(3)] == [True, True, False]


def test_a_message_is_claimed_at_once(script: Script, source: JobSource, time: Time) -> None:
    source.announce(JOB)
    attempt = source.next()
    assert attempt is not None
    assert paths(script) == [f"jobs/{JOB}/claim"]


def test_a_job_without_a_message_is_not_passed_over_for_ever(
    script: Script, source: JobSource, time: Time
) -> None:
    """However many messages come, the portal's own order counts now and then."""
    for _ in range(9):
        source.announce(uuid4())
        source.next()
        time.now += 2.0
    assert paths(script).count("claim") == 1


def test_a_portal_that_is_away_is_asked_again_later(source: JobSource, time: Time) -> None:
    away = JobSource(JobKind.RENDER, portal("http://127.0.0.1:9", []), threading.Event(), time)
    assert away.next() is None


def test_a_busy_worker_that_stops_does_not_wait_for_room(source: JobSource) -> None:
    source.announce(uuid4())
    source._stopping.set()
    source.announce(uuid4())  # would wait for ever
