"""What an attempt reads and stores: its job's inputs, and outputs that wait for its end."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final
from uuid import uuid4

from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session

from portal import database
from portal.jobs import drift_checks
from portal.jobs.attempts import attempted, destroy_files, take_blobs
from portal.jobs.claims import OWN, Claimed, own_file
from portal.jobs.errors import BadResult
from portal.jobs.results import result_checks
from portal.jobs.tickets import Ticket
from portal.models import Blob, Instance, Job, JobKind
from portal.studies import sealed_fields, stored_files
from portal.vault import Vault, VaultError
from worker.contract.claim_bundle import BUNDLE_INPUT_BYTES
from worker.contract.files import JSON, FileKind
from worker.contract.result import Output

# Made once, as it runs with every result.
_OF_JOB: Final = select(Blob).where(Blob.job_id == bindparam("its_job"))


def read_input(session: Session, vault: Vault, ticket: Ticket, kind: str) -> tuple[bytes, str]:
    """One of the job's inputs and its media type; Lost, or BadResult where it has no such input."""
    job = attempted(session, ticket)
    if job.kind is JobKind.DRIFT and kind == FileKind.RECENT_NUMBERS:
        return drift_checks.recent_numbers(session, job), JSON
    allowed = {blob.value: blob for blob in result_checks.INPUTS.get(job.kind, ())}
    if kind not in allowed:
        raise BadResult("the job has no such input")
    if allowed[kind] in OWN:
        blob = own_file(session, job)
    else:
        blob = stored_files.current(session, job.instance_id, allowed[kind])
    if blob is None:
        raise BadResult("the job has no such input")
    instance = session.get_one(Instance, job.instance_id, populate_existing=True)
    data_key = sealed_fields.instance_key_of(vault, instance)
    session.commit()
    return stored_files.read(vault, data_key, blob), blob.media_type


def inputs_of(vault: Vault, claimed: Claimed) -> dict[str, bytes] | None:
    """All inputs of an attempt that has just begun, to be sent with its claim.

    None where they are large, or one can't be read: the worker then asks for it and gets the
    reason.
    """
    listed = claimed.claim.inputs
    if sum(file.bytes for file in listed.values()) > BUNDLE_INPUT_BYTES:
        return None
    try:
        found = vault.get_many([claimed.inputs[kind] for kind in listed])
    except VaultError:
        return None
    inputs = {kind: data for kind, data in zip(listed, found, strict=True) if data is not None}
    fits = all(len(inputs.get(kind, b"")) == file.bytes for kind, file in listed.items())
    return inputs if fits else None


def store_output(
    session: Session, vault: Vault, ticket: Ticket, output: Output, now: datetime
) -> None:
    """Store one of the attempt's outputs; it is visible once the attempt finishes.

    Raises Lost, BadResult (kind, type or size) or VaultError. Sent twice, the last one counts.
    """
    job = attempted(session, ticket)
    instance = None
    if job.instance_id is not None:
        instance = session.get_one(Instance, job.instance_id, populate_existing=True)
    blobs = write(session, vault, job, instance, [output], now)
    written = [blob.name for blob in blobs]
    try:
        job = attempted(session, ticket, lock=True)
        of_kind = Blob.kind.in_([blob.kind for blob in blobs])
        before = take_blobs(session, job.id, Blob.attempt == ticket.attempt, of_kind)
        session.add_all(blobs)
        session.flush()
    except BaseException:
        session.rollback()
        destroy_files(vault, written)
        raise
    database.commit(session)
    destroy_files(vault, before)


def write(
    session: Session,
    vault: Vault,
    job: Job,
    instance: Instance | None,
    outputs: Sequence[Output],
    now: datetime,
) -> list[Blob]:
    """Check outputs of the job's attempt and write their files in parallel; ends the transaction.

    `instance` is the job's picture; a job about none has no outputs. The caller enters their rows.
    Raises BadResult or VaultError; then no file is left.
    """
    if instance is None:
        raise BadResult(f"a {job.kind.value} job has no outputs")
    attempt = job.attempts
    picture = (instance.rows or 0, instance.columns or 0)
    kinds = [
        result_checks.check_output(job.kind, sent.kind, sent.data, sent.media_type, picture)
        for sent in outputs
    ]
    if len(set(kinds)) < len(kinds):
        raise BadResult("an output was sent twice at once")
    data_key = sealed_fields.instance_key_of(vault, instance)
    session.commit()  # the files are written while nothing is locked
    blobs = [
        Blob(
            id=uuid4(),
            instance_id=instance.id,
            job_id=job.id,
            attempt=attempt,
            kind=kind,
            size=len(sent.data),
            media_type=result_checks.OUTPUTS[job.kind][kind].media_type,
            created=now,
        )
        for kind, sent in zip(kinds, outputs, strict=True)
    ]
    # Nearly all of the time a write waits for the disk, so they wait together.
    with ThreadPoolExecutor(len(blobs)) as pool:
        writing = [
            pool.submit(
                vault.put,
                data_key,
                blob_id=blob.id,
                kind=blob.kind,
                attempt=attempt,
                data=sent.data,
            )
            for blob, sent in zip(blobs, outputs, strict=True)
        ]
    failed = next((error for one in writing if (error := one.exception())), None)
    if failed is not None:
        destroy_files(vault, [one.result() for one in writing if one.exception() is None])
        raise failed
    for blob, one in zip(blobs, writing, strict=True):
        blob.name = one.result()
    return blobs


def enter(
    session: Session, job: Job, ticket: Ticket, blobs: Sequence[Blob]
) -> tuple[list[Blob], list[str]]:
    """Add the rows of outputs that came with the result: all rows that the attempt then has.

    The others of the job are removed: those that these replace and those of attempts before. Also
    returns the names of their files, to be destroyed.
    """
    kinds = {blob.kind for blob in blobs}
    before = session.scalars(_OF_JOB, {"its_job": job.id}).all()
    stored = [one for one in before if one.attempt == ticket.attempt and one.kind not in kinds]
    gone = [one for one in before if one not in stored]
    names = [one.name for one in gone]
    if gone:
        session.execute(delete(Blob).where(Blob.id.in_([one.id for one in gone])))
    session.add_all(blobs)
    session.flush()
    return [*stored, *blobs], names
