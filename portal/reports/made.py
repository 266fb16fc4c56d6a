"""The reports of an exam: which there are, whether they are made, and their PDFs."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import and_, func, not_, select
from sqlalchemy.orm import Session

from portal import audit
from portal.access import Actor, Denied, Permission
from portal.models import (
    Addendum,
    Blob,
    Instance,
    Job,
    JobKind,
    JobState,
    ModelVersion,
    Outline,
    Prediction,
    Report,
    ReportFile,
    Review,
    Signature,
    Study,
    User,
)
from portal.reading import case
from portal.studies import exams, sealed_fields, stored_files
from portal.teams import ai_visibility
from portal.vault import NotReadable, Vault

ReportState = Literal["waiting", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class ObjectsView:
    """The DICOM objects of a report, one set for each of `pictures`; of `failed` there is none.

    `error_code`: why, of one of them.
    """

    state: ReportState
    pictures: int
    failed: int
    error_code: str | None


@dataclass(frozen=True, slots=True)
class ReportView:
    """A report as lists show it. `number` counts those of the exam from 1; `sha256`, `bytes` and
    `pages` are there once it is ready, `error_code` once it has failed; `objects` None: its DICOM
    objects were not asked for.
    """

    report_id: UUID
    number: int
    author: str
    author_id: UUID
    created: datetime
    state: ReportState
    error_code: str | None
    is_signed: bool
    with_ai: bool
    basis: str
    sha256: str
    bytes: int
    pages: int
    objects: "ObjectsView | None" = None


@dataclass(frozen=True, slots=True)
class Listed:
    """The reports of an exam, the oldest first. `changed`: when a picture, a result, an outline, a
    finding, a signature or an addendum came last, or a result was retracted.
    """

    study_id: UUID
    case_number: str
    reports: list[ReportView]
    changed: datetime | None


@dataclass(frozen=True, slots=True)
class Pdf:
    """A report's file and what it is called: nothing of the patient."""

    name: str
    data: bytes = field(repr=False)


def of_exam(session: Session, study_id: UUID, *, with_ai: bool = True) -> list[ReportView]:
    """The reports of an exam, the oldest first. The caller has checked that it may be seen.

    `with_ai` False: without those that hold what the AI found.
    """
    rows = session.execute(
        select(Report, User.name, ReportFile)
        .join(Study, Study.id == Report.study_id)
        .join(User, User.id == Report.author_id)
        .outerjoin(ReportFile, ReportFile.report_id == Report.id)
        .where(exams.is_of([study_id]))
        .order_by(Report.created, Report.id)
    ).all()
    jobs = _jobs(session, {report.instance_id for report, _, _ in rows})
    objects = _objects(session, [report.id.hex for report, _, _ in rows])
    found = [
        ReportView(
            report_id=report.id,
            number=number,
            author=author,
            author_id=report.author_id,
            created=report.created,
            state=_state(jobs.get(report.id.hex), file),
            error_code=_error_code(jobs.get(report.id.hex)),
            is_signed=report.signature_id is not None,
            with_ai=report.with_ai,
            basis=report.basis,
            sha256=file.sha256 if file else "",
            bytes=file.bytes if file else 0,
            pages=file.pages if file else 0,
            objects=_objects_view(objects.get(report.id.hex, [])),
        )
        for number, (report, author, file) in enumerate(rows, 1)
    ]
    return [one for one in found if with_ai or not one.with_ai]


def listed(session: Session, actor: Actor, study_id: UUID) -> Listed:
    """The reports of an exam, by number and state: nothing of the patient, so no audit row.

    Denied where the actor may not see the exam.
    """
    actor.require(Permission.STUDY_EXPORT)
    study = case.load(session, actor, study_id)
    reports = readable(session, actor, study)
    hides = ai_visibility.readings(session, [study.id]).hides_findings(actor, study.id)
    changed = _changed(session, study.id) if reports and not hides else None
    session.commit()
    return Listed(study.id, study.case_number, reports, changed)


def states(session: Session, actor: Actor, study_id: UUID) -> dict[str, ReportState]:
    """Which reports there are and whether they are made, for a page that waits; without audit row.

    Denied where the actor may not see the exam.
    """
    actor.require(Permission.STUDY_EXPORT)
    study = case.load(session, actor, study_id)
    found = dict[str, ReportState]()
    for one in readable(session, actor, study):
        found[one.report_id.hex] = one.state
        if one.objects is not None:
            found[f"{one.report_id.hex}:objects"] = one.objects.state
    session.commit()
    return found


def read(
    session: Session, vault: Vault, actor: Actor, study_id: UUID, report_id: UUID, now: datetime
) -> Pdf:
    """A report's PDF, with one audit row.

    Denied where the actor may not see the exam, or it has no such report, or not yet; NotReadable
    where its file is missing or not the one that was made.
    """
    actor.require(Permission.STUDY_EXPORT)
    study = case.load(session, actor, study_id)
    known = {one.report_id: one for one in readable(session, actor, study)}
    found = known.get(report_id)
    file = session.get(ReportFile, report_id)
    if found is None or file is None:
        raise Denied("report")
    blob = session.get(Blob, file.blob_id)
    if blob is None:
        raise NotReadable("a report has no file")
    instance = session.get_one(Instance, blob.instance_id)
    data_key = sealed_fields.instance_key_of(vault, instance)
    audit.append(
        session,
        "report_read",
        actor=actor,
        now=now,
        study_id=study.id,
        subject_id=report_id,
        detail={"sha256": file.sha256},
    )
    session.commit()
    data = stored_files.read(vault, data_key, blob)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise NotReadable("a report's file is not the one that was made")
    return Pdf(f"report-{study.case_number}-{found.number}.pdf", data)


def readable(session: Session, actor: Actor, study: Study) -> list[ReportView]:
    """The reports that hold nothing which the actor may not see: of another person none as long as
    colleagues' findings are hidden from them (`teams.ai_visibility`).
    """
    with_ai = ai_visibility.may_see_ai(session, actor, study.id)
    found = of_exam(session, study.id, with_ai=with_ai)
    if not ai_visibility.readings(session, [study.id]).hides_findings(actor, study.id):
        return found
    own = (one for one in found if one.author_id == actor.user_id)
    return [replace(one, number=number) for number, one in enumerate(own, 1)]


def _changed(session: Session, study_id: UUID) -> datetime | None:
    ids = [row.id for row in exams.pictures(session, [study_id])[study_id]]
    retracted = (
        select(func.max(ModelVersion.retracted_at))
        .join(Prediction, Prediction.model_id == ModelVersion.id)
        .where(Prediction.instance_id.in_(ids))
    )
    times = [
        session.scalar(retracted),
        *(
            session.scalar(
                select(func.max(row.created)).where(exams.within(row.study_id, study_id))
            )
            for row in (Review, Signature, Addendum)
        ),
        *(
            session.scalar(select(func.max(column)).where(condition))
            for column, condition in (
                (Instance.created, Instance.id.in_(ids)),
                (Prediction.created, Prediction.instance_id.in_(ids)),
                # One that was only kept comes in with the review that refers to it.
                (Outline.created, and_(Outline.instance_id.in_(ids), not_(Outline.kept))),
            )
        ),
    ]
    return max((time for time in times if time is not None), default=None)


def _jobs(session: Session, instance_ids: set[UUID]) -> dict[str | None, Job]:
    """The report jobs about these pictures, by their target: the report's id."""
    if not instance_ids:
        return {}
    rows = session.scalars(
        select(Job).where(Job.instance_id.in_(instance_ids), Job.kind == JobKind.REPORT)
    )
    return {row.target: row for row in rows}


def _objects(session: Session, targets: list[str]) -> dict[str, list[Job]]:
    """The encode jobs of these reports, by the report's id."""
    found: dict[str, list[Job]] = {}
    if targets:
        query = select(Job).where(Job.kind == JobKind.ENCODE, Job.target.in_(targets))
        for row in session.scalars(query):
            found.setdefault(row.target or "", []).append(row)
    return found


def _objects_view(jobs: list[Job]) -> ObjectsView | None:
    if not jobs:
        return None
    failed = [job for job in jobs if job.state is JobState.FAILED]
    state: ReportState = "failed" if len(failed) == len(jobs) else "ready"
    if any(job.state in (JobState.QUEUED, JobState.RUNNING) for job in jobs):
        state = "waiting"
    code = failed[0].error_code if failed else None
    return ObjectsView(state, len(jobs), len(failed), code)


def _state(job: Job | None, file: ReportFile | None) -> ReportState:
    if file is not None:
        return "ready"
    return "failed" if job is None or job.state is JobState.FAILED else "waiting"


def _error_code(job: Job | None) -> str | None:
    return job.error_code if job is not None and job.state is JobState.FAILED else None
