"""The two tasks. A message carries a job id; everything else comes from the portal.

Owns how an attempt ends: whatever happens, the portal is told a code, or learns from the lease.
Log lines hold job ids, codes and types, never an error's own text: it may quote a file.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from time import monotonic
from typing import Any
from uuid import UUID

from celery.exceptions import SoftTimeLimitExceeded

from worker import child_process
from worker.celery_app import RENDER, SEGMENT, app
from worker.client.portal_client import Work
from worker.errors import Lost, Permanent, Transient

log = logging.getLogger(__name__)


@app.task(name="pleura.render", queue=RENDER)  # type: ignore[untyped-decorator]
def render(job_id: str) -> None:
    """Decode one file into pixels, preview, thumb and facts."""
    _attempt(job_id, RENDER, child_process.render)


@app.task(name="pleura.segment", queue=SEGMENT)  # type: ignore[untyped-decorator]
def segment(job_id: str) -> None:
    """Find, outline and measure in one picture's pixels."""
    _attempt(job_id, SEGMENT, child_process.segment)


def _attempt(text: str, kind: str, compute: Callable[[Work], dict[str, Any]]) -> None:
    try:
        job_id = UUID(text)
    except (ValueError, TypeError, AttributeError):
        log.warning("a %s message without a job id", kind)
        return
    began = monotonic()
    try:
        work = child_process.portal().claim(job_id)
    except Transient as error:
        log.warning("job %s: left to the sweep: %s", job_id, error.code)
        return
    except SoftTimeLimitExceeded:
        # Nothing to give back yet: a claim whose answer never came ends with its lease.
        log.warning("job %s: left to the sweep: timeout", job_id)
        return
    if work is None:
        log.info("job %s: nothing to claim", job_id)
        return
    try:
        with work.beating():
            if work.kind != kind:
                raise Transient("wrong_queue")
            work.finish(compute(work))
    except Lost:
        log.warning("job %s: attempt %d is lost", job_id, work.attempt)
    except (Permanent, Transient) as error:
        _give_back(work, error)
    except SoftTimeLimitExceeded:
        _give_back(work, Transient("timeout"))
    except MemoryError:
        _give_back(work, Transient("out_of_memory"))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        log.error("job %s: %s at %s:%s", job_id, type(error).__name__, where.filename, where.lineno)
        _give_back(work, Transient("unexpected"))
    else:
        log.info("job %s: attempt %d done, %.2f s", job_id, work.attempt, monotonic() - began)


def _give_back(work: Work, error: Permanent | Transient) -> None:
    log.warning("job %s: attempt %d failed: %s", work.job_id, work.attempt, error.code)
    work.fail(error)
