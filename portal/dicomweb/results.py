"""The DICOM objects of results that a person gets: of the newest report that they may read.

Older sets are left out: a viewer would draw their outlines beside the newest ones. So is a set that
states what a model found whose results were withdrawn after it was made.
"""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.access import Actor
from portal.dicomweb.records import Served
from portal.jobs.results import object_archive
from portal.jobs.results.object_archive import BadArchive
from portal.models import Blob, BlobKind, Job, JobKind, JobState, Study
from portal.reports import made
from portal.studies import exams, stored_files
from portal.vault import NotReadable, Vault
from worker.contract.contents.object_content import MadeObject, ObjectKind

MODALITIES: Final = {
    ObjectKind.STRUCTURED_REPORT: "SR",
    ObjectKind.SEGMENTATION: "SEG",
    ObjectKind.CAPTURE: "OT",
    ObjectKind.PRESENTATION: "PR",
    ObjectKind.REPORT: "DOC",
    ObjectKind.REJECTION: "KO",
}
_MOST_LISTS: Final = 2000


class _Lists:
    """Which objects archives hold, by the archives' names; who asks has opened their key before."""

    def __init__(self) -> None:
        self._lists: OrderedDict[str, list[MadeObject]] = OrderedDict()
        self._lock = Lock()

    def get(self, name: str) -> list[MadeObject] | None:
        with self._lock:
            return self._lists.get(name)

    def put(self, name: str, objects: list[MadeObject]) -> None:
        with self._lock:
            self._lists[name] = objects
            while len(self._lists) > _MOST_LISTS:
                self._lists.popitem(last=False)


_lists: Final = _Lists()


def exams_with_some(session: Session, ids: Sequence[UUID]) -> set[UUID]:
    """Of these exams, those of which objects were ever made."""
    query = select(Job.study_id).where(
        Job.study_id.in_(ids), Job.kind == JobKind.ENCODE, Job.state == JobState.DONE
    )
    return {one for one in session.scalars(query) if one is not None}


def archives(
    session: Session, actor: Actor, study: Study, pictures: Sequence[Served]
) -> list[tuple[Blob, Served]]:
    """The archive of each picture that has one which the actor may read."""
    readable = [one for one in made.readable(session, actor, study) if one.with_ai and one.objects]
    jobs = list[Job]()
    created = None
    for report in reversed(readable):
        query = select(Job).where(
            Job.kind == JobKind.ENCODE,
            Job.target == report.report_id.hex,
            Job.state == JobState.DONE,
        )
        jobs = list(session.scalars(query))
        if jobs:
            created = report.created
            break
    if created is None:
        return []
    withdrawn = set[UUID]()
    for picture_id, prediction in exams.last_predictions(session, [study.id]).items():
        retracted = prediction.model.retracted_at
        if retracted is not None and retracted > created:
            withdrawn.add(picture_id)
    by_picture = {one.picture_id: one for one in pictures}
    blobs = session.scalars(
        select(Blob).where(
            Blob.job_id.in_([job.id for job in jobs]), Blob.kind == BlobKind.REPORT, Blob.current
        )
    )
    return [
        (blob, by_picture[blob.instance_id])
        for blob in blobs
        if blob.instance_id in by_picture and blob.instance_id not in withdrawn
    ]


def served(vault: Vault, blob: Blob, picture: Served) -> list[Served]:
    """The objects of an archive about this picture; NotReadable where it is damaged."""
    objects = _lists.get(blob.name)
    if objects is None:
        try:
            objects = object_archive.listed(stored_files.read(vault, picture.data_key, blob))
        except BadArchive:
            raise NotReadable("an archive of objects is damaged") from None
        _lists.put(blob.name, objects)
    return [
        Served(
            exam_id=picture.exam_id,
            picture_id=picture.picture_id,
            study_uid=picture.study_uid,
            series_uid=one.series,
            sop_uid=one.instance,
            patient=picture.patient,
            blob=blob,
            data_key=picture.data_key,
            member=one.file,
            modality=MODALITIES[one.kind],
            sha256=one.sha256,
        )
        for one in objects
    ]
