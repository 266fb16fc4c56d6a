"""What of exams a person gets by DICOMweb: the one place that decides it.

Pictures that came as DICOM and have UIDs of their own, byte for byte; not one that came under the
SOPInstanceUID of another, which a viewer would take for the other. Results as far as the same
person may read the reports that they were made of (`results`). An exam of which rows or files are
damaged keeps the rest.
"""

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from portal import database
from portal.access import Actor, Permission, visible_studies
from portal.dicomweb import results
from portal.dicomweb.records import NOTHING, ExamInstances, Served
from portal.models import Blob, BlobKind, Instance, Study
from portal.studies import exams, sealed_fields
from portal.vault import NotReadable, Vault

DICOM: Final = "application/dicom"
# What is served names the patient: it takes the right to take it out of the portal as well.
NEEDED: Final = (Permission.STUDY_LIST, Permission.STUDY_READ, Permission.STUDY_EXPORT)


def require(actor: Actor) -> None:
    """Denied unless the actor may have what is served at all."""
    for permission in NEEDED:
        actor.require(permission)


def _is_served() -> tuple[ColumnElement[bool], ...]:
    return (
        Instance.media_type == DICOM,
        Instance.sop_key.is_not(None),
        Instance.series_uid_key.is_not(None),
        Instance.same_uid_as.is_(None),
        Instance.wrapped_key.is_not(None),
    )


def of_exams(
    session: Session, vault: Vault, actor: Actor, ids: Sequence[UUID]
) -> dict[UUID, ExamInstances]:
    """What these exams have for the actor, who may see them; the caller logs it and commits."""

    def read(some: Sequence[UUID]) -> dict[UUID, list[tuple[Instance, Blob | None]]]:
        found: dict[UUID, list[tuple[Instance, Blob | None]]] = {one: [] for one in some}
        rows = session.execute(
            select(Instance, Blob)
            .outerjoin(
                Blob,
                (Blob.instance_id == Instance.id) & (Blob.kind == BlobKind.SOURCE) & Blob.current,
            )
            .where(Instance.study_id.in_(some), *_is_served())
            .order_by(Instance.created, Instance.id)
            .execution_options(populate_existing=True)
        )
        for instance, blob in rows:
            found[instance.study_id].append((instance, blob))
        return found

    rows, damaged = database.read_readable(session, ids, read)
    pictures = {one: _pictures(vault, found) for one, found in rows.items()}
    pictures |= {one: ExamInstances((), 1) for one in damaged}
    return _with_results(session, vault, actor, pictures)


def _pictures(vault: Vault, rows: Sequence[tuple[Instance, Blob | None]]) -> ExamInstances:
    found, damaged = list[Served](), 0
    for instance, blob in rows:
        try:
            one = _picture(vault, instance, blob)
        except (NotReadable, ValueError, TypeError, KeyError):
            damaged += 1
            continue
        if one is not None:
            found.append(one)
    return ExamInstances(tuple(found), damaged)


def _picture(vault: Vault, instance: Instance, blob: Blob | None) -> Served | None:
    """A picture; None where its header has no UIDs by which it could be asked for."""
    if blob is None:
        raise NotReadable("a picture has no file")
    data_key = sealed_fields.instance_key_of(vault, instance)
    uids = sealed_fields.open_picture_uids(vault, data_key, instance)
    if uids is None:
        return None
    study_uid, series_uid, sop_uid = uids
    return Served(
        exam_id=instance.study_id,
        picture_id=instance.id,
        study_uid=study_uid,
        series_uid=series_uid,
        sop_uid=sop_uid,
        patient=sealed_fields.open_picture_patient(vault, data_key, instance),
        blob=blob,
        data_key=data_key,
    )


def _with_results(
    session: Session, vault: Vault, actor: Actor, pictures: dict[UUID, ExamInstances]
) -> dict[UUID, ExamInstances]:
    """Add the objects of results; those that can't be read are counted."""
    found = dict(pictures)
    ids = [one for one, known in pictures.items() if known.served]
    if not ids:
        return found

    def made(some: Sequence[UUID]) -> dict[UUID, list[tuple[Blob, Served]]]:
        with_some = results.exams_with_some(session, some)
        archives = dict[UUID, list[tuple[Blob, Served]]]()
        for study in session.scalars(select(Study).where(Study.id.in_(with_some))):
            known = pictures[study.id].served
            archives[study.id] = results.archives(session, actor, study, known)
        return archives

    archives, damaged = database.read_readable(session, ids, made)
    session.commit()  # nothing waits while files are read
    for exam_id, of_exam in archives.items():
        served, lost = list(found[exam_id].served), found[exam_id].damaged
        for blob, picture in of_exam:
            try:
                served += results.served(vault, blob, picture)
            except NotReadable:
                lost += 1
        found[exam_id] = ExamInstances(tuple(served), lost)
    for exam_id in damaged:
        found[exam_id] = ExamInstances(found[exam_id].served, found[exam_id].damaged + 1)
    return found


def exam_of(session: Session, vault: Vault, actor: Actor, study_uid: str) -> UUID | None:
    """The exam in the actor's list that holds the pictures of a StudyInstanceUID."""
    named = select(exams.exam_id()).where(
        Study.team_id == actor.team_id, Study.study_uid_key == vault.lookup("study_uid", study_uid)
    )
    return session.scalars(
        visible_studies(actor).where(Study.id.in_(named)).with_only_columns(Study.id)
    ).first()


def of_study(
    session: Session, vault: Vault, actor: Actor, study_uid: str
) -> tuple[UUID | None, ExamInstances]:
    """The exam with this StudyInstanceUID and what of it is served; nothing for another's."""
    exam_id = exam_of(session, vault, actor, study_uid)
    if exam_id is None:
        return None, NOTHING
    found = of_exams(session, vault, actor, [exam_id])[exam_id]
    own = tuple(one for one in found.served if one.study_uid == study_uid)
    return exam_id, ExamInstances(own, found.damaged)


def by_study(served: Collection[Served]) -> dict[str, list[Served]]:
    """The instances of each StudyInstanceUID: pictures of joined exams have several."""
    found: dict[str, list[Served]] = {}
    for one in served:
        found.setdefault(one.study_uid, []).append(one)
    return found
