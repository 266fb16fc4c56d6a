"""Versions of a picture's outline: added, never changed. Each is a file and a row that names it."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.jobs import claims
from portal.jobs.attempts import destroy_files
from portal.models import Blob, BlobKind, Instance, JobKind, Outline
from portal.outlines import model_outline
from portal.reading.case import look
from portal.studies import exams, reader_outlines, sealed_fields, stored_files
from portal.studies.reader_outlines import Measuring
from portal.teams import ai_visibility
from portal.vault import NotReadable, Vault
from worker.contract import outline_runs
from worker.contract.outline_runs import RUNS, Run


@dataclass(frozen=True, slots=True)
class Written:
    """A version whose file is stored and whose row is not yet: its caller adds or discards it."""

    outline: Outline
    blob: Blob


def write(
    session: Session,
    vault: Vault,
    instance: Instance,
    author_id: UUID,
    data: bytes,
    runs: Sequence[Run],
    now: datetime,
    *,
    kept: bool = False,
    outline_id: UUID | None = None,
    authors: Collection[UUID] | None = None,
) -> Written:
    """Compare an outline with the model's and with the version before, and write its file.

    `authors`: whose versions its author sees, see `ai_visibility.readings`; None: all.

    Ends the transaction: files are written while nothing is locked. NotReadable or VaultError.
    """
    assert instance.rows is not None
    assert instance.columns is not None
    size = instance.rows, instance.columns
    before = reader_outlines.newest(session, [instance.id], authors).get(instance.id)
    model = model_outline.of(session, vault, instance)
    data_key = sealed_fields.instance_key_of(vault, instance)
    older = read_runs(session, vault, instance, before) if before is not None else None
    session.commit()
    blob = Blob(
        id=uuid4(),
        instance_id=instance.id,
        kind=BlobKind.REVIEW_MASK,
        size=len(data),
        media_type=RUNS,
        current=True,
        created=now,
    )
    blob.name = vault.put(data_key, blob_id=blob.id, kind=blob.kind, attempt=0, data=data)
    try:
        if stored_files.read(vault, data_key, blob) != data:
            raise NotReadable("an outline is not stored as it was written")
        digest = hashlib.sha256(vault.sealed_file(blob.name)).hexdigest()
    except BaseException:
        destroy_files(vault, [blob.name])
        raise
    outline = Outline(
        id=outline_id or uuid4(),
        instance_id=instance.id,
        author_id=author_id,
        before_id=before.id if before else None,
        prediction_id=model.prediction_id if model else None,
        blob_id=blob.id,
        file_sha256=digest,
        rows=size[0],
        columns=size[1],
        pixels=outline_runs.pixels(runs),
        dice_model=round(outline_runs.dice(runs, model.runs), 6) if model else None,
        dice_before=round(outline_runs.dice(runs, outline_runs.decode(older, *size)), 6)
        if older is not None
        else None,
        kept=kept,
        created=now,
    )
    return Written(outline, blob)


def add(session: Session, written: Written, instance: Instance, now: datetime) -> UUID:
    """Add a written version in the caller's transaction; returns its measure job's id.

    The caller logs it, and announces the job after the commit.
    """
    session.add_all([written.blob, written.outline])
    session.flush()
    target = written.outline.id.hex
    job = claims.enqueue(session, JobKind.MEASURE, now, instance=instance, target=target)
    return job.id


def state(
    session: Session, actor: Actor, study_id: UUID, picture: UUID | None
) -> tuple[UUID | None, Measuring]:
    """The newest version of a picture's outline, and whether it is measured; None: of the picture
    that stands for the exam. There is no row in the log, so callers must show no more than that.
    Denied as in `read`.
    """
    actor.require(Permission.STUDY_READ)
    study = look(session, actor, study_id)
    rows = exams.pictures(session, [study.id])[study.id]
    shown = exams.leading(rows, study_id).id if picture is None else picture
    if shown not in {row.id for row in rows}:
        raise Denied("picture")
    authors = ai_visibility.readings(session, [study.id]).authors(actor, study.id)
    found = reader_outlines.versions(session, [shown], authors)
    session.commit()
    return (found[-1].outline_id, found[-1].measuring) if found else (None, "done")


def discard(vault: Vault, written: Written | None) -> None:
    """Remove the file of a version that was not added."""
    if written is not None:
        destroy_files(vault, [written.blob.name])


def read_runs(session: Session, vault: Vault, instance: Instance, outline: Outline) -> bytes:
    """The bytes of a version; NotReadable where its file is missing, changed or another's."""
    blob = session.get(Blob, outline.blob_id)
    if blob is None:
        raise NotReadable("an outline has no file")
    data_key = sealed_fields.instance_key_of(vault, instance)
    if hashlib.sha256(vault.sealed_file(blob.name)).hexdigest() != outline.file_sha256:
        raise NotReadable("an outline's file is not the one that was written")
    return stored_files.read(vault, data_key, blob)


def read(
    session: Session, vault: Vault, actor: Actor, study_id: UUID, outline_id: UUID, now: datetime
) -> tuple[bytes, Outline]:
    """A version's runs, with one audit row; Denied where the actor may not see the case, where it
    has no such version, or one that they may not see yet (`ai_visibility.readings`).
    """
    actor.require(Permission.STUDY_READ)
    study = look(session, actor, study_id)
    pictures = {row.id: row for row in exams.pictures(session, [study.id])[study.id]}
    outline = session.get(Outline, outline_id)
    authors = ai_visibility.readings(session, [study.id]).authors(actor, study.id)
    if outline is None or outline.instance_id not in pictures:
        raise Denied("outline")
    if authors is not None and outline.author_id not in authors:
        raise Denied("outline")
    instance = pictures[outline.instance_id]
    data = read_runs(session, vault, instance, outline)
    audit.append(
        session,
        "outline_read",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=outline.id,
    )
    session.commit()
    return data, outline
