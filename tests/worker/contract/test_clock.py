"""worker.contract.clock: the limits of a job are in their order for every JOB_SECONDS."""

import pytest

from portal.studies.presence import WORKER_SILENCE
from worker.contract.clock import (
    HEARTBEAT_SECONDS,
    JOB_SECONDS,
    JOB_SECONDS_MAX,
    JOB_SECONDS_MIN,
    LEASE_SECONDS,
    POLL_SECONDS,
    JobClock,
)


@pytest.mark.parametrize("seconds", [JOB_SECONDS_MIN, JOB_SECONDS, JOB_SECONDS_MAX])
def test_soft_is_before_hard_before_visibility(seconds: int) -> None:
    class Settings(JobClock):
        job_seconds = seconds

    clock = Settings()
    limits = [clock.soft_seconds, clock.hard_seconds, clock.visibility_seconds]
    assert limits == [seconds, 1.25 * seconds, 3 * seconds]


def test_a_lease_outlives_two_missed_heartbeats_and_is_short() -> None:
    assert 3 * HEARTBEAT_SECONDS < LEASE_SECONDS < WORKER_SILENCE
    assert POLL_SECONDS < LEASE_SECONDS
