"""worker.probe: alive means working, and whoever is not names what it can't reach."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from tests.worker.client.test_portal_client import JOB, Script, portal, script
from tests.worker.test_main import environment_of
from worker import life, probe
from worker.contract.job import JobKind
from worker.job_source import JobSource
from worker.settings import Settings

__all__ = ["script"]

AWAY = "http://127.0.0.1:9"


def source_of(settings: Settings, address: str) -> tuple[JobSource, life.Life]:
    """The source of jobs of a worker that has just started, and its life."""
    client = portal(address, [])
    watched = life.Life(settings, JobKind.RENDER, client)
    stopping = threading.Event()
    return JobSource(JobKind.RENDER, client, stopping, heard=watched.heard), watched


def at(settings: Settings, seconds: float) -> str:
    """What a probe finds so many seconds after the last turn."""
    turned = life.alive_file(settings, "render").stat().st_mtime
    return probe.problem(settings, "render", turned + seconds)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env(environment_of(tmp_path))


@pytest.mark.parametrize("status", [200, 204])
def test_a_job_or_the_answer_that_there_is_none_is_a_sign_of_life(
    script: Script, settings: Settings, status: int
) -> None:
    script.answers["claim"] = [status]
    source, _ = source_of(settings, f"http://127.0.0.1:{script.server_port}")
    source.next()
    assert (at(settings, 60), probe.problem(settings, "*", 0)) == ("", "")
    assert at(settings, 75) == (
        "the render worker has made no turn for 75 seconds: it is stuck, or has ended."
    )


def test_a_claim_by_a_message_is_a_sign_of_life(script: Script, settings: Settings) -> None:
    source, _ = source_of(settings, f"http://127.0.0.1:{script.server_port}")
    source.announce(JOB)
    assert source.next() is not None
    assert at(settings, 60) == ""


def test_a_worker_that_reaches_neither_never_counts_as_alive(settings: Settings) -> None:
    source, _ = source_of(settings, AWAY)
    assert source.next() is None
    assert not life.alive_file(settings, "render").exists()
    assert probe.problem(settings, "render", 0) == (
        "the render worker has had no answer since it started: "
        "neither the portal at http://127.0.0.1:9 nor Redis can be reached."
    )


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (503, "does not answer as a portal does"),
        (404, "does not answer as a portal does"),
        (401, "refuses its token"),
    ],
)
def test_a_portal_that_gives_no_answer_is_named_after_a_while(
    script: Script, settings: Settings, status: int, cause: str
) -> None:
    script.answers["claim"] = [200, status]
    source, _ = source_of(settings, f"http://127.0.0.1:{script.server_port}")
    source.next()
    assert source.next() is None
    assert at(settings, 60) == ""
    assert at(settings, 80) == (
        "the render worker has had no answer for 80 seconds: "
        f"the portal at {AWAY} {cause}, and Redis can't be reached."
    )


def test_an_answer_ends_the_trouble(script: Script, settings: Settings) -> None:
    script.answers["claim"] = [503, 200]
    source, watched = source_of(settings, f"http://127.0.0.1:{script.server_port}")
    source.next()
    watched.heard("")
    assert not life.trouble_file(settings, "render").exists()
    assert at(settings, 1) == ""


def test_a_worker_that_does_a_job_works(settings: Settings) -> None:
    """A restart for the portal's absence would end its job, which has a limit of time."""
    _, watched = source_of(settings, AWAY)
    watched.heard("portal_unreachable")
    watched.turned()
    assert at(settings, 60) == ""


def test_of_two_workers_of_a_name_both_have_to_work(settings: Settings) -> None:
    source_of(settings, AWAY)
    for queue, time in (("render", 1000), ("segment", 0)):
        life.alive_file(settings, queue).touch()
        os.utime(life.alive_file(settings, queue), (time, time))
    assert probe.problem(settings, "render", 1010) == ""
    assert probe.problem(settings, "*", 1010).startswith("the segment worker has made no turn")


def test_where_redis_answers_it_is_not_blamed(tmp_path: Path, redis_url: str) -> None:
    settings = Settings.from_env(environment_of(tmp_path, REDIS_URL=redis_url))
    source, _ = source_of(settings, AWAY)
    source.next()
    assert probe.problem(settings, "render", 0).endswith(f"the portal at {AWAY} can't be reached.")


def test_a_worker_that_has_ended_is_none(settings: Settings) -> None:
    _, watched = source_of(settings, AWAY)
    watched.turned()
    watched.ended()
    assert probe.problem(settings, "render", 0) == (
        "no render worker of the name one has started, or it has ended."
    )
