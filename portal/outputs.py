"""What an attempt reads and stores: its job's inputs, and outputs that wait for its end."""

from datetime import datetime
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import results, sealing
from portal.attempts import attempted, destroy_files, take_blobs
from portal.models import Blob, Instance, Study
from portal.results import BadResult
from portal.tickets import Ticket
from portal.vault import Vault


def read_input(s: Session, vault: Vault, ticket: Ticket, kind: str) -> tuple[bytes, str]:
    """One of the job's inputs and its media type; Lost, or BadResult for one that it has not."""
    job = attempted(s, ticket)
    allowed = {blob.value: blob for blob in results.INPUTS.get(job.kind, ())}
    if kind not in allowed:
        raise BadResult("the job has no such input")
    blob = s.scalars(
        select(Blob).where(
            Blob.instance_id == job.instance_id, Blob.kind == allowed[kind], Blob.current
        )
    ).one_or_none()
    if blob is None:
        raise BadResult("the job has no such input")
    data_key = sealing.key_of(vault, s.get_one(Study, job.study_id))
    s.commit()
    return vault.get(data_key, blob_id=blob.id, kind=blob.kind, name=blob.name), blob.media_type


def store_output(
    s: Session,
    vault: Vault,
    ticket: Ticket,
    kind: str,
    data: bytes,
    media_type: str,
    now: datetime,
) -> None:
    """Keep one of the attempt's outputs; it is seen once the attempt finishes.

    Raises Lost, BadResult (kind, type or size) or VaultError. Sent twice, the last one counts.
    """
    job = attempted(s, ticket)
    instance = s.get_one(Instance, job.instance_id)
    pixels = (instance.rows or 0) * (instance.columns or 0)
    output = results.check_output(job.kind, kind, data, media_type, pixels)
    data_key = sealing.key_of(vault, s.get_one(Study, job.study_id))
    s.commit()  # the file is written while nothing is locked
    blob = Blob(
        id=uuid4(),
        study_id=job.study_id,
        instance_id=job.instance_id,
        job_id=job.id,
        attempt=ticket.attempt,
        kind=output,
        size=len(data),
        media_type=results.OUTPUTS[job.kind][output].media_type,
        created=now,
    )
    blob.name = vault.put(data_key, blob_id=blob.id, kind=output, attempt=ticket.attempt, data=data)
    try:
        attempted(s, ticket, lock=True)
        before = take_blobs(s, job.id, Blob.attempt == ticket.attempt, Blob.kind == output)
        s.add(blob)
        s.commit()
    except BaseException:
        s.rollback()
        vault.destroy(blob.name)
        raise
    destroy_files(vault, before)
