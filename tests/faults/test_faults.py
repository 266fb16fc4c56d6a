"""Every job is done once and none is lost, whichever process is killed: shown on real processes.

A sample: `make campaign NAME=faults` runs every scenario, with both queues and more pictures, and
makes a table of them.
"""

from __future__ import annotations

import pytest

from tests.faults import scenarios
from tests.faults.scenarios import Outcome
from tests.support.running_portal import RunningPortal

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]


def check(outcome: Outcome) -> None:
    broken = [claim for claim, held in outcome.holds.items() if not held]
    assert not broken, f"{broken}; seen: {outcome.numbers}"


# Before messages are left by killed processes: it waits until none is.
def test_what_an_intruder_leaves_in_redis_is_not_run(running: RunningPortal) -> None:
    check(scenarios.foreign_messages(running))


def test_jobs_notified_five_times_are_computed_once_each(running: RunningPortal) -> None:
    check(scenarios.notified_five_times(running, count=10))


def test_a_job_whose_process_is_killed_is_done_on_the_second_attempt(
    running: RunningPortal,
) -> None:
    check(scenarios.killed_mid_job(running, "render"))


def test_a_worker_killed_in_the_middle_of_its_queue_loses_nothing(running: RunningPortal) -> None:
    check(scenarios.worker_killed(running, "segment"))


def test_a_redis_that_was_killed_and_emptied_loses_nothing(running: RunningPortal) -> None:
    check(scenarios.redis_emptied(running))


def test_workers_go_on_after_redis_was_killed_while_they_were_busy(
    running: RunningPortal,
) -> None:
    check(scenarios.redis_restarted_while_jobs_run(running, restarts=1, count=4, seconds=240))


def test_a_picture_sent_without_redis_is_taken_and_done_later(running: RunningPortal) -> None:
    check(scenarios.redis_away(running))


def test_a_portal_killed_during_an_upload_keeps_nothing_of_it(running: RunningPortal) -> None:
    check(scenarios.portal_restarted_during_upload(running))


def test_a_portal_killed_during_a_job_loses_nothing(running: RunningPortal) -> None:
    check(scenarios.portal_restarted_during_a_job(running))


def test_a_file_that_crashes_its_decoder_fails_alone_and_at_once(running: RunningPortal) -> None:
    check(scenarios.poison_file(running))


def test_keys_rotate_while_cases_are_read_and_sent(running: RunningPortal) -> None:
    check(scenarios.keys_rotated(running, rotations=1))


def test_a_job_that_kills_its_process_is_given_up_after_three_attempts(
    running: RunningPortal,
) -> None:
    check(scenarios.poison_job(running))


@pytest.mark.postgres
def test_on_postgresql_too_a_killed_job_is_done_on_the_second_attempt(
    running_on_postgres: RunningPortal,
) -> None:
    check(scenarios.killed_mid_job(running_on_postgres, "segment"))
