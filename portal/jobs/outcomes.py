"""How an attempt ends: its result is stored, or its error decides what comes next."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import bindparam, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import database
from portal.database import DatabaseTime
from portal.jobs import analysis, drift_checks, files
from portal.jobs.attempts import (
    FAILURES,
    LOSSES,
    attempted,
    destroy_files,
    end_as_failed,
    is_running,
    log_end,
    place,
    take_blobs,
)
from portal.jobs.claims import own_file
from portal.jobs.errors import BadResult, Lost, OutputMissing
from portal.jobs.results import object_archive, prediction_checks, result_checks
from portal.jobs.tickets import Ticket
from portal.models import (
    Base,
    Blob,
    Instance,
    Job,
    JobKind,
    JobState,
    MissingModel,
    ModelVersion,
    Outline,
    OutlineMeasurement,
    Prediction,
    ReportFile,
    View,
)
from portal.studies import sealed_fields, stored_files
from portal.studies.status import RESULT_JOBS
from portal.vault import Vault
from worker.contract import prediction as contract
from worker.contract.error_codes import FROM_OUTSIDE, ErrorCode
from worker.contract.job import WITH_MODEL, Failure, FailureKind
from worker.contract.result import Output

# A job, locked. Made once, as it runs with every result. Without a join to its picture: to plan it,
# PostgreSQL reads jobs at the ends of an index, whose pages may be damaged.
_BEGUN: Final = (
    select(Job)
    .where(Job.id == bindparam("its_id"))
    .with_for_update()
    .execution_options(populate_existing=True)
)
_TO_MEND: Final = (
    ErrorCode.WORKER_TOO_OLD,
    ErrorCode.REPORT_UNAVAILABLE,
    ErrorCode.OBJECTS_UNAVAILABLE,
)


def finish(
    session: Session,
    vault: Vault,
    ticket: Ticket,
    result: dict[str, Any],
    now: datetime,
    sent: Sequence[Output] = (),
) -> UUID | None:
    """End an attempt well; returns the job that follows, to be announced.

    `result` is `{"facts": …}` of a render job, `{"prediction": …}` of a segment job,
    `{"measurements": …}` of a measure job, `{"report": …}` of a report job, `{"objects": …}` of an
    encode job and `{"drift": …}` of a drift job; `sent` are outputs that come with it. Raises
    BadResult, Lost or VaultError; then nothing of this call is stored. Sent twice by the same
    attempt, the second time changes nothing.
    Where an output is missing that this portal requires, the job also goes back to the queue, for a
    newer worker.
    """
    found = session.scalars(_BEGUN, {"its_id": ticket.job_id}).one_or_none()
    if found is None:
        session.rollback()
        raise Lost
    if not is_running(found, ticket):
        session.rollback()
        if found.attempts != ticket.attempt or found.state is not JobState.DONE:
            raise Lost
        return None
    blobs = list[Blob]()
    if sent:
        instance = None
        if found.instance_id is not None:
            instance = session.get_one(Instance, found.instance_id, populate_existing=True)
        blobs = files.write(session, vault, found, instance, sent, now)
    session.commit()  # without files, it is still locked
    written = [blob.name for blob in blobs]
    for blob in blobs:
        blob.current = True  # from the start: they become rows only if the result is accepted
    try:
        job = attempted(session, ticket, lock=True)
        stored, old = files.enter(session, job, ticket, blobs)
        follower, made = _accept(session, vault, job, stored, result, now)
        job.state, job.finished_at, job.lease_until = JobState.DONE, now, None
        # Where a picture is prepared and goes on to its analysis, the exam's place stays the same.
        if job.kind in RESULT_JOBS and (made or follower is None):
            place(session, job)
        log_end(session, "job_finished", job, now, made)
        if job.kind is JobKind.REPORT:
            old += _used_up(session, job)
    except BaseException as error:
        session.rollback()
        destroy_files(vault, written)
        if isinstance(error, OutputMissing):
            older = Failure(code=ErrorCode.WORKER_TOO_OLD, kind=FailureKind.TRANSIENT)
            fail(session, vault, ticket, older, now)
        raise
    database.commit(session)
    destroy_files(vault, old)
    return follower


def fail(
    session: Session,
    vault: Vault,
    ticket: Ticket,
    failure: Failure,
    now: datetime,
) -> None:
    """End an attempt badly: transient failures are tried again, permanent ones are not.

    A job whose model the worker lacks waits on, uncounted, for one that has it: while workers are
    updated, some are of the version before. A job that needs no model can't lack it: the code fails
    it as any other. A lost attempt has nothing left to fail.
    """
    job = session.get(Job, ticket.job_id, with_for_update=True, populate_existing=True)
    if job is None or job.attempts != ticket.attempt or job.state is not JobState.RUNNING:
        session.rollback()
        return
    job.lease_until = None
    transient = failure.kind is FailureKind.TRANSIENT
    waits = failure.code == ErrorCode.MODEL_MISSING and job.kind in WITH_MODEL
    if waits:
        _note_missing_model(session, job, ticket)
    elif failure.code in FROM_OUTSIDE:
        job.losses += 1
    else:
        job.failures += 1
    if waits or (transient and job.failures < FAILURES and job.losses < LOSSES):
        job.state, job.rung_at = JobState.QUEUED, None
        if not waits:
            job.queued_at = DatabaseTime()
        job.error_code = failure.code
        place(session, job)
    else:
        # What an administrator can mend stays named: workers that are too old, or lack Pango.
        spent = transient and failure.code not in _TO_MEND
        end_as_failed(session, job, ErrorCode.GAVE_UP if spent else failure.code, now)
    old = take_blobs(session, job.id, Blob.current.is_(False))
    log_end(session, "job_failed", job, now)
    session.commit()
    destroy_files(vault, old)


def _note_missing_model(session: Session, job: Job, ticket: Ticket) -> None:
    """The attempt's worker, by name and token, has just lacked the model; one row for each."""
    database.lock_table(session, MissingModel)  # or two at once would both find none to replace
    worker, token_id = job.worker or "", ticket.token_id
    before = delete(MissingModel).where(
        MissingModel.worker == worker, MissingModel.token_id.is_not_distinct_from(token_id)
    )
    session.execute(before, execution_options={"synchronize_session": False})
    session.add(
        MissingModel(
            id=uuid4(),
            worker=worker,
            token_id=token_id,
            sha256=job.model_sha256,
            at=DatabaseTime(),
        )
    )


def _accept(
    session: Session,
    vault: Vault,
    job: Job,
    stored: Sequence[Blob],
    result: dict[str, Any],
    now: datetime,
) -> tuple[UUID | None, list[Base]]:
    """Check and store a result; returns the job that follows, and the records that it has made.

    `stored`: the files of the attempt. The picture is read again: while its files were written, it
    may have been purged, or its exam joined with another.
    """
    sizes = {blob.kind: blob.size for blob in stored}
    follower, made = None, list[Base]()
    if job.kind is JobKind.DRIFT:
        drift_checks.store(session, job, result, now)
        return None, []
    instance = session.get_one(Instance, job.instance_id, populate_existing=True)
    if job.kind is JobKind.RENDER:
        facts = result_checks.check_facts(result, sizes)
        data_key = sealed_fields.instance_key_of(vault, instance)
        instance.sealed_facts = sealed_fields.seal_facts(
            vault, data_key, instance.id, facts.as_json()
        )
        instance.rows, instance.columns = facts.rows, facts.columns
        named = View.of(facts.view)
        instance.view = instance.view if named is View.UNKNOWN else named
        follower = analysis.enqueue_after_render(session, instance, job.priority, now)
    elif job.kind is JobKind.MEASURE:
        made = [_measured(session, job, instance, result, now)]
    elif job.kind is JobKind.REPORT:
        made = [_reported(session, vault, job, instance, stored, result, now)]
    elif job.kind is JobKind.ENCODE:
        _check_archive(vault, instance, stored, result)
    else:
        picture = (instance.rows or 0, instance.columns or 0)
        prediction = result_checks.check_prediction(result, sizes)
        prediction_checks.check(session, job, prediction, picture)
        made = _predict(session, job, prediction, now)
    for blob in stored:
        blob.current = True
    session.flush()
    return follower, made


def _measured(
    session: Session, job: Job, instance: Instance, result: dict[str, Any], now: datetime
) -> OutlineMeasurement:
    outline = session.get_one(Outline, UUID(job.target))
    picture = (instance.rows or 0, instance.columns or 0)
    measurements = result_checks.check_measurements(result)
    prediction_checks.require_outline(measurements, outline.pixels, *picture)
    row = OutlineMeasurement(
        outline_id=outline.id, job_id=job.id, measurements=measurements.as_json(), created=now
    )
    session.add(row)
    return row


def _reported(
    session: Session,
    vault: Vault,
    job: Job,
    instance: Instance,
    stored: Sequence[Blob],
    result: dict[str, Any],
    now: datetime,
) -> ReportFile:
    """The file is read back: what the row states of it is what is stored."""
    found = result_checks.check_report(result, {blob.kind: blob.size for blob in stored})
    (blob,) = stored
    pdf = stored_files.read(vault, sealed_fields.instance_key_of(vault, instance), blob)
    if hashlib.sha256(pdf).hexdigest() != found.sha256:
        raise BadResult("another digest than that of the report's file")
    row = ReportFile(
        report_id=UUID(job.target),
        job_id=job.id,
        blob_id=blob.id,
        sha256=found.sha256,
        bytes=len(pdf),
        pages=found.pages,
        created=now,
    )
    session.add(row)
    return row


def _check_archive(
    vault: Vault, instance: Instance, stored: Sequence[Blob], result: dict[str, Any]
) -> None:
    """The archive is read back: what is stated of it is what is stored, and nothing else is."""
    found = result_checks.check_objects(result, {blob.kind: blob.size for blob in stored})
    (blob,) = stored
    data = stored_files.read(vault, sealed_fields.instance_key_of(vault, instance), blob)
    if hashlib.sha256(data).hexdigest() != found.sha256:
        raise BadResult("another digest than that of the archive's file")
    if not object_archive.holds(data, found.objects):
        raise BadResult("the archive holds something else than its objects")


def _used_up(session: Session, job: Job) -> list[str]:
    """Remove the row of what a report was made from; its file is destroyed afterwards."""
    content = own_file(session, job)
    if content is None:
        return []
    session.delete(content)
    return [content.name]


def _predict(
    session: Session, job: Job, prediction: contract.Prediction, now: datetime
) -> list[Base]:
    model, is_new = _model(session, prediction.model, now)
    grid, measured = prediction.map, prediction.measurements
    body = prediction.as_json()
    row = Prediction(
        id=uuid4(),
        instance_id=job.instance_id,
        model_id=model.id,
        job_id=job.id,
        attempt=job.attempts,
        probability=prediction.probability,
        band=prediction.band,
        threshold=prediction.threshold,
        image_threshold=prediction.image_threshold,
        likely_threshold=prediction.likely_threshold,
        operating_point=prediction.operating_point,
        map_rows=grid.rows if grid else None,
        map_columns=grid.columns if grid else None,
        side=measured.side if measured else None,
        distance_mm=measured.distance_mm if measured else None,
        measurements=body.get("measurements"),
        uncertainty=body.get("uncertainty"),
        region=body.get("region"),
        other_findings=body.get("other_findings"),
        quality_verdict=prediction.quality.verdict,
        quality=body["quality"],
        statistics=prediction.statistics or {},
        seconds=prediction.seconds,
        created=now,
    )
    session.add(row)
    return [row, model] if is_new else [row]


def _model(
    session: Session, named: contract.ModelIdentity, now: datetime
) -> tuple[ModelVersion, bool]:
    """The row of a model, and whether it is new: its first prediction adds it."""
    identity = named.as_json()
    same = select(ModelVersion).filter_by(**identity)
    known = session.scalars(same).first()
    if known is not None:
        return known, False
    model = ModelVersion(id=uuid4(), created=now, **identity)
    try:
        with session.begin_nested():
            session.add(model)
    except IntegrityError:  # another worker's prediction has added it meanwhile
        return session.scalars(same).one(), False
    return model, True
