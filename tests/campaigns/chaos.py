"""Every part is restarted and killed -9, or halted for a while, as pictures come by HTTP and DICOM.

In each round every part (Redis, PostgreSQL, portal, scheduler, render and segment worker, DICOM
listener and sender, HL7 listener) is stopped once and killed once, while 100 pictures are uploaded,
others are sent by C-STORE, and reports by HL7; some are also halted once (SIGSTOP) and go on later
(SIGCONT), as where a machine is paused. The order is random, other faults come meanwhile. The
pictures have to be done within 60 s of the last fault's end, none given up, none lost, none
doubled; what was answered with a success is there exactly once. An archive gets a structured report
of each result, and forgets some of them: none counts as stored there that is not. The last row is
about those that still waited: a send waits minutes after a failed attempt. The model is a tiny one.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from portal.models import JobState
from tests.campaigns.campaign import Arguments, Row
from tests.faults import hospital_systems
from tests.faults.hospital_systems import HospitalSystems
from tests.faults.scenarios import picture
from tests.faults.whole_installation import PARTS, WholeInstallation
from tests.ml.conftest import write_tiny_model
from tests.support.postgres import postgres

COLUMNS = (
    "round",
    "uploads",
    "by C-STORE",
    "by HL7",
    "faults",
    "all final after the last fault",
    "attempts lost",
    "attempts failed",
    "workers that ended by themselves",
    "given up",
    "lost",
    "doubled",
    "sends proven",
    "sends that wait",
    "ended otherwise",
    "without proof",
)
ROUNDS = 20
FINAL_SECONDS = 60
_SENDERS = 4
_PICTURE_SIZE = 256
# Before a fault, in seconds.
_PAUSES = (0.5, 3.0)
# How long a part is halted: shorter than a lease of 20 s, and longer.
_HALTED = (5.0, 40.0)
_HALTED_PARTS = ("scheduler", "render", "segment", "dicom", "dicom-sender", "hl7")
# A send that a killed process had claimed is taken over after 300 s; then come its pauses.
_SENT_SECONDS = 900


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this campaign."""
    parser.add_argument("--uploads", type=int, default=100, help="pictures of a round")
    parser.add_argument("--stores", type=int, default=40, help="by C-STORE, and reports by HL7")
    parser.add_argument("--logs", type=Path, help="keep the installation's files in this folder")


@dataclass(frozen=True)
class _Running:
    installation: WholeInstallation
    systems: HospitalSystems


def run(arguments: Arguments) -> list[Row]:
    """All rounds on one installation; it is started when the first row has to be made."""
    with ExitStack() as stack:
        started: list[_Running] = []

        def running() -> _Running:
            if not started:
                started.append(_start(stack, arguments.options.logs))
            return started[0]

        rows = [
            arguments.resume.row(
                f"{number}", lambda number=number: _round(arguments, running(), number)
            )
            for number in range(1, arguments.rounds + 1)
        ]
        return [*rows, arguments.resume.row("sent", lambda: _sent(running().systems))]


def _start(stack: ExitStack, logs: Path | None) -> _Running:
    folder = logs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
    folder.mkdir(exist_ok=True)
    weights = write_tiny_model(folder / "model")
    installation = WholeInstallation(folder, stack.enter_context(postgres()), weights)
    return _Running(installation, stack.enter_context(hospital_systems.around(installation)))


def _sent(systems: HospitalSystems) -> Row:
    """What has become of all sends, minutes later."""
    found = systems.all_sent(_SENT_SECONDS)
    sends = (found.proven, found.waiting, found.other, found.without_proof)
    cells = ("sends, afterwards", *[""] * (len(COLUMNS) - 5), *map(str, sends))
    return Row(cells, not (found.waiting or found.other or found.without_proof))


def _round(arguments: Arguments, both: _Running, number: int) -> Row:
    running, systems = both.installation, both.systems
    uploads, stores = arguments.options.uploads, arguments.options.stores
    draw = random.Random(f"{arguments.seed} {number}")  # which fault comes when
    kills = [(part, is_restart) for part in PARTS for is_restart in (True, False)]
    halts = [(part, draw.uniform(*_HALTED)) for part in _HALTED_PARTS]
    faults = [*kills, *halts]
    draw.shuffle(faults)
    pauses = [draw.uniform(*_PAUSES) for _ in faults]
    before, ended_before = running.count_studies(), running.ended_by_themselves()
    reports_before = systems.reports()
    faults_over = threading.Event()
    lasts = sum(pauses)

    def send(count: int) -> list[UUID]:
        sent = []
        for _ in range(count):
            sent.append(running.upload(picture(_PICTURE_SIZE)))
            faults_over.wait(lasts * _SENDERS / uploads)
        return sent

    def store() -> list[str]:
        stored = []
        for _ in range(stores):
            stored.append(systems.store(picture(_PICTURE_SIZE)))
            faults_over.wait(lasts / stores)
        return stored

    def report() -> None:
        for _ in range(stores):
            systems.report()
            faults_over.wait(lasts / stores)

    with ThreadPoolExecutor(_SENDERS + 2) as people, ThreadPoolExecutor(len(halts)) as halting:
        shares = [uploads // _SENDERS + (n < uploads % _SENDERS) for n in range(_SENDERS)]
        sending = [people.submit(send, share) for share in shares]
        storing, reporting = people.submit(store), people.submit(report)
        halted = []
        for (part, how), pause in zip(faults, pauses, strict=True):
            time.sleep(pause)
            if isinstance(how, bool):
                running.fault(part, how)
            else:
                halted.append(halting.submit(running.halt, part, how))
        for one in halted:
            one.result()
        last_fault = time.monotonic()
        faults_over.set()
        studies = [study for one in sending for study in one.result()]
        uids = storing.result()
        reporting.result()
    stored = systems.pictures(uids)
    everything = [*studies, *stored]
    while running.unsettled(everything) and time.monotonic() - last_fault < 5 * FINAL_SECONDS:
        time.sleep(0.25)
    seconds = time.monotonic() - last_fault
    jobs = running.jobs(everything)
    predictions = Counter(running.predictions(everything))
    given_up = sum(job.state is JobState.FAILED for job in jobs)
    reports = systems.reports() - reports_before
    lost = sum(predictions[study] == 0 for study in everything)
    lost += max(len(uids) - stored.total(), 0) + max(stores - reports, 0)
    doubled = sum(count - 1 for count in predictions.values()) + max(
        running.count_studies() - before - len(set(everything)), 0
    )
    doubled += len(everything) - len(set(everything))
    doubled += max(stored.total() - len(uids), 0) + max(reports - stores, 0)
    sends = systems.sends()
    passed = not (given_up or lost or doubled or sends.without_proof) and seconds <= FINAL_SECONDS
    return Row(
        (
            f"{number}",
            f"{len(studies)}",
            f"{len(uids)}",
            f"{stores}",
            f"{len(faults)}",
            f"{seconds:.1f} s",
            f"{sum(job.losses for job in jobs)}",
            f"{sum(job.failures for job in jobs)}",
            f"{running.ended_by_themselves() - ended_before}",
            f"{given_up}",
            f"{lost}",
            f"{doubled}",
            f"{sends.proven}",
            f"{sends.waiting}",
            f"{sends.other}",
            f"{sends.without_proof}",
        ),
        passed,
    )
