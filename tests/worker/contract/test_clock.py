"""worker.contract.clock: the limits of a job are in their order for every JOB_SECONDS."""

import pytest

from worker.contract.clock import JOB_SECONDS, JOB_SECONDS_MAX, JOB_SECONDS_MIN, JobClock


@pytest.mark.parametrize("seconds", [JOB_SECONDS_MIN, JOB_SECONDS, JOB_SECONDS_MAX])
def test_soft_is_before_hard_before_lease_before_visibility(seconds: int) -> None:
    class Settings(JobClock):
        job_seconds = seconds

    clock = Settings()
    limits = [clock.soft_seconds, clock.hard_seconds, clock.lease_seconds, clock.visibility_seconds]
    assert limits == [seconds, 1.25 * seconds, 1.5 * seconds, 3 * seconds]
