"""How an attempt ends: its result becomes the record's, or its error decides what comes next."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit, database
from portal.ai_models import registry
from portal.formats.json_checks import BadResult
from portal.jobs import files, result_checks
from portal.jobs.attempts import attempted, destroy_files, take_blobs
from portal.jobs.claims import enqueue
from portal.jobs.files import Output
from portal.jobs.tickets import Ticket
from portal.models import Blob, Instance, Job, JobKind, JobState, ModelVersion, Prediction, Study
from portal.studies import sealed_fields, worklist_order
from portal.vault import Vault


def finish(
    session: Session,
    vault: Vault,
    ticket: Ticket,
    result: dict[str, Any],
    now: datetime,
    sent: Sequence[Output] = (),
) -> UUID | None:
    """End an attempt well; returns the job that follows and wants ringing.

    `result` is `{"facts": …}` of a render job and `{"prediction": …}` of a segment job; `sent` are
    outputs that come with it. Raises BadResult, Lost or VaultError; then nothing of this call is
    kept. Said twice by the same attempt, the second time changes nothing.
    """
    job = session.get(Job, ticket.job_id, with_for_update=True, populate_existing=True)
    if job is not None and job.attempts == ticket.attempt and job.state is JobState.DONE:
        session.rollback()
        return None
    session.rollback()
    blobs = files.write(session, vault, ticket, sent, now) if sent else []
    written = [blob.name for blob in blobs]
    try:
        job = attempted(session, ticket, lock=True)
        replaced = files.enter(session, job, ticket, blobs)
        follower = _accept(session, vault, job, ticket.attempt, result, now)
        job.state, job.finished_at, job.lease_until = JobState.DONE, now, None
        old = take_blobs(session, job.id, Blob.attempt != ticket.attempt)
        worklist_order.place(session, job.study_id)
        _log_end(session, "job_finished", job, now)
    except BaseException:
        session.rollback()
        destroy_files(vault, written)
        raise
    database.commit(session)
    destroy_files(vault, old + replaced)
    return follower


def fail(
    session: Session,
    vault: Vault,
    ticket: Ticket,
    *,
    code: str,
    kind: Literal["transient", "permanent"] | str,
    now: datetime,
) -> None:
    """End an attempt badly: transient ones are tried again, permanent ones are not.

    Raises BadResult for an unknown kind or code. A lost attempt has nothing left to fail.
    """
    code = result_checks.check_code(code)
    if kind not in ("transient", "permanent"):
        raise BadResult("kind must be transient or permanent")
    job = session.get(Job, ticket.job_id, with_for_update=True, populate_existing=True)
    if job is None or job.attempts != ticket.attempt or job.state is not JobState.RUNNING:
        session.rollback()
        return
    job.lease_until = None
    if kind == "transient" and job.attempts < job.attempt_limit:
        job.state, job.rung_at = JobState.QUEUED, None
        job.error_code = code
    else:
        job.state, job.finished_at = JobState.FAILED, now
        job.error_code = code if kind == "permanent" else "gave_up"
    old = take_blobs(session, job.id, Blob.current.is_(False))
    worklist_order.place(session, job.study_id)
    _log_end(session, "job_failed", job, now)
    session.commit()
    destroy_files(vault, old)


def _accept(
    session: Session, vault: Vault, job: Job, attempt: int, result: dict[str, Any], now: datetime
) -> UUID | None:
    """Check a result and make it the record's; returns the job that follows."""
    stored = session.scalars(
        select(Blob).where(Blob.job_id == job.id, Blob.attempt == attempt)
    ).all()
    sizes = {blob.kind: blob.size for blob in stored}
    follower = None
    instance = session.get_one(Instance, job.instance_id)
    if job.kind is JobKind.RENDER:
        facts = result_checks.check_facts(result.get("facts"), sizes)
        data_key = sealed_fields.key_of(vault, session.get_one(Study, job.study_id))
        instance.sealed_facts = sealed_fields.seal_facts(vault, data_key, instance.id, facts)
        instance.rows, instance.columns = facts["rows"], facts["columns"]
        follower = enqueue(session, JobKind.SEGMENT, job.instance_id, now).id
    else:
        picture = (instance.rows or 0, instance.columns or 0)
        checked = result_checks.check_prediction(result.get("prediction"), sizes, picture)
        _require_model(job, checked)
        _require_band(session, checked)
        if checked.map_size is None and stored:
            raise BadResult("a refused picture has no outputs")
        _predict(session, job, attempt, checked, now)
    for blob in stored:
        blob.current = True
    session.flush()
    return follower


def _predict(
    session: Session,
    job: Job,
    attempt: int,
    checked: result_checks.CheckedPrediction,
    now: datetime,
) -> None:
    model = _model(session, checked.model, now)
    rows, columns = checked.map_size or (None, None)
    session.add(
        Prediction(
            study_id=job.study_id,
            instance_id=job.instance_id,
            model_id=model.id,
            job_id=job.id,
            attempt=attempt,
            probability=checked.probability,
            band=checked.band,
            threshold=checked.threshold,
            operating_point=checked.operating_point,
            map_rows=rows,
            map_columns=columns,
            side=checked.side,
            distance_mm=checked.distance_mm,
            measurements=checked.measurements,
            uncertainty=checked.uncertainty,
            region=checked.region,
            quality_verdict=checked.quality_verdict,
            quality=checked.quality,
            statistics=checked.statistics,
            seconds=checked.seconds,
            created=now,
        )
    )


def _require_model(job: Job, checked: result_checks.CheckedPrediction) -> None:
    """BadResult unless the model and the operating point are those that the attempt was told."""
    if job.model_sha256 is None:
        return
    if (checked.model[2], checked.operating_point) != (job.model_sha256, job.operating_point):
        raise BadResult("another model or operating point than the job was given out for")


def _require_band(session: Session, checked: result_checks.CheckedPrediction) -> None:
    """BadResult for a word that the probability does not give, where the model's card is known.

    `threshold` is the outline's: the words have thresholds of their own, one for each point.
    """
    if checked.probability is None or checked.band is None:
        return
    words = registry.bands_of(
        session, checked.model[2], checked.operating_point or "", checked.probability
    )
    if words is not None and checked.band not in words:
        raise BadResult("the band is not that of the probability")


def _model(session: Session, named: tuple[str, str, str], now: datetime) -> ModelVersion:
    """The row of a model; the first prediction of a new model adds it."""
    name, version, sha256 = named
    same = select(ModelVersion).where(
        ModelVersion.name == name,
        ModelVersion.version == version,
        ModelVersion.sha256 == sha256,
    )
    known = session.scalars(same).first()
    if known is not None:
        return known
    model = ModelVersion(id=uuid4(), name=name, version=version, sha256=sha256, created=now)
    try:
        with session.begin_nested():
            session.add(model)
    except IntegrityError:  # another worker's first prediction was quicker
        return session.scalars(same).one()
    return model


def _log_end(session: Session, event: str, job: Job, now: datetime) -> None:
    audit.append(
        session,
        event,
        now=now,
        study_id=job.study_id,
        subject_id=job.id,
        detail={"kind": job.kind.value, "attempt": job.attempts, "code": job.error_code},
    )
