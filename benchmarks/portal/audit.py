"""Readers who open cases at the same time, on PostgreSQL: 1 against 20.

    python -m benchmarks.portal.audit [--readers 20] [--seconds 6] [--hold-ms 20] [--repeat 3]

Each reader is a process of its own with one connection. `case`: it opens cases one after the
other, as the case page does (`reading.case`: read, decrypted and written to the access log).
`row`: it writes the log's row alone, so that processors limit it less. In both its transaction
stays open for `--hold-ms` after the row, for what a page does meanwhile (files from a bucket, a
busy disk). `without_log` is `case` without the row: the most that this machine can do. The sweep's
linker runs beside all of it each second.

Printed, as the best of `--repeat` runs each: how many per second one reader and all of them open,
their ratio, and the mean share of the readers that `pg_stat_activity` found waiting for a lock of
another. The log is verified at the end.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from portal import audit, database
from portal.audit import chain, verification
from portal.reading import case
from tests.support.clinic import Clinic, open_clinic
from tests.support.core import NOW, Core, open_core
from tests.support.postgres import postgres

# Forked before any connection or thread is made: twenty starts anew take longer than the run.
_context = multiprocessing.get_context("fork")


def _read(
    folder: Path,
    address: str,
    study_id: UUID,
    mate: Any,
    hold: float,
    seconds: float,
    what: str,
    together: Barrier,
    done: Any,
) -> None:
    """One reader; the number of cases opened goes into the queue."""
    os.environ["OMP_NUM_THREADS"] = "1"
    core = open_core(folder, address)
    commit = Session.commit

    def slow(session: Session) -> None:
        time.sleep(hold)
        commit(session)

    def nothing(*_: Any, **__: Any) -> None:
        """Instead of the log's row."""

    def once() -> None:
        with core.sessions() as session:
            if what == "row":
                audit.append(session, "study_opened", actor=mate, now=NOW, study_id=study_id)
                session.commit()
            else:
                case.open_study(session, core.vault, mate, study_id, NOW)

    once()  # everything is imported and connected
    append = nothing if what == "without_log" else audit.append
    with mock.patch.object(Session, "commit", slow), mock.patch.object(audit, "append", append):
        together.wait()
        end, count = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            once()
            count += 1
    done.put(count)


def measure(
    core: Core, clinic: Clinic, study_id: UUID, readers: int, chosen: Any, what: str
) -> tuple[float, float]:
    """Openings per second by so many readers, and the share of them that waited for a lock."""
    together, done = _context.Barrier(readers + 1), _context.Queue()
    address = core.settings.database_url
    common = (core.data_dir, address, study_id, clinic.mate, chosen.hold_ms / 1000)
    processes = [
        _context.Process(target=_read, args=(*common, chosen.seconds, what, together, done))
        for _ in range(readers)
    ]
    core.engine.dispose()
    for process in processes:
        process.start()
    together.wait()
    stop = threading.Event()
    waits = list[float]()

    def watch() -> None:
        engine = create_engine(address, isolation_level="AUTOCOMMIT")
        asked = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
            "AND datname = current_database()"
        )
        with engine.connect() as connection:
            while not stop.wait(0.05):
                waits.append((connection.scalar(asked) or 0) / readers)
        engine.dispose()

    def link() -> None:
        while not stop.wait(1.0):
            with core.sessions() as session:
                chain.link(session)

    beside = [threading.Thread(target=watch), threading.Thread(target=link)]
    for thread in beside:
        thread.start()
    total = sum(done.get() for _ in processes)
    stop.set()
    for process in processes:
        process.join()
    for thread in beside:
        thread.join()
    return total / chosen.seconds, sum(waits) / max(1, len(waits))


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--hold-ms", type=float, default=20.0)
    parser.add_argument("--repeat", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, postgres() as address:
        database.upgrade(create_engine(address))
        core = open_core(Path(folder) / "data", address)
        clinic = open_clinic(core)
        study_id = clinic.done()
        result: dict[str, Any] = {
            "readers": chosen.readers,
            "hold_ms": chosen.hold_ms,
            "cpus": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
        }
        for what in ("case", "row", "without_log"):
            one, many = (
                max(
                    measure(core, clinic, study_id, readers, chosen, what)
                    for _ in range(chosen.repeat)
                )
                for readers in (1, chosen.readers)
            )
            result[what] = {
                "one_reader_per_s": round(one[0], 1),
                "all_readers_per_s": round(many[0], 1),
                "ratio": round(many[0] / one[0], 1),
                "waiting_for_a_lock": round(many[1], 3),
            }
        with core.sessions() as session:
            chain.link(session)
            found = verification.verify(session)
        result["log"] = {"rows": found.count, "whole": found.is_whole}
        core.engine.dispose()
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
