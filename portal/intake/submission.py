"""Sending a picture in: rows, sealed file, audit row and render job, all of them or none."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, Permission, visible_studies
from portal.errors import Conflict
from portal.formats import dicom
from portal.formats.refusals import Refused
from portal.intake import check
from portal.jobs.claims import enqueue
from portal.models import Blob, BlobKind, Instance, JobKind, Study
from portal.studies import sealed_fields, worklist_order
from portal.vault import NotReadable, Vault, content_digest

DEFAULT_LIMITS: Final = check.Limits(64 * 1024 * 1024)
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a file. A duplicate leads to the study that is there already.

    `same_uid`: another picture had come under the same SOPInstanceUID; both are kept.
    """

    study_id: UUID
    case_number: str
    job_id: UUID | None
    duplicate: bool
    same_uid: bool = False


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keyed digests by which this file, picture, examination and patient are found again."""

    content: str
    sop: str | None
    study: str | None
    patient: str | None
    accession: str | None


def submit(
    session: Session,
    vault: Vault,
    actor: Actor,
    filename: str,
    data: bytes,
    now: datetime,
    *,
    limits: check.Limits = DEFAULT_LIMITS,
) -> Submitted:
    """Check a file and keep it; the caller rings for `job_id` afterwards.

    Raises Refused (the file), Conflict `already_sent` (a colleague's case, which the actor may not
    see) or VaultError (nothing is left behind). The same file, or another with the same
    SOPInstanceUID and the same pixels, is recognised within the team. Other pixels under a known
    UID are a case of their own: some machines and copying tools give a UID twice, and a picture
    that is called known is never read.
    """
    actor.require(Permission.STUDY_SUBMIT)
    upload = check.check(filename, data, limits)
    for _ in range(_TRIES - 1):
        try:
            return _take(session, vault, actor, upload, data, now)
        except IntegrityError:
            continue  # somebody sent this picture, or this UID, at the same moment and was first
    return _take(session, vault, actor, upload, data, now)


def _take(
    session: Session, vault: Vault, actor: Actor, upload: check.Upload, data: bytes, now: datetime
) -> Submitted:
    keys, namesake = _told_apart(session, vault, actor, upload, data)
    known = _known(session, actor, keys, now)
    if known is not None:
        return known
    session.commit()  # the file is written while nothing is locked

    study = Study(id=uuid4(), team_id=actor.team_id, uploaded_by=actor.user_id, created=now)
    study.weight = worklist_order.by_arrival(now)
    study.case_number = study.id.hex[:6].upper()
    data_key, wrapped = vault.new_data_key(study.id)
    study.wrapped_key, study.key_id = wrapped.wrapped, wrapped.key_id
    study.sealed_phi = sealed_fields.seal_phi(vault, data_key, study.id, upload.phi)
    study.patient_key, study.accession_key = keys.patient, keys.accession
    study.study_uid_key = keys.study
    instance = Instance(
        id=uuid4(),
        study_id=study.id,
        team_id=actor.team_id,
        sop_key=keys.sop,
        content_key=keys.content,
        media_type=upload.media_type,
        size=len(data),
        rows=upload.header["rows"],
        columns=upload.header["columns"],
        same_uid_as=namesake,
        created=now,
    )
    blob = Blob(
        id=uuid4(),
        study_id=study.id,
        instance_id=instance.id,
        kind=BlobKind.SOURCE,
        size=len(data),
        media_type=upload.media_type,
        current=True,
        created=now,
    )
    blob.name = vault.put(data_key, blob_id=blob.id, kind=blob.kind, attempt=0, data=data)
    detail = {"same_uid_as": namesake.hex} if namesake else None
    try:
        for row in (study, instance, blob):
            session.add(row)
            session.flush()
        job = enqueue(session, JobKind.RENDER, instance.id, now)
        audit.append(
            session, "study_submitted", actor=actor, now=now, study_id=study.id, detail=detail
        )
    except BaseException:
        session.rollback()
        vault.destroy(blob.name)
        raise
    database.commit(session)
    return Submitted(
        study.id, study.case_number, job.id, duplicate=False, same_uid=namesake is not None
    )


def _told_apart(
    session: Session, vault: Vault, actor: Actor, upload: check.Upload, data: bytes
) -> tuple[_Keys, UUID | None]:
    """The file's keys, and the study of another picture that came under its UID before."""
    keys = _keys(vault, upload, data)
    if keys.sop is None:
        return keys, None
    first = session.scalars(
        select(Instance).where(Instance.team_id == actor.team_id, Instance.sop_key == keys.sop)
    ).first()
    if first is None or first.content_key == keys.content:
        return keys, None
    digest = dicom.pixels_digest(data)
    if digest == _kept_digest(session, vault, first):
        return keys, None
    own = vault.lookup("sop_uid", f"{upload.keys['sop_uid']}:{digest}")
    return replace(keys, sop=own), first.study_id


def _kept_digest(session: Session, vault: Vault, instance: Instance) -> str | None:
    """The pixels' digest of a kept picture; None where its file can't be read any more."""
    blob = session.scalars(
        select(Blob).where(
            Blob.instance_id == instance.id, Blob.kind == BlobKind.SOURCE, Blob.current
        )
    ).first()
    if blob is None:
        return None
    try:
        data_key = sealed_fields.key_of(vault, session.get_one(Study, instance.study_id))
        kept = vault.get(data_key, blob_id=blob.id, kind=blob.kind, name=blob.name)
        return dicom.pixels_digest(kept)
    except (NotReadable, Refused):
        return None


def _keys(vault: Vault, upload: check.Upload, data: bytes) -> _Keys:
    def keyed(purpose: str) -> str | None:
        value = upload.keys.get(purpose)
        return vault.lookup(purpose, value) if value else None

    return _Keys(
        content=vault.lookup("content", content_digest(data)),
        sop=keyed("sop_uid"),
        study=keyed("study_uid"),
        patient=keyed("patient_id"),
        accession=keyed("accession"),
    )


def _known(session: Session, actor: Actor, keys: _Keys, now: datetime) -> Submitted | None:
    """The study that holds this picture already, if the team has one."""
    same = Instance.content_key == keys.content
    if keys.sop is not None:
        same = or_(same, Instance.sop_key == keys.sop)
    study_id = session.scalars(
        select(Instance.study_id).where(Instance.team_id == actor.team_id, same).limit(1)
    ).first()
    if study_id is None:
        return None
    study = session.scalars(visible_studies(actor).where(Study.id == study_id)).first()
    if study is None:
        raise Conflict("already_sent", "A colleague of your team has already sent this picture.")
    audit.append(session, "study_sent_again", actor=actor, now=now, study_id=study.id)
    session.commit()
    return Submitted(study.id, study.case_number, None, duplicate=True)
