"""``python -m worker render|segment`` runs a worker, ``python -m worker alive QUEUE`` probes it."""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any

try:
    from worker import life, probe
    from worker.contract.job import KINDS, QUEUES, JobKind, Queue
    from worker.isolation import kernel
    from worker.report import parts_needed
    from worker.settings import BadSettings, Settings, check_redis, leave_environment, load
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"worker: it needs {missing.name}: install it with `pip install .[worker-cpu]`, or "
        "`.[worker-gpu]` for a GPU"
    ) from None


def main(arguments: list[str]) -> int:
    """Run the command; 2 when the worker is set up wrongly."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for queue in QUEUES:
        commands.add_parser(queue.value, help=f"do {queue} jobs until stopped")
    alive = commands.add_parser("alive", help="exit 0 while the queue's worker works, else say why")
    alive.add_argument("queue", nargs="?", default="*", help="all workers of this name if left out")
    chosen = parser.parse_args(arguments)
    try:
        settings = load()
        if chosen.command != "alive":
            check_redis(settings)
    except BadSettings as error:
        sys.stderr.write(f"worker: {error}\n")
        return 2
    if chosen.command == "alive":
        problem = probe.problem(settings, chosen.queue, time.time())
        sys.stderr.write(f"worker: {problem}\n" if problem else "")
        return 1 if problem else 0
    return _work(next(queue for queue in QUEUES if queue == chosen.command), settings)


def _work(queue: Queue, settings: Settings) -> int:
    from celery.exceptions import SecurityWarning
    from celery.signals import setup_logging, worker_shutting_down

    from worker import celery_app, tasks
    from worker.client.portal_client import PortalClient
    from worker.job_source import JobSource
    from worker.slots import Slot

    kernel.make_undumpable()

    @setup_logging.connect(weak=False)  # type: ignore[untyped-decorator]
    def set_up_logging(**_: Any) -> None:
        logging.basicConfig(
            level=logging.INFO,
            stream=sys.stdout,
            format="%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s",
        )
        for name in ("httpx2", "httpcore2", "celery.worker.strategy", "celery.app.trace"):
            logging.getLogger(name).setLevel(logging.WARNING)

    set_up_logging()
    if JobKind.REPORT in KINDS[queue] and (lacking := parts_needed.missing()):
        logging.getLogger("worker").warning(lacking)
    # A warning of Celery's about root and pickle: only JSON is taken here.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    processes = settings.batch if queue is JobKind.SEGMENT else 1
    portal = PortalClient(settings, queue)
    watched = life.Life(settings, queue, portal)
    source = JobSource(queue, portal, watched.stopping, heard=watched.heard)
    tasks.hand_over_to(source)

    @worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
    def stop(**_: Any) -> None:
        watched.stopping.set()

    slots = [
        Slot(source, settings, watched.stopping, watched.turned, watched.end)
        for _ in range(processes)
    ]
    with _engine(settings) if processes > 1 else nullcontext():
        for slot in slots:
            slot.start()
        watched.watch(
            slots,
            tasks.oldest_unacknowledged,
            lambda: source.last_message,
            lambda: celery_app.messages_waiting(queue),
        )
        celery_app.app.worker_main(
            [
                "--quiet",
                "worker",
                f"--queues={queue}",
                f"--hostname={queue}@{settings.name}",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ]
        )
        watched.stopping.set()
        for slot in slots:
            slot.join()
        watched.ended()
    return 0


def _engine(settings: Settings) -> AbstractContextManager[None]:
    from worker.segment import batch_process

    path = settings.engine_socket
    assert path is not None, "several processes have one engine"
    where = settings.device, settings.threads, settings.batch, settings.precision, settings.engine
    return batch_process.running(path, *where)


if __name__ == "__main__":
    leave_environment()
    raise SystemExit(main(sys.argv[1:]))
