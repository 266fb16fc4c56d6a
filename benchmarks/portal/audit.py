"""Readers who open cases at the same time, on PostgreSQL: 1 against 20.

    python -m benchmarks.portal.audit [--readers 20] [--seconds 6] [--hold-ms 20] [--repeat 3]

Each reader is a process of its own with one connection. It opens cases one after the other, as the
case page does: the case is read, decrypted and written to the access log (`reading.case`), and the
transaction stays open for `--hold-ms` after the log's row before it commits, for what a page does
meanwhile (files from a bucket, a busy disk). The sweep's linker runs beside it each second.

Printed, as the best of `--repeat` runs each: cases per second of one reader and of all, their
ratio, and the share of the time in which a sample of `pg_stat_activity` found a reader waiting for
a lock of another. Without waiting the ratio ends where the processors do: `bare` is the same
without the log's row, the most that this machine could do. The log is verified at the end.
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
from tests.support.place import NOW, Place, open_place
from tests.support.postgres import postgres

_context = multiprocessing.get_context("spawn")


def _read(
    folder: Path,
    address: str,
    study_id: UUID,
    mate: Any,
    hold: float,
    seconds: float,
    logged: bool,
    together: Barrier,
    done: Any,
) -> None:
    """One reader; the number of cases opened goes into the queue."""
    os.environ["OMP_NUM_THREADS"] = "1"
    place = open_place(folder, address)
    commit = Session.commit

    def slow(session: Session) -> None:
        time.sleep(hold)
        commit(session)

    def nothing(*_: Any, **__: Any) -> None:
        """Instead of the log's row."""

    with place.sessions() as session:  # everything is imported and connected
        case.open_study(session, place.vault, mate, study_id, NOW)
    with (
        mock.patch.object(Session, "commit", slow),
        mock.patch.object(audit, "append", audit.append if logged else nothing),
    ):
        together.wait()
        end, count = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            with place.sessions() as session:
                case.open_study(session, place.vault, mate, study_id, NOW)
            count += 1
    done.put(count)


def measure(
    place: Place, clinic: Clinic, study_id: UUID, readers: int, chosen: Any, *, logged: bool
) -> tuple[float, float]:
    """Cases per second of so many readers, and the share of them that waited for a lock."""
    together, done = _context.Barrier(readers + 1), _context.Queue()
    address = place.settings.database_url
    common = (place.data_dir, address, study_id, clinic.mate, chosen.hold_ms / 1000)
    processes = [
        _context.Process(target=_read, args=(*common, chosen.seconds, logged, together, done))
        for _ in range(readers)
    ]
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
            with place.sessions() as session:
                chain.link(session)

    beside = [threading.Thread(target=watch), threading.Thread(target=link)]
    for thread in beside:
        thread.start()
    total = sum(done.get() for _ in processes)
    stop.set()
    for one in (*processes, *beside):
        one.join()
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
        place = open_place(Path(folder) / "data", address)
        database.upgrade(place.engine)
        clinic = open_clinic(place)
        study_id = clinic.done()
        result: dict[str, Any] = {
            "readers": chosen.readers,
            "hold_ms": chosen.hold_ms,
            "cpus": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
        }
        for name, logged in (("with_log", True), ("bare", False)):
            one = max(
                measure(place, clinic, study_id, 1, chosen, logged=logged)
                for _ in range(chosen.repeat)
            )
            many = max(
                measure(place, clinic, study_id, chosen.readers, chosen, logged=logged)
                for _ in range(chosen.repeat)
            )
            result[name] = {
                "one_reader_per_s": round(one[0], 1),
                "all_readers_per_s": round(many[0], 1),
                "ratio": round(many[0] / one[0], 1),
                "waiting_for_a_lock": round(many[1], 3),
            }
        with place.sessions() as session:
            chain.link(session)
            found = verification.verify(session)
        result["log"] = {"rows": found.count, "whole": found.is_whole}
        place.engine.dispose()
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
