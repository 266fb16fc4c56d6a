"""Every part is restarted and killed -9, or halted for a while, as pictures are uploaded.

In each round every part (Redis, PostgreSQL, portal, scheduler, render and segment worker) is
stopped once and killed once, while 100 pictures are sent; scheduler and workers are also halted
once (SIGSTOP) and go on later (SIGCONT), as where a machine is paused. The order is random, other
faults come meanwhile. The pictures have to be done within 60 s of the last fault's end, none given
up, none lost, none doubled. The model is a tiny one.
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
from pathlib import Path
from uuid import UUID

from portal.models import JobState
from tests.campaigns.campaign import Arguments, Row
from tests.faults.scenarios import picture
from tests.faults.whole_installation import PARTS, WholeInstallation
from tests.ml.conftest import write_tiny_model
from tests.support.postgres import postgres

COLUMNS = (
    "round",
    "uploads",
    "faults",
    "all final after the last fault",
    "attempts lost",
    "attempts failed",
    "workers that ended by themselves",
    "given up",
    "lost",
    "doubled",
)
ROUNDS = 20
FINAL_SECONDS = 60
_SENDERS = 4
_PICTURE_SIZE = 256
# Before a fault, in seconds.
_PAUSES = (0.5, 3.0)
# How long a part is halted: shorter than a lease of 20 s, and longer.
_HALTED = (5.0, 40.0)
_HALTED_PARTS = ("scheduler", "render", "segment")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this campaign."""
    parser.add_argument("--uploads", type=int, default=100, help="pictures of a round")
    parser.add_argument("--logs", type=Path, help="keep the installation's files in this folder")


def run(arguments: Arguments) -> list[Row]:
    """All rounds on one installation; it is started when the first row has to be made."""
    with ExitStack() as stack:
        started: list[WholeInstallation] = []

        def installation() -> WholeInstallation:
            if not started:
                started.append(stack.enter_context(_installation(stack, arguments.options.logs)))
            return started[0]

        return [
            arguments.resume.row(
                f"{number}", lambda number=number: _round(arguments, installation(), number)
            )
            for number in range(1, arguments.rounds + 1)
        ]


def _installation(stack: ExitStack, logs: Path | None) -> WholeInstallation:
    folder = logs or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
    folder.mkdir(exist_ok=True)
    weights = write_tiny_model(folder / "model")
    return WholeInstallation(folder, stack.enter_context(postgres()), weights)


def _round(arguments: Arguments, running: WholeInstallation, number: int) -> Row:
    uploads = arguments.options.uploads
    draw = random.Random(f"{arguments.seed} {number}")  # which fault comes when
    kills = [(part, is_restart) for part in PARTS for is_restart in (True, False)]
    halts = [(part, draw.uniform(*_HALTED)) for part in _HALTED_PARTS]
    faults = [*kills, *halts]
    draw.shuffle(faults)
    pauses = [draw.uniform(*_PAUSES) for _ in faults]
    before, ended_before = running.count_studies(), running.ended_by_themselves()
    faults_over = threading.Event()
    pace = sum(pauses) * _SENDERS / uploads

    def send(count: int) -> list[UUID]:
        sent = []
        for _ in range(count):
            sent.append(running.upload(picture(_PICTURE_SIZE)))
            faults_over.wait(pace)
        return sent

    with ThreadPoolExecutor(_SENDERS) as people, ThreadPoolExecutor(len(halts)) as halting:
        shares = [uploads // _SENDERS + (n < uploads % _SENDERS) for n in range(_SENDERS)]
        sending = [people.submit(send, share) for share in shares]
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
    while running.unsettled(studies) and time.monotonic() - last_fault < 5 * FINAL_SECONDS:
        time.sleep(0.25)
    seconds = time.monotonic() - last_fault
    jobs = running.jobs(studies)
    predictions = Counter(running.predictions(studies))
    given_up = sum(job.state is JobState.FAILED for job in jobs)
    lost = sum(predictions[study] == 0 for study in studies)
    doubled = sum(count - 1 for count in predictions.values()) + max(
        running.count_studies() - before - len(set(studies)), 0
    )
    doubled += len(studies) - len(set(studies))
    passed = not (given_up or lost or doubled) and seconds <= FINAL_SECONDS
    return Row(
        (
            f"{number}",
            f"{len(studies)}",
            f"{len(faults)}",
            f"{seconds:.1f} s",
            f"{sum(job.losses for job in jobs)}",
            f"{sum(job.failures for job in jobs)}",
            f"{running.ended_by_themselves() - ended_before}",
            f"{given_up}",
            f"{lost}",
            f"{doubled}",
        ),
        passed,
    )
