"""The tasks of Celery. A message carries a job's id, which is handed over to the worker.

A task ends when a thread of the worker has room for the job; its message is acknowledged then. So
a busy worker holds one or two messages, and the others go to other workers.
"""

from __future__ import annotations

import logging
import time
from typing import Any
from uuid import UUID

from celery.worker.request import Request

from worker.celery_app import app
from worker.contract.job import QUEUE_OF, TASKS, JobKind
from worker.job_source import JobSource

log = logging.getLogger(__name__)

_source: JobSource | None = None
# Messages that were acknowledged, when, and whether Redis has it.
_acknowledged: list[tuple[float, Any]] = []


class JobRequest(Request):  # type: ignore[misc]  # Celery has no types
    """A message whose acknowledgement is looked after."""

    def acknowledge(self) -> None:
        super().acknowledge()
        _acknowledged.append((time.monotonic(), self.message))


def hand_over_to(source: JobSource) -> None:
    """Give the ids of all messages to this worker's threads."""
    global _source
    _source = source


def oldest_unacknowledged() -> float:
    """For how many seconds a message could not be acknowledged; 0 where all were."""
    waiting = [(since, message) for since, message in _acknowledged if not message.acknowledged]
    _acknowledged[:] = waiting
    return max((time.monotonic() - since for since, _ in waiting), default=0.0)


@app.task(name=TASKS[JobKind.RENDER], queue=JobKind.RENDER.value, Request=JobRequest)  # type: ignore[untyped-decorator]
def render(job_id: str) -> None:
    """Decode one file into pixels, preview, thumb and facts."""
    announce(job_id, JobKind.RENDER)


@app.task(name=TASKS[JobKind.SEGMENT], queue=JobKind.SEGMENT.value, Request=JobRequest)  # type: ignore[untyped-decorator]
def segment(job_id: str) -> None:
    """Find, outline and measure a pneumothorax in one picture's pixels."""
    announce(job_id, JobKind.SEGMENT)


@app.task(name=TASKS[JobKind.MEASURE], queue=JobKind.SEGMENT.value, Request=JobRequest)  # type: ignore[untyped-decorator]
def measure(job_id: str) -> None:
    """Measure a reader's outline of one picture."""
    announce(job_id, JobKind.MEASURE)


@app.task(name=TASKS[JobKind.REPORT], queue=JobKind.RENDER.value, Request=JobRequest)  # type: ignore[untyped-decorator]
def report(job_id: str) -> None:
    """Set one report on pages."""
    announce(job_id, JobKind.REPORT)


@app.task(name=TASKS[JobKind.ENCODE], queue=JobKind.RENDER.value, Request=JobRequest)  # type: ignore[untyped-decorator]
def encode(job_id: str) -> None:
    """Make the DICOM objects of one picture's result."""
    announce(job_id, JobKind.ENCODE)


@app.task(name=TASKS[JobKind.DRIFT], queue=JobKind.RENDER.value, Request=JobRequest)  # type: ignore[untyped-decorator]
def drift(job_id: str) -> None:
    """Compare one model's recent predictions with its reference."""
    announce(job_id, JobKind.DRIFT)


def announce(text: str, kind: JobKind) -> None:
    """Hand over the id of a message; one without an id, or for another queue, is dropped."""
    try:
        job_id = UUID(text)
    except (ValueError, TypeError, AttributeError):
        log.warning("a %s message without a job id", kind)
        return
    if _source is None or QUEUE_OF[kind] is not _source.queue:
        log.warning("job %s: a message for another queue", job_id)
        return
    _source.announce(job_id)
