"""The DICOM objects of a report: asked for, made by a worker for each picture, and downloaded.

They are about the exam as it was when the report was asked for. So they are made of its newest
report alone: where the exam has changed since, there is a new one first. One job makes those of one
picture, and its archive is an encrypted file of that picture. UIDs follow from ids of the record by
a keyed digest: the same report has the same ones, however often it is made.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal import audit, database
from portal.access import Actor, Denied, Permission
from portal.errors import Conflict
from portal.jobs import claims
from portal.jobs.attempts import destroy_files
from portal.jobs.results import object_archive
from portal.jobs.results.object_archive import BadArchive
from portal.languages import _
from portal.models import (
    Blob,
    BlobKind,
    Instance,
    Job,
    JobKind,
    JobState,
    Language,
    Report,
    ReportFile,
    Study,
    Team,
)
from portal.reading import case
from portal.reading.case_records import PictureView, StudyView
from portal.reports import made, pictures, requests
from portal.reports.pictures import PictureFile
from portal.studies import exams, sealed_fields, stored_files
from portal.vault import NotReadable, Vault
from worker.contract.contents import object_content
from worker.contract.contents.object_content import MANIFEST, EarlierObject, ObjectContent
from worker.contract.files import BYTES

_DICOM: Final = "application/dicom"
_NO_DATE: Final = (1980, 1, 1, 0, 0, 0)
# Of what is asked for, a UID: 2.25 and 128 bits (DICOM PS3.5 B.2).
Uids = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class About:
    """What the objects of one picture are about: `file` is None where it could not be prepared,
    `pdf_bytes` 0 where another picture of the exam has the report. `before`: the objects that
    these replace.
    """

    view: StudyView
    picture: PictureView
    file: PictureFile | None
    report_id: UUID
    created: datetime
    team: str
    pdf_bytes: int
    before: list[EarlierObject]
    uid: Uids


# What the objects of a picture state, and the bytes of the outlines that it lists.
Compose = Callable[[About], tuple[ObjectContent, list[bytes]]]


@dataclass(frozen=True, slots=True)
class Archive:
    """The objects of a report as one ZIP, and what it is called: nothing of the patient."""

    name: str
    data: bytes = field(repr=False)


def request(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    report_id: UUID,
    compose: Compose,
    now: datetime,
) -> list[UUID]:
    """Ask for the objects of a report, with one audit row; the jobs to be announced.

    Those that were made are not made again; those that failed are tried again. Denied where the
    actor may not see exam or report. Conflict `not_ready` before the PDF is made, `no_ai_result`
    where the report holds nothing of the AI, `changed` where the exam is another since, `no_dicom`
    where no picture came as DICOM under a UID of its own. NotReadable for damaged files.
    """
    actor.require(Permission.STUDY_EXPORT)
    study = case.load(session, actor, study_id)
    report, file = _report(session, actor, study, report_id)
    known = _jobs(session, [report.id])
    if known:
        return _again(session, actor, study, report, known, now)
    view = _checked(session, vault, actor, study, report, now)
    rows = {row.id: row for row in exams.pictures(session, [study.id])[study.id]}
    ours = [one for one in view.pictures if _can_be_referred_to(rows[one.instance_id])]
    if not ours:
        session.commit()
        raise Conflict(
            "no_dicom",
            _(
                "No picture of this case came as DICOM with a UID of its own: there is nothing "
                "that DICOM objects could refer to."
            ),
        )
    team = session.get_one(Team, study.team_id).name
    keys = {
        one.instance_id: sealed_fields.instance_key_of(vault, rows[one.instance_id]) for one in ours
    }
    before = {
        one.instance_id: _before(session, vault, study, report, rows[one.instance_id])
        for one in ours
    }
    pdf = _pdf(session, vault, file)
    files = {one.instance_id: one for one in pictures.of(session, vault, view, with_ai=True)}
    blobs = list[Blob]()
    try:
        for number, picture in enumerate(ours):
            own = files.get(picture.instance_id)
            with_pdf = pdf if number == 0 else b""
            about = About(
                view=view,
                picture=picture,
                file=own,
                report_id=report.id,
                created=now,
                team=team,
                pdf_bytes=len(with_pdf),
                before=before[picture.instance_id],
                uid=_uids(vault, study.team_id),
            )
            content, outlines = compose(about)
            jpeg = own.jpeg if own else b""
            data = object_content.pack(content, jpeg, outlines, with_pdf)
            blobs.append(_stored(vault, keys[picture.instance_id], picture.instance_id, data, now))
        job_ids = _add(session, vault, actor, study_id, report.id, blobs, now)
    except BaseException:
        session.rollback()
        destroy_files(vault, [blob.name for blob in blobs])
        raise
    database.commit(session)
    return job_ids


def read(
    session: Session, vault: Vault, actor: Actor, study_id: UUID, report_id: UUID, now: datetime
) -> Archive:
    """The objects of all pictures, with one audit row. Denied where the actor may not see exam or
    report, or none are made; NotReadable where a file is missing or damaged.
    """
    actor.require(Permission.STUDY_EXPORT)
    study = case.load(session, actor, study_id)
    report = _report(session, actor, study, report_id)[0]
    number = next(
        o.number for o in made.readable(session, actor, study) if o.report_id == report.id
    )
    blobs = archives_of(session, report.id)
    if not blobs:
        raise Denied("objects")
    order = [row.id for row in exams.pictures(session, [study.id])[study.id]]
    keys = {
        one: sealed_fields.instance_key_of(vault, session.get_one(Instance, one)) for one in blobs
    }
    session.commit()
    packed = {
        order.index(one) + 1: stored_files.read(vault, keys[one], blob)
        for one, blob in blobs.items()
        if one in order
    }
    data = _joined(packed)
    study = case.load(session, actor, study_id)
    audit.append(
        session,
        "objects_read",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=report_id,
        detail={"sha256": hashlib.sha256(data).hexdigest(), "pictures": len(packed)},
    )
    session.commit()
    return Archive(f"dicom-{study.case_number}-{number}.zip", data)


def archives_of(session: Session, report_id: UUID) -> dict[UUID, Blob]:
    """The archives of a report's objects that are made, by picture. The caller has checked that
    they may be taken out.
    """
    done = [job.id for job in _jobs(session, [report_id]) if job.state is JobState.DONE]
    query = select(Blob).where(Blob.job_id.in_(done), Blob.kind == BlobKind.REPORT, Blob.current)
    return {blob.instance_id: blob for blob in session.scalars(query)}


def is_current(
    session: Session, vault: Vault, actor: Actor, study: Study, report_id: UUID, now: datetime
) -> bool:
    """Whether the exam is still what a report of the AI result is about, for the same actor."""
    report = session.get_one(Report, report_id)
    view = case.view_of(session, vault, actor, study, study.id, now, with_others=False)
    return view.ai.is_visible and _is_about_this(view, report)


def _report(
    session: Session, actor: Actor, study: Study, report_id: UUID
) -> tuple[Report, ReportFile]:
    """A report that the actor may read, and its PDF."""
    known = {one.report_id for one in made.readable(session, actor, study)}
    if report_id not in known:
        raise Denied("report")
    file = session.get(ReportFile, report_id)
    if file is None:
        session.commit()
        raise Conflict("not_ready", _("The report is not made yet."))
    return session.get_one(Report, report_id), file


def _checked(
    session: Session, vault: Vault, actor: Actor, study: Study, report: Report, now: datetime
) -> StudyView:
    """The exam, where it is still what the report is about."""
    view = case.view_of(session, vault, actor, study, study.id, now, with_others=False)
    if not report.with_ai or not view.ai.is_visible:
        session.commit()
        raise Conflict(
            "no_ai_result",
            _("This report holds nothing of what the AI found: DICOM objects are about that."),
        )
    if not _is_about_this(view, report):
        session.commit()
        raise Conflict(
            "changed",
            _("The case has changed since. Make a new report, then its DICOM objects."),
        )
    return view


def _is_about_this(view: StudyView, report: Report) -> bool:
    """Whether a report is about the exam as it is. Its objects are in English, whatever language
    the report is in and the team speaks by now.
    """
    same = (requests.basis_of(view, with_ai=True, language=language) for language in Language)
    return report.basis in same


def _can_be_referred_to(row: Instance) -> bool:
    """Not a picture that came under another one's UID: a viewer would show the other one."""
    return row.media_type == _DICOM and row.same_uid_as is None


def _jobs(session: Session, report_ids: list[UUID]) -> list[Job]:
    targets = [one.hex for one in report_ids]
    query = select(Job).where(Job.kind == JobKind.ENCODE, Job.target.in_(targets))
    return list(session.scalars(query.execution_options(populate_existing=True)))


def _again(
    session: Session, actor: Actor, study: Study, report: Report, known: list[Job], now: datetime
) -> list[UUID]:
    failed = [job for job in known if job.state is JobState.FAILED]
    for job in failed:
        session.refresh(job, with_for_update=True)
        if job.state is JobState.FAILED:
            claims.queue_again(session, job)
    if failed:
        audit.append(
            session,
            "objects_requested",
            actor=actor,
            now=now,
            study_id=study.id,
            subject_id=report.id,
            detail={"again": True},
        )
    session.commit()
    return [job.id for job in failed]


def _before(
    session: Session, vault: Vault, study: Study, report: Report, row: Instance
) -> list[EarlierObject]:
    """The objects that were made last of this picture for an earlier report of the exam."""
    earlier = session.scalars(
        select(Report)
        .join(Study, Study.id == Report.study_id)
        .where(exams.is_of([study.id]), Report.id != report.id, Report.created <= report.created)
        .order_by(Report.created.desc(), Report.id.desc())
    ).all()
    done = {
        job.target: job
        for job in _jobs(session, [one.id for one in earlier])
        if job.instance_id == row.id and job.state is JobState.DONE
    }
    for one in earlier:
        job = done.get(one.id.hex)
        blob = (
            job
            and session.scalars(
                select(Blob).where(
                    Blob.job_id == job.id, Blob.kind == BlobKind.REPORT, Blob.current
                )
            ).one_or_none()
        )
        if blob:
            data = stored_files.read(vault, sealed_fields.instance_key_of(vault, row), blob)
            try:
                return object_archive.as_earlier(data)
            except BadArchive:
                raise NotReadable("an archive of objects is damaged") from None
    return []


def _pdf(session: Session, vault: Vault, file: ReportFile) -> bytes:
    blob = session.get(Blob, file.blob_id)
    if blob is None:
        raise NotReadable("a report has no file")
    key = sealed_fields.instance_key_of(vault, session.get_one(Instance, blob.instance_id))
    return stored_files.read(vault, key, blob)


def _uids(vault: Vault, team_id: UUID) -> Uids:
    def uid(what: str) -> str:
        return f"2.25.{int(vault.lookup('dicom:objects', f'{team_id}:{what}')[:32], 16)}"

    return uid


def _stored(vault: Vault, data_key: bytes, instance_id: UUID, data: bytes, now: datetime) -> Blob:
    """The content of a job, written; the caller enters its row."""
    blob = Blob(
        id=uuid4(),
        instance_id=instance_id,
        kind=BlobKind.REPORT_CONTENT,
        size=len(data),
        media_type=BYTES,
        current=True,
        created=now,
    )
    blob.name = vault.put(data_key, blob_id=blob.id, kind=blob.kind, attempt=0, data=data)
    return blob


def _add(
    session: Session,
    vault: Vault,
    actor: Actor,
    study_id: UUID,
    report_id: UUID,
    blobs: list[Blob],
    now: datetime,
) -> list[UUID]:
    """Add jobs and rows in one transaction in which the exam is locked; the caller commits."""
    study = case.load(session, actor, study_id)
    session.refresh(study, with_for_update={"key_share": True})
    if study.joined_into is not None or study.purged_at is not None:
        raise Denied("study")
    report = session.get_one(Report, report_id)
    _checked(session, vault, actor, study, report, now)
    if _jobs(session, [report_id]):
        raise Conflict("changed", _("The objects were asked for just now."))
    job_ids = []
    for blob in blobs:
        instance = session.get_one(Instance, blob.instance_id)
        job = claims.enqueue(session, JobKind.ENCODE, now, instance=instance, target=report_id.hex)
        blob.job_id = job.id
        job_ids.append(job.id)
    session.add_all(blobs)
    audit.append(
        session,
        "objects_requested",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=report_id,
        detail={"pictures": len(blobs)},
    )
    return job_ids


def _joined(packed: dict[int, bytes]) -> bytes:
    """One ZIP of the archives, by the numbers of their pictures; NotReadable for damaged ones."""
    stream, contents = io.BytesIO(), list[object]()
    with zipfile.ZipFile(stream, "w") as whole:
        for number, data in sorted(packed.items()):
            try:
                files = object_archive.files(data)
                contents.append({"picture": number, **json.loads(files.pop(MANIFEST))})
            except (BadArchive, KeyError, ValueError, TypeError):
                raise NotReadable("an archive of objects is damaged") from None
            for name, file in files.items():
                whole.writestr(zipfile.ZipInfo(f"picture-{number}-{name}", _NO_DATE), file)
        listed = json.dumps({"pictures": contents}, indent=2, sort_keys=True).encode() + b"\n"
        whole.writestr(zipfile.ZipInfo(MANIFEST, _NO_DATE), listed)
    return stream.getvalue()
