"""Drift checks: asked for every day and by administrators, done by a worker, stored as history.

A check is about one model: its last predictions of all teams, without the exams that came from an
archive. The worker gets their numbers, nothing that says whose they are.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, Permission
from portal.ai_models import known_models
from portal.errors import Conflict
from portal.jobs.claims import enqueue
from portal.jobs.errors import BadResult
from portal.jobs.results import result_checks
from portal.languages import _
from portal.models import (
    DriftCheck,
    Instance,
    Job,
    JobKind,
    JobState,
    ModelVersion,
    Prediction,
    Study,
    View,
)
from portal.performance import drift
from worker.contract.contents.drift import LEAST, NUMBERS_MAX, WINDOW, RecentNumbers, Window, alarms

# Predictions that are older tell nothing of today.
NEWEST: Final = timedelta(days=90)
# For so long the history goes back.
RETAINED: Final = timedelta(days=800)
_VIEW: Final = "view_ap"
_PROBABILITY: Final = "probability"


def ask(session: Session, actor: Actor, model_id: UUID, now: datetime) -> Job:
    """Have a model checked now, for the caller to announce; commits.

    Conflict where its card has no reference, or a check of it waits or is being done.
    """
    actor.require(Permission.JOBS_MANAGE)
    model = known_models.get(session, model_id)
    if not drift.names_of(model.card):
        session.rollback()
        raise Conflict("no_reference", _("This model’s card holds no reference to compare with."))
    _lock(session, model_id)
    if drift.open_job(session, model_id) is not None:
        session.rollback()
        raise Conflict("is_asked", _("A check of this model is already waiting or being done."))
    job = _enqueue(session, model_id, uuid4().hex, now, priority=1)
    audit.append(
        session,
        "drift_check_asked",
        actor=actor,
        now=now,
        subject_id=model_id,
        detail={"job": job.id.hex},
    )
    session.commit()
    return job


def ask_due(session: Session, now: datetime) -> int:
    """Have each model checked that has new predictions and was not today; returns how many.

    Only where there are enough predictions to compare; commits.
    """
    asked = 0
    day = now.date().isoformat()
    for model in session.scalars(select(ModelVersion).where(ModelVersion.card.is_not(None))).all():
        if not drift.names_of(model.card):
            continue
        known = select(Job.id).where(Job.idempotency_key == _key(model.id, day))
        if session.scalar(known) is not None or not _has_new(session, model.id, now):
            session.commit()
            continue
        _lock(session, model.id)
        if drift.open_job(session, model.id) is None:
            _enqueue(session, model.id, day, now)
            asked += 1
        session.commit()
    return asked


def recent_numbers(session: Session, job: Job) -> bytes:
    """What a drift job reads, as JSON: of the predictions as they are now."""
    model_id = drift.model_of(job)
    model = known_models.get(session, model_id)
    reference = _reference(model)
    rows, window = _recent(session, model_id, job.created)
    wanted = [*drift.names_of(model.card), _PROBABILITY][:NUMBERS_MAX]
    columns: dict[str, list[float]] = {}
    for statistics, probability, view in rows:
        numbers = {**statistics, _PROBABILITY: probability}
        for name in dict.fromkeys(wanted):
            if _is_number(numbers.get(name)):
                columns.setdefault(name, []).append(float(numbers[name]))
        if view.is_frontal:
            columns.setdefault(_VIEW, []).append(float(view is View.AP))
    session.commit()
    given = RecentNumbers(window=window, reference=dict(reference), columns=columns)
    return given.model_dump_json().encode()


def store(session: Session, job: Job, result: Any, now: datetime) -> DriftCheck:
    """Check a drift job's result and add it to the history, in the caller's transaction."""
    found = result_checks.check_drift(result)
    model_id, window = drift.model_of(job), found.window
    model = session.get_one(ModelVersion, model_id)
    allowed = drift.names_of(model.card)
    if not {one.name for one in found.numbers} <= set(allowed):
        raise BadResult("a number that the model's reference does not have")
    if found.numbers and window.predictions < LEAST:
        raise BadResult("numbers of fewer predictions than a check takes")
    if any(one.n > window.predictions for one in found.numbers):
        raise BadResult("a number of more predictions than there were")
    check = DriftCheck(
        id=uuid4(),
        model_id=model_id,
        job_id=job.id,
        predictions=window.predictions,
        refused=window.refused,
        first=window.first,
        last=window.last,
        numbers=[one.as_json() for one in found.numbers],
        alarms=alarms(found.numbers),
        computed_at=now,
    )
    session.add(check)
    return check


def forget_old(session: Session, now: datetime) -> None:
    """Remove checks whose time is over, and the jobs that have none (any more); commits."""
    before = now - RETAINED
    session.execute(delete(DriftCheck).where(DriftCheck.computed_at < before))
    session.execute(
        delete(Job).where(
            Job.kind == JobKind.DRIFT,
            Job.state.in_((JobState.DONE, JobState.FAILED)),
            Job.finished_at < before,
            Job.id.not_in(select(DriftCheck.job_id)),
        )
    )
    session.commit()


def _enqueue(session: Session, model_id: UUID, which: str, now: datetime, priority: int = 0) -> Job:
    target = drift.target(model_id, which)
    return enqueue(session, JobKind.DRIFT, now, target=target, priority=priority)


def _key(model_id: UUID, which: str) -> str:
    return f"{JobKind.DRIFT.value}:{drift.target(model_id, which)}"


def _lock(session: Session, model_id: UUID) -> None:
    """Of two that ask for a check of a model at once, the later sees the earlier's."""
    session.get_one(ModelVersion, model_id, with_for_update=True, populate_existing=True)


def _reference(model: ModelVersion) -> Mapping[str, Any]:
    found = (model.card or {}).get("reference")
    return found if isinstance(found, Mapping) else {}


def _results(model_id: UUID, now: datetime) -> Select[UUID]:
    """The predictions with a result that a check may look at, the newest first."""
    return (
        select(Prediction.id)
        .join(Instance, Instance.id == Prediction.instance_id)
        .join(Study, Study.id == Instance.study_id)
        .where(
            Prediction.model_id == model_id,
            Prediction.created > now - NEWEST,
            Prediction.probability.is_not(None),
            Study.is_old.is_(False),
        )
        .order_by(Prediction.created.desc())
    )


def _has_new(session: Session, model_id: UUID, now: datetime) -> bool:
    """Whether there are enough predictions, and some since the last check."""
    newest = select(func.max(DriftCheck.last)).where(DriftCheck.model_id == model_id)
    last = session.scalar(newest)
    made = session.scalar(
        select(func.max(Prediction.created)).where(Prediction.model_id == model_id)
    )
    if made is None or (last is not None and made <= last):
        return False
    return len(session.scalars(_results(model_id, now).limit(LEAST)).all()) == LEAST


def _recent(
    session: Session, model_id: UUID, now: datetime
) -> tuple[Sequence[tuple[Mapping[str, Any], float | None, View]], Window]:
    """Statistics, probability and view of the newest predictions, and which these are. Those whose
    rows can't be read are left out.
    """
    ids = session.scalars(_results(model_id, now).limit(WINDOW)).all()

    def read(some: Sequence[UUID]) -> dict[UUID, tuple[Any, ...]]:
        rows = select(
            Prediction.id,
            Prediction.created,
            Prediction.statistics,
            Prediction.probability,
            Instance.view,
        ).join(Instance, Instance.id == Prediction.instance_id)
        return {
            row[0]: tuple(row)[1:] for row in session.execute(rows.where(Prediction.id.in_(some)))
        }

    found, _unread = database.read_readable(session, ids, read)
    times = [row[0] for row in found.values()]
    since = min(times, default=now - NEWEST)
    refused = session.scalar(
        select(func.count()).where(
            Prediction.model_id == model_id,
            Prediction.created >= since,
            Prediction.probability.is_(None),
        )
    )
    window = Window(
        first=min(times, default=None),
        last=max(times, default=None),
        predictions=len(found),
        refused=refused or 0,
    )
    return [
        (row[1] if isinstance(row[1], Mapping) else {}, row[2], row[3]) for row in found.values()
    ], window


def _is_number(value: Any) -> bool:
    is_one = isinstance(value, int | float) and not isinstance(value, bool)
    return is_one and math.isfinite(value)
