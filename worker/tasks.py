"""The two tasks. A message carries a job id; everything else comes from the portal.

However an attempt ends, the portal gets a code or the lease expires. Log lines hold job ids, codes
and types, never an error's own text: it may quote a file.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from time import monotonic
from uuid import UUID

from celery.exceptions import SoftTimeLimitExceeded

from worker import child_process
from worker.celery_app import app
from worker.client.portal_client import Attempt
from worker.contract.error_codes import ErrorCode
from worker.contract.job import TASKS, JobKind
from worker.contract.result import Result
from worker.errors import AttemptLost, Permanent, Transient, WorkError

log = logging.getLogger(__name__)


@app.task(name=TASKS[JobKind.RENDER], queue=JobKind.RENDER.value)  # type: ignore[untyped-decorator]
def render(job_id: str) -> None:
    """Decode one file into pixels, preview, thumb and facts."""
    run(job_id, JobKind.RENDER, child_process.render)


@app.task(name=TASKS[JobKind.SEGMENT], queue=JobKind.SEGMENT.value)  # type: ignore[untyped-decorator]
def segment(job_id: str) -> None:
    """Find, outline and measure a pneumothorax in one picture's pixels."""
    run(job_id, JobKind.SEGMENT, child_process.segment)


def run(text: str, kind: JobKind, compute: Callable[[Attempt], Result]) -> None:
    """Claim the job that a message names, compute its result and end the attempt."""
    try:
        job_id = UUID(text)
    except (ValueError, TypeError, AttributeError):
        log.warning("a %s message without a job id", kind)
        return
    start = monotonic()
    try:
        attempt = child_process.portal().claim(job_id)
    except Transient as error:
        log.warning("job %s: left to the sweep: %s", job_id, error.code)
        return
    except SoftTimeLimitExceeded:
        # There is no attempt to end yet: a claim without an answer ends with its lease.
        log.warning("job %s: left to the sweep: timeout", job_id)
        return
    if attempt is None:
        log.info("job %s: nothing to claim", job_id)
        return
    try:
        with attempt.renewing_lease():
            if attempt.kind is not kind:
                raise Transient(ErrorCode.WRONG_QUEUE)
            attempt.finish(compute(attempt))
    except AttemptLost:
        log.warning("job %s: attempt %d is lost", job_id, attempt.number)
    except (Permanent, Transient) as error:
        _fail(attempt, error)
    except SoftTimeLimitExceeded:
        _fail(attempt, Transient(ErrorCode.TIMEOUT))
    except MemoryError:
        _fail(attempt, Transient(ErrorCode.OUT_OF_MEMORY))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        log.error("job %s: %s at %s:%s", job_id, type(error).__name__, where.filename, where.lineno)
        _fail(attempt, Transient(ErrorCode.UNEXPECTED))
    else:
        seconds = monotonic() - start
        log.info("job %s: attempt %d done, %.2f s", job_id, attempt.number, seconds)


def _fail(attempt: Attempt, error: WorkError) -> None:
    log.warning("job %s: attempt %d failed: %s", attempt.job_id, attempt.number, error.code)
    attempt.fail(error)
