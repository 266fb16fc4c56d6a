"""Faults caused on purpose in a running installation, and their outcome.

Each scenario returns an `Outcome`: what must hold (all of it true) and the numbers behind it.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from ml.preparation import phantom
from portal.models import Blob, Job, JobKind, JobState, Study
from tests.support.running_portal import RunningPortal


@dataclass
class Outcome:
    """The outcome of a scenario: `holds` maps each claim to whether it held."""

    holds: dict[str, bool]
    numbers: dict[str, Any] = field(default_factory=dict)


_drawn: dict[int, phantom.Phantom] = {}


def picture(size: int = 384) -> bytes:
    """A synthetic chest X-ray as DICOM: like another one of that size, with UIDs of its own."""
    if size not in _drawn:
        _drawn[size] = phantom.draw(7, rows=size, columns=size)
    return phantom.dicom(_drawn[size])


def send(running: RunningPortal, count: int, size: int = 384) -> list[UUID]:
    return [running.submit(picture(size), "chest.dcm") for _ in range(count)]


def wait_settled(running: RunningPortal, studies: list[UUID], seconds: float = 240) -> None:
    running.wait("every job has ended", lambda: running.settled(studies), seconds)


def attempts(running: RunningPortal, studies: list[UUID], kind: JobKind | None = None) -> list[int]:
    return [job.attempts for job in running.jobs(kind, studies)]


def all_done_once(running: RunningPortal, studies: list[UUID]) -> dict[str, bool]:
    """The claims of every scenario in which all jobs should succeed."""
    jobs = running.jobs(studies=studies)
    return {
        "every study has both its jobs": len(jobs) == 2 * len(studies),
        "every job is done": all(job.state is JobState.DONE for job in jobs),
        "every study has one prediction": running.predictions(studies) == len(studies),
    }


def notified_five_times(running: RunningPortal, count: int = 50) -> Outcome:
    """Each job's message is in Redis five times; the workers come afterwards."""
    before = {queue: running.computations(queue) for queue in ("render", "segment")}
    running.kill("render", signal.SIGTERM)
    running.kill("segment", signal.SIGTERM)
    studies = send(running, count)
    for kind in (JobKind.RENDER, JobKind.SEGMENT):
        jobs = running.jobs(kind, studies)
        for _ in range(4):
            for job in jobs:
                running.notify(kind, job.id)
        running.start_worker(kind.value)
        running.wait(f"all {kind} jobs are done", partial(_done, running, kind, studies), 600)
    wait_settled(running, studies)
    running.wait("no message is left", lambda: running.waiting_messages() == 0, 300)
    seen = {queue: running.computations(queue) - before[queue] for queue in before}
    tries = attempts(running, studies)
    return Outcome(
        {
            **all_done_once(running, studies),
            "every job took one attempt": tries == [1] * (2 * count),
            "every job was computed once": seen == {"render": count, "segment": count},
        },
        {
            "jobs": len(tries),
            "messages": 10 * count,
            "computations": sum(seen.values()),
            "failed attempts": running.failures() or "none",
        },
    )


def _done(running: RunningPortal, kind: JobKind, studies: list[UUID]) -> bool:
    return all(job.state is JobState.DONE for job in running.jobs(kind, studies))


def killed_mid_job(running: RunningPortal, queue: str) -> Outcome:
    """The process that does the job is killed -9 while the job runs."""
    kind = JobKind(queue)
    for _ in range(10):
        (study,) = send(running, 1, size=2048)
        if running.catch_running(kind, study):
            running.kill_child(queue)
        began = time.monotonic()
        wait_settled(running, [study])
        job = running.job(kind, study)
        assert job is not None
        # A job that was done at once had ended before the kill came: another one is sent.
        if job.state is not JobState.DONE or job.attempts > 1:
            break
    return Outcome(
        {**all_done_once(running, [study]), "done on attempt 2": job.attempts == 2},
        {"attempts": job.attempts, "seconds": round(time.monotonic() - began, 1)},
    )


def worker_killed(running: RunningPortal, queue: str, count: int = 12) -> Outcome:
    """A whole worker, parent and child, is killed -9 in the middle of a queue."""
    studies = send(running, count)
    running.wait("one is done", lambda: running.predictions(studies) > 0)
    running.kill(queue, signal.SIGKILL)
    running.start_worker(queue)
    wait_settled(running, studies)
    tries = attempts(running, studies, JobKind(queue))
    return Outcome(
        {**all_done_once(running, studies), "at most one was restarted": sum(tries) <= count + 1},
        {"jobs": count, "attempts": sum(tries)},
    )


def redis_emptied(running: RunningPortal, count: int = 10) -> Outcome:
    """Redis is killed, and with it every message, while jobs wait."""
    running.kill("render", signal.SIGTERM)
    studies = send(running, count)
    running.empty_redis()
    running.start_redis()
    running.start_worker("render")
    began = time.monotonic()
    wait_settled(running, studies)
    seconds = time.monotonic() - began
    tries = attempts(running, studies)
    running.renew_workers()
    return Outcome(
        {**all_done_once(running, studies), "every job took one attempt": set(tries) == {1}},
        {"jobs": len(tries), "seconds": round(seconds, 1)},
    )


def redis_restarted_while_jobs_run(
    running: RunningPortal, restarts: int = 3, count: int = 6, seconds: float = 60
) -> Outcome:
    """Redis is killed and started again while workers are busy.

    A worker that does not consume any more ends by itself, and its supervisor starts it again.
    """
    studies = []
    for _ in range(restarts):
        sent = send(running, count)
        studies += sent
        running.wait("a job runs", partial(_one_runs, running, sent))
        running.kill("redis", signal.SIGKILL)
        running.start_redis()
    began = time.monotonic()
    wait_settled(running, studies, seconds)
    took = time.monotonic() - began
    running.renew_workers()
    return Outcome(
        all_done_once(running, studies),
        {
            "restarts": restarts,
            "pictures": len(studies),
            "workers that ended by themselves": len(running.ended),
            "seconds after the last restart": round(took, 1),
        },
    )


def _one_runs(running: RunningPortal, studies: list[UUID]) -> bool:
    return any(job.state is JobState.RUNNING for job in running.jobs(studies=studies))


def redis_away(running: RunningPortal) -> Outcome:
    """Redis is down while a picture is sent, and comes back."""
    running.kill("redis", signal.SIGTERM)
    (study,) = send(running, 1)
    state = running.client.get(f"/studies/{study}").json()
    running.start_redis()
    wait_settled(running, [study])
    running.renew_workers()
    return Outcome(
        {
            **all_done_once(running, [study]),
            "the picture was taken": state["state"] == "received",
            "it is shown what it waits for": state["waiting_for"] == "redis",
        }
    )


def portal_restarted_during_upload(running: RunningPortal) -> Outcome:
    """The portal dies when half of a picture has arrived; the sender tries again."""
    data = picture(1024)
    studies, blobs, files = running.count(Study), running.count(Blob), running.files()
    boundary = "half"
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="chest.dcm"\r\n\r\n'
    ).encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    length = len(head) + len(data) + len(tail)
    request = (
        "POST /api/v1/studies HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {running.key}\r\nContent-Length: {length}\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary}\r\n\r\n"
    ).encode()
    with socket.create_connection(running.listener.getsockname()) as sender:
        sender.sendall(request + head + data[: len(data) // 2])
        time.sleep(0.3)
        running.kill("portal", signal.SIGKILL)
    running.start_portal()
    nothing = (studies, blobs, files) == (
        running.count(Study),
        running.count(Blob),
        running.files(),
    )
    study = running.submit(data, "chest.dcm")
    wait_settled(running, [study])
    return Outcome(
        {**all_done_once(running, [study]), "nothing half-stored": nothing},
        {"sent before the kill": len(data) // 2, "of": len(data)},
    )


def portal_restarted_during_a_job(running: RunningPortal) -> Outcome:
    """The portal dies while a worker computes: the worker waits for it."""
    for _ in range(10):
        (study,) = send(running, 1, size=2048)
        if running.catch_running(JobKind.SEGMENT, study):
            running.kill("portal", signal.SIGKILL)
            break
    running.start_portal()
    wait_settled(running, [study])
    tries = attempts(running, [study])
    return Outcome(
        {**all_done_once(running, [study]), "lost no attempt": max(tries) <= 2},
        {"attempts": tries},
    )


def poison_file(running: RunningPortal) -> Outcome:
    """Pictures that pass the header check and crash the decoder: by corrupt data, and by memory."""
    bad = {
        "cut": _cut_png(),
        "bomb": _bomb_png(),
    }
    holds, numbers = {}, {}
    render = running.processes["render"].pid
    for name, data in bad.items():
        study = running.submit(data)
        wait_settled(running, [study])
        job = running.job(JobKind.RENDER, study)
        assert job is not None
        holds[f"{name}: failed for good at once"] = (
            job.state is JobState.FAILED and job.attempts == 1
        )
        numbers[name] = job.error_code
        state = running.client.get(f"/studies/{study}").json()["state"]
        holds[f"{name}: shown as failed"] = state == "failed"
    (study,) = send(running, 1)
    wait_settled(running, [study])
    holds["the worker lives and does the next one"] = (
        all(all_done_once(running, [study]).values()) and running.processes["render"].poll() is None
    )
    assert running.processes["render"].pid == render
    return Outcome(holds, numbers)


def poison_job(running: RunningPortal) -> Outcome:
    """A job that ends its process at every attempt."""
    for _ in range(10):
        job, kills = _killed_at_every_attempt(running)
        # One that was done within its three attempts ended before a kill came: another one is sent.
        if job.state is not JobState.DONE or job.attempts > 3:
            break
    numbers = {"kills": kills, "attempts": job.attempts, "code": job.error_code}
    (after,) = send(running, 1)
    wait_settled(running, [after])
    return Outcome(
        {
            "failed after exactly three attempts": (job.state, job.attempts, kills)
            == (JobState.FAILED, 3, 3),
            "given up": job.error_code == "gave_up",
            "the next picture is done": all(all_done_once(running, [after]).values()),
        },
        numbers,
    )


def keys_rotated(running: RunningPortal, rotations: int = 3) -> Outcome:
    """The vault's keys are rotated while cases are read and pictures come in."""
    studies = send(running, 4)
    wait_settled(running, studies)
    stop, answers, late = threading.Event(), Counter[int](), list[UUID]()

    def read() -> None:
        with running.another_client() as client:
            while not stop.is_set():
                for study in studies:
                    for what in ("", "/mask.png", "/overlay.png"):
                        answers[client.get(f"/studies/{study}{what}").status_code] += 1

    def upload() -> None:
        while not stop.is_set():
            late.extend(send(running, 1))

    with ThreadPoolExecutor(4) as people:
        tasks = [*(people.submit(read) for _ in range(3)), people.submit(upload)]
        try:
            codes = [running.command("rotate-keys") for _ in range(rotations)]
        finally:
            stop.set()
        for task in tasks:
            task.result()
    wait_settled(running, late)
    return Outcome(
        {
            **all_done_once(running, late),
            "every rotation ended well": codes == [0] * rotations,
            "no read failed": set(answers) == {200},
            "every file and value opens": running.command("vault", "verify") == 0,
            "the log is whole": running.command("audit", "verify") == 0,
        },
        {"reads": answers.total(), "failed": answers.total() - answers[200], "uploads": len(late)},
    )


def foreign_messages(running: RunningPortal) -> Outcome:
    """An intruder in Redis leaves a pickle, an unknown task, and tasks without a job."""
    mark = running.folder / "pickled"
    running.broker.send_task(
        "pleura.render", args=[_Touch(str(mark))], queue="render", serializer="pickle"
    )
    running.broker.send_task("os.system", args=[f"touch {mark}"], queue="render")
    for argument in ("../../etc/passwd", 7, None, str(uuid4())):
        running.broker.send_task("pleura.render", args=[argument], queue="render")
    worker = running.processes["render"]
    (study,) = send(running, 1)
    wait_settled(running, [study])
    running.wait("no message is left", lambda: running.waiting_messages() == 0, 300)
    return Outcome(
        {
            **all_done_once(running, [study]),
            "nothing of it was run": not mark.exists(),
            "the worker goes on": worker.poll() is None,
        }
    )


class _Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


def _killed_at_every_attempt(running: RunningPortal) -> tuple[Job, int]:
    """A render job whose process is killed whenever it runs, at its end, and the kills."""
    (study,) = send(running, 1, size=2048)
    kills = 0
    while True:
        # The lease of a killed attempt ends only after 22.5 s, and then the sweep has to come.
        running.wait("the job is started or given up", _changed(running, study, kills), 240)
        job = running.job(JobKind.RENDER, study)
        assert job is not None
        if job.state is not JobState.RUNNING:
            return job, kills
        running.kill_child("render")
        kills += 1
        assert kills <= 5, "the attempts never end"


def _changed(running: RunningPortal, study: UUID, kills: int) -> Callable[[], bool]:
    """Whether a new attempt of the study's render job runs, or the job has ended."""

    def changed() -> bool:
        job = running.job(JobKind.RENDER, study)
        assert job is not None
        restarted = job.state is JobState.RUNNING and job.attempts == kills + 1
        return restarted or job.state in (JobState.DONE, JobState.FAILED)

    return changed


def _cut_png() -> bytes:
    """A PNG whose parts and checksums are whole and whose pixels do not unpack."""
    return _png(600, 600, os.urandom(400))


def _bomb_png() -> bytes:
    """A small file of more pixels than the worker's memory for one file holds."""
    return _png(9000, 9000, zlib.compress(bytes(9000 * (1 + 2 * 9000)), 9))


def _png(rows: int, columns: int, body: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", columns, rows, 16, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", body), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def shared_engine_killed(running: RunningPortal, count: int = 12) -> Outcome:
    """Three segment processes have one engine, which is killed -9 while they work."""
    running.kill("segment", signal.SIGTERM)
    before, usual = running.computations("segment"), running.worker_options.pop("segment")
    running.start_worker("segment", PLEURA_BATCH="3", **usual)
    parent = running.processes["segment"].pid
    first = _engine_of(parent)
    studies = send(running, count)
    running.wait("a job runs", lambda: running.catch_running(JobKind.SEGMENT, studies[0]) or True)
    os.kill(first, signal.SIGKILL)
    wait_settled(running, studies)
    running.wait("the engine is there again", lambda: _engine_of(parent) not in (0, first))
    second = Path(f"/proc/{_engine_of(parent)}")
    # The portal knows of a job's end a moment before the worker writes it down.
    running.wait("all ends are logged", lambda: running.computations("segment") - before >= count)
    running.kill("segment", signal.SIGKILL)  # no time for a clean shutdown
    running.wait("the engine has ended, too", lambda: not second.exists())
    running.worker_options["segment"] = {}
    running.start_worker("segment", **usual)
    log = (running.logs / "segment.log").read_text(errors="replace")
    # An engine that is slow to come back may cost an attempt more, by the time limit of a job.
    lost = Counter(re.findall(r"job (\S+): attempt \d+ failed: engine_lost", log))
    return Outcome(
        {
            **all_done_once(running, studies),
            "no job took more than three attempts": max(attempts(running, studies)) <= 3,
            "no job lost two attempts with the engine": max(lost.values(), default=0) <= 1,
            "every job was computed once": running.computations("segment") - before == count,
            "an engine ends with its worker": not second.exists(),
        },
        {"runs for several pictures": log.count("in one run")},
    )


def _engine_of(parent: int) -> int:
    """The process that holds a worker's models; 0 if there is none."""
    for child in Path(f"/proc/{parent}/task").glob("*/children"):
        for number in child.read_text().split():
            command = Path(f"/proc/{number}/cmdline")
            if command.exists() and b"worker.segment.batch_process" in command.read_bytes():
                return int(number)
    return 0
