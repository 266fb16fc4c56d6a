"""Processes of a running installation are killed, messages lost, repeated and forged.

The scenarios are those of `tests/faults`; the installation is started once, in a temporary folder.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.campaigns.campaign import Arguments, Row
from tests.faults import scenarios
from tests.faults.scenarios import Outcome
from tests.support.postgres import postgres
from tests.support.running_portal import RunningPortal, with_workers

COLUMNS = ("fault", "result", "numbers", "s")
SCENARIOS: dict[str, Callable[[RunningPortal], Outcome]] = {
    "50 pictures, each job message sent 5 times": scenarios.notified_five_times,
    "render process killed -9 mid-job": partial(scenarios.killed_mid_job, queue="render"),
    "segment process killed -9 mid-job": partial(scenarios.killed_mid_job, queue="segment"),
    "whole render worker killed -9": partial(scenarios.worker_killed, queue="render"),
    "whole segment worker killed -9": partial(scenarios.worker_killed, queue="segment"),
    "engine of 3 segment processes killed -9": scenarios.shared_engine_killed,
    "Redis killed and emptied, 10 queued": scenarios.redis_emptied,
    "Redis killed -9 and started 3 times while jobs run": scenarios.redis_restarted_while_jobs_run,
    "Redis down during an upload": scenarios.redis_away,
    "portal killed during an upload": scenarios.portal_restarted_during_upload,
    "portal killed during a job": scenarios.portal_restarted_during_a_job,
    "files that crash their decoder": scenarios.poison_file,
    "a job that kills its process": scenarios.poison_job,
    "keys rotated 3 times while cases are read and sent": scenarios.keys_rotated,
    "a pickle and forged tasks in Redis": scenarios.foreign_messages,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this campaign."""
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL, not SQLite")
    parser.add_argument("--only", default="", help="scenarios whose name contains this text")


def run(arguments: Arguments) -> list[Row]:
    """Every scenario, `rounds` times, on one installation."""
    options = arguments.options
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-"))
        url = stack.enter_context(postgres()) if options.postgres else None
        running = with_workers(
            stack.enter_context(RunningPortal(Path(folder) / "installation", url))
        )
        return [
            arguments.resume.row(f"{name} {number}", partial(_row, running, name))
            for number in range(arguments.rounds)
            for name in SCENARIOS
            if options.only in name
        ]


def _row(running: RunningPortal, name: str) -> Row:
    began = time.monotonic()
    try:
        outcome = SCENARIOS[name](running)
    except AssertionError as error:
        outcome = Outcome({str(error): False})
    broken = [claim for claim, held in outcome.holds.items() if not held]
    result = f"not: {'; '.join(broken)}" if broken else "; ".join(outcome.holds)
    seen = ", ".join(f"{key} {value}" for key, value in outcome.numbers.items())
    return Row((name, result, seen, f"{time.monotonic() - began:.0f}"), not broken)
