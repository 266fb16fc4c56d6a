"""The fault table: `python tests/faults/table.py [--postgres] [--only NAME]`.

Starts an installation of real processes in a temporary folder, runs every scenario of
`scenarios` on it, and prints the results.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.faults import scenarios
from tests.faults.scenarios import Outcome
from tests.support.postgres import postgres
from tests.support.running_portal import RunningPortal, with_workers

TABLE: dict[str, Callable[[RunningPortal], Outcome]] = {
    "50 pictures, each job message sent 5 times": scenarios.notified_five_times,
    "render process killed -9 mid-job": partial(scenarios.killed_mid_job, queue="render"),
    "segment process killed -9 mid-job": partial(scenarios.killed_mid_job, queue="segment"),
    "whole render worker killed -9": partial(scenarios.worker_killed, queue="render"),
    "whole segment worker killed -9": partial(scenarios.worker_killed, queue="segment"),
    "engine of 3 segment processes killed -9": scenarios.shared_engine_killed,
    "Redis killed and emptied, 10 queued": scenarios.redis_emptied,
    "Redis down during an upload": scenarios.redis_away,
    "portal killed during an upload": scenarios.portal_restarted_during_upload,
    "portal killed during a job": scenarios.portal_restarted_during_a_job,
    "files that crash their decoder": scenarios.poison_file,
    "a job that kills its process": scenarios.poison_job,
    "keys rotated 3 times while cases are read and sent": scenarios.keys_rotated,
    "a pickle and forged tasks in Redis": scenarios.foreign_messages,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--postgres", action="store_true", help="on PostgreSQL, not SQLite")
    parser.add_argument("--only", default="", help="scenarios whose name contains this text")
    options = parser.parse_args()
    failed = 0
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-"))
        url = stack.enter_context(postgres()) if options.postgres else None
        running = with_workers(
            stack.enter_context(RunningPortal(Path(folder) / "installation", url))
        )
        print("on PostgreSQL\n" if url else "on SQLite\n")
        print("| fault | held | numbers | s |\n|---|---|---|---|")
        for name, scenario in TABLE.items():
            if options.only not in name:
                continue
            began = time.monotonic()
            try:
                outcome = scenario(running)
            except AssertionError as error:
                outcome = Outcome({str(error): False})
            broken = [claim for claim, held in outcome.holds.items() if not held]
            failed += bool(broken)
            held = f"NOT: {'; '.join(broken)}" if broken else "; ".join(outcome.holds)
            seen = ", ".join(f"{key} {value}" for key, value in outcome.numbers.items())
            print(f"| {name} | {held} | {seen} | {time.monotonic() - began:.0f} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
