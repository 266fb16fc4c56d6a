"""Parts are killed and restarted while pictures come in, and slow clients hold connections."""

from __future__ import annotations

import random
import socket
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2

from deploy.trial.containers import Installation
from deploy.trial.people import Program
from deploy.trial.shell import require, say

FINAL_SECONDS = 60.0
SLOW_CLIENTS = 200


def under_load(
    running: Installation,
    program: Program,
    pictures: Sequence[Path],
    faults: Sequence[tuple[str, str]],
    *,
    pause: float = 2.0,
) -> None:
    """Do each fault, ("kill" or "restart", service), while pictures are sent.

    All have their result at the end, none is lost and none doubled: the cases and predictions of
    the database are counted, too.
    """
    cases, predictions = running.count("studies"), running.count("predictions")
    with ThreadPoolExecutor(4) as people:
        sending = []
        for number, (kind, service) in enumerate(faults):
            # A share of the pictures before each fault, so that each one meets work.
            for picture in pictures[number :: len(faults)]:
                sending.append(people.submit(program.upload, picture))
            time.sleep(pause)
            getattr(running, kind)(service)
            say(f"{kind} {service}")
        last = time.monotonic()
        studies = [one.result() for one in sending]
    program.results(studies)
    seconds = time.monotonic() - last
    new_cases = running.count("studies") - cases
    new_predictions = running.count("predictions") - predictions
    say(
        f"{len(faults)} faults, {len(studies)} pictures: all final {seconds:.0f} s after the last "
        f"fault; {new_cases} cases and {new_predictions} predictions more"
    )
    require(len(set(studies)) == len(studies), "a case was given to two pictures")
    require(new_cases == len(studies), "cases were lost or doubled")
    require(new_predictions == len(studies), "predictions were lost or doubled")
    require(seconds <= FINAL_SECONDS, "that is too late")


def shuffled(parts: Sequence[str], seed: int) -> list[tuple[str, str]]:
    """Each part killed once and restarted once, in an order by chance."""
    found = [(kind, part) for part in parts for kind in ("kill", "restart")]
    random.Random(seed).shuffle(found)  # which fault comes when, no secret
    return found


def slow_clients(running: Installation, program: Program, picture: Path) -> None:
    """Readiness and an upload, alone and beside clients that send half a request and wait."""
    with httpx2.Client(base_url=running.address, timeout=30, trust_env=False) as client:

        def answers(count: int) -> list[float]:
            took = []
            for _ in range(count):
                began = time.perf_counter()
                require(client.get("/health/ready").status_code == 200, "readiness failed")
                took.append(1000 * (time.perf_counter() - began))
            return took

        alone = statistics.median(answers(50))
        half = b"POST /api/v1/studies HTTP/1.1\r\nHost: xray.example\r\nContent-Length: 9999"
        with ExitStack() as stack:
            slow = []
            for number in range(SLOW_CLIENTS):
                one = stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
                one.sendall(half if number % 2 else half + b"\r\n\r\nhalf a body")
                slow.append(one)
            beside = answers(50)
            program.results([program.upload(picture)])
            began = time.monotonic()
            for one in slow[1::2]:  # half a header: the portal ends it after ten seconds
                one.settimeout(30)
                with suppress(OSError):
                    while one.recv(4096):
                        pass
            seconds = time.monotonic() - began
    say(
        f"readiness: median {alone:.0f} ms alone, {statistics.median(beside):.0f} ms (worst "
        f"{max(beside):.0f}) beside {SLOW_CLIENTS} half requests; half headers ended by the "
        f"portal {seconds:.0f} s later at most"
    )
