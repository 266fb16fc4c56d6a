"""Every job is done once and none is lost, whatever dies: shown on real processes.

`python tests/faults/table.py` runs the same scenarios and prints them as a table.
"""

from __future__ import annotations

import pytest

from tests.faults import scenarios
from tests.faults.scenarios import Outcome
from tests.support.running_portal import House

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]


def check(outcome: Outcome) -> None:
    broken = [claim for claim, held in outcome.holds.items() if not held]
    assert not broken, f"{broken}; seen: {outcome.numbers}"


def test_fifty_jobs_notified_five_times_are_computed_once_each(house: House) -> None:
    check(scenarios.notified_five_times(house))


@pytest.mark.parametrize("queue", ["render", "segment"])
def test_a_job_whose_process_is_killed_is_done_on_the_second_attempt(
    house: House, queue: str
) -> None:
    check(scenarios.killed_mid_job(house, queue))


@pytest.mark.parametrize("queue", ["render", "segment"])
def test_a_worker_killed_in_the_middle_of_its_queue_loses_nothing(house: House, queue: str) -> None:
    check(scenarios.worker_killed(house, queue))


def test_an_engine_that_several_processes_share_may_be_killed(house: House) -> None:
    check(scenarios.shared_engine_killed(house))


def test_a_redis_that_was_killed_and_emptied_loses_nothing(house: House) -> None:
    check(scenarios.redis_emptied(house))


def test_a_picture_sent_without_redis_is_taken_and_done_later(house: House) -> None:
    check(scenarios.redis_away(house))


def test_a_portal_killed_during_an_upload_keeps_nothing_of_it(house: House) -> None:
    check(scenarios.portal_restarted_during_upload(house))


def test_a_portal_killed_during_a_job_loses_nothing(house: House) -> None:
    check(scenarios.portal_restarted_during_a_job(house))


def test_a_file_that_ruins_its_decoder_fails_alone_and_at_once(house: House) -> None:
    check(scenarios.poison_file(house))


def test_keys_rotate_while_cases_are_read_and_sent(house: House) -> None:
    check(scenarios.keys_rotated(house))


def test_a_job_that_kills_its_process_is_given_up_after_three_attempts(house: House) -> None:
    check(scenarios.poison_job(house))


def test_what_somebody_leaves_in_redis_is_not_run(house: House) -> None:
    check(scenarios.foreign_messages(house))


@pytest.mark.postgres
def test_on_postgresql_too_jobs_notified_five_times_are_computed_once(
    postgres_house: House,
) -> None:
    check(scenarios.notified_five_times(postgres_house, count=12))


@pytest.mark.postgres
def test_on_postgresql_too_a_killed_job_is_done_on_the_second_attempt(
    postgres_house: House,
) -> None:
    check(scenarios.killed_mid_job(postgres_house, "segment"))
