"""Jobs while Redis, workers or the portal go away, and attempts that are lost."""

from tests.campaigns.protections.protection import edit, off

_REDIS = "jobs while Redis goes away"
_LOST = "attempts that are lost"

_NO_LOOK = edit(
    "worker/life.py",
    'return "messages wait in Redis and do not arrive" if self._missed >= 2 else None',
    "return None",
)
_NO_ACKNOWLEDGEMENT = edit(
    "worker/life.py", "        if unacknowledged > ACKNOWLEDGE_SECONDS:\n", "        if False:\n"
)
_NO_QUESTIONS = edit(
    "worker/job_source.py",
    "        except queue.Empty:\n            return self._ask()\n",
    "        except queue.Empty:\n            return None\n",
)
_NEVER_FAIR = edit(
    "worker/job_source.py",
    "            fair = self._clock() - self._asked_at > FAIR_SECONDS\n",
    "            fair = False\n",
)

PROTECTIONS = (
    off(
        _REDIS,
        "a sign of life that follows from answers alone",
        edit(
            "worker/life.py",
            '            self._trouble.write_text(refused, "ascii")\n',
            '            self._trouble.write_text(refused, "ascii")\n            self.turned()\n',
        ),
        "worker/test_probe.py::test_a_worker_that_reaches_neither_never_counts_as_alive",
        quick=True,
    ),
    off(
        _REDIS,
        "the end of a worker that can't acknowledge",
        _NO_ACKNOWLEDGEMENT,
        "worker/test_life.py::test_a_message_that_cannot_be_acknowledged_ends_the_worker",
        quick=True,
    ),
    off(
        _REDIS,
        "the note of messages that were not acknowledged",
        edit("worker/tasks.py", "        _acknowledged.append((time.monotonic(), self.message))\n"),
        "worker/test_tasks.py::test_whatever_is_acknowledged_is_looked_after",
        quick=True,
    ),
    off(
        _REDIS,
        "the end of a worker beside which messages wait",
        _NO_LOOK,
        "worker/test_life.py::"
        "test_messages_that_wait_beside_an_idle_worker_end_it_at_the_second_look",
        quick=True,
    ),
    off(
        _REDIS,
        "idle workers that ask the portal",
        _NO_QUESTIONS,
        "worker/test_job_source.py::test_in_silence_the_portal_is_asked_every_few_seconds",
        quick=True,
    ),
    off(
        _REDIS,
        "a question to the portal now and then while messages come",
        _NEVER_FAIR,
        "worker/test_job_source.py::test_a_job_without_a_message_is_not_passed_over_for_ever",
        quick=True,
    ),
    off(
        _REDIS,
        "jobs announced again beside an idle worker",
        edit(
            "portal/jobs/sweeper.py",
            "    has_idle = presence.has_idle_worker(session, kind, jobs)\n",
            "    has_idle = False\n",
        ),
        "portal/jobs/test_sweeper.py::"
        "test_a_job_that_waits_beside_an_idle_worker_is_announced_again",
    ),
    off(
        _REDIS,
        "an announcement later where Redis did not answer",
        edit("portal/jobs/sweeper.py", "Job.rung_at.is_(None)", "Job.rung_at.is_not(None)"),
        "portal/jobs/test_sweeper.py::test_without_redis_the_sweep_notifies_later",
    ),
    off(
        _REDIS,
        "an alarm where jobs wait beside an idle worker",
        edit(
            "portal/studies/presence.py",
            "        if waits and has_idle_worker(session, kind, jobs)\n",
            "        if False\n",
        ),
        "portal/web/api/test_worker.py::"
        "test_jobs_that_an_idle_worker_does_not_take_are_shown_where_people_look",
    ),
    off(
        _REDIS,
        "that alarm in readiness",
        edit(
            "portal/web/api/health.py",
            '            checks["jobs"] = overview.trouble(db_session()) or "ok"\n',
            "            pass\n",
        ),
        "portal/web/api/test_worker.py::"
        "test_jobs_that_an_idle_worker_does_not_take_are_shown_where_people_look",
    ),
    off(
        _LOST,
        "a short lease of its own",
        edit(
            "worker/contract/clock.py",
            "LEASE_SECONDS: Final = 20.0\n",
            "LEASE_SECONDS: Final = 3.0 * JOB_SECONDS\n",
        ),
        "worker/contract/test_clock.py::test_a_lease_outlives_two_missed_heartbeats_and_is_short",
        quick=True,
    ),
    off(
        _LOST,
        "leases by the database's clock",
        (
            edit(
                "portal/jobs/claims.py",
                "            and_(*is_expired(), Job.losses < LOSSES - 1),\n",
                "            and_(\n"
                "                Job.state == JobState.RUNNING,\n"
                '                Job.lease_until < bindparam("now", type_=Job.lease_until.type),\n'
                "                Job.losses < LOSSES - 1,\n"
                "            ),\n",
            ),
            edit(
                "portal/jobs/claims.py",
                '"by": clean(worker, 200)}',
                '"by": clean(worker, 200), "now": now}',
            ),
        ),
        "portal/jobs/test_ledger.py::"
        "test_a_portal_with_a_wrong_clock_takes_no_job_from_another_worker",
    ),
    off(
        _LOST,
        "a wider limit for attempts that are ended from outside",
        edit("portal/jobs/attempts.py", "LOSSES: Final = 10\n", "LOSSES: Final = 3\n"),
        "portal/jobs/test_ledger.py::"
        "test_attempts_that_are_ended_from_outside_have_a_limit_of_their_own",
    ),
    off(
        _LOST,
        "any limit for attempts that are ended from outside",
        edit("portal/jobs/attempts.py", "LOSSES: Final = 10\n", "LOSSES: Final = 1000\n"),
        "portal/jobs/test_ledger.py::"
        "test_attempts_that_are_ended_from_outside_have_a_limit_of_their_own",
        "portal/jobs/test_sweeper.py::"
        "test_an_expired_attempt_goes_back_to_the_queue_and_a_spent_one_fails",
    ),
    off(
        _LOST,
        "failures from outside counted apart from a job's own",
        edit(
            "portal/jobs/outcomes.py",
            "    elif failure.code in FROM_OUTSIDE:\n        job.losses += 1\n",
            "    elif failure.code in FROM_OUTSIDE:\n        job.failures += 1\n",
        ),
        "portal/jobs/test_ledger.py::test_a_portal_that_was_away_fails_no_job_that_is_well",
    ),
    off(
        _LOST,
        "an end after three failures of its own",
        edit("portal/jobs/attempts.py", "FAILURES: Final = 3\n", "FAILURES: Final = 1000\n"),
        "portal/jobs/test_ledger.py::"
        "test_a_transient_failure_is_tried_again_until_three_attempts_are_spent",
        "portal/jobs/test_ledger.py::"
        "test_failures_count_up_to_three_however_often_the_job_was_lost_between",
    ),
    off(
        _LOST,
        "the number of the attempt",
        (
            edit("portal/jobs/attempts.py", "        Job.attempts == ticket.attempt,\n"),
            edit("portal/jobs/attempts.py", '        Job.attempts == bindparam("its_attempt"),\n'),
            edit(
                "portal/jobs/attempts.py",
                "    return job.state is JobState.RUNNING and job.attempts == ticket.attempt\n",
                "    return job.state is JobState.RUNNING\n",
            ),
        ),
        "portal/jobs/test_ledger.py::test_only_the_latest_attempt_can_store_finish_or_fail",
    ),
    off(
        _LOST,
        "one conditional UPDATE for a claim",
        edit(
            "portal/jobs/claims.py",
            "            and_(Job.state == JobState.QUEUED, presence.is_due()),\n",
            "            Job.state.in_((JobState.QUEUED, JobState.RUNNING)),\n",
        ),
        "portal/jobs/test_ledger.py::test_of_twenty_workers_at_once_one_gets_the_job",
    ),
    off(
        _LOST,
        "the lock under which a result is stored",
        (
            edit(
                "portal/jobs/outcomes.py",
                "    .with_for_update()\n",
            ),
            edit(
                "portal/jobs/attempts.py",
                "    query = _LOCKED if lock else _RUNNING\n",
                "    query = _RUNNING\n",
            ),
        ),
        "portal/jobs/test_ledger.py::test_an_attempt_whose_result_is_being_stored_is_not_taken_over",
        postgres=True,
    ),
)
