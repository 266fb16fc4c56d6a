"""Objects that are no pictures, or that Pleura has made: filed to their exam, never analysed.

The file lies under the key of a picture of the exam, so it is moved, backed up and purged with it.
"""

from datetime import datetime
from typing import Final
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, Permission
from portal.intake import submission
from portal.intake.check import ObjectHeader
from portal.models import Blob, BlobKind, DicomNode, DicomObject, Instance, Study
from portal.studies import exams, sealed_fields
from portal.vault import NotReadable, Vault

_TRIES: Final = 4


class NoExam(Exception):
    """The object's exam is not here, or has no picture any more."""


class _Changed(Exception):
    """The exam was purged or joined meanwhile: looked for anew."""


def file(
    session: Session,
    vault: Vault,
    actor: Actor,
    node: DicomNode | None,
    header: ObjectHeader,
    data: bytes,
    now: datetime,
) -> bool:
    """Store an object with its exam, with one audit row; False where it is there already. `node`:
    the one that sent it by DICOM.

    Raises NoExam, or VaultError with nothing left behind.
    """
    actor.require(Permission.STUDY_SUBMIT)
    key = vault.lookup("sop_uid", header.sop_uid)
    for _ in range(_TRIES):
        if is_filed(session, actor, key):
            return False
        try:
            _file(session, vault, actor, node, header, key, data, now)
            return True
        except (_Changed, IntegrityError):
            session.rollback()  # the exam has changed, or another association has just stored it
    raise NoExam


def is_filed(session: Session, actor: Actor, sop_key: str) -> bool:
    """Whether the team has an object of this UID."""
    same = (DicomObject.team_id == actor.team_id, DicomObject.sop_key == sop_key)
    database.begin_reading(session)
    found = session.scalar(select(DicomObject.id).where(*same)) is not None
    session.commit()
    return found


def _file(
    session: Session,
    vault: Vault,
    actor: Actor,
    node: DicomNode | None,
    header: ObjectHeader,
    key: str,
    data: bytes,
    now: datetime,
) -> None:
    picture = _picture(session, vault, actor, header)
    data_key = sealed_fields.instance_key_of(vault, picture)
    session.commit()  # the file is written while nothing is locked
    blob = Blob(
        id=uuid4(),
        instance_id=picture.id,
        kind=BlobKind.FILED_OBJECT,
        size=len(data),
        media_type="application/dicom",
        current=True,
        created=now,
    )
    blob.name = vault.put(data_key, blob_id=blob.id, kind=blob.kind, attempt=0, data=data)
    try:
        study = session.get_one(
            Study, picture.study_id, with_for_update={"key_share": True}, populate_existing=True
        )
        session.refresh(picture)
        if study.purged_at is not None or picture.study_id != study.id:
            raise _Changed
        session.add(blob)
        session.add(
            DicomObject(
                instance_id=picture.id,
                team_id=actor.team_id,
                node_id=node.id if node is not None else None,
                blob_id=blob.id,
                sop_key=key,
                sop_class=header.sop_class,
                made_here=header.made_here,
                created=now,
            )
        )
        audit.append(
            session,
            "dicom_object_filed",
            actor=actor,
            now=now,
            study_id=study.id,
            subject_id=picture.id,
            detail={"sop_class": header.sop_class, "made_here": header.made_here},
        )
    except BaseException:
        session.rollback()
        vault.destroy(blob.name)
        raise
    database.commit(session)


def _picture(session: Session, vault: Vault, actor: Actor, header: ObjectHeader) -> Instance:
    """The picture with which the object is stored: the first one of its exam."""
    key = vault.lookup("study_uid", header.study_uid) if header.study_uid else None
    database.begin_reading(session)
    study = submission.exam_of(session, actor, key)
    found = exams.pictures(session, [study.id])[study.id] if study is not None else []
    for picture in found:
        try:
            sealed_fields.instance_key_of(vault, picture)
        except NotReadable:
            continue
        return picture
    session.commit()
    raise NoExam
