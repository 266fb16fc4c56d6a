"""Where a study stands: derived from its jobs, prediction and reviews, never stored.

Owns the words of the state and the result as lists and pages show them. Nothing here is about a
patient: ids, codes and the model's numbers.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.models import (
    Band,
    Job,
    JobKind,
    JobState,
    Prediction,
    QualityVerdict,
    Review,
    Verdict,
    Worker,
)

# A worker says hello every 20 seconds; one that missed three is not there.
WORKER_SILENCE: Final = timedelta(seconds=70)


class State(StrEnum):
    """The states of a study in their order. `no_result` and `failed` mean: read unaided."""

    RECEIVED = "received"
    PREPARING = "preparing"
    ANALYSING = "analysing"
    DONE = "done"
    NO_RESULT = "no_result"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Result:
    """The model's result in short. Empty numbers where the picture was refused."""

    band: Band | None
    probability: float | None
    side: str | None
    distance_mm: float | None
    quality: QualityVerdict
    reasons: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class StudyState:
    """Where a study stands, without a word about the patient."""

    study_id: UUID
    state: State
    has_picture: bool
    waiting_for: Literal["redis", "worker"] | None
    error_code: str | None
    result: Result | None
    reviewed: Verdict | None

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to come by itself."""
        return self.state in (State.DONE, State.NO_RESULT, State.FAILED)


def of_studies(session: Session, ids: Collection[UUID], now: datetime) -> dict[UUID, StudyState]:
    """The states of these studies; the caller has checked that they may be seen."""
    if not ids:
        return {}
    jobs: dict[UUID, dict[JobKind, Job]] = {study_id: {} for study_id in ids}
    for job in session.scalars(select(Job).where(Job.study_id.in_(ids))):
        jobs[job.study_id][job.kind] = job
    predictions = {
        row.study_id: row
        for row in session.scalars(
            select(Prediction).where(Prediction.study_id.in_(ids)).order_by(Prediction.created)
        )
    }
    reviews = last_reviews(session, ids)
    present = workers_present(session, now)
    return {
        study_id: _derive(
            study_id, jobs[study_id], predictions.get(study_id), reviews.get(study_id), present
        )
        for study_id in ids
    }


def last_reviews(session: Session, ids: Collection[UUID]) -> dict[UUID, Review]:
    """The newest review of each study that has one."""
    rows = session.scalars(select(Review).where(Review.study_id.in_(ids)).order_by(Review.created))
    return {row.study_id: row for row in rows}


def workers_present(session: Session, now: datetime) -> frozenset[JobKind]:
    """The queues for which a worker has been heard of lately."""
    return frozenset(
        session.scalars(
            select(Worker.queue).where(Worker.last_seen > now - WORKER_SILENCE).distinct()
        )
    )


def result_of(prediction: Prediction) -> Result:
    """The short form of a prediction."""
    reasons = prediction.quality.get("reasons", [])
    return Result(
        band=prediction.band,
        probability=prediction.probability,
        side=prediction.side,
        distance_mm=prediction.distance_mm,
        quality=prediction.quality_verdict,
        reasons=reasons if isinstance(reasons, list) else [],
    )


def _derive(
    study_id: UUID,
    jobs: dict[JobKind, Job],
    prediction: Prediction | None,
    review: Review | None,
    present: frozenset[JobKind],
) -> StudyState:
    render, segment = jobs.get(JobKind.RENDER), jobs.get(JobKind.SEGMENT)
    failed = next((j for j in (render, segment) if j and j.state is JobState.FAILED), None)
    waiting = next((j for j in (render, segment) if j and j.state is JobState.QUEUED), None)
    if failed is not None:
        state = State.FAILED
    elif prediction is not None:
        state = State.DONE if prediction.band is not None else State.NO_RESULT
    elif segment is not None or render is None or render.state is JobState.DONE:
        state = State.ANALYSING
    else:
        state = State.PREPARING if render.state is JobState.RUNNING else State.RECEIVED
    return StudyState(
        study_id=study_id,
        state=state,
        has_picture=render is not None and render.state is JobState.DONE,
        waiting_for=_waiting_for(waiting, present) if failed is None else None,
        error_code=failed.error_code if failed else None,
        result=result_of(prediction) if prediction is not None else None,
        reviewed=review.verdict if review else None,
    )


def _waiting_for(job: Job | None, present: frozenset[JobKind]) -> Literal["redis", "worker"] | None:
    if job is None:
        return None
    if job.rung_at is None:
        return "redis"
    return None if job.kind in present else "worker"
