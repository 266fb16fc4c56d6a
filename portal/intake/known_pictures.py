"""Whether a picture is here already, decided by its content, and the answer where it is.

The look locks nothing, and no transaction is open while a file is read or compared. What it found
is decided again under the exam's lock, and by the unique indexes of the table. A known picture
whose stored file is lost gets it back from the same file.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, visible_studies
from portal.errors import Conflict
from portal.formats.refusals import Refused
from portal.intake import check
from portal.jobs.claims import queue_again
from portal.languages import _
from portal.models import BlobKind, Instance, Job, JobKind, JobState, Study
from portal.studies import header_columns, sealed_fields, stored_files
from portal.vault import NotReadable, Vault, content_digest


class Changed(Exception):
    """What was found has changed since: the caller begins anew."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The keyed digests by which this file, picture and exam are found again."""

    content: str
    sop: str | None
    study: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """The file's keys, the picture that came under its UID before, and this picture if known.

    `is_lost`: the known picture has this very file, and its stored copy can't be read any more.
    """

    keys: Keys
    namesake: Instance | None = None
    known: Instance | None = None
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """The exam that holds the picture. `stored_again`: its lost file was put back; `job_id`: the
    job that had failed without it, to be announced."""

    study: Study
    instance_id: UUID
    stored_again: bool = False
    job_id: UUID | None = None


def look_up(
    session: Session,
    vault: Vault,
    actor: Actor,
    upload: check.Upload,
    data: bytes,
    work: check.Work,
) -> Found:
    """Find the file, or a picture of its UID, within the team; reading is counted in `work`.

    Known is what has the same content, or what was compared here and has the same pixels: another
    row under the same UID may have come a moment ago and be another picture. One that can't be read
    any more counts as another.
    """
    keys = Keys(
        content=vault.lookup("content", content_digest(data)),
        sop=header_columns.keyed(vault, "sop_uid", upload.keys),
        study=header_columns.keyed(vault, "study_uid", upload.keys),
    )
    known = _of_team(session, actor, content_key=keys.content)
    if known is not None:
        return Found(keys, known=known, is_lost=not _is_readable(session, vault, known, work))
    first = _of_team(session, actor, sop_key=keys.sop) if keys.sop else None
    if first is None:
        return Found(keys)
    session.commit()  # nothing waits while pixels are compared
    digest = check.pixels_digest(data, work)
    if digest == _stored_digest(session, vault, first, work):
        return Found(keys, known=first)
    of_pixels = f"{upload.keys['sop_uid']}:{digest}"
    own = vault.lookup("sop_uid", of_pixels)
    known = _of_team(session, actor, sop_key=own)
    if known is not None and not _is_readable(session, vault, known, work):
        own, known = vault.lookup("sop_uid", f"{of_pixels}:{keys.content}"), None
    return Found(replace(keys, sop=own), first, known)


def decide(
    session: Session, vault: Vault, actor: Actor, found: Found, data: bytes, now: datetime
) -> Known:
    """Answer for a known picture under its exam's lock; a lost file is put back. Commits.

    Raises Changed where the exam was purged or joined meanwhile, Conflict `already_sent` (the
    actor may not see the case) or `key_missing`, or VaultError.
    """
    instance = found.known
    assert instance is not None
    job = _render_job(session, instance) if found.is_lost else None  # locked before its study
    study = session.get_one(
        Study, instance.study_id, with_for_update={"key_share": True}, populate_existing=True
    )
    session.refresh(instance)
    if study.purged_at is not None or instance.study_id != study.id:
        raise Changed
    if found.is_lost:
        _put_back(session, vault, instance, data)
    if job is not None:
        queue_again(session, job)
    visible = session.scalars(visible_studies(actor).where(Study.id == study.id)).first()
    if visible is not None or found.is_lost:
        detail = {"stored_again": instance.id.hex} if found.is_lost else {}
        audit.append(
            session, "study_sent_again", actor=actor, now=now, study_id=study.id, detail=detail
        )
    database.commit(session)
    if visible is None:
        raise Conflict("already_sent", "A colleague of your team has already sent this picture.")
    return Known(study, instance.id, found.is_lost, job.id if job is not None else None)


def _render_job(session: Session, instance: Instance) -> Job | None:
    """The picture's first job where it has failed, as it does without a file."""
    job = session.scalars(
        select(Job)
        .where(Job.instance_id == instance.id, Job.kind == JobKind.RENDER)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).first()
    return job if job is not None and job.state is JobState.FAILED else None


def _put_back(session: Session, vault: Vault, instance: Instance, data: bytes) -> None:
    """Write the file again under its name, while a purge waits."""
    blob = stored_files.current(session, instance.id, BlobKind.SOURCE)
    try:
        data_key = sealed_fields.instance_key_of(vault, instance)
    except NotReadable:
        blob = None
    if blob is None:
        session.rollback()
        raise Conflict(
            "key_missing",
            _("This picture is stored, but its key is missing. Inform an administrator."),
        )
    vault.put(data_key, blob_id=blob.id, kind=blob.kind, attempt=blob.attempt, data=data)


def _of_team(session: Session, actor: Actor, **same: str | None) -> Instance | None:
    database.begin_reading(session)
    return session.scalars(select(Instance).filter_by(team_id=actor.team_id, **same)).first()


def _stored(session: Session, vault: Vault, instance: Instance) -> bytes:
    """The picture's file; NotReadable where there is none that can be read."""
    blob = stored_files.current(session, instance.id, BlobKind.SOURCE)
    if blob is None:
        raise NotReadable("a picture has no file")
    data_key = sealed_fields.instance_key_of(vault, instance)
    session.commit()  # nothing waits while the file is read
    return stored_files.read(vault, data_key, blob)


def _is_readable(session: Session, vault: Vault, instance: Instance, work: check.Work) -> bool:
    try:
        with _counted(work):
            _stored(session, vault, instance)
    except NotReadable:
        return False
    return True


def _stored_digest(
    session: Session, vault: Vault, instance: Instance, work: check.Work
) -> str | None:
    """The pixels' digest of a stored picture; None where its file can't be read any more.

    Read once for one upload: a ZIP may hold thousands of files under one UID.
    """
    if instance.id not in work.pixels:
        try:
            with _counted(work):
                data = _stored(session, vault, instance)
            work.pixels[instance.id] = check.pixels_digest(data, work)
        except (NotReadable, Refused):
            return None
    return work.pixels[instance.id]


@contextmanager
def _counted(work: check.Work) -> Iterator[None]:
    """Add this thread's processor time to what reading the upload has taken."""
    began = time.thread_time()
    try:
        yield
    finally:
        work.seconds += time.thread_time() - began
