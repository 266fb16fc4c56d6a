"""The process that does a worker's jobs, one after the other, and loads what they need once.

``python -m worker.child_process QUEUE FD`` gets claims from the worker over a socket and answers
when an attempt has ended. It has its job's ticket, neither the worker's token nor Redis' address.
Log lines hold job ids, codes and types, never an error's own text: it may quote a file.
"""

from __future__ import annotations

import logging
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from ml.errors import BadInput
from worker import parent_process
from worker.client.portal_client import Attempt, PortalClient
from worker.contract.error_codes import ErrorCode
from worker.contract.job import KINDS, QUEUES, Claim, JobKind, Queue
from worker.contract.result import Result
from worker.errors import AttemptLost, Permanent, TimeUp, Transient, WorkError
from worker.framing import receive, send
from worker.isolation import kernel
from worker.settings import Settings, load

if TYPE_CHECKING:
    from worker.segment.segmenter import Segmenter

log = logging.getLogger(__name__)

# The engine's process is ready within these seconds.
LOADING_SECONDS = 240.0
_running = False


def main(arguments: list[str]) -> int:
    """Do jobs until the worker closes the socket; 1 where what they need can't be loaded."""
    name, descriptor = arguments
    queue = next(one for one in QUEUES if one == name)
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stdout,
        format="%(asctime)s %(levelname)s child %(name)s: %(message)s",
    )
    for noisy in ("httpx2", "httpcore2"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # A signal to the whole group stops the worker, which lets this process finish its job.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, _stop_the_job)
    parent_process.end_with_it()
    kernel.make_undumpable()
    settings = load()
    with socket.socket(fileno=int(descriptor)) as channel:
        try:
            compute, describe = _prepare(queue, settings)
        except BadInput as error:
            send(channel, {"error": str(error)}, [])
            return 1
        except Exception as error:
            send(channel, {"error": f"{type(error).__name__}: {error}"}, [])
            return 1
        portal = PortalClient(settings, queue)
        while True:
            try:
                send(channel, describe(), [])
                head, inputs = receive(channel)
            except (OSError, EOFError):
                return 0
            claim = Claim.parse(head)
            came = dict(zip(claim.inputs, inputs, strict=True)) if inputs else None
            run(Attempt(portal, claim, came), queue, compute)


def run(attempt: Attempt, queue: Queue, compute: Callable[[Attempt], Result]) -> None:
    """Compute the attempt's result and end the attempt, or report why it failed."""
    global _running
    start = time.monotonic()
    try:
        _running = True
        if attempt.kind not in KINDS[queue]:
            raise Transient(ErrorCode.WRONG_QUEUE)
        attempt.finish(compute(attempt))
        _running = False
    except AttemptLost:
        log.warning("job %s: attempt %d is lost", attempt.job_id, attempt.number)
    except (Permanent, Transient) as error:
        _fail(attempt, error)
    except TimeUp:
        _fail(attempt, Transient(ErrorCode.TIMEOUT))
    except MemoryError:
        _fail(attempt, Transient(ErrorCode.OUT_OF_MEMORY))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        log.error(
            "job %s: %s at %s:%s",
            attempt.job_id,
            type(error).__name__,
            where.filename,
            where.lineno,
        )
        _fail(attempt, Transient(ErrorCode.UNEXPECTED))
    else:
        seconds = time.monotonic() - start
        log.info("job %s: attempt %d done, %.2f s", attempt.job_id, attempt.number, seconds)
    finally:
        _running = False


def _fail(attempt: Attempt, error: WorkError) -> None:
    global _running
    _running = False  # the time for the report is the worker's to limit
    log.warning("job %s: attempt %d failed: %s", attempt.job_id, attempt.number, error.code)
    attempt.fail(error)


def _stop_the_job(_number: int, _frame: FrameType | None) -> None:
    if _running:
        raise TimeUp


def _prepare(
    queue: Queue, settings: Settings
) -> tuple[Callable[[Attempt], Result], Callable[[], dict[str, Any]]]:
    """What does the queue's jobs, and what describes it in the portal."""
    if queue is JobKind.RENDER:
        from worker.encode.maker import Objects
        from worker.render.pictures import Decoder, render
        from worker.report.maker import Reports

        decoder, reports, objects = Decoder(settings), Reports(settings), Objects(settings)

        def do(attempt: Attempt) -> Result:
            if attempt.kind is JobKind.DRIFT:
                from worker.drift.comparison import compare

                return compare(attempt)
            if attempt.kind is JobKind.REPORT:
                return reports.make(attempt)
            if attempt.kind is JobKind.ENCODE:
                return objects.make(attempt)
            return render(attempt, decoder)

        return do, lambda: {"device": "cpu", "model": ""}
    segmenter = _load_segmenter(settings)
    return segmenter.do, lambda: {"device": segmenter.device, "model": segmenter.model}


def _load_segmenter(settings: Settings) -> Segmenter:
    """The segmenter. A shared engine may end while this process starts, and is then restarted."""
    from worker.segment.segmenter import Segmenter

    end = time.monotonic() + LOADING_SECONDS
    while True:
        try:
            return Segmenter(settings)
        except Transient:
            if time.monotonic() > end:
                raise
            time.sleep(1.0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
